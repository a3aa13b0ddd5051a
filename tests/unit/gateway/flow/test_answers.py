"""What a caller is sent: heads, comments in silence, errors in and out of streams."""

import asyncio
from typing import Any

import pytest

from backends import Finish
from backends.errors import ConnectionLost, Overloaded
from gateway.flow.dialects import OPENAI, OPENROUTER
from gateway.telemetry import metrics
from gateway.wire.openai_reply import KEEP_ALIVE
from tests.builders import END, USAGE, budget, candidate, chat, piece, principal, text
from tests.fakes.flow import Rig

GOOD = ([text("Hi")], [END], [USAGE])


async def test_a_whole_answer_has_its_head() -> None:
    gateway = Rig(candidate("a", sandbox=True))
    gateway.script("a", GOOD)
    exchange = await gateway.ask(chat(), x_request_id="mine-1")
    outcome = gateway.outcome
    assert exchange.length == len(exchange.sent)
    assert exchange.headers == {
        "content-type": "application/json",
        "x-generation-id": outcome.generation_id,
        "x-request-id": "mine-1",
        "cache-control": "no-store",
        "x-tidegate-provider": "a",
        "x-tidegate-sandbox": "true",
    }
    assert exchange.json["id"] == outcome.generation_id
    assert outcome.request_id == "mine-1"
    assert outcome.sandbox


@pytest.mark.parametrize("theirs", ["", "a\nb", "ü", "x" * 129])
async def test_an_unfit_request_id_is_replaced_by_ours(theirs: str) -> None:
    gateway = Rig(candidate("a"))
    gateway.script("a", GOOD)
    exchange = await gateway.ask(chat(), x_request_id=theirs)
    assert exchange.headers["x-request-id"] == exchange.headers["x-generation-id"]


async def test_a_stream_goes_out_piece_by_piece_and_ends_with_done() -> None:
    gateway = Rig(candidate("a"))
    gateway.script("a", [[text("Hi")], [text(" you")], [END], [USAGE]])
    exchange = await gateway.ask(chat(stream=True))
    assert exchange.headers["content-type"].startswith("text/event-stream")
    assert exchange.length is None
    assert gateway.log.count("write") == 2
    assert exchange.content == "Hi you"
    assert exchange.events[-1]["choices"][0]["finish_reason"] == "stop"
    assert exchange.done


@pytest.mark.parametrize(
    ("always", "fields", "wanted"),
    [
        (False, {}, False),
        (False, {"stream_options": {"include_usage": True}}, True),
        (False, {"stream_options": {"include_usage": False}}, False),
        (False, {"usage": {"include": True}}, True),
        (True, {}, True),
    ],
)
async def test_a_stream_ends_with_usage_where_it_is_wanted(
    always: bool,  # noqa: FBT001 - a column of the table
    fields: dict[str, Any],
    wanted: bool,  # noqa: FBT001 - a column of the table
) -> None:
    gateway = Rig(candidate("a"), dialect=OPENROUTER if always else OPENAI)
    gateway.script("a", GOOD)
    exchange = await gateway.ask(chat(stream=True, **fields))
    assert ("usage" in exchange.events[-1]) is wanted


async def test_a_full_caller_is_waited_for() -> None:
    gateway = Rig(candidate("a"))
    gateway.script("a", GOOD)
    exchange = gateway.exchange(chat(stream=True))
    exchange.full = True
    await gateway.flow(exchange)
    assert not exchange.full
    assert exchange.done


async def test_silence_is_filled_with_comments() -> None:
    gateway = Rig(candidate("a"), keep_alive_interval=0.001)
    answer = asyncio.Event()
    gateway.script("a", [answer, *GOOD])
    exchange = gateway.exchange(chat(stream=True))
    task = asyncio.create_task(gateway.flow(exchange))
    await exchange.begun.wait()
    assert exchange.sent.startswith(KEEP_ALIVE)
    answer.set()
    await task
    assert exchange.content == "Hi"
    assert exchange.done
    assert "x-tidegate-provider" not in exchange.headers


async def test_failover_goes_on_behind_a_comment() -> None:
    gateway = Rig(candidate("a"), candidate("b", price=("2", "3")), keep_alive_interval=0.001)
    cut = asyncio.Event()
    gateway.script("a", [cut, ConnectionLost("cut")])
    gateway.script("b", GOOD)
    exchange = gateway.exchange(chat(stream=True))
    task = asyncio.create_task(gateway.flow(exchange))
    await exchange.begun.wait()
    cut.set()
    await task
    assert exchange.content == "Hi"
    assert exchange.events[0]["provider"] == "b"


