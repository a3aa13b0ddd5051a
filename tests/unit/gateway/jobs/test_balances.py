"""Looking at balances: what follows from them, what is told of them, and how often."""

import asyncio
import logging
from decimal import Decimal
from typing import Any

import pytest

from backends import BackendError, ConnectFailed, Endpoint, HttpClient
from backends.account_api import Balance
from backends.errors import CredentialRefused
from gateway.jobs.balances import BalanceWatch, balance_watch
from gateway.routing.accounts import Account
from gateway.settings_accounts import LimitsSettings
from gateway.settings_upstream import UpstreamSettings
from gateway.telemetry import metrics
from gateway.uptime.breaker import Breaker
from tests.fakes.clock import HandClock


def account(name: str = "main", *, low: str | None = None, **fields: Any) -> Account:
    row = {"kind": "moonshot", "base_url": "https://x.example", "model": "m", **fields}
    endpoint = Endpoint(id=f"{name}/m", provider="p", account=name, **row)
    return Account(name, endpoint, LimitsSettings(), None if low is None else Decimal(low))


class Provider:
    """Tells what the test says; an error is raised."""

    def __init__(self, *accounts: Account) -> None:
        self.told: dict[str, str | BackendError | None] = {}
        self.breaker = Breaker(HandClock(), lambda name: [f"{name}/m"])
        self.watch = BalanceWatch(accounts, self.ask, self.breaker, 0.0)
        self.asked = 0

    async def ask(self, one: Account) -> Balance | None:
        self.asked += 1
        told = self.told[one.name]
        if isinstance(told, BackendError):
            raise told
        return None if told is None else Balance(Decimal(told), "USD")

    async def says(self, told: str | BackendError | None, name: str = "main") -> None:
        self.told[name] = told
        await self.watch.look()


async def test_an_account_without_money_is_set_aside_until_it_has_some() -> None:
    provider = Provider(account())
    await provider.says("0.01")
    assert provider.breaker.snapshot() == {}
    for nothing in ("0", "-3.5"):
        await provider.says(nothing)
        assert [*provider.breaker.snapshot()] == ["main/m"]
    await provider.says("10")
    assert provider.breaker.snapshot() == {}


async def test_an_account_whose_limit_was_taken_away_is_set_aside_no_longer() -> None:
    provider = Provider(account(kind="openrouter"))
    await provider.says("0")
    assert [*provider.breaker.snapshot()] == ["main/m"]
    await provider.says(None)
    assert provider.breaker.snapshot() == {}
    assert [*provider.watch.samples()] == [], "what was told before holds no longer"


@pytest.mark.parametrize(
    "error", [ConnectFailed("no route"), CredentialRefused("sk-words", status=401)]
)
async def test_a_balance_that_cannot_be_read_changes_nothing(
    error: BackendError, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Provider(account())
    await provider.says("5")
    await provider.says(error)
    await provider.says(error)
    assert provider.breaker.snapshot() == {}
    assert provider.watch.balances["main"].amount == 5
    (told,) = caplog.messages
    assert "could not be read" in told
    assert "sk-words" not in told, "the provider's words may hold anything"
    await provider.says("0")
    await provider.says(error)
    assert provider.breaker.snapshot() != {}, "it is out of money as far as is known"


async def test_a_low_balance_is_told_once_for_each_time_that_it_falls(
    caplog: pytest.LogCaptureFixture,
) -> None:
    provider = Provider(account(low="20"))
    with caplog.at_level(logging.WARNING):
        for told in ("30", "20", "19.99", "15", "10"):
            await provider.says(told)
        assert caplog.messages == [
            "account main has 19.99 USD left, less than its low_balance of 20: top it up"
        ]
        for told in ("25", "5", "0", "0"):
            await provider.says(told)
    assert [message.split(" has ")[1].split(" ")[0] for message in caplog.messages] == [
        "19.99",
        "5",
        "0",
    ]


async def test_a_look_that_fails_in_between_is_no_new_fall(
    caplog: pytest.LogCaptureFixture,
) -> None:
    provider = Provider(account(low="20"))
    outage = ConnectFailed("no route")
    for told in ("15", outage, "15", outage, outage, "15"):
        await provider.says(told)
    what = ["could not be read" in message for message in caplog.messages]
    assert what == [False, True, True], "low once; each outage once"


async def test_balances_are_metrics() -> None:
    provider = Provider(account(), account("other"))
    provider.told["other"] = None
    await provider.says("12.5")
    assert [*provider.watch.samples()] == [
        (metrics.ACCOUNT_BALANCE, (("account", "main"), ("currency", "USD")), 12.5)
    ]


async def test_it_looks_again_and_again_until_it_is_stopped() -> None:
    provider = Provider(account())
    provider.told["main"] = "1"
    task = asyncio.create_task(provider.watch.run())
    async with asyncio.timeout(5):
        while provider.asked < 3:  # noqa: ASYNC110 - it looks at every turn of the loop
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("settings", "watched"),
    [
        ({}, ["main"]),
        ({"balance_interval": 0}, []),
        ({"balance_interval": 60}, ["main", "stand-in"]),
    ],
)
def test_stand_ins_are_looked_at_only_where_an_interval_is_named(
    settings: dict[str, Any], watched: list[str]
) -> None:
    accounts = [
        account(),
        account("stand-in", sandbox=True),
        account("gpu", kind="vllm", base_url="http://gpu"),
    ]
    client = HttpClient(clock=lambda: 0.0)
    watch = balance_watch(UpstreamSettings(**settings), accounts, client, Breaker(HandClock()))
    assert [one.name for one in watch._accounts] == watched
