"""What a worker holds, and how the shared store stands to it."""

from typing import Final

from gateway.store.state.memory import MemoryState
from gateway.values import Reservation

KNOWN: Final = 0
"""The store holds it."""
LOCAL: Final = 1
"""It was admitted without the store, which is not told of it unless it is still live on return."""
ASSERTING: Final = 2
"""The store is being told; until it has confirmed, nobody knows whether it holds it."""


class Live:
    """A reservation that is held.

    Attributes:
        reservation: what it takes.
        standing: one of the constants above.
        leased: its holds are in the care of leases.
        local: what counted its limits, if it was admitted without the store.
        doubtful: the store was asked once without an answer, and may hold it once more than it should.
    """

    __slots__ = ("doubtful", "leased", "local", "reservation", "standing")

    def __init__(
        self,
        reservation: Reservation,
        local: MemoryState | None = None,
        *,
        doubtful: bool = False,
    ) -> None:
        self.reservation = reservation
        self.standing = KNOWN if local is None else LOCAL
        self.leased = local is not None
        self.local = local
        self.doubtful = doubtful

    @property
    def taking(self) -> bool:
        """Whether the store has anything to hold for it."""
        reservation = self.reservation
        return bool(reservation.holds or reservation.rates or reservation.slots)


class Ended:
    """A reservation whose settlement the store has to be told."""

    __slots__ = ("charge_nano", "live", "tokens")

    def __init__(self, live: Live, charge_nano: int, tokens: int | None) -> None:
        self.live = live
        self.charge_nano = charge_nano
        self.tokens = tokens