async def test_after_a_comment_a_failure_is_told_in_the_stream() -> None:
    gateway = Rig(candidate("a"), keep_alive_interval=0.001)
    cut = asyncio.Event()
    gateway.script("a", [cut, Overloaded("x", status=503)])
    exchange = gateway.exchange(chat(stream=True))
    task = asyncio.create_task(gateway.flow(exchange))
    await exchange.begun.wait()
    cut.set()
    await task
    assert exchange.status == 200
    assert [event["error"]["code"] for event in exchange.events] == ["overloaded"]
    assert exchange.complete
    assert not exchange.done


async def test_no_comment_comes_after_the_end() -> None:
    gateway = Rig(candidate("a"), keep_alive_interval=0.001)
    gateway.script("a", GOOD)
    exchange = await gateway.ask(chat(stream=True))
    await asyncio.sleep(0.01)  # a comment now would fail in FakeExchange.write
    assert exchange.sent.endswith(b"[DONE]\n\n")


async def test_an_error_in_a_stream_names_the_request_and_ends_the_choice() -> None:
    gateway = Rig(candidate("a"))
    gateway.script("a", [[text("Hi")], ConnectionLost("cut")])
    exchange = await gateway.ask(chat(stream=True))
    last = exchange.events[-1]
    assert last["id"] == gateway.outcome.generation_id
    assert last["choices"][0]["finish_reason"] == "error"
    assert last["error"]["metadata"]["attempts"][0]["provider"] == "a"


@pytest.mark.parametrize(
    ("dropped", "header"),
    [
        (("seed", "top_k"), "seed, top_k"),
        (("a\r\nx-evil: 1", "b,c", "ü", "seed"), "seed"),
        (tuple("x" * 100 + str(n) for n in range(20)), None),
    ],
    ids=["two", "hostile", "long"],
)
async def test_fields_that_were_not_sent_are_named(
    dropped: tuple[str, ...], header: str | None
) -> None:
    gateway = Rig(candidate("a"))
    gateway.backend.dropped = dropped
    gateway.script("a", GOOD)
    exchange = await gateway.ask(chat())
    told = exchange.headers["x-tidegate-dropped"]
    assert told == header or (header is None and len(told) <= 1024)


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"authorization": "Bearer bad"}, chat(), 401, "invalid_api_key"),
        ({"content_encoding": "gzip"}, chat(), 415, "invalid_content_encoding"),
        ({}, b"{", 400, "invalid_json"),
        ({}, chat(model="gpt-5"), 404, "model_not_found"),
        ({}, chat(messages=[{"content": "x" * 17_000}]), 404, "no_endpoint"),
    ],
)
async def test_refusals_before_admission_leave_no_trace_but_a_count(
    headers: dict[str, str], body: bytes, status: int, code: str
) -> None:
    gateway = Rig(candidate("a"), principal=principal(budget("1")))
    exchange = await gateway.ask(body, **headers)
    assert (exchange.status, exchange.error["code"]) == (status, code)
    assert exchange.headers["x-generation-id"].startswith("gen-")
    assert gateway.log == [f"start:{status}", "finish"]
    labels = (("api", "chat.completions"), ("code", code), ("status", str(status)))
    assert gateway.metrics.value(metrics.ERRORS, labels) == 1


async def test_no_endpoint_says_why_for_each() -> None:
    gateway = Rig(candidate("a", price=None), candidate("b", kind="moonshot"))
    exchange = await gateway.ask(chat(n=2))
    assert exchange.error["metadata"]["excluded"] == [
        {"endpoint": "b/kimi", "reason": "multiple_choices"},
        {"endpoint": "a/kimi", "reason": "unpriced"},
    ]


async def test_several_choices_keep_their_places() -> None:
    gateway = Rig(candidate("a"))
    ends = [Finish(1, "length", "max_tokens"), END]
    gateway.script("a", [[piece(1, content="two")], [text("one")], ends, [USAGE]])
    exchange = await gateway.ask(chat(n=2))
    contents = [choice["message"]["content"] for choice in exchange.json["choices"]]
    assert contents == ["one", "two"]
    assert [c["finish_reason"] for c in exchange.json["choices"]] == ["stop", "length"]
