"""Memory of which endpoints fail just now, so that not every request pays for a dead one again.

What a failure speaks of is set aside: an endpoint, or, where our money, our key or our rate is at fault,
every endpoint of the account.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from math import inf

from msgspec import Struct

from backends import BackendError, Blame
from backends.errors import Overloaded, RateLimited
from gateway.clock import Clock
from gateway.settings_accounts import LimitsSettings
from gateway.uptime.accounts import AccountLoad, loads_of
from gateway.values import EndpointHealth

THRESHOLD = 3  # failures in a row, the provider's or our account's, before an endpoint is set aside
FIRST_PAUSE = 5.0  # seconds; doubled with each further failure
LONGEST_PAUSE = 120.0
# Seconds for a rate limit of the whole account, where the provider does not say. Moonshot says "please try
# again after 1 seconds" (recorded 2025).
RATE_PAUSE = 1.0

# One team's flood of requests, which fills the line for connections, must not turn the others away.
_NOT_ITS_FAULT = frozenset({Blame.CALLER, Blame.GATEWAY})
_ALL_WELL: Mapping[str, EndpointHealth] = {}
_NO_LOADS: Mapping[str, AccountLoad] = {}


class _Record(Struct):
    failures: int = 0
    health: EndpointHealth = EndpointHealth()
    rate: bool = False  # whether a rate limit was the last of them
    paused_at: float = -inf  # when it was set aside last


class Breaker:
    """Counts failures in a row of each endpoint, and of each account at a provider.

    An endpoint that is set aside is still tried when nothing else is left: the plan puts it last.

    Args:
        clock: of which the monotonic time counts.
        endpoints_of: the ids of an account's endpoints.
        loads: of the accounts that have limits. One that is at a limit has its endpoints set aside until
            it may be asked again.

    Attributes:
        loads: the same.
    """

    def __init__(
        self,
        clock: Clock,
        endpoints_of: Callable[[str], Iterable[str]] = lambda _: (),
        loads: Mapping[str, AccountLoad] = _NO_LOADS,
    ) -> None:
        self.loads = loads
        self._clock = clock
        self._endpoints_of = endpoints_of
        self._records: dict[str, _Record] = {}
        self._accounts: dict[str, _Record] = {}
        self._empty: dict[str, EndpointHealth] = {}

    def succeeded(self, endpoint_id: str, account: str = "") -> None:
        """An attempt there went well: forget its failures, and those of our account.

        A rate limit is not forgotten: what goes well just now was let in before.
        """
        if self._records:
            self._records.pop(endpoint_id, None)
        if self._accounts:
            record = self._accounts.get(account)
            if record is not None and not (
                record.rate and record.health.open_until > self._clock.monotonic()
            ):
                del self._accounts[account]

    def failed(
        self, endpoint_id: str, error: BackendError, account: str = "", began: float = inf
    ) -> bool:
        """An attempt there failed. What the caller or this gateway caused does not count.

        Nor does one that began before what it speaks of was set aside: of a hundred requests that were
        under way and fail together, all say the same one thing.

        Args:
            endpoint_id: where.
            error: how.
            account: ours there.
            began: when the attempt did, on the monotonic clock.

        Returns:
            Whether that is news: the first failure after good times, or the one that sets it aside.
        """
        if error.blame in _NOT_ITS_FAULT or error.sets_aside == "nothing":
            return False
        if error.sets_aside == "account" and account:
            return self._account_failed(account, error, began)
        record = self._records.setdefault(endpoint_id, _Record())
        if began < record.paused_at:
            self._pause(record, 0.0, error)
            return False
        record.failures += 1
        over = record.failures - THRESHOLD
        news = record.failures in {1, THRESHOLD}
        pause = 0.0 if over < 0 else _doubled(over)
        if isinstance(error, Overloaded):
            # A full queue turns many away at once and is empty again in seconds.
            record.failures = min(record.failures, THRESHOLD)
            pause = min(pause, FIRST_PAUSE)
        self._pause(record, pause, error)
        return news

    def _account_failed(self, account: str, error: BackendError, began: float) -> bool:
        """No money, no key that is good, or too many requests: the next one would fare no better."""
        record = self._accounts.setdefault(account, _Record())
        if began < record.paused_at:
            self._pause(record, 0.0, error)
            return False
        record.failures += 1
        news = record.failures == 1
        record.rate = isinstance(error, RateLimited)
        if record.rate:
            record.failures = 1
            self._pause(record, RATE_PAUSE, error)
        else:
            self._pause(record, _doubled(record.failures - 1), error)
        return news

    def _pause(self, record: _Record, pause: float, error: BackendError) -> None:
        if error.retry_after is not None:
            pause = max(pause, min(error.retry_after, LONGEST_PAUSE))
        if pause:
            record.paused_at = self._clock.monotonic()
            until = record.paused_at + pause
            record.health = EndpointHealth(open_until=max(until, record.health.open_until))

    def change(self, limits: Mapping[str, LimitsSettings], endpoints: Collection[str]) -> None:
        """Go on with other accounts and endpoints; of those that stay, what is known stays.

        Args:
            limits: of every account.
            endpoints: the ids of all endpoints.
        """
        self.loads = loads_of(limits, self.loads)
        self._records = {name: one for name, one in self._records.items() if name in endpoints}
        self._accounts = {name: one for name, one in self._accounts.items() if name in limits}
        self._empty = {name: one for name, one in self._empty.items() if name in limits}

    def note_money(self, account: str, *, left: bool) -> None:
        """What the provider says of an account's balance: without any it is set aside until it has."""
        if left:
            self._empty.pop(account, None)
        else:
            self._empty[account] = EndpointHealth(open_until=inf, reason="account_balance")

    def snapshot(self) -> Mapping[str, EndpointHealth]:
        """Endpoints with failures, or at limits of their account; empty while all is well."""
        if not (self._records or self._accounts or self._empty):
            if not self.loads:
                return _ALL_WELL
            now = self._clock.monotonic()
            for load in self.loads.values():
                if load.wait(now):
                    break
            else:
                return _ALL_WELL
        found = {name: record.health for name, record in self._records.items()}
        for account, record in self._accounts.items():
            self._spread(account, record.health, found)
        for account, health in self._empty.items():
            self._spread(account, health, found)
        if self.loads:
            now = self._clock.monotonic()
            for account, load in self.loads.items():
                if wait := load.wait(now):
                    health = EndpointHealth(open_until=now + wait, reason="account_limit")
                    self._spread(account, health, found)
        return found

    def _spread(
        self, account: str, health: EndpointHealth, found: dict[str, EndpointHealth]
    ) -> None:
        for endpoint_id in self._endpoints_of(account):
            known = found.get(endpoint_id)
            if known is None or known.open_until < health.open_until:
                found[endpoint_id] = health


def _doubled(times: int) -> float:
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(times, 10))
