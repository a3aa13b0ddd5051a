"""What is set aside where it is our account at a provider that is at fault."""

from collections.abc import Sequence

import pytest

from backends import BackendError
from backends.errors import (
    AccountRateLimited,
    CredentialRefused,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    UpstreamFault,
)
from gateway.settings_accounts import LimitsSettings
from gateway.uptime.accounts import WINDOW, AccountLoad
from gateway.uptime.breaker import FIRST_PAUSE, LONGEST_PAUSE, RATE_PAUSE, THRESHOLD, Breaker
from tests.fakes.clock import HandClock

ENDPOINTS = {"main": ["a", "b"], "second": ["c"]}
QUOTA = QuotaExhausted("x", status=402)


def endpoints_of(account: str) -> Sequence[str]:
    return ENDPOINTS.get(account, ())


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def breaker(clock: HandClock) -> Breaker:
    return Breaker(clock, endpoints_of)


def pauses(breaker: Breaker, clock: HandClock) -> dict[str, float]:
    """Seconds for which endpoints are set aside from now on."""
    now = clock.monotonic()
    return {
        name: health.open_until - now
        for name, health in breaker.snapshot().items()
        if health.open_until > now
    }


@pytest.mark.parametrize("error", [QUOTA, CredentialRefused("x", status=401)])
def test_no_money_or_no_key_sets_the_whole_account_aside_at_once(
    breaker: Breaker, clock: HandClock, error: BackendError
) -> None:
    assert breaker.failed("a", error, "main")
    assert pauses(breaker, clock) == {"a": FIRST_PAUSE, "b": FIRST_PAUSE}
    seen = []
    for _ in range(12):
        assert not breaker.failed("b", error, "main"), "it is news once"
        seen.append(pauses(breaker, clock)["a"])
    assert seen[:2] == [FIRST_PAUSE * 2, FIRST_PAUSE * 4]
    assert seen[-1] == LONGEST_PAUSE


def test_a_rate_limit_of_the_account_is_waited_for_at_all_its_endpoints(
    breaker: Breaker, clock: HandClock
) -> None:
    breaker.failed("a", AccountRateLimited("x", status=429, retry_after=7), "main")
    assert pauses(breaker, clock) == {"a": 7, "b": 7}
    clock.advance(7)
    assert pauses(breaker, clock) == {}
    for _ in range(30):
        breaker.failed("a", AccountRateLimited("x", status=429), "main")
    assert pauses(breaker, clock) == {"a": RATE_PAUSE, "b": RATE_PAUSE}, "a burst is no illness"


def test_a_rate_limit_of_one_model_sets_only_that_endpoint_aside(
    breaker: Breaker, clock: HandClock
) -> None:
    breaker.failed("a", RateLimited("x", status=429, retry_after=7), "main")
    assert pauses(breaker, clock) == {"a": 7}


@pytest.mark.parametrize("error", [Overloaded("x", status=503), UpstreamFault("x", status=500)])
def test_overload_and_faults_speak_of_the_endpoint_alone(
    breaker: Breaker, clock: HandClock, error: BackendError
) -> None:
    for _ in range(THRESHOLD):
        breaker.failed("a", error, "main")
    assert [*pauses(breaker, clock)] == ["a"]


def test_a_success_anywhere_in_the_account_clears_it(breaker: Breaker) -> None:
    breaker.failed("a", QUOTA, "main")
    breaker.succeeded("c", "second")
    assert breaker.snapshot() != {}
    breaker.succeeded("b", "main")
    assert breaker.snapshot() == {}


def test_what_was_let_in_before_does_not_shorten_a_rate_limit(
    breaker: Breaker, clock: HandClock
) -> None:
    breaker.failed("a", AccountRateLimited("x", status=429, retry_after=7), "main")
    breaker.succeeded("b", "main")
    assert pauses(breaker, clock) == {"a": 7, "b": 7}
    clock.advance(7)
    breaker.succeeded("b", "main")
    assert breaker.snapshot() == {}


def test_without_money_it_is_aside_until_it_has_some(breaker: Breaker, clock: HandClock) -> None:
    breaker.note_money("main", left=False)
    clock.advance(10 * LONGEST_PAUSE)
    assert {name: health.reason for name, health in breaker.snapshot().items()} == {
        "a": "account_balance",
        "b": "account_balance",
    }
    assert [*pauses(breaker, clock)] == ["a", "b"]
    breaker.note_money("main", left=True)
    assert breaker.snapshot() == {}


def test_an_account_at_a_limit_is_aside_for_as_long_as_it_is(clock: HandClock) -> None:
    load = AccountLoad(LimitsSettings(requests_per_minute=1))
    breaker = Breaker(clock, endpoints_of, {"main": load})
    assert breaker.snapshot() == {}
    load.begin(clock.monotonic(), 1)
    clock.advance(20)
    assert pauses(breaker, clock) == {"a": WINDOW - 20, "b": WINDOW - 20}
    assert breaker.snapshot()["a"].reason == "account_limit"
    clock.advance(WINDOW - 20)
    assert breaker.snapshot() == {}


def test_of_several_reasons_the_longest_counts(breaker: Breaker, clock: HandClock) -> None:
    breaker.failed("a", RateLimited("x", status=429, retry_after=60), "main")
    breaker.failed("a", QUOTA, "main")
    assert pauses(breaker, clock) == {"a": 60, "b": FIRST_PAUSE}


def test_while_all_is_well_a_snapshot_makes_nothing() -> None:
    breaker = Breaker(HandClock(), endpoints_of)
    breaker.succeeded("a", "main")
    assert breaker.snapshot() is breaker.snapshot()


def test_requests_that_were_under_way_when_the_money_ran_out_count_once(
    breaker: Breaker, clock: HandClock
) -> None:
    began = clock.monotonic()
    clock.advance(1.0)
    for _ in range(6):
        breaker.failed("a", QUOTA, "main", began)
    assert pauses(breaker, clock) == {"a": FIRST_PAUSE, "b": FIRST_PAUSE}
