"""What is left of limits, as headers."""

import pytest

from gateway.flow.limit_headers import anthropic_lines, duration, openai_lines
from gateway.store.state import RateLeft
from tests.fakes.clock import NOON


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.0001, "1ms"),
        (0.25, "250ms"),
        (0.9995, "1s"),
        (1.0, "1s"),
        (8.64, "8.64s"),
        (59.9999, "1m0s"),
        (90.5, "1m30.5s"),
        (360.0, "6m0s"),
        (3600.0, "1h0m0s"),
        (86_399.001, "23h59m59.001s"),
        (86_400.0, "24h0m0s"),
    ],
)
def test_a_duration_is_written_as_openai_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def left(what: str, limit: int, remaining: int, reset: float) -> RateLeft:
    return RateLeft(what, "team", limit, remaining, reset)


def test_each_kind_is_told_once_by_its_tightest() -> None:
    rates = [
        left("requests", 100, 50, 30.0),
        left("tokens", 1000, 999, 0.06),
        left("requests", 10, 4, 36.0),
        left("requests", 1000, 400, 35.0),
    ]
    assert openai_lines(rates, NOON).splitlines() == [
        "x-ratelimit-limit-requests: 1000",
        "x-ratelimit-remaining-requests: 400",
        "x-ratelimit-reset-requests: 35s",
        "x-ratelimit-limit-tokens: 1000",
        "x-ratelimit-remaining-tokens: 999",
        "x-ratelimit-reset-tokens: 60ms",
    ]


def test_anthropics_headers_name_a_time() -> None:
    assert anthropic_lines([left("tokens", 1000, 0, 59.2)], NOON).splitlines() == [
        "anthropic-ratelimit-tokens-limit: 1000",
        "anthropic-ratelimit-tokens-remaining: 0",
        "anthropic-ratelimit-tokens-reset: 2026-11-22T12:01:00Z",
    ]


def test_a_limit_of_nothing_is_the_tightest() -> None:
    lines = openai_lines([left("requests", 10, 1, 54.0), left("requests", 0, 0, 0.0)], NOON)
    assert "x-ratelimit-limit-requests: 0\r\n" in lines


def test_without_rates_there_are_no_headers() -> None:
    assert openai_lines((), NOON) == anthropic_lines((), NOON) == ""
