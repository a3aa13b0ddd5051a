"""The times that reports are over: whole hours, UTC. Pure."""

import datetime as dt
import re
from typing import Final

from msgspec import Struct

from gateway.errors import InvalidRequest

HOUR_MS: Final = 3_600_000
LONGEST: Final = 24 * 400
"""Hours of a report at most: more than a year, so that one can be compared with the one before."""

PERIODS: Final = ("hour", "day", "week", "month")
_HOURS: Final = {"h": 1, "d": 24, "w": 168}
_LAST = re.compile(r"([1-9][0-9]{0,3})([hdw])", re.ASCII)
_MONDAY: Final = 3  # days that a week of the epoch was old when the epoch began, a Thursday


class Window(Struct, frozen=True):
    """From an hour, inclusive, to another, exclusive; whole hours since the Unix epoch."""

    begin: int
    end: int

    @property
    def before(self) -> "Window":
        """The window of the same length that ends where this one begins."""
        return Window(2 * self.begin - self.end, self.begin)


def last(length: str, now: float) -> Window:
    """The window of the last hours, days or weeks, the running hour being its last one.

    Args:
        length: such as "24h", "7d" or "4w".
        now: epoch seconds.

    Raises:
        InvalidRequest: it is none, or too long; code invalid_window.
    """
    match = _LAST.fullmatch(length)
    if match is None:
        raise InvalidRequest(
            f"{length[:20]!r} is no length of time: write it as in 24h, 7d or 4w",
            code="invalid_window",
            param="last",
        )
    end = int(now) // 3600 + 1
    return _checked(Window(end - int(match[1]) * _HOURS[match[2]], end), "last")


def between(from_ms: int, to_ms: int | None, now: float) -> Window:
    """The window between two times, on the full hour each.

    Args:
        from_ms: epoch milliseconds, inclusive.
        to_ms: epoch milliseconds, exclusive; None: up to the end of the running hour.
        now: epoch seconds.

    Raises:
        InvalidRequest: not on the full hour, the wrong way round or too long; code invalid_window.
    """
    for name, value in (("from", from_ms), ("to", to_ms)):
        if value is not None and (value % HOUR_MS or value < 0):
            raise InvalidRequest(
                f"{name} must be a full hour, UTC, as in 2027-01-31T12:00:00Z",
                code="invalid_window",
                param=name,
            )
    end = int(now) // 3600 + 1 if to_ms is None else to_ms // HOUR_MS
    return _checked(Window(from_ms // HOUR_MS, end), "from")


def _checked(window: Window, param: str) -> Window:
    hours = window.end - window.begin
    if hours <= 0:
        raise InvalidRequest(
            "the window ends before it begins: `to` must be after `from`",
            code="invalid_window",
            param=param,
        )
    if hours > LONGEST:
        raise InvalidRequest(
            f"the window has {hours:,} hours, and a report is over {LONGEST:,} at most ({LONGEST // 24}"
            " days): ask for a part of it",
            code="invalid_window",
            param=param,
        )
    return window


def period_of(period: str, number: int) -> str:
    """How a period is called: its beginning, as in ISO 8601.

    Args:
        period: of `PERIODS`.
        number: of hours since the epoch if `period` is "hour", else of days.
    """
    if period == "hour":
        return shown(number)
    if period == "week":
        number -= (number + _MONDAY) % 7
    day = dt.date(1970, 1, 1) + dt.timedelta(days=number)
    return day.strftime("%Y-%m") if period == "month" else day.isoformat()


def shown(hour: int) -> str:
    """An hour's beginning, as in 2027-01-31T12:00:00Z."""
    moment = dt.datetime.fromtimestamp(hour * 3600, tz=dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
