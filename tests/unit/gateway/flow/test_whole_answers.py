"""An answer that is not streamed is seen whole before it is chosen: until then another may do better."""

import asyncio
import json
from typing import Any

import pytest

from backends import BadToolCall, Finish
from backends.errors import ConnectionLost
from gateway.telemetry import metrics
from gateway.values import Basis, DataPolicy, Result
from pricing import Money
from tests.builders import END, USAGE, candidate, chat, piece, principal, text
from tests.fakes.flow import Rig, Step

_FUNCTION = {
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
_TOOL = {"type": "function", "function": _FUNCTION}
_STRICT = {"type": "function", "function": {**_FUNCTION, "strict": True}}
_GOOD: tuple[Step, ...] = ([text("Hi")], [END], [USAGE])


def _called(arguments: str, name: str = "get_weather", ends: str = "tool_calls") -> list[Step]:
    call = {"index": 0, "id": "c", "function": {"name": name, "arguments": arguments}}
    return [[piece(tool_calls=[call])], [Finish(0, ends, ends)], [USAGE]]


def _rig() -> Rig:
    return Rig(candidate("a"), candidate("b", price=("2", "3")))


def _asked(**more: Any) -> bytes:
    return chat(tools=[_TOOL], **more)


async def test_one_that_breaks_off_in_the_middle_is_given_by_the_next_endpoint() -> None:
    gateway = _rig()
    gateway.script("a", [[text("Hel")], [text("lo")], ConnectionLost("cut")])
    gateway.script("b", _GOOD)
    exchange = await gateway.ask(body := chat())
    assert exchange.status == 200
    assert exchange.json["choices"][0]["message"]["content"] == "Hi"
    assert exchange.json["provider"] == "b"
    failed, good = gateway.outcome.attempts
    assert (failed.result, failed.basis) == (Result.FAILED, Basis.ESTIMATED)
    # What had come of it is our cost; the caller pays for the answer that it got.
    assert failed.cost == Money("USD", (-(-len(body) // 4) + 2 * 2) * 10**6)
    assert failed.charge.pico == 0
    assert good.charge == Money("USD", (10 * 2 + 5 * 3) * 10**6)


async def test_a_stream_that_breaks_off_stays_with_its_endpoint() -> None:
    gateway = _rig()
    gateway.script("a", [[text("Hel")], ConnectionLost("cut")])
    exchange = await gateway.ask(chat(stream=True))
    assert gateway.asked == ["a"]
    assert b'"error"' in exchange.sent
    assert b"[DONE]" not in exchange.sent


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        (_TOOL, '{"city": "Par'),
        (_TOOL, '"Paris"'),
        (_STRICT, '{"town": "Paris"}'),
    ],
)
async def test_a_tool_call_that_is_of_no_use_goes_to_the_next_endpoint(
    tool: dict[str, Any], arguments: str
) -> None:
    gateway = _rig()
    gateway.script("a", _called(arguments))
    gateway.script("b", _called('{"city": "Paris"}'))
    exchange = await gateway.ask(chat(tools=[tool]))
    assert gateway.asked == ["a", "b"]
    (call,) = exchange.json["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}
    assert gateway.outcome.attempts[0].error_code == "bad_tool_call"


@pytest.mark.parametrize(
    "script",
    [
        _called('{"town": "Paris"}'),  # not what the schema says, but the caller did not insist
        _called("{}", name="get_wether"),
        _called('{"city": "Par', ends="length"),  # cut by the caller's own cap
    ],
)
async def test_a_tool_call_with_which_one_can_live_is_delivered(script: list[Step]) -> None:
    gateway = _rig()
    gateway.script("a", script)
    exchange = await gateway.ask(_asked())
    assert gateway.asked == ["a"]
    assert exchange.status == 200


async def test_if_no_endpoint_calls_the_tool_well_there_is_one_error() -> None:
    gateway = _rig()
    gateway.script("a", _called('{"city": "Par'))
    gateway.script("b", _called("nonsense"))
    exchange = await gateway.ask(_asked())
    assert exchange.status == 502
    error = exchange.json["error"]
    assert error["code"] == "bad_tool_call"
    assert [seen["code"] for seen in error["metadata"]["attempts"]] == ["bad_tool_call"] * 2
    assert b"nonsense" not in exchange.sent


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (_called('{"town": "Paris"}'), {"fault": "schema_mismatch"}),
        (_called('{"city": 1}'), {"fault": "schema_mismatch", "where": "/city"}),
        (_called("{}", name="get_wether"), {"fault": "unknown_tool"}),
    ],
)
async def test_what_is_wrong_with_a_tool_call_is_told_and_counted(
    script: list[Step], fault: dict[str, str], *, stream: bool
) -> None:
    gateway = _rig()
    gateway.script("a", script)
    exchange = await gateway.ask(_asked(stream=stream))
    end = exchange.events[-1] if stream else exchange.json
    (told,) = end["tidegate"]["tool_call_faults"]
    assert told.pop("name") in {"get_weather", "get_wether"}
    assert told == {"index": 0, **fault}
    where = (("model", gateway.outcome.model), ("provider", "a"))
    assert gateway.metrics.value(metrics.TOOL_CALLS, where) == 1
    assert gateway.metrics.value(metrics.TOOL_FAULTS, (("fault", fault["fault"]), *where)) == 1


async def test_a_stream_tells_of_arguments_that_are_no_json_and_is_delivered() -> None:
    gateway = _rig()
    gateway.script("a", _called('{"city": "Par'))
    exchange = await gateway.ask(_asked(stream=True))
    assert exchange.sent.endswith(b"data: [DONE]\n\n")
    (told,) = exchange.events[-1]["tidegate"]["tool_call_faults"]
    assert told["fault"] == "invalid_json"


@pytest.mark.parametrize("stream", [True, False])
async def test_of_good_tool_calls_there_is_nothing_to_tell(*, stream: bool) -> None:
    gateway = _rig()
    gateway.script("a", _called('{"city": "Paris"}'))
    exchange = await gateway.ask(_asked(stream=stream))
    assert b"tidegate" not in exchange.sent
    where = (("model", gateway.outcome.model), ("provider", "a"))
    assert gateway.metrics.value(metrics.TOOL_CALLS, where) == 1


async def test_a_tool_call_that_ended_an_attempt_counts_against_its_endpoint() -> None:
    gateway = _rig()
    gateway.script("a", _called('{"city": "Par'))
    gateway.script("b", _called('{"city": "Paris"}'))
    await gateway.ask(_asked())
    where = (("model", gateway.outcome.model), ("provider", "a"))
    assert gateway.metrics.value(metrics.TOOL_FAULTS, (("fault", "invalid_json"), *where)) == 1


@pytest.mark.parametrize("words", [None, "sk_secret prompt"])
async def test_an_attempt_that_the_adapter_ended_for_its_tool_call_counts_as_one_that_is_no_json(
    words: str | None,
) -> None:
    gateway = _rig()
    gateway.script("a", BadToolCall("x", native_code=words))
    gateway.script("b", _called('{"city": "Paris"}'))
    await gateway.ask(_asked())
    where = (("model", gateway.outcome.model), ("provider", "a"))
    assert gateway.metrics.value(metrics.TOOL_FAULTS, (("fault", "invalid_json"), *where)) == 1


async def test_a_fault_is_told_by_its_name_under_zero_retention_too() -> None:
    safe = DataPolicy(trains=False, retains=False, source="own", date="2026-11-01")
    one, two = candidate("a", policy=safe), candidate("b", price=("2", "3"), policy=safe)
    gateway = Rig(one, two, principal=principal(zdr=True))
    gateway.script("a", _called('{"city": 1}'))
    gateway.script("b", _called('{"city": "Paris"}'))
    await gateway.ask(chat(tools=[_STRICT]))
    assert gateway.asked == ["a", "b"]
    where = (("model", gateway.outcome.model), ("provider", "a"))
    assert gateway.metrics.value(metrics.TOOL_FAULTS, (("fault", "schema_mismatch"), *where)) == 1


async def test_an_answer_without_end_is_broken_off_whatever_it_is_made_of() -> None:
    gateway = Rig(candidate("a"))
    beyond = asyncio.Event()  # never set: whoever waits for it has read on without end
    gateway.script("a", [[text("Hi")], [USAGE] * 1000, beyond])
    exchange = await gateway.ask(chat(max_tokens=10))
    assert exchange.status == 502
    assert gateway.backend.replies[0].aborted
