"""A model's reasoning, in the forms in which providers write it down.

Three members of a message tell it: `reasoning_content` (Moonshot, Novita, DeepSeek; recordings of 2026-08
and 2026-09), `reasoning` (OpenRouter; vLLM 0.32, measured 2026-11-22) and `reasoning_details` (OpenRouter:
a list of `reasoning.text`, `reasoning.summary`, `reasoning.encrypted` and others; its documentation, stored
copy of 2026-08-22). Where more than one is there they say the same.
"""

from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct

from backends.openai_compat.failure_bodies import UNREADABLE

# The name that says it most surely comes first.
TEXT_NAMES = ("reasoning_content", "reasoning")
DETAILS = "reasoning_details"

_QUOTE = b'"'
_ABSENT = Raw(b"")
_NOTHING = (b"", b"null", b'""')


class _Detail(Struct):
    type: str | None = None
    text: Raw = _ABSENT
    summary: Raw = _ABSENT
    data: Raw = _ABSENT
    signature: Raw = _ABSENT


_decode_details = msgspec.json.Decoder(list[_Detail]).decode


class Details(NamedTuple):
    """What a list of details says.

    Attributes:
        text: its texts and summaries in one JSON string; None if there are none.
        plain: whether they say nothing but text: no signature, no encrypted part.
    """

    text: Raw | None
    plain: bool


def is_text(raw: Raw | bytes) -> bool:
    """Whether a value is a JSON string."""
    return bytes(memoryview(raw)[:1]) == _QUOTE


def read_details(raw: Raw) -> Details:
    """Read the value of `reasoning_details`; what is no list of objects says nothing and is not plain."""
    try:
        details = _decode_details(raw)
    except UNREADABLE:
        return Details(None, plain=bytes(raw) in {b"null", b"[]"})
    texts: list[bytes] = []
    plain = True
    for detail in details:
        said = detail.text if bytes(detail.text) not in _NOTHING else detail.summary
        if is_text(said):
            texts.append(bytes(said)[1:-1])
        signed = bytes(detail.signature) not in _NOTHING
        plain = plain and detail.type == "reasoning.text" and not signed
    joined = b"".join(texts)
    return Details(Raw(b'"%b"' % joined) if joined else None, plain)
