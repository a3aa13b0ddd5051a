"""Budget counters, rebuilt from the ledger before the first request that needs them."""

import asyncio
import math
from collections.abc import Iterable

from gateway.clock import Clock
from gateway.errors import LedgerBehind
from gateway.policies.budgets import bucket, window
from gateway.store.database import Database
from gateway.store.state import State
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
        self._served.update((principal.key_id, principal.team_id))

    async def _load(self, rule: BudgetRule, principal: Principal, name: str) -> None:
        now, now_monotonic = self._clock.now(), self._clock.monotonic()
        period = window(rule.period, now)
        owner = principal.key_id if rule.scope == "key" else principal.team_id
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
        total, done = 0, 0
        while outcomes := self._recent.oldest(_AT_A_TIME, skip=done):
            total += self._sum(outcomes, rule, owner, since_ms)
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

    @staticmethod
    def _sum(outcomes: Iterable[Outcome], rule: BudgetRule, owner: str, since_ms: int) -> int:
        total = 0
        for outcome in outcomes:
            whose = outcome.key_id if rule.scope == "key" else outcome.team_id
            if whose == owner and outcome.created_ms >= since_ms:
                total += sum(
                    attempt.charge.pico
                    for attempt in outcome.attempts
                    if attempt.charge.currency == rule.currency
                )
        return total
