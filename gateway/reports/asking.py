"""Questions as people and programs write them, in text. Pure."""

import datetime as dt
import re
from collections.abc import Iterable

from gateway.errors import InvalidRequest
from gateway.reports import windows
from gateway.reports.usage import COLUMNS
from gateway.reports.windows import Window

_TIME = re.compile(r"\d{4}-\d\d-\d\d([Tt]\d\d:\d\d(:\d\d)?([Zz]|[+-]\d\d:\d\d)?)?", re.ASCII)
_DEFAULT = "7d"


def groups(text: str) -> tuple[str, ...]:
    """Names with commas between; which there are is seen later, by `gateway.reports.usage.checked`."""
    return tuple(name.strip() for name in text.split(",")) if text.strip() else ()


def filters(texts: Iterable[str]) -> dict[str, frozenset[str]]:
    """From `GROUP=ID`, several of a group being alternatives.

    Raises:
        InvalidRequest: code invalid_report.
    """
    found: dict[str, frozenset[str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value or name not in COLUMNS:
            raise InvalidRequest(
                f"{text[:60]!r} is no filter: write it as GROUP=ID, with one of {', '.join(COLUMNS)}",
                code="invalid_report",
                param="only",
            )
        found[name] = found.get(name, frozenset()) | {value}
    return found


def window(
    now: float, *, length: str | None = None, begin: str | None = None, end: str | None = None
) -> Window:
    """As `between_or_last`, with times in text: days, or hours, UTC.

    Raises:
        InvalidRequest: as there, or no such time; code invalid_window.
    """
    return between_or_last(
        now,
        length,
        None if begin is None else _ms(begin, "from"),
        None if end is None else _ms(end, "to"),
    )


def between_or_last(
    now: float, length: str | None, from_ms: int | None, to_ms: int | None
) -> Window:
    """The window that is asked for: by its length up to now, or by its ends; by none, the last seven days.

    Raises:
        InvalidRequest: both, half of one, or none that there can be; code invalid_window.
    """
    if from_ms is None:
        if to_ms is not None:
            raise InvalidRequest(
                "`to` needs a `from`; for a time up to now use `last`",
                code="invalid_window",
                param="to",
            )
        return windows.last(_DEFAULT if length is None else length, now)
    if length is not None:
        raise InvalidRequest(
            "say `last`, or `from` and `to`, not both", code="invalid_window", param="last"
        )
    return windows.between(from_ms, to_ms, now)


def _ms(text: str, param: str) -> int:
    try:
        # What has another form is left to be refused: it reads more forms than are promised here.
        moment = dt.datetime.fromisoformat(
            text.upper() if _TIME.fullmatch(text) else "another form"
        )
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        return int(moment.timestamp()) * 1000
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(
            f"{param} must be a day or an hour, UTC, as in 2027-01-31 or 2027-01-31T12:00Z: {error}",
            code="invalid_window",
            param=param,
        ) from error
