"""Web searches that a provider runs: where they may go, what is held, and what they cost in the end."""

from collections.abc import Sequence
from typing import Any

import pytest

from backends import Event, Finish, Usage
from backends.base import Take
from backends.errors import ConnectionLost, UpstreamFault
from gateway.flow.terms import terms
from gateway.usage.lines import Progress
from gateway.values import Basis, Candidate, Plan, PlanEntry, Result
from gateway.wire import openai_chat
from gateway.wire.web_search import MOST_SEARCHES
from pricing import Money
from tests.builders import budget, candidate, chat, piece, principal, text
from tests.fakes.flow import FakeExchange, Rig, ScriptedReply

FEE = 5_000_000_000  # picos: USD 0.005
TOKENS = 20_000_000  # 10 of the prompt and 5 of the answer, at 1 and 2 dollars a million
SEARCH = {"type": "builtin_function", "function": {"name": "$web_search"}}
USAGE = Usage(prompt=10, completion=5)
CALLED = Finish(0, "tool_calls", "tool_calls")
FORMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def moonshot(name: str = "a", **more: Any) -> Candidate:
    return candidate(name, **({"kind": "moonshot", "per_search": "0.005"} | more))


def searching(count: int = 1, first: int = 0) -> list[Event]:
    calls = [
        {
            "index": index,
            "id": f"c{index}",
            "type": "builtin_function",
            "function": {"name": "$web_search", "arguments": "{}"},
        }
        for index in range(first, first + count)
    ]
    return [piece(tool_calls=calls)]


def ask(*, stream: bool = False, **fields: Any) -> bytes:
    options = {"include_usage": True} if stream else None
    return chat(**({"tools": [SEARCH], "stream": stream, "stream_options": options} | fields))


def rig(*candidates: Candidate, limit: str = "1") -> Rig:
    return Rig(*(candidates or (moonshot(),)), principal=principal(budget(limit)))


def usage_of(exchange: FakeExchange, *, stream: bool) -> Any:
    return exchange.events[-1]["usage"] if stream else exchange.json["usage"]


# Where they may go


@FORMS
@pytest.mark.parametrize(
    "other",
    [
        candidate("b", price=("0.1", "0.1")),  # of a kind that runs none
        candidate("b", price=("0.1", "0.1"), per_search="0.001"),
        moonshot("b", price=("0.1", "0.1"), per_search=None),  # unpriced is refused, not free
        moonshot("b", price=("0.1", "0.1"), per_search=None, kind="moonshot_cn"),
    ],
)
async def test_only_endpoints_that_run_it_at_a_known_price_are_asked(
    other: Candidate,
    stream: bool,  # noqa: FBT001 - a parameter
) -> None:
    gateway = rig(moonshot(), other)
    gateway.script("a", [searching(), [CALLED], [USAGE]])
    exchange = await gateway.ask(ask(stream=stream))
    assert exchange.status == 200
    assert gateway.asked == ["a"]


async def test_other_requests_go_where_they_went() -> None:
    gateway = rig(moonshot(), candidate("b", price=("0.1", "0.1")))
    gateway.script("b", [[text("Hi")], [Finish(0, "stop", "stop")], [USAGE]])
    exchange = await gateway.ask(chat())
    assert exchange.status == 200
    usage = exchange.json["usage"]
    assert "server_tool_use_details" not in usage
    assert "cost_details" not in usage


async def test_where_nobody_runs_it_the_error_says_so() -> None:
    gateway = rig(candidate("a"), moonshot("b", per_search=None))
    exchange = await gateway.ask(ask())
    assert exchange.status == 404
    error = exchange.error
    assert error["code"] == "no_endpoint"
    assert "web_search (they do not run '$web_search'" in error["message"]
    assert error["metadata"]["excluded"] == [
        {"endpoint": "a/kimi", "reason": "web_search"},
        {"endpoint": "b/kimi", "reason": "web_search"},
    ]
    assert error["availability"]["constraint"]["field"] == "tools"
    assert gateway.asked == []


# What is held


def worst(body: bytes, *candidates: Candidate) -> int:
    entries = tuple(PlanEntry(one, "cheapest first") for one in candidates or (moonshot(),))
    request = openai_chat.parse(body, usage_always=False)
    return terms(Plan("m", entries, ())).worst_charge(request).pico


def prompt_bytes(body: bytes) -> int:
    return openai_chat.parse(body, usage_always=False).prompt_bytes


def test_the_hold_covers_as_many_searches_as_an_answer_may_call() -> None:
    body, output = ask(), 50 * 2_000_000
    assert worst(body) == prompt_bytes(body) * 1_000_000 + output + MOST_SEARCHES * FEE
    plain = chat()
    assert worst(plain) == prompt_bytes(plain) * 1_000_000 + output


