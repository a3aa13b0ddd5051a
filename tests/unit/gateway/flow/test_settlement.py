"""The end of a request: settled once on every exit, charged exactly, journaled before the last byte."""

import asyncio
from typing import Any

import pytest
from msgspec import Raw

from backends import BackendError, EmptyReply, Event, Usage
from backends.errors import (
    BadReply,
    ConnectFailed,
    ConnectionLost,
    ContentRefused,
    Overloaded,
    RequestRefused,
    UpstreamFault,
    UpstreamTimeout,
)
from backends.kinds.openai_compat import FAILURES as OPENAI_COMPAT_FAILURES
from gateway.flow import settle
from gateway.flow.dialects import ANTHROPIC, OPENAI, Dialect
from gateway.telemetry import metrics
from gateway.usage.lines import Open, Progress
from gateway.values import Basis, Outcome, Result
from pricing import Money
from tests.builders import END, USAGE, budget, candidate, chat, piece, principal, text
from tests.fakes.flow import FakeExchange, Rig, Step

# Prices are 1 and 2 dollars per million: 10 prompt and 5 output tokens are 20 microdollars.
EXACT = Money("USD", 20_000_000)
ZERO = Money("USD", 0)
GOOD: tuple[Step, ...] = ([text("Hi")], [END], [USAGE])
FORMS = pytest.mark.parametrize("form", ["stream", "whole"])


def rig() -> Rig:
    """Two endpoints, the second dearer; a caller with a key's and a team's budget."""
    caller = principal(budget("1"), budget("2", scope="team"))
    return Rig(candidate("a"), candidate("b", price=("2", "3")), principal=caller)


def assert_settled_once(gateway: Rig, charge: Money = ZERO) -> Outcome:
    """One open line, one close line, one settlement of that charge, nothing held or in flight."""
    assert gateway.log.count("admit") == 1
    assert gateway.log.count("settle") == 1
    assert gateway.log.count("line:open") == 1
    outcome = gateway.outcome
    assert gateway.state.held_count == 0
    for bucket in ("bud-key:total", "bud-team:total"):
        assert gateway.state.spent(bucket) == (charge.nano_up(), 0)
    assert sum(attempt.charge.pico for attempt in outcome.attempts) == charge.pico
    assert gateway.metrics.in_flight == 0
    assert gateway.recent.get(outcome.generation_id) == outcome
    return outcome


@FORMS
async def test_the_close_line_is_safe_before_the_last_byte_goes_out(form: str) -> None:
    gateway = rig()
    gateway.script("a", GOOD)
    exchange = await gateway.ask(chat(stream=form == "stream"))
    assert exchange.complete
    log = gateway.log
    assert log.index("admit") < log.index("line:open") < log.index("open:a")
    assert log.index("safe:close") < log.index("finish")
    assert log[-1] == "finish"


@FORMS
async def test_a_good_answer_is_charged_exactly(form: str) -> None:
    gateway = rig()
    gateway.script("a", GOOD)
    exchange = await gateway.ask(chat(stream=form == "stream", usage={"include": True}))
    outcome = assert_settled_once(gateway, EXACT)
    (attempt,) = outcome.attempts
    assert (outcome.result, outcome.status, outcome.finish_reason) == (Result.SUCCESS, 200, "stop")
    assert (attempt.cost, attempt.charge, attempt.basis) == (EXACT, EXACT, Basis.REPORTED)
    assert (attempt.upstream_id, attempt.upstream_status) == ("chatcmpl-1", 200)
    told = exchange.events[-1]["usage"] if form == "stream" else exchange.json["usage"]
    assert b'"cost":0.00002,' in exchange.sent
    assert (told["prompt_tokens"], told["completion_tokens"], told["total_tokens"]) == (10, 5, 15)


