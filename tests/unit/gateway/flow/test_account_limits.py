"""Limits of our accounts at providers on the way of a request: what would be refused is not sent."""

import asyncio

import pytest

from backends.errors import AccountRateLimited, ConnectionLost, QuotaExhausted
from gateway.settings_accounts import LimitsSettings
from gateway.uptime.accounts import WINDOW, AccountLoad
from gateway.uptime.breaker import Breaker
from gateway.values import Candidate, Result
from tests.builders import END, USAGE, book, candidate, chat, text
from tests.fakes.flow import Rig

GOOD = ([text("Hi")], [END], [USAGE])
A = candidate("a", account="main")
A2 = candidate("a2", account="main", price=("2", "3"))
B = candidate("b", account="other", price=("8", "9"))


def rig(
    *candidates: Candidate,
    requests: int | None = None,
    tokens: int | None = None,
    concurrency: int | None = None,
) -> Rig:
    """A gateway whose account `main` has limits."""
    made = Rig(*candidates)
    limits = LimitsSettings(
        requests_per_minute=requests, tokens_per_minute=tokens, concurrency=concurrency
    )
    made.breaker.loads = {"main": AccountLoad(limits)}
    made.breaker._endpoints_of = book(*candidates).endpoints_of
    for one in candidates:
        made.script(one.endpoint.provider, *[GOOD] * 9)
    return made


async def test_an_account_at_its_limit_is_passed_over_for_another() -> None:
    gateway = rig(A, A2, B, requests=2)
    for _ in range(3):
        assert (await gateway.ask(chat())).status == 200
    assert gateway.asked == ["a", "a", "b"]
    gateway.clock.advance(WINDOW)
    await gateway.ask(chat())
    assert gateway.asked[-1] == "a"


async def test_with_nothing_else_left_the_caller_is_told_when_to_come_again() -> None:
    gateway = rig(A, A2, requests=1)
    await gateway.ask(chat())
    gateway.clock.advance(20)
    exchange = await gateway.ask(chat())
    error = exchange.error
    assert (exchange.status, error["code"]) == (429, "account_limit")
    assert int(exchange.headers["retry-after"]) == pytest.approx(WINDOW - 20, abs=1)
    assert gateway.asked == ["a"], "nothing was sent"
    assert [row["reason"] for row in error["metadata"]["excluded"]] == ["account_limit"] * 2
    outcome = gateway.journal.outcomes[-1]
    assert (outcome.result, outcome.attempts) == (Result.FAILED, ())


async def test_attempts_are_numbered_without_those_that_were_not_made() -> None:
    gateway = rig(A, B, concurrency=1)
    gateway.breaker.loads["main"].begin(0, 0)
    gateway.breaker._endpoints_of = lambda _: ()  # the limit is met only when its turn has come
    exchange = await gateway.ask(chat())
    assert "x-tidegate-attempts" not in exchange.headers
    (attempt,) = gateway.outcome.attempts
    assert (attempt.provider, attempt.ordinal) == ("b", 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_is_under_way_until_its_answer_has_ended(*, stream: bool) -> None:
    gateway = rig(A, concurrency=1)
    gate = asyncio.Event()
    gateway.script("a", [[text("Hi")], gate, [END], [USAGE]], GOOD, GOOD)
    first = asyncio.create_task(gateway.ask(chat(stream=stream)))
    await gateway.log.holds("wait")
    assert (await gateway.ask(chat())).status == 429
    gate.set()
    await first
    assert (await gateway.ask(chat())).status == 200


async def test_a_failed_attempt_and_a_caller_who_leaves_are_under_way_no_longer() -> None:
    gateway = rig(A, B, concurrency=1)
    gateway.script("a", ConnectionLost("x"), [[text("Hi")], asyncio.Event()], GOOD)
    await gateway.ask(chat())
    assert gateway.asked == ["a", "b"]
    exchange = gateway.exchange(chat(stream=True))
    task = asyncio.create_task(gateway.flow(exchange))
    await exchange.begun.wait()
    exchange.leave()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gateway.ask(chat())
    assert gateway.asked == ["a", "b", "a", "a"]


async def test_tokens_are_those_of_the_prompt_and_the_cap_for_each_choice() -> None:
    gateway = rig(A, B, tokens=120)
    await gateway.ask(chat(max_tokens=40))  # and some 25 of the prompt
    await gateway.ask(chat(max_tokens=20))
    await gateway.ask(chat(max_tokens=40))
    assert gateway.asked == ["a", "a", "b"]


async def test_an_account_without_money_is_tried_last_at_all_its_endpoints() -> None:
    gateway = rig(A, A2, B)
    gateway.breaker.loads = {}
    gateway.script("a", QuotaExhausted("x", status=402), GOOD)
    await gateway.ask(chat())
    assert gateway.asked == ["a", "b"], "the account's other endpoint is no better"
    await gateway.ask(chat())
    assert gateway.asked[2:] == ["b"]


async def test_what_is_left_of_such_an_account_is_tried_after_all_others() -> None:
    gateway = rig(A, A2, B)
    gateway.breaker.loads = {}
    gateway.script("a", QuotaExhausted("x", status=402))
    gateway.script("b", ConnectionLost("x"))
    assert (await gateway.ask(chat())).status == 200
    assert gateway.asked == ["a", "b", "a2"]


async def test_a_rate_limit_of_the_account_spares_its_other_endpoints_the_next_request() -> None:
    gateway = rig(A, A2, B)
    gateway.script("a", AccountRateLimited("x", status=429, retry_after=5), GOOD)
    for _ in range(2):
        await gateway.ask(chat())
    gateway.clock.advance(5)
    await gateway.ask(chat())
    assert gateway.asked == ["a", "b", "b", "a"]


def test_without_limits_nothing_is_counted() -> None:
    assert not Breaker(Rig(A).clock).loads
