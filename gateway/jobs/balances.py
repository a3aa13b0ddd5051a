"""Looking at the balances of our accounts at providers, beside the requests and never on their path.

An account without money is set aside before requests find that out; one that runs low is told of in the
log, once. That a balance cannot be read says nothing of the account.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from backends import BackendError, HttpClient
from backends.account_api import Balance, balance, tells_balance
from backends.errors import ConnectFailed, ConnectionLost, UpstreamTimeout
from gateway.routing.accounts import Account
from gateway.settings_upstream import UpstreamSettings
from gateway.telemetry import metrics
from gateway.telemetry.metrics import Sample
from gateway.uptime.breaker import Breaker

_log = logging.getLogger(__name__)
_OURS = (ConnectFailed, ConnectionLost, UpstreamTimeout)  # whose words are our own

Ask = Callable[[Account], Awaitable[Balance | None]]


class BalanceWatch:
    """Asks for balances from time to time.

    Args:
        accounts: whose; each provider has a way to tell.
        ask: has the provider tell. Raises BackendError.
        breaker: told of accounts without money, and of those that have some again.
        interval: seconds between looks.

    Attributes:
        balances: what was told last, by account.
    """

    def __init__(
        self, accounts: Sequence[Account], ask: Ask, breaker: Breaker, interval: float
    ) -> None:
        self.balances: dict[str, Balance] = {}
        self._accounts = accounts
        self._ask = ask
        self._breaker = breaker
        self._interval = interval
        # What the log said of an account's money, and of why that is not known: so that it says it once.
        self._told: dict[str, str] = {}
        self._unread: dict[str, str] = {}

    def samples(self) -> Iterable[Sample]:
        """The balances as metrics."""
        for name, found in self.balances.items():
            labels = (("account", name), ("currency", found.currency))
            yield metrics.ACCOUNT_BALANCE, labels, float(found.amount)

    async def run(self) -> None:
        """Look, and look again, until cancelled."""
        while self._accounts:
            await self.look()
            await asyncio.sleep(self._interval)

    async def look(self) -> Mapping[str, Balance]:
        """Ask once for all of them, at the same time."""
        await asyncio.gather(*map(self._look_at, self._accounts))
        return self.balances

    async def _look_at(self, account: Account) -> None:
        name = account.name
        try:
            found = await self._ask(account)
        except BackendError as error:
            # The provider's own words may hold anything.
            told = str(error) if isinstance(error, _OURS) else "-"
            _tell(
                self._unread,
                name,
                error.code,
                f"the balance of account {name} could not be read: {error.code}, HTTP status"
                f" {error.status or '-'}, {told}; requests go on",
            )
            return
        self._unread.pop(name, None)
        if found is None:  # a key at OpenRouter has a limit or none, and that can change
            self.balances.pop(name, None)
            self._told.pop(name, None)
            self._breaker.note_money(name, left=True)
            return
        self.balances[name] = found
        self._breaker.note_money(name, left=found.amount > 0)
        shown = f"{found.amount:f} {found.currency}"
        if found.amount <= 0:
            _tell(
                self._told,
                name,
                "empty",
                f"account {name} has {shown} left: its endpoints are tried last until it is topped up",
            )
        elif account.low_balance is not None and found.amount < account.low_balance:
            _tell(
                self._told,
                name,
                "low",
                f"account {name} has {shown} left, less than its low_balance of"
                f" {account.low_balance:f}: top it up",
            )
        else:
            self._told.pop(name, None)


def _tell(known: dict[str, str], account: str, what: str, line: str) -> None:
    if known.get(account) != what:
        known[account] = what
        _log.warning("%s", line)


def balance_watch(
    upstream: UpstreamSettings, accounts: Iterable[Account], client: HttpClient, breaker: Breaker
) -> BalanceWatch:
    """What looks at the balances of accounts, through the same client as their requests.

    So proxies, authorities and the guard on addresses are those of the requests. Stand-ins are looked at
    only where the settings name an interval.
    """
    interval = upstream.balance_interval
    named = "balance_interval" in upstream.model_fields_set
    watched = [
        account
        for account in accounts
        if interval
        and tells_balance(account.endpoint.kind)
        and (named or not account.endpoint.sandbox)
    ]
    return BalanceWatch(watched, lambda one: balance(client, one.endpoint), breaker, interval)
