"""Counters in the memory of the one process that uses them."""

from typing_extensions import override

from gateway.store.state import Refusal, State
from gateway.values import BudgetHold, Reservation


class _Bucket:
    """One counter: nano-units spent and held."""

    __slots__ = ("held", "resets_at", "spent")

    def __init__(self, resets_at: float | None) -> None:
        self.spent = 0
        self.held = 0
        self.resets_at = resets_at


class MemoryState(State):
    """State for a single process; each call is atomic because it never waits.

    Attributes:
        unknown_settlements: how many settlements named a reservation that was not held.
    """

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}
        self._held: dict[str, tuple[BudgetHold, ...]] = {}
        self.unknown_settlements = 0

    @override
    async def admit(self, reservation: Reservation) -> Refusal | None:
        held = self._held
        if reservation.id in held:
            return None
        buckets = self._buckets
        holds = reservation.holds
        for taken, hold in enumerate(holds):
            bucket = buckets.get(hold.bucket)
            if bucket is None:
                bucket = buckets[hold.bucket] = _Bucket(hold.resets_at)
            amount = hold.amount_nano
            if bucket.spent + bucket.held + amount > hold.limit_nano:
                refusal = Refusal(
                    bucket=hold.bucket,
                    scope=hold.scope,
                    limit_nano=hold.limit_nano,
                    spent_nano=bucket.spent,
                    held_nano=bucket.held,
                    amount_nano=amount,
                    resets_at=hold.resets_at,
                )
                for earlier in holds[:taken]:
                    buckets[earlier.bucket].held -= earlier.amount_nano
                return refusal
            # Taken as it is tested: nothing waits in between, so nobody sees half a reservation.
            bucket.held += amount
        held[reservation.id] = holds
        return None

    @override
    async def settle(self, reservation_id: str, charge_nano: int) -> None:
        if charge_nano < 0:
            raise ValueError("a charge cannot be negative; a correction is a ledger entry")
        holds = self._held.pop(reservation_id, None)
        if holds is None:
            self.unknown_settlements += 1
            return
        buckets = self._buckets
        for hold in holds:
            bucket = buckets[hold.bucket]
            bucket.held -= hold.amount_nano
            bucket.spent += charge_nano

    @override
    async def load(self, bucket: str, spent_nano: int, resets_at: float | None = None) -> None:
        known = self._buckets.get(bucket)
        if known is None:
            known = self._buckets[bucket] = _Bucket(resets_at)
        known.spent = spent_nano

    @property
    def held_count(self) -> int:
        """How many reservations are held now."""
        return len(self._held)

    @override
    async def open_holds(self) -> tuple[str, ...]:
        return tuple(self._held)

    @override
    async def expire(self, now: float) -> int:
        over = [
            name
            for name, bucket in self._buckets.items()
            if bucket.resets_at is not None and bucket.resets_at <= now and bucket.held == 0
        ]
        for name in over:
            del self._buckets[name]
        return len(over)
