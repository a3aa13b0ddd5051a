"""The spine with Anthropic's dialect: the same steps, the same money, other words."""

import asyncio
import json
from typing import Any

import pytest

from backends import Finish
from backends.errors import ConnectionLost, Overloaded
from gateway.flow.dialects import ANTHROPIC
from gateway.telemetry import metrics
from gateway.values import Result
from gateway.wire.anthropic_reply import KEEP_ALIVE
from tests.builders import (
    END,
    MODEL,
    USAGE,
    anthropic,
    budget,
    candidate,
    chat,
    piece,
    principal,
    text,
)
from tests.fakes.anthropic_events import events, message
from tests.fakes.flow import Rig

GOOD = ([text("Hi")], [END], [USAGE])


def rig(*names: str, **options: Any) -> Rig:
    candidates = [candidate(name, price=(str(n), "2")) for n, name in enumerate(names, 1)]
    return Rig(*candidates, dialect=ANTHROPIC, **options)


async def test_a_whole_answer_has_its_head() -> None:
    gateway = rig("a")
    gateway.script("a", GOOD)
    exchange = await gateway.ask(anthropic(), x_request_id="mine-1")
    outcome = gateway.outcome
    assert exchange.length == len(exchange.sent)
    assert exchange.headers == {
        "content-type": "application/json",
        "x-generation-id": outcome.generation_id,
        "request-id": outcome.generation_id,
        "x-request-id": "mine-1",
        "cache-control": "no-store",
        "x-tidegate-provider": "a",
    }
    assert exchange.json["id"] == outcome.generation_id.replace("gen-", "msg_")
    assert exchange.json["content"] == [{"type": "text", "text": "Hi"}]
    assert (outcome.api, outcome.result) == ("messages", Result.SUCCESS)


async def test_a_stream_goes_out_piece_by_piece_and_ends_with_usage() -> None:
    gateway = rig("a")
    gateway.script("a", [[text("Hi")], [text(" you")], [END], [USAGE]])
    exchange = await gateway.ask(anthropic(stream=True))
    assert exchange.headers["content-type"].startswith("text/event-stream")
    assert gateway.log.count("write") == 2
    told = message(exchange.sent)
    assert told["content"] == [{"type": "text", "text": "Hi you"}]
    assert (told["usage"]["input_tokens"], told["usage"]["output_tokens"]) == (10, 5)
    assert gateway.log.index("safe:close") < gateway.log.index("finish")


@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_answer_costs_the_same_in_both_dialects(stream: bool) -> None:  # noqa: FBT001 - a parameter
    outcomes = []
    for body, options in (
        (chat(stream=stream), {}),
        (anthropic(stream=stream), {"dialect": ANTHROPIC}),
    ):
        gateway = Rig(candidate("a"), principal=principal(budget("1")), **options)  # type: ignore[arg-type] # a mixed mapping
        gateway.script("a", GOOD)
        exchange = await gateway.ask(body)
        assert exchange.status == 200
        outcomes.append(
            (gateway.outcome, gateway.state.charges, gateway.state.spent("bud-key:total"))
        )
    (openai, *spent), (anthropics, *spent_too) = outcomes
    assert (openai.api, anthropics.api) == ("chat.completions", "messages")
    for first, second in zip(openai.attempts, anthropics.attempts, strict=True):
        assert first.charge == second.charge
        assert first.charge.pico > 0
        assert (first.quantities, first.basis) == (second.quantities, second.basis)
    assert spent == spent_too


async def test_usage_tells_the_cost_that_was_charged() -> None:
    gateway = rig("a")
    gateway.script("a", GOOD)
    exchange = await gateway.ask(anthropic())
    charge = gateway.outcome.attempts[0].charge
    assert exchange.json["usage"]["cost"] == float(charge.decimal_string())


async def test_what_the_endpoint_gets_is_in_the_neutral_form() -> None:
    gateway = rig("a")
    gateway.script("a", GOOD)
    await gateway.ask(anthropic(system="Be brief.", stop_sequences=["x"], max_tokens=7))
    ((call, _, _),) = gateway.backend.calls
    assert {name: json.loads(bytes(raw)) for name, raw in call.fields.items()} == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello!"},
        ],
        "stop": ["x"],
    }
    assert call.output_cap == 7


async def test_silence_is_filled_with_pings() -> None:
    gateway = rig("a", keep_alive_interval=0.001)
    answer = asyncio.Event()
    gateway.script("a", [answer, *GOOD])
    exchange = gateway.exchange(anthropic(stream=True))
    task = asyncio.create_task(gateway.flow(exchange))
    await exchange.begun.wait()
    assert exchange.sent.startswith(KEEP_ALIVE)
    answer.set()
    await task
    assert message(exchange.sent)["content"] == [{"type": "text", "text": "Hi"}]


async def test_after_a_ping_a_failure_is_told_in_the_stream() -> None:
    gateway = rig("a", keep_alive_interval=0.001)
    cut = asyncio.Event()
    gateway.script("a", [cut, Overloaded("x", status=503)])
    exchange = gateway.exchange(anthropic(stream=True))
    task = asyncio.create_task(gateway.flow(exchange))
    await exchange.begun.wait()
    cut.set()
    await task
    (told,) = events(exchange.sent)
    assert (told["type"], told["error"]["type"]) == ("error", "overloaded_error")
    assert told["request_id"] == gateway.outcome.generation_id
    assert exchange.complete


