"""Counters in the memory of the one process that uses them."""

import math
from collections import OrderedDict
from math import ceil

from typing_extensions import override

from gateway.clock import Clock, SystemClock
from gateway.store.state import ADMITTED, Admitted, Decision, Limited, RateLeft, Refusal, State
from gateway.values import BudgetHold, RateTake, Reservation, SlotTake

# How many rates one sweep looks at: some milliseconds, as requests wait meanwhile.
_RATES_A_SWEEP = 20_000


class _Bucket:
    """One counter: nano-units spent, and what is gone of the budget: those and what is held."""

    __slots__ = ("gone", "resets_at", "spent")

    def __init__(self, resets_at: float | None) -> None:
        self.spent = 0
        self.gone = 0
        self.resets_at = resets_at

    @property
    def held(self) -> int:
        """Nano-units held."""
        return self.gone - self.spent


class _Rate:
    """How full a rate was at an instant; it drains by its limit each period.

    This is the generic cell rate algorithm in its form of a leaky bucket (ITU-T I.371): the theoretical
    arrival time is `at` + `level` / limit. Kept so, and with one token being as many units as the period
    has microseconds, all amounts are whole numbers, exact in doubles up to 2⁵³.
    """

    __slots__ = ("at", "level", "limit")

    def __init__(self) -> None:
        self.level = 0.0
        self.at = 0.0  # epoch, in microseconds
        self.limit = 0  # what it was last taken of

    def idle(self, now: float) -> bool:
        """Whether all of it could be taken again."""
        return self.at + (ceil(self.level / self.limit) if self.limit else 0) <= now


# How each rate was before it was taken of: itself, its level and when that was; None: it was not there.
_Before = list[tuple[_Rate, float, float] | None]


