"""Time that a test moves by hand."""

from typing_extensions import override

from gateway.clock import Clock

NOON = 1_795_348_800.0  # 2026-11-22 12:00 UTC


class HandClock(Clock):
    """Both clocks stand still until they are moved, together."""

    def __init__(self, now: float = NOON) -> None:
        self._now = now
        self._monotonic = 1000.0

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
        self._monotonic += seconds

    @override
    def now(self) -> float:
        return self._now

    @override
    def monotonic(self) -> float:
        return self._monotonic
