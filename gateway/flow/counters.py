"""Budget counters from the ledger: before the first request that needs them, or when they are asked for.

`Counters` fill those in the memory of a single process ahead of requests; `SharedLedger` answers those that
several processes share, which say what they do not know.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from datetime import UTC, date, datetime, time

from typing_extensions import override

from gateway.clock import Clock
from gateway.errors import LedgerBehind
from gateway.policies.budgets import bucket, window
from gateway.store.database import Database
from gateway.store.state import State
from gateway.store.state.loading import Ledger
from gateway.usage import queries
from gateway.usage.recent import Recent
from gateway.values import BudgetRule, Outcome, Principal

_PICOS_IN_NANO = 1000
_AT_A_TIME = 1000  # outcomes that are added up before others may run


class Counters:
    """Loads into the state store what each budget has spent already.

    A budget may be new while its team has spent for weeks: so whenever a principal is read, counters
    of its budgets that are not there yet are made from the ledger and from what has not reached it.
    """

    def __init__(
        self,
        database: Database,
        state: State,
        recent: Recent,
        shipping: asyncio.Lock,
        clock: Clock,
        *,
        grace: float,
    ) -> None:
        """What counters need.

        Args:
            database: where the ledger is.
            state: where the counters are.
            recent: what is settled and not in the ledger yet.
            shipping: held while rows move to the ledger, so that none is counted twice.
            clock: the time.
            grace: seconds for which requests may still settle that were let in before a budget was set,
                and so hold nothing in it: that long its counter is read anew again and again.
        """
        self._database = database
        self._state = state
        self._recent = recent
        self._shipping = shipping
        self._clock = clock
        self._grace = grace
        # By bucket: from when on, on the monotonic clock, it need not be read again.
        self._loaded: dict[str, float] = {}
        self._current: dict[str, str] = {}  # budget id to its bucket of now
        self._served: set[str] = set()  # keys and teams that were let in before

    async def ensure(self, principal: Principal) -> None:
        """See that every budget of `principal` has its counter.

        Raises:
            Unavailable: the ledger cannot be read, or is behind.
        """
        now = self._clock.monotonic()
        for rule in principal.budgets:
            name = bucket(rule, self._clock.now())
            before = self._current.get(rule.id)
            if before != name:
                # Another window, or another period: what the old counter missed from here on is in the
                # ledger, should the budget go back to it.
                self._loaded.pop(before or "", None)
                self._current[rule.id] = name
            if now < self._loaded.get(name, math.inf):
                await self._load(rule, principal, name)
        self._served.update((principal.key_id, principal.team_id, principal.organisation_id))
        if principal.member_id is not None:
            self._served.add(principal.member_id)

    async def _load(self, rule: BudgetRule, principal: Principal, name: str) -> None:
        now, now_monotonic = self._clock.now(), self._clock.monotonic()
        period = window(rule.period, now)
        owner = _owner(rule, principal)
        since_ms = period.starts_at * 1000
        async with self._shipping:
            pico = await queries.spent(self._database, rule.scope, owner, since_ms, rule.currency)
            pico += await self._unshipped(rule, owner, since_ms)
            # Rounded up once per request when counted live; the exact sum here can only be smaller.
            await self._state.load(name, -(-pico // _PICOS_IN_NANO), period.resets_at)
            # Nobody can be under way without a hold in it, unless its owner was served before.
            settled_from = now_monotonic + self._grace if owner in self._served else 0.0
            self._loaded.setdefault(name, settled_from)

    async def _unshipped(self, rule: BudgetRule, owner: str, since_ms: int) -> int:
        """What was charged and is not in the ledger, in picos; shipping stands still meanwhile.

        Raises:
            LedgerBehind: memory does not hold all of it, as the database was away for very long.
        """
        whose = await self._whose(rule.scope, owner)
        total, done = 0, 0
        while outcomes := self._recent.oldest(_AT_A_TIME, skip=done):
            total += self._sum(outcomes, rule, whose, since_ms)
            done += len(outcomes)
            if len(outcomes) == _AT_A_TIME:
                await asyncio.sleep(0)
        if self._recent.forgotten:
            raise LedgerBehind(
                "the ledger is behind after an outage of its database, so that what this budget has"
                " spent is not known yet; try again",
                retry_after=5.0,
            )
        return total

    async def _whose(self, scope: str, owner: str) -> Callable[[Outcome], bool]:
        match scope:
            case "key":
                return lambda outcome: outcome.key_id == owner
            case "team":
                return lambda outcome: outcome.team_id == owner
            case "organisation":
                return lambda outcome: outcome.organisation_id == owner
        keys = await queries.keys_of_member(self._database, owner)
        return lambda outcome: outcome.key_id in keys

    @staticmethod
    def _sum(
        outcomes: Iterable[Outcome],
        rule: BudgetRule,
        whose: Callable[[Outcome], bool],
        since_ms: int,
    ) -> int:
        total = 0
        for outcome in outcomes:
            if outcome.created_ms >= since_ms and whose(outcome):
                total += sum(
                    attempt.charge.pico
                    for attempt in outcome.attempts
                    if attempt.charge.currency == rule.currency
                )
        return total


def _owner(rule: BudgetRule, principal: Principal) -> str:
    match rule.scope:
        case "key":
            return principal.key_id
        case "team":
            return principal.team_id
        case "member":
            return principal.member_id or ""
    return principal.organisation_id


class SharedLedger(Ledger):
    """The ledger, as counters want it that workers share: they ask for what they do not know.

    Args:
        database: where the ledger is.
        ship: brings to it all that has ended in this process.
        adopt: brings to it what dead processes left in their journals.
    """

    def __init__(
        self,
        database: Database,
        ship: Callable[[], Awaitable[object]],
        adopt: Callable[[], Awaitable[object]],
    ) -> None:
        self._database = database
        self._ship = ship
        self._adopt = adopt

    @override
    async def spent_nano(self, bucket: str, excluding: Collection[str]) -> int:
        budget_id, _, label = bucket.partition(":")
        owner = await queries.budget_owner(self._database, budget_id)
        if owner is None:  # removed while requests of it are under way
            return 0
        scope, owner_id, currency = owner
        since_ms = _starts_at(label) * 1000
        pico = await queries.spent(
            self._database, scope, owner_id, since_ms, currency, excluding=excluding
        )
        return -(-pico // _PICOS_IN_NANO)

    @override
    async def charges_nano(self, generation_ids: Collection[str]) -> Mapping[str, int]:
        found = await queries.charges(self._database, generation_ids)
        return {name: sum(one.nano_up() for one in charges) for name, charges in found.items()}

    @override
    async def ship(self) -> None:
        await self._ship()

    @override
    async def adopt(self) -> None:
        await self._adopt()


def _starts_at(label: str) -> int:
    """When the window of this label (see `window`) begins, in epoch seconds.

    Raises:
        ValueError: no window is called so.
    """
    if label == "total":
        return 0
    day = label.removeprefix("week-")
    if len(day) == len("2026-11"):
        day += "-01"
    return int(datetime.combine(date.fromisoformat(day), time(), UTC).timestamp())