def test_the_dearest_search_of_the_plan_is_held() -> None:
    body = ask()
    difference = worst(body, moonshot(), moonshot("b", per_search="0.006")) - worst(body)
    assert difference == MOST_SEARCHES * 1_000_000_000


@pytest.mark.parametrize("tools", [[SEARCH], None])
@pytest.mark.parametrize("name", ["$web_search", "\\u0024web_search"])
def test_what_a_search_found_can_fill_the_context_whatever_its_reference_weighs(
    name: str, tools: Any
) -> None:
    asked = {"role": "user", "content": "Hi"}
    found = {"role": "tool", "tool_call_id": "c0", "name": "NAME", "content": "{}"}
    body = ask(messages=[asked, found], tools=tools).replace(b"NAME", name.encode())
    fees = MOST_SEARCHES * FEE if tools else 0
    assert worst(body) == 1000 * 1_000_000 + 50 * 2_000_000 + fees
    # Where no search is run, nothing is found that was not sent.
    if tools is None:
        output = 50 * 2_000_000
        assert worst(body, candidate("b")) == prompt_bytes(body) * 1_000_000 + output


@FORMS
async def test_a_budget_that_cannot_cover_the_fees_refuses(stream: bool) -> None:  # noqa: FBT001 - a parameter
    gateway = rig(limit="0.0401")
    assert Money.parse("0.04", "USD").pico == MOST_SEARCHES * FEE
    exchange = await gateway.ask(ask(stream=stream))
    assert exchange.status == 402
    assert gateway.asked == []
    gateway.script("a", [[text("Hi")], [Finish(0, "stop", "stop")], [USAGE]])
    assert (await gateway.ask(chat(stream=stream))).status == 200


# What it costs


