"""Letting a request in: what is held for it, and what a refusal leaves behind."""

import asyncio

from gateway.values import BudgetHold
from tests.builders import END, USAGE, budget, candidate, chat, principal, text
from tests.fakes.flow import Rig, Step

GOOD = ([text("Hi")], [END], [USAGE])


def holds(gateway: Rig) -> tuple[BudgetHold, ...]:
    (reservation,) = gateway.state.reservations
    return reservation.holds


async def test_the_hold_covers_the_dearest_endpoint_of_the_plan() -> None:
    gateway = Rig(
        candidate("a", price=("1", "2"), default_output=50),
        candidate("b", price=("3", "5"), default_output=50),
        principal=principal(budget("1"), budget("2", scope="team")),
    )
    gateway.script("a", GOOD)
    body = chat()
    await gateway.ask(body)
    # Picos per token are millionths of a dollar: 3 for each byte of prompt, 5 for each output token.
    worst_nano = (len(body) * 3 + 50 * 5) * 1000
    assert [hold.amount_nano for hold in holds(gateway)] == [worst_nano, worst_nano]
    assert [hold.limit_nano for hold in holds(gateway)] == [10**9, 2 * 10**9]
    assert [hold.scope for hold in holds(gateway)] == ["key", "team"]


async def test_the_hold_covers_every_choice_and_the_cap_that_is_sent() -> None:
    gateway = Rig(candidate("a", max_output=80), principal=principal(budget("1")))
    gateway.script("a", GOOD)
    body = chat(max_tokens=500, n=3)
    await gateway.ask(body)
    assert gateway.backend.calls[0][0].output_cap == 80
    assert holds(gateway)[0].amount_nano == (len(body) * 1 + 3 * 80 * 2) * 1000


async def test_a_picture_named_by_address_is_held_for_as_a_whole_context() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    body = chat(messages=[{"role": "user", "content": [picture]}])
    gateway = Rig(candidate("a", context_length=5000), principal=principal(budget("1")))
    gateway.script("a", GOOD)
    await gateway.ask(body)
    assert holds(gateway)[0].amount_nano == (5000 * 1 + 50 * 2) * 1000


async def test_a_prompt_is_never_held_for_beyond_the_context() -> None:
    body = chat(messages=[{"role": "user", "content": "x" * 5000}])
    gateway = Rig(candidate("a", context_length=1000), principal=principal(budget("1")))
    gateway.script("a", GOOD)
    await gateway.ask(body)
    assert holds(gateway)[0].amount_nano == (1000 * 1 + 50 * 2) * 1000


async def test_a_refusal_opens_nothing_and_leaves_nothing() -> None:
    gateway = Rig(candidate("a"), principal=principal(budget("1"), budget("0.0001", scope="team")))
    gateway.script("a", GOOD)
    exchange = await gateway.ask(chat())
    assert (exchange.status, exchange.error["code"]) == (402, "budget_exceeded")
    assert exchange.error["type"] == "insufficient_quota"
    assert "this team" in exchange.error["message"]
    assert exchange.error["metadata"]["budget"] == "bud-team"
    assert gateway.log == ["refuse", "start:402", "finish"]
    assert gateway.state.held_count == 0
    assert gateway.state.spent("bud-key:total") == (0, 0)
    assert gateway.metrics.in_flight == 0
    assert gateway.journal.lines == []


async def test_a_refusal_says_when_to_come_back() -> None:
    gateway = Rig(candidate("a"), principal=principal(budget("0.0001", period="daily")))
    exchange = await gateway.ask(chat())
    assert exchange.headers["retry-after"] == str(12 * 3600)  # it is noon


async def test_racing_requests_cannot_pass_a_limit() -> None:
    body = chat()
    worst = len(body) + 50 * 2  # millionths of a dollar
    limit = f"0.{3 * worst:06d}"
    gateway = Rig(candidate("a"), principal=principal(budget(limit)))
    go = asyncio.Event()
    held_up: list[Step] = [go, *GOOD]
    gateway.script("a", *[held_up] * 3)
    exchanges = [gateway.exchange(body) for _ in range(10)]
    async with asyncio.TaskGroup() as group:
        for exchange in exchanges:
            group.create_task(gateway.flow(exchange))
        await gateway.log.holds("wait", 3)
        await gateway.log.holds("refuse", 7)
        go.set()
    statuses = sorted(exchange.status or 0 for exchange in exchanges)
    assert statuses == [200] * 3 + [402] * 7
    spent, held = gateway.state.spent("bud-key:total")
    assert (spent, held) == (3 * 20_000, 0)


async def test_what_was_not_spent_is_free_again() -> None:
    gateway = Rig(candidate("a"), principal=principal(budget("0.001")))
    gateway.script("a", *[GOOD] * 10)
    for _ in range(10):
        exchange = await gateway.ask(chat())
        assert exchange.status == 200
    assert gateway.state.spent("bud-key:total") == (10 * 20_000, 0)


async def test_without_a_budget_nothing_is_held_but_all_is_recorded() -> None:
    gateway = Rig(candidate("a"))
    gateway.script("a", GOOD)
    await gateway.ask(chat())
    assert holds(gateway) == ()
    assert gateway.outcome.attempts[0].charge.pico == 20_000_000


async def test_endpoints_in_another_currency_than_the_budget_are_left_out() -> None:
    yuan = candidate("yuan", price=("0", "0"), currency="CNY")
    gateway = Rig(yuan, candidate("a"), principal=principal(budget("1")))
    gateway.script("a", GOOD)
    await gateway.ask(chat())
    assert gateway.asked == ["a"]


async def test_nothing_is_let_in_while_the_journal_is_sick() -> None:
    gateway = Rig(candidate("a"), principal=principal(budget("1")))
    gateway.journal.healthy = False
    exchange = await gateway.ask(chat())
    assert (exchange.status, exchange.error["code"]) == (503, "journal_unavailable")
    assert gateway.log == ["start:503", "finish"]
