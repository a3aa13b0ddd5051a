"""Budget counters, rebuilt from the ledger before the first request that needs them."""

import asyncio

from gateway.clock import Clock
from gateway.policies.budgets import bucket, window
from gateway.store.database import Database
from gateway.store.state import State
from gateway.usage import queries
from gateway.usage.recent import Recent
from gateway.values import BudgetRule, Principal

_PICOS_IN_NANO = 1000


class Counters:
    """Loads into the state store what each budget has spent already.

    A budget may be new while its team has spent for weeks: so whenever a principal is read, counters
    of its budgets that are not there yet are made from the ledger and from what has not reached it.
    """

    def __init__(
        self, database: Database, state: State, recent: Recent, shipping: asyncio.Lock, clock: Clock
    ) -> None:
        """`shipping` is held while rows move to the ledger, so that none is counted twice."""
        self._database = database
        self._state = state
        self._recent = recent
        self._shipping = shipping
        self._clock = clock
        self._loaded: set[str] = set()

    async def ensure(self, principal: Principal) -> None:
        """See that every budget of `principal` has its counter.

        Raises:
            Unavailable: the ledger cannot be read.
        """
        for rule in principal.budgets:
            name = bucket(rule, self._clock.now())
            if name not in self._loaded:
                await self._load(rule, principal, name)

    async def _load(self, rule: BudgetRule, principal: Principal, name: str) -> None:
        now = self._clock.now()
        period = window(rule.period, now)
        owner = principal.key_id if rule.scope == "key" else principal.team_id
        since_ms = period.starts_at * 1000
        async with self._shipping:
            if name in self._loaded:
                return
            pico = await queries.spent(self._database, rule.scope, owner, since_ms, rule.currency)
            pico += self._unshipped(rule, owner, since_ms)
            # Rounded up once per request when counted live; the exact sum here can only be smaller.
            await self._state.load(name, -(-pico // _PICOS_IN_NANO), period.resets_at)
            self._loaded.add(name)

    def _unshipped(self, rule: BudgetRule, owner: str, since_ms: int) -> int:
        total = 0
        for outcome in self._recent.outcomes():
            whose = outcome.key_id if rule.scope == "key" else outcome.team_id
            if whose == owner and outcome.created_ms >= since_ms:
                total += sum(
                    attempt.charge.pico
                    for attempt in outcome.attempts
                    if attempt.charge.currency == rule.currency
                )
        return total
