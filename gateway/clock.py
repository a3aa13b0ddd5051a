"""Time as a value, so that tests own it.

Everything that needs the time is handed a `Clock`; nothing outside this module calls `time`.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> float:
        """Seconds since the Unix epoch, UTC. For timestamps and windows, never for durations."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back, the event loop's. For durations and deadlines."""


class SystemClock(Clock):
    """The machine's own clocks; the built-in functions themselves, as every request asks often."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