@FORMS
@pytest.mark.parametrize("count", [1, 2, MOST_SEARCHES])
async def test_each_search_costs_its_fee_in_every_book(count: int, stream: bool) -> None:  # noqa: FBT001 - a parameter
    gateway = rig()
    gateway.script("a", [searching(count), [CALLED], [USAGE]])
    exchange = await gateway.ask(ask(stream=stream))
    (attempt,) = gateway.outcome.attempts
    pico = TOKENS + count * FEE
    assert attempt.quantities.searches == count
    assert attempt.cost == attempt.charge == Money("USD", pico)
    assert attempt.basis is Basis.REPORTED
    assert gateway.state.spent("bud-key:total") == (pico // 1000, 0)
    usage = usage_of(exchange, stream=stream)
    assert usage["cost"] == pytest.approx(pico / 10**12, abs=1e-12)
    assert usage["server_tool_use_details"] == {"web_search_requests": count}
    details = usage["cost_details"]
    assert details["upstream_inference_cost"] is None
    assert details["upstream_inference_prompt_cost"] == pytest.approx(10e-6, abs=1e-12)
    assert details["upstream_inference_completions_cost"] == pytest.approx(10e-6, abs=1e-12)
    assert details["server_tool_cost"] == pytest.approx(count * 0.005, abs=1e-12)


@FORMS
async def test_a_tool_that_was_not_called_costs_nothing(stream: bool) -> None:  # noqa: FBT001 - a parameter
    gateway = rig()
    gateway.script("a", [[text("No need.")], [Finish(0, "stop", "stop")], [USAGE]])
    exchange = await gateway.ask(ask(stream=stream))
    assert gateway.outcome.attempts[0].charge == Money("USD", TOKENS)
    assert "server_tool_use_details" not in usage_of(exchange, stream=stream)


@FORMS
async def test_a_call_that_was_cut_at_the_cap_has_no_fee(stream: bool) -> None:  # noqa: FBT001 - a parameter
    gateway = rig()
    gateway.script("a", [searching(), [Finish(0, "length", "length")], [USAGE]])
    await gateway.ask(ask(stream=stream))
    assert gateway.outcome.attempts[0].charge == Money("USD", TOKENS)


async def test_a_function_of_that_name_of_the_callers_own_costs_nothing() -> None:
    own = {"type": "function", "function": {"name": "$web_search"}}
    gateway = rig()
    gateway.script("a", [searching(), [CALLED], [USAGE]])
    await gateway.ask(chat(tools=[own]))
    assert gateway.outcome.attempts[0].quantities.searches == 0


@FORMS
async def test_without_a_usable_usage_the_fee_is_still_counted(stream: bool) -> None:  # noqa: FBT001 - a parameter
    gateway = rig()
    gateway.script("a", [searching(2), [CALLED]])
    exchange = await gateway.ask(ask(stream=stream))
    (attempt,) = gateway.outcome.attempts
    assert (attempt.basis, attempt.quantities.searches) == (Basis.ESTIMATED, 2)
    assert usage_of(exchange, stream=stream)["cost"] > 0.01


async def test_a_stream_that_broke_off_costs_the_searches_that_were_delivered() -> None:
    gateway = rig()
    gateway.script("a", [searching(), searching(first=1), ConnectionLost("gone")])
    await gateway.ask(ask(stream=True))
    (attempt,) = gateway.outcome.attempts
    assert (attempt.result, attempt.quantities.searches) == (Result.FAILED, 2)
    assert attempt.charge == attempt.cost
    assert attempt.charge.pico > 2 * FEE


async def test_an_attempt_that_failed_before_it_was_chosen_is_our_cost() -> None:
    gateway = rig(moonshot(), moonshot("b", price=("1.1", "2")))
    gateway.script("a", [searching(), ConnectionLost("gone")])
    gateway.script("b", [searching(), [CALLED], [USAGE]])
    await gateway.ask(ask())
    failed, good = gateway.outcome.attempts
    assert (failed.quantities.searches, failed.charge.pico) == (1, 0)
    assert failed.cost.pico > FEE
    assert good.charge.pico == FEE + 21_000_000


async def test_a_refusal_costs_nothing() -> None:
    gateway = rig(moonshot(), moonshot("b", price=("1.1", "2")))
    gateway.script("a", UpstreamFault("no", status=500))
    gateway.script("b", [searching(), [CALLED], [USAGE]])
    await gateway.ask(ask())
    assert gateway.outcome.attempts[0].cost.pico == 0


@pytest.mark.parametrize("batches", [[MOST_SEARCHES, 1], [MOST_SEARCHES + 1]])
async def test_a_stream_with_more_searches_than_are_held_for_is_broken_off(
    batches: Sequence[int],
) -> None:
    gateway = rig()
    steps, first = [], 0
    for count in batches:
        steps.append(searching(count, first))
        first += count
    gateway.script("a", [*steps, [CALLED], [USAGE]])
    exchange = await gateway.ask(ask(stream=True))
    assert "more web searches than are held for" in exchange.events[-1]["error"]["message"]
    assert f'"c{MOST_SEARCHES}"' not in exchange.sent.decode()
    (attempt,) = gateway.outcome.attempts
    delivered = MOST_SEARCHES if len(batches) > 1 else 0
    (reservation,) = gateway.state.reservations
    assert attempt.charge.nano_up() <= reservation.holds[0].amount_nano
    assert delivered * FEE <= attempt.charge.pico < (delivered + 1) * FEE


async def test_a_whole_answer_with_more_searches_than_are_held_for_is_another_endpoints() -> None:
    gateway = rig(moonshot(), moonshot("b", price=("1.1", "2")))
    gateway.script("a", [searching(MOST_SEARCHES + 1), [CALLED], [USAGE]])
    gateway.script("b", [searching(), [CALLED], [USAGE]])
    exchange = await gateway.ask(ask())
    assert exchange.status == 200
    failed, good = gateway.outcome.attempts
    assert failed.cost.pico == TOKENS + (MOST_SEARCHES + 1) * FEE
    assert failed.charge.pico == 0
    assert good.quantities.searches == 1


# Should the process die


async def test_the_journal_knows_of_a_search_before_the_caller_does() -> None:
    gateway = rig()
    gateway.script("a", [[text("Wait.")], searching(), searching(first=1), [CALLED], [USAGE]])
    exchange = await gateway.ask(ask(stream=True))
    assert exchange.done
    noted = [line.searches for line in gateway.journal.lines if isinstance(line, Progress)]
    assert noted == [0, 1, 2]
    entries = [entry for entry in gateway.log if entry in {"safe:progress", "write"}]
    assert entries == ["safe:progress", "write"] * 3


async def test_nor_does_a_search_slip_by_where_events_are_handed_on_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pulled = ScriptedReply.next

    async def pushed(reply: ScriptedReply, take: Take | None = None) -> list[Event]:
        """As replies over HTTP do: what `take` takes is not returned."""
        while True:
            events = await pulled(reply)
            if not events or take is None or not take(events):
                return events

    monkeypatch.setattr(ScriptedReply, "next", pushed)
    gateway = rig()
    many = searching(MOST_SEARCHES - 1, first=1)
    gateway.script("a", [[text("Wait.")], [text("…")], searching(), many, searching(1, 99)])
    exchange = await gateway.ask(ask(stream=True))
    noted = [line.searches for line in gateway.journal.lines if isinstance(line, Progress)]
    assert noted == [0, 1, MOST_SEARCHES]
    assert '"c99"' not in exchange.sent.decode()
    assert gateway.outcome.attempts[0].quantities.searches == MOST_SEARCHES


async def test_requests_without_searches_write_no_more_into_the_journal() -> None:
    gateway = rig()
    gateway.script("a", [[text("a")], [text("b")], [Finish(0, "stop", "stop")], [USAGE]])
    await gateway.ask(chat(stream=True))
    assert gateway.log.count("line:progress") == 1
