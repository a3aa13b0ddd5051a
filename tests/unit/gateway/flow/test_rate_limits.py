"""Limits on the request path: what is taken, what is told, what is given back."""

import asyncio
from typing import Any
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from backends.errors import Overloaded
from gateway.flow.dialects import ANTHROPIC, OPENAI, Dialect
from gateway.store.state import Refusal
from gateway.telemetry.metrics import RATE_LIMITED
from gateway.values import LimitRule
from tests.builders import END, USAGE, anthropic, budget, candidate, chat, principal, text
from tests.fakes.flow import Rig, Step

ANSWER: list[Step] = [[text("Hello")], [USAGE, END]]  # 10 tokens of prompt, 5 of completion
NO_BUDGET_LEFT = budget("0")


def rule(what: str, amount: int, *, each: str = "", scope: str = "team") -> LimitRule:
    period = 0 if what == "concurrency" else 60
    return LimitRule(f"lim:{scope}:{what}", scope, what, amount, period, each)


def rig(*rules: LimitRule, dialect: Dialect = OPENAI, budgets: Any = ()) -> Rig:
    caller = replace(principal(*budgets), limits=rules)
    made = Rig(candidate(), principal=caller, dialect=dialect)
    made.script("a", *[ANSWER] * 20)
    return made


async def test_a_request_too_many_is_told_whose_limit_and_when_to_come_again() -> None:
    gateway = rig(rule("requests", 2))
    for remaining, reset in ((1, "30s"), (0, "1m0s")):
        answer = await gateway.ask(chat())
        assert answer.status == 200
        assert answer.headers["x-ratelimit-limit-requests"] == "2"
        assert answer.headers["x-ratelimit-remaining-requests"] == str(remaining)
        assert answer.headers["x-ratelimit-reset-requests"] == reset
    gateway.clock.advance(10.5)
    refused = await gateway.ask(chat())
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    assert refused.error["type"] == "rate_limit_error"
    assert "limit of this team is 2 requests per minute" in refused.error["message"]
    assert "0 are left: come again in 20 s" in refused.error["message"]
    assert refused.error["metadata"] == {
        "scope": "team",
        "what": "requests",
        "limit": 2,
        "per": "minute",
        "remaining": 0,
        "needed": 1,
        "retry_after_seconds": 20,
    }
    assert refused.headers["retry-after"] == "20"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.headers["x-ratelimit-reset-requests"] == "49.5s"
    assert gateway.metrics.value(RATE_LIMITED, (("scope", "team"), ("what", "requests"))) == 1
    gateway.clock.advance(19.4)
    assert (await gateway.ask(chat())).status == 429
    gateway.clock.advance(0.1)
    assert (await gateway.ask(chat())).status == 200


async def test_a_streams_head_has_them_too() -> None:
    answer = await rig(rule("requests", 5)).ask(chat(stream=True))
    assert answer.headers["x-ratelimit-remaining-requests"] == "4"


async def test_an_answer_that_failed_has_them_too() -> None:
    gateway = rig(rule("requests", 5))
    gateway.script("a", Overloaded(status=503))
    answer = await gateway.ask(chat())
    assert answer.status == 503
    assert answer.headers["x-ratelimit-remaining-requests"] == "4"


async def test_without_limits_there_are_no_headers_and_nothing_is_taken() -> None:
    gateway = rig()
    answer = await gateway.ask(chat())
    assert not [name for name in answer.headers if "ratelimit" in name]
    (reservation,) = gateway.state.reservations
    assert (reservation.rates, reservation.slots) == ((), ())
    assert gateway.state.tokens == [None]


