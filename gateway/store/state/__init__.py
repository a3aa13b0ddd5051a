"""The counters that admission tests and moves in one atomic step.

A state store knows buckets, limits and amounts in nano-units (10⁻⁹ of a currency); it knows no
teams, keys or budgets. Its counters are derived from the ledger: they are loaded from it at start,
and again when they were lost.
"""

from typing import Protocol

from msgspec import Struct

from gateway.values import Reservation


class Refusal(Struct, frozen=True):
    """Why a reservation was not admitted: the first bucket that cannot cover it.

    Amounts are nano-units. `resets_at` is in epoch seconds; None means never.
    """

    bucket: str
    scope: str
    limit_nano: int
    spent_nano: int
    held_nano: int
    amount_nano: int
    resets_at: float | None


class State(Protocol):
    """Counters of what is spent and held, per bucket."""

    async def admit(self, reservation: Reservation) -> Refusal | None:
        """Take every hold of `reservation`, or none of them. Its buckets must differ.

        A reservation that is already held is admitted again without being held twice, so that an
        admission whose answer was lost may be repeated.
        """

    async def settle(self, reservation_id: str, charge_nano: int) -> None:
        """End the holds of a reservation and book `charge_nano` in each of its buckets.

        Settling what is settled, or was never held, changes nothing.

        Raises:
            ValueError: the charge is negative.
        """

    async def load(self, bucket: str, spent_nano: int, resets_at: float | None = None) -> None:
        """Set what a bucket has spent, as the ledger knows it; live holds stay.

        `resets_at` (epoch seconds) is when the bucket may be forgotten; None means never.

        Call it before the first request of that bucket: what is settled while the ledger is being
        read would be lost.
        """

    async def open_holds(self) -> tuple[str, ...]:
        """The ids of the reservations that are held now, oldest first."""

    async def expire(self, now: float) -> int:
        """Forget the buckets whose window ended before `now` (epoch seconds) and that hold nothing.

        Returns:
            How many were forgotten.
        """
