"""An event loop whose time jumps to the next thing that is due, so that nobody waits for a clock."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from typing_extensions import override

from gateway.clock import Clock
from tests.fakes.clock import NOON

_T = TypeVar("_T")


class _Jumping(selectors.DefaultSelector):
    jumped = 0.0

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("everything waits, and nothing is due")
        if not ready and timeout:
            self.jumped += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop for work that uses no sockets and no threads."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    @override
    def time(self) -> float:
        return 1000.0 + self._jumping.jumped


class LoopClock(Clock):
    """The time of the loop that runs."""

    @override
    def now(self) -> float:
        return NOON + asyncio.get_running_loop().time()

    @override
    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run `work` to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