async def test_tokens_are_taken_by_their_estimate_and_corrected_by_what_was_used() -> None:
    gateway = rig(rule("tokens", 1000))
    body = chat(max_tokens=80)
    estimate = -(-len(body) // 4) + 80
    first = await gateway.ask(body)
    (take,) = gateway.state.reservations[0].rates
    assert take.amount == estimate
    assert first.headers["x-ratelimit-remaining-tokens"] == str(1000 - estimate)
    assert gateway.state.tokens == [15]
    second = await gateway.ask(body)
    assert second.headers["x-ratelimit-remaining-tokens"] == str(1000 - 15 - estimate)


async def test_without_a_cap_the_endpoints_default_is_estimated() -> None:
    gateway = rig(rule("tokens", 1000))
    await gateway.ask(chat())
    (take,) = gateway.state.reservations[0].rates
    assert take.amount == -(-len(chat()) // 4) + 50  # the candidate's default output


async def test_a_request_larger_than_the_limit_is_told_not_to_come_again() -> None:
    gateway = rig(rule("tokens", 50, scope="key"))
    refused = await gateway.ask(chat(max_tokens=90))
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    assert "lower 'max_tokens'" in refused.error["message"]
    assert "limit of this key is 50 tokens per minute" in refused.error["message"]
    assert "retry-after" not in refused.headers
    assert refused.headers["x-should-retry"] == "false"
    assert gateway.asked == []


async def test_attempts_that_came_to_nothing_give_their_tokens_back() -> None:
    gateway = rig(rule("tokens", 100))
    gateway.script("a", Overloaded(status=503), ANSWER)
    assert (await gateway.ask(chat(max_tokens=60))).status == 503
    assert gateway.state.tokens == [0]
    gateway.clock.advance(0.0)
    assert (await gateway.ask(chat(max_tokens=60))).status == 200


async def test_more_at_a_time_than_allowed_is_refused_until_one_ends() -> None:
    gateway = rig(rule("concurrency", 1))
    held = asyncio.Event()
    script: list[Step] = [[text("Hel")], held, [text("lo")], [USAGE, END]]
    gateway.script("a", script, ANSWER)
    first = gateway.exchange(chat(stream=True))
    task = asyncio.create_task(gateway.flow(first))
    await gateway.log.holds("wait")
    refused = await gateway.ask(chat())
    assert (refused.status, refused.error["code"]) == (429, "concurrency_limit_exceeded")
    assert "1 requests at a time" in refused.error["message"]
    assert refused.headers["retry-after"] == "1"
    assert not [name for name in refused.headers if "ratelimit" in name]
    held.set()
    await task
    assert (await gateway.ask(chat())).status == 200


async def test_end_users_have_counts_of_their_own() -> None:
    gateway = rig(rule("requests", 1, each="end_user"))
    assert (await gateway.ask(chat(user="ada"))).status == 200
    assert (await gateway.ask(chat(user="bob"))).status == 200
    refused = await gateway.ask(chat(safety_identifier="ada"))
    assert refused.status == 429
    assert "for each end user" in refused.error["message"]
    assert (await gateway.ask(chat())).status == 200  # nobody's
    assert (await gateway.ask(chat())).status == 429


async def test_a_budget_that_refuses_leaves_limits_as_they_were() -> None:
    gateway = rig(rule("requests", 1), budgets=[NO_BUDGET_LEFT])
    for _ in range(2):
        assert (await gateway.ask(chat())).status == 402


async def test_anthropics_dialect_has_its_own_headers_and_error() -> None:
    gateway = rig(rule("requests", 1), rule("tokens", 1000), dialect=ANTHROPIC)
    answer = await gateway.ask(anthropic())
    assert answer.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert answer.headers["anthropic-ratelimit-requests-reset"] == "2026-11-22T12:01:00Z"
    assert answer.headers["anthropic-ratelimit-tokens-limit"] == "1000"
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
    refused = await gateway.ask(anthropic())
    assert (refused.status, refused.error["type"]) == (429, "rate_limit_error")
    assert refused.error["details"]["metadata"]["scope"] == "team"
    assert refused.headers["retry-after"] == "60"


@pytest.mark.parametrize("what", ["requests", "concurrency"])
async def test_a_limit_of_nothing_lets_nothing_in(what: str) -> None:
    refused = await rig(rule(what, 0)).ask(chat())
    assert refused.status == 429
    assert "lets none in" in refused.error["message"]
    assert refused.headers["x-should-retry"] == "false"


async def test_a_budget_refused_as_counters_are_out_of_reach_is_unavailable() -> None:
    gateway = rig()
    lost = Refusal("bud:total", "team", 100, 0, 0, 60, None, lost=True)
    with patch.object(gateway.state, "admit", return_value=lost):
        refused = await gateway.ask(chat())
    assert (refused.status, refused.error["code"]) == (503, "state_unavailable")
    assert refused.headers["retry-after"] == "1"
    assert gateway.asked == []
