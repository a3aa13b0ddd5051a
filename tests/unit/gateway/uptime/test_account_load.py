"""How long an account at its limits has to wait."""

import pytest

from gateway.settings_accounts import LimitsSettings
from gateway.uptime.accounts import NEXT_LOOK, WINDOW, AccountLoad, loads_of


def load(
    requests: int | None = None, tokens: int | None = None, concurrency: int | None = None
) -> AccountLoad:
    return AccountLoad(
        LimitsSettings(
            requests_per_minute=requests, tokens_per_minute=tokens, concurrency=concurrency
        )
    )


def test_as_many_as_may_be_under_way_at_a_time() -> None:
    account = load(concurrency=2)
    for _ in range(2):
        assert account.wait(0) == 0
        account.begin(0, 10)
    assert account.wait(1000) == NEXT_LOOK
    account.end()
    assert account.wait(1000) == 0


def test_requests_of_any_minute_count() -> None:
    account = load(requests=2)
    account.begin(0, 1)
    account.begin(50, 1)
    assert account.wait(55) == 5, "until the first has been a minute ago"
    assert account.wait(WINDOW) == 0
    account.begin(WINDOW, 1)
    assert account.wait(WINDOW + 1) == pytest.approx(49)


def test_tokens_of_any_minute_count_whether_or_not_the_request_has_ended() -> None:
    account = load(tokens=100)
    account.begin(0, 60)
    account.begin(10, 30)
    account.end()
    account.end()
    assert account.wait(20, 10) == 0
    assert account.wait(20, 11) == WINDOW - 20, "the first must go"
    assert account.wait(20, 100) == WINDOW - 10, "both must go"
    assert account.wait(WINDOW, 70) == 0


def test_a_request_larger_than_the_limit_is_for_the_provider_to_judge() -> None:
    account = load(tokens=100)
    assert account.wait(0, 1_000) == 0
    account.begin(0, 1_000)
    assert account.wait(1, 1) == WINDOW - 1
    assert account.wait(WINDOW, 1_000) == 0


def test_the_longest_wait_counts() -> None:
    account = load(requests=1, tokens=10, concurrency=1)
    account.begin(0, 10)
    assert account.wait(1) == WINDOW - 1
    assert account.wait(WINDOW) == NEXT_LOOK, "still under way"


def test_only_accounts_with_limits_are_counted() -> None:
    found = loads_of({"free": LimitsSettings(), "bound": LimitsSettings(concurrency=1)})
    assert [*found] == ["bound"]
