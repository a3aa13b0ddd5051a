"""Which endpoints are set aside, and for how long."""

import pytest

from backends import BackendError
from backends.errors import (
    ContentRefused,
    LineFull,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    UpstreamFault,
    UpstreamTimeout,
)
from gateway.uptime.breaker import FIRST_PAUSE, LONGEST_PAUSE, THRESHOLD, Breaker
from tests.fakes.clock import HandClock

FAULT = UpstreamFault("x", status=500)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def breaker(clock: HandClock) -> Breaker:
    return Breaker(clock)


def pause(breaker: Breaker, clock: HandClock, name: str = "a") -> float:
    """Seconds for which an endpoint is set aside from now on."""
    known = breaker.snapshot().get(name)
    return 0.0 if known is None else max(0.0, known.open_until - clock.monotonic())


def fail(breaker: Breaker, times: int, error: BackendError = FAULT) -> None:
    for _ in range(times):
        breaker.failed("a", error)


def test_all_is_well_at_first(breaker: Breaker) -> None:
    assert breaker.snapshot() == {}


def test_below_the_threshold_an_endpoint_stays_in(breaker: Breaker, clock: HandClock) -> None:
    fail(breaker, THRESHOLD - 1)
    assert pause(breaker, clock) == 0


def test_from_the_threshold_on_pauses_double_up_to_the_longest(
    breaker: Breaker, clock: HandClock
) -> None:
    fail(breaker, THRESHOLD - 1)
    seen = []
    for _ in range(20):
        fail(breaker, 1)
        seen.append(pause(breaker, clock))
        clock.advance(seen[-1])
    assert seen[:4] == [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4, FIRST_PAUSE * 8]
    assert set(seen[5:]) == {LONGEST_PAUSE}


def test_a_success_forgets_everything(breaker: Breaker, clock: HandClock) -> None:
    fail(breaker, THRESHOLD + 2)
    breaker.succeeded("a")
    assert breaker.snapshot() == {}
    fail(breaker, THRESHOLD - 1)
    assert pause(breaker, clock) == 0


def test_endpoints_are_counted_apart(breaker: Breaker, clock: HandClock) -> None:
    fail(breaker, THRESHOLD)
    breaker.failed("b", FAULT)
    breaker.succeeded("c")
    assert pause(breaker, clock, "a") == FIRST_PAUSE
    assert pause(breaker, clock, "b") == 0


@pytest.mark.parametrize("error", [RequestRefused("x", status=400), ContentRefused("x")])
def test_what_the_caller_caused_does_not_count(breaker: Breaker, error: BackendError) -> None:
    fail(breaker, THRESHOLD * 2, error)
    assert breaker.snapshot() == {}


def test_trouble_with_our_account_counts(breaker: Breaker, clock: HandClock) -> None:
    fail(breaker, THRESHOLD, QuotaExhausted("x", status=402))
    assert pause(breaker, clock) == FIRST_PAUSE


@pytest.mark.parametrize(("asked", "seconds"), [(7.0, 7.0), (3600.0, LONGEST_PAUSE)])
def test_a_wait_that_the_provider_asks_for_is_kept_at_once(
    breaker: Breaker, clock: HandClock, asked: float, seconds: float
) -> None:
    fail(breaker, 1, RateLimited("x", status=429, retry_after=asked))
    assert pause(breaker, clock) == seconds


def test_a_later_failure_never_shortens_a_pause(breaker: Breaker, clock: HandClock) -> None:
    fail(breaker, 1, RateLimited("x", status=429, retry_after=60.0))
    fail(breaker, THRESHOLD - 1)
    assert pause(breaker, clock) == 60


def test_a_burst_of_refusals_by_a_full_queue_is_no_long_illness(
    breaker: Breaker, clock: HandClock
) -> None:
    news = [breaker.failed("a", Overloaded("busy", status=503)) for _ in range(50)]
    assert pause(breaker, clock) == FIRST_PAUSE
    assert [at for at, told in enumerate(news, 1) if told] == [1, THRESHOLD]
    clock.advance(FIRST_PAUSE)
    fail(breaker, 1)
    assert pause(breaker, clock) == FIRST_PAUSE * 2, "the burst counts as one failure too many"


def test_what_an_overloaded_provider_asks_for_is_kept(breaker: Breaker, clock: HandClock) -> None:
    fail(breaker, 1, Overloaded("busy", status=503, retry_after=60.0))
    assert pause(breaker, clock) == 60


@pytest.mark.parametrize("error", [LineFull(), UpstreamTimeout("pool", 5.0)])
def test_a_line_of_our_own_says_nothing_of_the_endpoint(
    breaker: Breaker, error: BackendError
) -> None:
    fail(breaker, 10 * THRESHOLD, error)
    assert breaker.snapshot() == {}
    fail(breaker, THRESHOLD, UpstreamTimeout("first_byte", 5.0))
    assert breaker.snapshot() != {}


def test_requests_that_were_under_way_and_fail_together_count_once(
    breaker: Breaker, clock: HandClock
) -> None:
    began = clock.monotonic()
    clock.advance(1.0)
    for _ in range(50):
        breaker.failed("a", FAULT, began=began)
    assert pause(breaker, clock) == FIRST_PAUSE
    clock.advance(FIRST_PAUSE)
    breaker.failed("a", FAULT, began=clock.monotonic())
    assert pause(breaker, clock) == 2 * FIRST_PAUSE, "tried again since, and failed again"
