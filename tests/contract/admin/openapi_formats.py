"""Formats of strings that no JSON Schema can tell: loaded by schemathesis, see test_openapi.py."""

import base64
import datetime as dt

import schemathesis
from hypothesis import strategies as st

_LETTERS = st.characters(categories=("L", "N"), max_codepoint=0x24F)


def _cursor(at_ms: int) -> str:
    return base64.urlsafe_b64encode(f"{at_ms}.1".encode()).rstrip(b"=").decode()


# Keys cannot expire in the past, which is another matter than form.
_TIMES = st.datetimes(dt.datetime(2030, 1, 1), dt.datetime(2999, 1, 1))  # noqa: DTZ001 - UTC is said after

schemathesis.openapi.format("date-time", _TIMES.map(lambda time: f"{time.isoformat()}Z"))
schemathesis.openapi.format("name", st.text(_LETTERS, min_size=1, max_size=20))
schemathesis.openapi.format("cursor", st.integers(0, 10**12).map(_cursor))