class MemoryState(State):
    """State for a single process; each call is atomic because it never waits.

    The arithmetic of rates is that of `lua/`, operation for operation, so that one suite holds for both.

    Attributes:
        unknown_settlements: how many settlements named a reservation that was not held.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._now = (clock or SystemClock()).now
        self._buckets: dict[str, _Bucket] = {}
        # The least recently looked at by the sweep come first.
        self._rates: OrderedDict[str, _Rate] = OrderedDict()
        self._slots: dict[str, int] = {}
        self._held: dict[str, Reservation] = {}
        self.unknown_settlements = 0

    @override
    async def admit(self, reservation: Reservation) -> Decision:
        rates = reservation.rates
        if reservation.id in self._held:
            return self._again(rates) if rates else ADMITTED
        if not rates:
            return self._hold(reservation) or ADMITTED
        now = self._now() * 1e6 // 1
        before: _Before = []
        left = self._take(rates, now, before)
        if left is None:
            self._give_back(rates, before)
            return self._limited(rates, now)
        refusal = self._hold(reservation)
        if refusal is not None:
            self._give_back(rates, before)
            return refusal
        if new := before.count(None):
            # End users are without number: the memory that they take must follow those that are active.
            self._forget_idle(now, 2 * new)
        return Admitted(tuple(left))

    # What is wanted is taken as it is tested, and given back if something else refuses: nothing waits in
    # between, so nobody sees half a reservation.

    def _hold(self, reservation: Reservation) -> Refusal | Limited | None:
        """Take places and holds; nothing of them where one refuses."""
        slots = reservation.slots
        if slots:
            places = self._slots
            for slot in slots:
                if places.get(slot.bucket, 0) >= slot.limit:
                    return _full(slot, places.get(slot.bucket, 0))
        holds, buckets = reservation.holds, self._buckets
        for hold in holds:
            bucket = buckets.get(hold.bucket)
            if bucket is None:
                bucket = buckets[hold.bucket] = _Bucket(hold.resets_at)
            gone = bucket.gone + hold.amount_nano
            if gone > hold.limit_nano:
                for earlier in holds[: holds.index(hold)]:
                    buckets[earlier.bucket].gone -= earlier.amount_nano
                return _refused(hold, bucket)
            bucket.gone = gone
        # Nothing can refuse any more.
        if slots:
            for slot in slots:
                places[slot.bucket] = places.get(slot.bucket, 0) + 1
        self._held[reservation.id] = reservation
        return None

    def _take(
        self, rates: tuple[RateTake, ...], now: float, before: _Before
    ) -> list[RateLeft] | None:
        """Take of rates, and tell what is left; None if one refuses: then `before` has those taken of."""
        find = self._rates.get
        left = []
        for take in rates:
            limit, span = take.limit, take.period * 1e6
            level = take.amount * span
            rate = find(take.bucket)
            if rate is not None:
                full, at = rate.level, rate.at
                # A clock that was set back drains nothing for the span that it repeats.
                still = full - (now - at) * limit if now > at else full
                if still > 0:
                    level += still
            free = limit * span - level
            if free < 0:
                return None
            if rate is None:
                rate = self._rates[take.bucket] = _Rate()
                before.append(None)
            else:
                before.append((rate, full, at))
            rate.level, rate.at, rate.limit = level, now, limit
            reset = ceil(level / limit) / 1e6 if limit else 0.0
            left.append(RateLeft(take.what, take.scope, limit, int(free / span), reset))
        return left

    def _give_back(self, rates: tuple[RateTake, ...], before: _Before) -> None:
        # `before` ends where a rate refused: that one, and those behind it, were not taken of.
        for take, taken in zip(rates, before, strict=False):
            if taken is None:
                del self._rates[take.bucket]
            else:
                rate, level, at = taken
                rate.level, rate.at = level, at

    def _forget_idle(self, now: float, count: int) -> int:
        rates = self._rates
        forgotten = 0
        for _ in range(min(count, len(rates))):
            name, rate = rates.popitem(last=False)
            if rate.idle(now):
                forgotten += 1
            else:
                rates[name] = rate
        return forgotten

    def _level(self, take: RateTake, now: float) -> float:
        rate = self._rates.get(take.bucket)
        if rate is None:
            return 0.0
        passed = now - rate.at
        # A clock that was set back drains nothing for the span that it repeats.
        return rate.level if passed <= 0 else max(0.0, rate.level - passed * take.limit)

    def _again(self, rates: tuple[RateTake, ...]) -> Admitted:
        """The answer to a repeated admission: what is left now, with nothing taken."""
        now = self._now() * 1e6 // 1
        return Admitted(tuple([_left(take, self._level(take, now)) for take in rates]))

    def _limited(self, rates: tuple[RateTake, ...], now: float) -> Limited:
        """Of the rates that refuse, the one that does so for longest."""
        worst: tuple[float, Limited] | None = None
        for take in rates:
            level = self._level(take, now)
            span = take.period * 1e6
            over = level + take.amount * span - take.limit * span
            if over <= 0:
                continue
            wait = (
                math.inf if take.amount > take.limit or not take.limit else ceil(over / take.limit)
            )
            if worst is None or wait > worst[0]:
                left = _left(take, level)
                limited = Limited(
                    bucket=take.bucket,
                    what=take.what,
                    scope=take.scope,
                    each=take.each,
                    limit=take.limit,
                    period=take.period,
                    remaining=left.remaining,
                    reset_after=left.reset_after,
                    retry_after=None if wait == math.inf else wait / 1e6,
                )
                worst = wait, limited
        if worst is None:
            raise AssertionError("no rate refuses")
        return worst[1]

    @override
    async def settle(
        self, reservation_id: str, charge_nano: int, tokens: int | None = None
    ) -> None:
        if charge_nano < 0:
            raise ValueError("a charge cannot be negative; a correction is a ledger entry")
        reservation = self._held.pop(reservation_id, None)
        if reservation is None:
            self.unknown_settlements += 1
            return
        buckets = self._buckets
        for hold in reservation.holds:
            bucket = buckets[hold.bucket]
            bucket.gone += charge_nano - hold.amount_nano
            bucket.spent += charge_nano
        if reservation.slots:
            places = self._slots
            for slot in reservation.slots:
                if (taken := places[slot.bucket] - 1) > 0:
                    places[slot.bucket] = taken
                else:
                    del places[slot.bucket]
        if tokens is not None and reservation.rates:
            self._correct(reservation.rates, tokens)

    def _correct(self, rates: tuple[RateTake, ...], tokens: int) -> None:
        """Give back, or take, what the tokens used differ from their estimate."""
        now = self._now() * 1e6 // 1
        for take in rates:
            if take.what != "tokens" or take.amount == tokens:
                continue
            limit, level = take.limit, (tokens - take.amount) * (take.period * 1e6)
            rate = self._rates.get(take.bucket)
            if rate is None:
                if level <= 0:
                    continue
                rate = self._rates[take.bucket] = _Rate()
            else:
                still = rate.level
                if (passed := now - rate.at) > 0:
                    still -= passed * limit
                if still > 0:
                    level += still
            rate.level = max(0.0, level)
            rate.at, rate.limit = now, limit

    @override
    async def load(self, bucket: str, spent_nano: int, resets_at: float | None = None) -> None:
        known = self._buckets.get(bucket)
        if known is None:
            known = self._buckets[bucket] = _Bucket(resets_at)
        known.gone += spent_nano - known.spent
        known.spent = spent_nano

    @property
    @override
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
        return len(over) + self._forget_idle(now * 1e6, _RATES_A_SWEEP)


def _left(take: RateTake, level: float) -> RateLeft:
    """What is left of a rate that is filled to `level`; what was used beyond the limit leaves nothing."""
    span, limit = take.period * 1e6, take.limit
    remaining = max(0, int((limit * span - level) / span))
    reset = ceil(level / limit) / 1e6 if limit else 0.0
    return RateLeft(take.what, take.scope, limit, remaining, reset)


def _refused(hold: BudgetHold, bucket: _Bucket) -> Refusal:
    return Refusal(
        bucket=hold.bucket,
        scope=hold.scope,
        limit_nano=hold.limit_nano,
        spent_nano=bucket.spent,
        held_nano=bucket.held,
        amount_nano=hold.amount_nano,
        resets_at=hold.resets_at,
    )


def _full(slot: SlotTake, taken: int) -> Limited:
    return Limited(
        bucket=slot.bucket,
        what="concurrency",
        scope=slot.scope,
        each=slot.each,
        limit=slot.limit,
        period=0,
        remaining=max(0, slot.limit - taken),
        reset_after=0.0,
        retry_after=None,
    )
