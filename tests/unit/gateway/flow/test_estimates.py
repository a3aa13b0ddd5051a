"""Prompts whose tokens nobody stated: no estimate is more than the context of the model that read them."""

import asyncio

import pytest

from backends.errors import ConnectionLost
from gateway.settings_accounts import LimitsSettings
from gateway.uptime.accounts import AccountLoad
from gateway.usage.lines import Open
from gateway.values import Basis
from pricing import Money
from tests.builders import END, USAGE, budget, candidate, chat, principal, text
from tests.fakes.flow import Rig

CONTEXT = 1000
ROW = candidate("a", account="main", context_length=CONTEXT)
GOOD = ([text("Hi")], [END], [USAGE])


def with_picture(size: int, *, stream: bool = False) -> bytes:
    """A request with a picture of so many bytes in it."""
    picture = {
        "type": "image_url",
        "image_url": {"url": f"data:image/png;base64,{'A' * size}"},
    }
    return chat(messages=[{"role": "user", "content": [picture]}], stream=stream)


async def test_a_caller_who_leaves_is_charged_no_more_than_was_held_for_its_picture() -> None:
    gateway = Rig(ROW, principal=principal(budget("1")))
    gateway.script("a", [[text("Hi")], asyncio.Event()])
    exchange = gateway.exchange(with_picture(12_000, stream=True))
    task = asyncio.create_task(gateway.flow(exchange))
    await exchange.begun.wait()
    exchange.leave()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (attempt,) = gateway.outcome.attempts
    assert attempt.basis is Basis.ESTIMATED
    assert attempt.quantities.fresh_input == CONTEXT
    assert attempt.charge == Money("USD", CONTEXT * 10**6 + 2 * 10**6)


async def test_a_failed_attempt_costs_no_more_than_the_context() -> None:
    gateway = Rig(ROW)
    gateway.script("a", ConnectionLost("x"))
    await gateway.ask(with_picture(12_000))
    (attempt,) = gateway.outcome.attempts
    assert attempt.cost == Money("USD", CONTEXT * 10**6)


async def test_what_a_crash_would_be_settled_by_is_no_more_either() -> None:
    wide = candidate("b", price=("5", "5"), context_length=2 * CONTEXT)
    gateway = Rig(ROW, wide)
    gateway.script("a", GOOD)
    await gateway.ask(with_picture(12_000))
    (opened,) = [line for line in gateway.journal.lines if isinstance(line, Open)]
    assert opened.est_prompt_tokens == 2 * CONTEXT


async def test_a_picture_takes_no_more_of_an_accounts_minute_than_the_context() -> None:
    gateway = Rig(ROW)
    limits = LimitsSettings(tokens_per_minute=CONTEXT + 200)
    gateway.breaker.loads = {"main": AccountLoad(limits)}
    gateway.script("a", GOOD, GOOD)
    assert (await gateway.ask(with_picture(12_000))).status == 200
    assert (await gateway.ask(chat())).status == 200