async def test_an_answer_that_breaks_off_says_so_and_is_charged() -> None:
    gateway = rig("a")
    gateway.script("a", [[text("Hi")], ConnectionLost("cut")])
    exchange = await gateway.ask(anthropic(stream=True))
    assert exchange.status == 200
    last = events(exchange.sent)[-1]
    assert last["error"]["type"] == "api_error"
    assert last["error"]["details"]["error_code"] == "connection_lost"
    assert last["error"]["details"]["metadata"]["attempts"][0]["provider"] == "a"
    (attempt,) = gateway.outcome.attempts
    assert (attempt.result, attempt.charge.pico > 0) == (Result.FAILED, True)


async def test_a_call_that_cannot_be_told_breaks_the_answer_off() -> None:
    gateway = rig("a")
    gateway.script("a", [[text("Hi")], [piece(tool_calls=5)], [text("more")], [END], [USAGE]])
    exchange = await gateway.ask(anthropic(stream=True))
    told = events(exchange.sent)
    assert told[-1]["error"]["details"]["error_code"] == "bad_reply"
    assert "message_stop" not in [event["type"] for event in told]
    assert gateway.outcome.error_code == "bad_reply"


async def test_a_whole_answer_with_a_broken_call_is_an_error_and_not_charged() -> None:
    gateway = rig("a")
    call = {"id": "x", "function": {"name": "f", "arguments": "[1]"}}
    gateway.script(
        "a", [[piece(tool_calls=[call])], [Finish(0, "tool_calls", "tool_calls")], [USAGE]]
    )
    exchange = await gateway.ask(anthropic())
    assert (exchange.status, exchange.error["type"]) == (502, "api_error")
    assert gateway.outcome.attempts[0].charge.pico == 0


async def test_failover_is_the_spines() -> None:
    gateway = rig("a", "b")
    gateway.script("a", Overloaded("x", status=503))
    gateway.script("b", GOOD)
    exchange = await gateway.ask(anthropic())
    assert exchange.json["provider"] == "b"
    assert exchange.headers["x-tidegate-attempts"] == "2"


async def test_fields_that_were_not_sent_have_the_callers_names() -> None:
    gateway = rig("a")
    gateway.backend.dropped = ("stop", "top_k", "reasoning_effort")
    gateway.script("a", GOOD)
    body = anthropic(context_management={"edits": [1]}, stop_sequences=["x"])
    exchange = await gateway.ask(body)
    told = exchange.headers["x-tidegate-dropped"]
    assert told == "context_management, stop_sequences, top_k, output_config.effort"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": "", "x_api_key": "good"}, 200),
        ({"authorization": "Bearer good"}, 200),
        ({"authorization": "bearer  good", "x_api_key": "good"}, 200),
        ({"authorization": "Bearer good", "x_api_key": ""}, 200),
        ({"authorization": "", "x_api_key": "bad"}, 401),
        ({"authorization": "Bearer good", "x_api_key": "other"}, 401),
        ({"authorization": "Basic good", "x_api_key": "good"}, 401),
        ({"authorization": ""}, 401),
    ],
)
async def test_the_key_comes_in_either_header(headers: dict[str, str], status: int) -> None:
    gateway = rig("a")
    gateway.script("a", GOOD)
    exchange = await gateway.ask(anthropic(), **headers)
    assert exchange.status == status
    if status == 401:
        assert exchange.error["type"] == "authentication_error"


async def test_two_different_keys_are_refused_in_words() -> None:
    exchange = await rig("a").ask(anthropic(), x_api_key="other")
    assert "two different keys" in exchange.error["message"]


async def test_openais_route_does_not_take_the_other_header() -> None:
    exchange = await Rig(candidate("a")).ask(chat(), authorization="", x_api_key="good")
    assert exchange.status == 401


@pytest.mark.parametrize(
    ("body", "status", "kind", "code"),
    [
        (b"{", 400, "invalid_request_error", "invalid_json"),
        (anthropic(max_tokens=None), 400, "invalid_request_error", "missing_field"),
        (anthropic(model="gpt-5"), 404, "not_found_error", "model_not_found"),
    ],
)
async def test_refusals_are_in_anthropics_form_and_counted(
    body: bytes, status: int, kind: str, code: str
) -> None:
    gateway = rig("a")
    exchange = await gateway.ask(body)
    assert (exchange.status, exchange.json["type"], exchange.error["type"]) == (
        status,
        "error",
        kind,
    )
    assert exchange.error["details"]["error_code"] == code
    assert exchange.json["request_id"] == exchange.headers["request-id"]
    labels = (("api", "messages"), ("code", code), ("status", str(status)))
    assert gateway.metrics.value(metrics.ERRORS, labels) == 1


async def test_a_budget_that_cannot_cover_it_is_a_billing_error() -> None:
    gateway = rig("a", principal=principal(budget("0.000001")))
    exchange = await gateway.ask(anthropic())
    assert (exchange.status, exchange.error["type"]) == (402, "billing_error")
    assert exchange.error["details"]["metadata"]["needed"]


async def test_a_caller_who_leaves_is_charged_for_what_came() -> None:
    gateway = rig("a")
    forever = asyncio.Event()
    gateway.script("a", [[text("Hi")], forever])
    exchange = gateway.exchange(anthropic(stream=True))
    task = asyncio.create_task(gateway.flow(exchange))
    await gateway.log.holds("wait")
    exchange.leave()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    outcome = gateway.outcome
    assert (outcome.result, outcome.api, outcome.model) == (Result.CANCELLED, "messages", MODEL)
    assert outcome.attempts[0].charge.pico > 0