@FORMS
async def test_without_stated_usage_the_charge_is_estimated_and_says_so(form: str) -> None:
    gateway = rig()
    gateway.script("a", [[text("Hi"), text(" you")], [END]])
    body = chat(stream=form == "stream", stream_options={"include_usage": True})
    exchange = await gateway.ask(body)
    prompt = -(-len(body) // 4)
    outcome = assert_settled_once(gateway, Money("USD", (prompt + 2 * 2) * 10**6))
    assert outcome.attempts[0].basis is Basis.ESTIMATED
    assert b'"estimated":true' in exchange.sent
    where = (("model", outcome.model), ("provider", "a"))
    assert gateway.metrics.value(metrics.NO_USAGE, where) == 1


async def test_impossible_usage_is_repaired_and_marked() -> None:
    gateway = rig()
    gateway.script("a", [[text("Hi")], [END], [Usage(prompt=10, completion=5, cached=11)]])
    exchange = await gateway.ask(chat())
    assert gateway.outcome.attempts[0].basis is Basis.ESTIMATED
    assert exchange.json["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert exchange.json["usage"]["estimated"] is True


async def test_only_the_last_statement_of_usage_counts() -> None:
    gateway = rig()
    early = Usage(prompt=10, completion=1)
    gateway.script("a", [[text("Hi"), early], [text("!"), END], [USAGE]])
    await gateway.ask(chat(stream=True))
    assert_settled_once(gateway, EXACT)


@pytest.mark.parametrize(
    ("error", "billed"),
    [
        (ConnectFailed("x"), False),
        (ConnectionLost("x", sent_in_full=False), False),
        (UpstreamTimeout("connect", 1.0), False),
        (UpstreamTimeout("pool", 1.0), False),
        (UpstreamTimeout("write", 1.0), False),
        (Overloaded("x", status=503), False),
        (UpstreamFault("x", status=500), False),
        (ConnectionLost("x"), True),
        (UpstreamTimeout("first_byte", 1.0), True),
        (UpstreamTimeout("idle", 1.0), True),
        (UpstreamTimeout("total", 1.0), True),
        (BadReply("x", status=200), True),
        (EmptyReply("x"), True),
        (UpstreamFault("an error event"), True),
        (OPENAI_COMPAT_FAILURES.event(Raw(b'{"code":500,"message":"x"}')), True),
        (OPENAI_COMPAT_FAILURES.event(Raw(b'{"code":429,"message":"x"}')), False),
    ],
)
async def test_a_failed_attempt_is_our_cost_where_the_provider_may_bill_it(
    error: BackendError,
    billed: bool,  # noqa: FBT001 - a column of the table
) -> None:
    gateway = rig()
    gateway.script("a", error)
    gateway.script("b", GOOD)
    body = chat()
    await gateway.ask(body)
    outcome = assert_settled_once(gateway, Money("USD", 35_000_000))
    failed = outcome.attempts[0]
    assert (failed.result, failed.error_code, failed.charge) == (Result.FAILED, error.code, ZERO)
    assert failed.upstream_status == error.status
    assert failed.cost == (Money("USD", -(-len(body) // 4) * 10**6) if billed else ZERO)
    assert failed.basis is (Basis.ESTIMATED if billed else Basis.MEASURED)


async def test_usage_that_a_failed_attempt_stated_is_its_cost() -> None:
    gateway = rig()
    gateway.script("a", [[USAGE], [END]])
    gateway.script("b", GOOD)
    await gateway.ask(chat())
    failed = gateway.outcome.attempts[0]
    assert (failed.cost, failed.charge, failed.basis) == (EXACT, ZERO, Basis.REPORTED)


async def test_what_was_streamed_before_it_broke_off_is_charged() -> None:
    gateway = rig()
    gateway.script("a", [[text("one")], [text("two")], [text("three")], ConnectionLost("cut")])
    body = chat(stream=True)
    exchange = await gateway.ask(body)
    cost = Money("USD", (-(-len(body) // 4) + 3 * 2) * 10**6)
    outcome = assert_settled_once(gateway, cost)
    assert (outcome.result, outcome.status, outcome.error_code) == (
        Result.FAILED,
        200,
        "connection_lost",
    )
    assert outcome.attempts[0].basis is Basis.ESTIMATED
    assert exchange.content == "onetwothree"
    assert "is charged" in exchange.events[-1]["error"]["message"]
    assert gateway.log.index("safe:close") < gateway.log.index("finish")
    assert gateway.breaker.snapshot().keys() == {"a/kimi"}


@pytest.mark.parametrize("dialect", [OPENAI, ANTHROPIC])
@pytest.mark.parametrize(
    "thought",
    [[text("Hm", reasoning=True)], [piece(reasoning="Hm")], [piece(reasoning_details=[{"a": 1}])]],
    ids=["text", "piece", "details"],
)
async def test_a_stream_that_broke_off_in_reasoning_that_the_caller_did_not_want_is_our_cost(
    dialect: Dialect, thought: list[Event]
) -> None:
    hidden: dict[str, Any] = {"reasoning": {"exclude": True}}
    if dialect is ANTHROPIC:
        hidden = {"thinking": {"type": "adaptive", "display": "omitted"}}
    body = chat(stream=True, max_tokens=20, **hidden)
    for shown in (False, True):
        gateway = Rig(candidate("a"), principal=principal(budget("1")), dialect=dialect)
        seen = [[text("Well")]] if shown else []
        gateway.script("a", [thought, *seen, [USAGE], ConnectionLost("cut")])
        exchange = await gateway.ask(body)
        assert b"Hm" not in exchange.sent
        assert (b"Well" in exchange.sent) is shown
        (attempt,) = gateway.outcome.attempts
        assert attempt.cost == EXACT
        # Reasoning that led to what was seen is paid for, seen or not.
        assert attempt.charge == (EXACT if shown else ZERO)
        # In the journal, should the process die instead: not before something goes out.
        notes = [line for line in gateway.journal.lines if isinstance(line, Progress)]
        assert [note.output_tokens for note in notes] == ([2] if shown else [])


async def test_an_answer_that_broke_off_unseen_is_our_cost() -> None:
    gateway = rig()
    gateway.script("a", [[text("one")], [USAGE], ConnectionLost("cut")])
    gateway.script("b", ConnectionLost("cut", sent_in_full=False))
    exchange = await gateway.ask(chat())
    outcome = assert_settled_once(gateway, ZERO)
    assert (exchange.status, exchange.error["code"]) == (502, "connection_lost")
    assert outcome.attempts[0].cost == EXACT


async def test_tool_calls_that_cannot_be_put_together_are_the_providers_failure() -> None:
    gateway = rig()
    for provider in ("a", "b"):
        gateway.script(provider, [[piece(tool_calls=[{"index": "x"}])], [END], [USAGE]])
    exchange = await gateway.ask(chat())
    outcome = assert_settled_once(gateway, ZERO)
    assert (exchange.status, exchange.error["code"]) == (502, "bad_tool_call")
    assert (outcome.result, outcome.error_code) == (Result.FAILED, "bad_tool_call")
    assert gateway.backend.replies[0].aborted


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (RequestRefused("x", status=400), Result.FAILED),
        (ContentRefused("x", status=400), Result.FAILED),
    ],
)
async def test_a_refusal_by_the_provider_costs_nothing(error: BackendError, result: Result) -> None:
    gateway = rig()
    gateway.script("a", error)
    await gateway.ask(chat())
    outcome = assert_settled_once(gateway, ZERO)
    assert (outcome.result, outcome.status, outcome.error_code) == (result, 400, error.code)
    assert outcome.attempts[0].cost == ZERO


async def test_if_all_fail_it_is_settled_with_every_attempt_and_no_charge() -> None:
    gateway = rig()
    gateway.script("a", ConnectionLost("x"))
    gateway.script("b", Overloaded("x", status=503))
    await gateway.ask(chat())
    outcome = assert_settled_once(gateway, ZERO)
    assert (outcome.result, outcome.status) == (Result.FAILED, 503)
    assert [attempt.id[-2:] for attempt in outcome.attempts] == ["-1", "-2"]


async def test_a_fault_of_the_gateway_is_settled_and_masked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gateway = rig()
    exchange = await gateway.ask(chat())  # no script: the backend raises KeyError
    outcome = assert_settled_once(gateway, ZERO)
    assert (outcome.result, outcome.status, outcome.error_code) == (
        Result.FAILED,
        500,
        "internal_error",
    )
    assert exchange.error["code"] == "internal_error"
    assert outcome.generation_id in exchange.error["message"]
    assert b"KeyError" not in exchange.sent
    (record,) = caplog.records
    assert record.exc_info is None  # whose messages may quote the request
    assert "builtins.KeyError" in record.getMessage()


async def test_what_fails_while_it_is_settled_is_settled_as_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    makes, broken = settle.outcome_of, iter([True])

    def breaking(*args: Any) -> Outcome:
        if next(broken, False):
            raise ZeroDivisionError
        return makes(*args)

    monkeypatch.setattr("gateway.flow.admit.outcome_of", breaking)
    gateway = rig()
    gateway.script("a", GOOD)
    await gateway.ask(chat())
    outcome = assert_settled_once(gateway, ZERO)
    assert (outcome.result, outcome.error_code) == (Result.FAILED, "internal_error")


async def begun(gateway: Rig, body: bytes) -> tuple[FakeExchange, "asyncio.Task[None]"]:
    """A stream of which something was sent, and which then waits for more."""
    exchange = gateway.exchange(body)
    task = asyncio.create_task(gateway.flow(exchange))
    await exchange.begun.wait()
    return exchange, task


async def cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_caller_who_leaves_pays_for_what_was_sent() -> None:
    gateway = rig()
    gateway.script("a", [[text("one"), text("two")], asyncio.Event()])
    body = chat(stream=True)
    exchange, task = await begun(gateway, body)
    exchange.leave()
    await cancelled(task)
    cost = Money("USD", (-(-len(body) // 4) + 2 * 2) * 10**6)
    outcome = assert_settled_once(gateway, cost)
    assert (outcome.result, outcome.error_code) == (Result.CANCELLED, "caller_gone")
    assert gateway.backend.replies[0].aborted
    assert not exchange.complete


@pytest.mark.parametrize("arrived", [[], [[text("one")]]], ids=["nothing", "some"])
async def test_a_caller_who_leaves_before_it_was_sent_anything_pays_nothing(
    arrived: list[Step],
) -> None:
    gateway = rig()
    gateway.script("a", [*arrived, asyncio.Event()])
    body = chat()
    exchange = gateway.exchange(body)
    task = asyncio.create_task(gateway.flow(exchange))
    await gateway.log.holds("wait")
    exchange.leave()
    await cancelled(task)
    outcome = assert_settled_once(gateway, ZERO)
    assert outcome.result is Result.CANCELLED
    # It was asked, so it may be billed: our cost.
    pieces = 1 if arrived else 0
    assert outcome.attempts[0].cost.pico == (-(-len(body) // 4) + pieces * 2) * 10**6
    assert gateway.backend.replies[0].aborted
    assert exchange.status is None


async def test_shutdown_settles_as_aborted_and_says_so_in_the_stream() -> None:
    gateway = rig()
    gateway.script("a", [[text("one")], asyncio.Event()])
    body = chat(stream=True)
    exchange, task = await begun(gateway, body)
    await cancelled(task)
    outcome = assert_settled_once(gateway, Money("USD", (-(-len(body) // 4) + 2) * 10**6))
    assert (outcome.result, outcome.error_code) == (Result.ABORTED, "shutting_down")
    assert exchange.complete
    assert not exchange.done
    assert exchange.events[-1]["error"]["code"] == "shutting_down"


async def test_shutdown_before_any_answer_is_a_503() -> None:
    gateway = rig()
    gateway.script("a", [asyncio.Event()])
    exchange = gateway.exchange(chat())
    task = asyncio.create_task(gateway.flow(exchange))
    await gateway.log.holds("wait")
    await cancelled(task)
    assert_settled_once(gateway, ZERO)
    assert (exchange.status, exchange.error["code"]) == (503, "shutting_down")


async def test_cancelled_while_it_settles_a_good_answer_it_settles_once() -> None:
    gateway = rig()
    gateway.script("a", GOOD)
    exchange = gateway.exchange(chat())
    task = asyncio.create_task(gateway.flow(exchange))
    await gateway.log.holds("line:close")
    exchange.leave()
    await cancelled(task)
    assert assert_settled_once(gateway, EXACT).result is Result.SUCCESS


async def test_before_the_first_piece_goes_out_the_journal_knows_of_it() -> None:
    gateway = rig()
    gateway.script("a", GOOD)
    await gateway.ask(chat(stream=True))
    progress = [line for line in gateway.journal.lines if isinstance(line, Progress)]
    assert progress
    assert progress[0].output_tokens == 1
    assert gateway.log.index("safe:progress") < gateway.log.index("write")


async def test_the_open_line_names_plan_prices_and_holds() -> None:
    gateway = rig()
    gateway.script("a", GOOD)
    await gateway.ask(chat(), x_request_id="mine")
    (opened,) = [line for line in gateway.journal.lines if isinstance(line, Open)]
    assert [endpoint.provider for endpoint in opened.endpoints] == ["a", "b"]
    assert [held.bucket for held in opened.holds] == ["bud-key:total", "bud-team:total"]
    assert (opened.request_id, opened.key_id, opened.streamed) == ("mine", "key-1", False)
    assert gateway.log[:3] == ["admit", "line:card", "line:card"]


async def test_unreadable_events_of_an_answer_are_counted() -> None:
    gateway = rig()
    wait = asyncio.Event()
    gateway.script("a", [[text("one")], wait, [piece(meaningful=False, annotations=[])], [END]])
    exchange, task = await begun(gateway, chat(stream=True))
    gateway.backend.replies[0].malformed = 2
    wait.set()
    await task
    where = (("model", gateway.outcome.model), ("provider", "a"))
    assert gateway.metrics.value(metrics.MALFORMED, where) == 2
    assert exchange.done


async def test_unreadable_events_of_an_attempt_that_failed_are_counted() -> None:
    gateway = rig()
    wait = asyncio.Event()
    gateway.script("a", [[piece(meaningful=False, annotations=[])], wait, ConnectionLost("cut")])
    gateway.script("b", GOOD)
    task = asyncio.create_task(gateway.ask(chat(stream=True)))
    await gateway.log.holds("wait")
    gateway.backend.replies[0].malformed = 3
    wait.set()
    await task
    where = (("model", gateway.outcome.model), ("provider", "a"))
    assert gateway.metrics.value(metrics.MALFORMED, where) == 3


async def test_an_answer_beyond_its_cap_is_broken_off_and_what_was_sent_is_charged() -> None:
    gateway = Rig(candidate("a", max_output=10))
    gateway.script("a", [[text("x")]] + [[text("x")] for _ in range(200)])
    exchange = await gateway.ask(chat(stream=True))
    assert b"[DONE]" not in exchange.sent
    assert b"wrote more than it was asked for" in exchange.sent
    (attempt,) = gateway.outcome.attempts
    assert (attempt.result, attempt.error_code) == ("failed", "bad_reply")
    assert attempt.quantities.output == 10  # what was held for, and no more


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_whose_pieces_hold_many_tokens_is_estimated_by_its_size(
    *, stream: bool
) -> None:
    gateway = Rig(candidate("a"))
    gateway.script("a", [[text("x" * 160)], [END]])  # and no usage
    await gateway.ask(chat(stream=stream))
    (attempt,) = gateway.outcome.attempts
    assert (attempt.basis, attempt.quantities.output) == ("estimated", 40)


async def test_a_whole_answer_whose_tool_call_is_not_json_is_an_error() -> None:
    gateway = Rig(candidate("a"))
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"city": "Par'}}
    gateway.script("a", [[piece(tool_calls=[call])], [END], [USAGE]])
    exchange = await gateway.ask(chat())
    assert exchange.status == 502
    assert exchange.json["error"]["code"] == "bad_tool_call"
    assert gateway.outcome.attempts[0].charge.pico == 0
