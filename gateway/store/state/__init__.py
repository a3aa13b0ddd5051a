"""The counters that admission tests and moves in one atomic step.

A state store knows buckets, limits and amounts; it knows no teams, keys or budgets. Money is in
nano-units (10⁻⁹ of a currency). Its budget counters are derived from the ledger: they are loaded from
it before their first use, and again when they were lost. Rates and places are not: lost, they begin
anew.
"""

from collections.abc import Collection
from typing import Protocol

from msgspec import Struct

from gateway.values import BudgetHold, Reservation


class RateLeft(Struct, frozen=True, gc=False):
    """What is left of a rate after a request has taken its share.

    `remaining` is what could be taken at once; `reset_after` are the seconds until all of `limit` could.
    """

    what: str
    scope: str
    limit: int
    remaining: int
    reset_after: float


class Admitted(Struct, frozen=True):
    """A reservation was taken. `rates` are in the order of the reservation's."""

    rates: tuple[RateLeft, ...] = ()


ADMITTED = Admitted()


class Refusal(Struct, frozen=True):
    """Why a reservation was not admitted: the first budget bucket that cannot cover it.

    Amounts are nano-units. `resets_at` is in epoch seconds; None means never. `lost` says that the shared
    counters are out of reach, so that only what was leased could be spent.
    """

    bucket: str
    scope: str
    limit_nano: int
    spent_nano: int
    held_nano: int
    amount_nano: int
    resets_at: float | None
    lost: bool = False


class Limited(Struct, frozen=True):
    """Why a reservation was not admitted: a rate, or no place for another request.

    Of several rates that refuse it is the one that does so for longest, so that `retry_after` holds for
    the whole request; rates come before places.

    Attributes:
        bucket: the bucket.
        what: "requests", "tokens" or "concurrency".
        scope: whose limit it is.
        each: as in `gateway.values.LimitRule`.
        limit: how much it allows.
        period: in how many seconds; 0 for concurrency.
        remaining: what could be taken at once.
        reset_after: seconds until all of `limit` could; 0 for concurrency.
        retry_after: seconds until the same could be admitted; None: never, or, for concurrency, whenever
            another request ends.
    """

    bucket: str
    what: str
    scope: str
    each: str
    limit: int
    period: int
    remaining: int
    reset_after: float
    retry_after: float | None


Decision = Admitted | Refusal | Limited


class State(Protocol):
    """Counters of what is spent and held, of rates and of places taken."""

    async def admit(self, reservation: Reservation) -> Decision:
        """Take all of `reservation`, or nothing of it. Its buckets must differ.

        Limits are looked at before budgets, and of those the first that refuses is told. A reservation
        that is already held is admitted again without being held twice, so that an admission whose
        answer was lost may be repeated.

        Raises:
            Unavailable: the counters cannot be read, or not yet; `ledger_behind` or `state_unavailable`.
        """

    async def settle(
        self, reservation_id: str, charge_nano: int, tokens: int | None = None
    ) -> None:
        """End a reservation: its holds, with `charge_nano` booked in each of its buckets, and its places.

        Of rates of tokens give back, or take, what `tokens` differs from the estimate, if it is known:
        so what counts in the long run is what was used. A rate is never fuller of free than its limit.

        Settling what is settled, or was never held, changes nothing. It never waits for what is lost: what
        a store out of reach has to be told, it is told later.

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
        """The ids of the reservations that are held now, oldest first; of this process."""

    async def expire(self, now: float) -> int:
        """Forget the buckets whose window ended before `now` (epoch seconds) and that hold nothing.

        So are rates of which all could be taken again.

        Returns:
            How many were forgotten.
        """

    @property
    def held_count(self) -> int:
        """How many reservations this process holds now."""


class StateLost(Exception):
    """The shared store does not answer."""


class EpochChanged(Exception):
    """The shared store is not the one that the counters were in: it was emptied, restarted or replaced."""


class NotLoaded(Exception):
    """Budget buckets that the shared store does not know: they must be loaded from the ledger first."""

    def __init__(self, buckets: tuple[str, ...]) -> None:
        super().__init__(", ".join(buckets))
        self.buckets = buckets


class SharedCounters(Protocol):
    """The raw operations of a store that several processes share; each is one atomic step there.

    All but `connect` work in the epoch that `connect` found, and raise `EpochChanged` where the store's is
    another, `StateLost` where it does not answer.

    An epoch is a span in which nothing was lost: a store that was emptied, restarted or failed over begins
    another. Its buckets are empty then, and every budget bucket has to be loaded anew.

    Loading a budget bucket is two steps, so that nothing that moves meanwhile is lost or counted twice:
    `begin_load` says which reservations the bucket accounts for itself (held, or settled since it came to
    be); the ledger is added up without those; `finish_load` sets the sum, unless they changed meanwhile.
    """

    async def connect(self) -> str:
        """Find, or begin, the store's epoch, and work in it from now on.

        Returns:
            Its name.
        """

    async def admit(self, reservation: Reservation, ttl: float) -> Decision:
        """As `State.admit`; the reservation is live for `ttl` seconds unless renewed.

        Raises:
            NotLoaded: budget buckets that must be loaded first; nothing was taken.
        """

    async def settle(
        self, reservation_id: str, charge_nano: int, tokens: int | None = None
    ) -> bool:
        """As `State.settle`; whether it was held."""

    async def renew(self, reservation_ids: Collection[str], ttl: float) -> None:
        """Keep reservations live for `ttl` more seconds."""

    async def reassert(self, reservation: Reservation, ttl: float) -> None:
        """Hold, in a new epoch, what was held in the old: without testing any limit, and no rate again."""

    async def begin_load(self, hold: BudgetHold) -> tuple[int, tuple[str, ...]] | None:
        """A version, and the ids of the reservations that the bucket accounts for; None: it is loaded."""

    async def finish_load(self, hold: BudgetHold, spent_nano: int, version: int) -> bool:
        """Set what is spent but for those reservations; False if they changed since `version`."""

    async def expired(self, count: int) -> tuple[tuple[str, int], ...]:
        """At most `count` reservations that nobody renewed in time, each with its greatest hold in nano."""

    async def aclose(self) -> None:
        """Close its connections."""
