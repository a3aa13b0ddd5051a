"""A time limit that moves with every read."""

import asyncio
from collections.abc import Callable

_TICK = 0.001  # seconds; for less uvloop 0.23 makes no timer but a handle that has no `when`


class Deadline:
    """One timer for a limit that is put off again and again: it is re-armed when it fires, not each time.

    Attributes:
        due: loop time at which it passes; 0: never.
    """

    __slots__ = ("_loop", "_passed", "_timer", "due")

    def __init__(self, loop: asyncio.AbstractEventLoop, passed: Callable[[], None]) -> None:
        """`passed` is called once it has; `due` is still set then."""
        self.due = 0.0
        self._loop = loop
        self._passed = passed
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, seconds: float) -> None:
        """Let it pass in so many seconds, unless it is put off."""
        self.due = due = self._loop.time() + seconds
        timer = self._timer
        if timer is not None and timer.when() > due:
            timer.cancel()
            timer = None
        if timer is None:
            self._timer = self._loop.call_later(max(seconds, _TICK), self._fire)

    def close(self) -> None:
        """Never call again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        if self.due == 0.0:
            return
        left = self.due - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(max(left, _TICK), self._fire)
        else:
            self._passed()
