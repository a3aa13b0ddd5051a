"""What real services sent is understood: see the README beside the recordings for when and where."""

import pytest

from backends.errors import UpstreamFault
from backends.openai_compat.reply import ChunkReader, Reading
from backends.values import Event, Piece, Usage
from tests.unit.backends.openai_compat.reading import (
    RECORDINGS,
    Answer,
    answer,
    events_of,
    recorded,
    recorded_whole,
)

_WEATHER = {"name": "get_weather"}
_THOUGHT = "The user asks; I answer briefly"
_HELLO = "Hello from a tiny random Kimi model on CPU."

_ROUTED = Answer(
    reasoning="The user wants the weather.",
    tools=[{"id": "functions.get_weather:0", **_WEATHER, "arguments": '{"city":"London"}'}],
    finish=[("tool_calls", "tool_calls")],
    usage=Usage(prompt=203, completion=92, cached=64, reasoning=39, reported_cost="0.00056085"),
)
_LEAKED = Answer(
    content="Let me see.",
    reasoning="The user wants the weather.",
    tools=_ROUTED.tools,
    finish=[("tool_calls", "stop")],
    usage=Usage(prompt=203, completion=92),
)

STREAMS = {
    "moonshot-stream.sse": Answer(
        content="ok",
        reasoning='User wants "ok" only',
        finish=[("stop", "stop")],
        usage=Usage(prompt=89, completion=22, cached=89, reasoning=6),
    ),
    "moonshot-stream-tool.sse": Answer(
        reasoning="Weather",
        tools=[{"id": "get_weather_0", **_WEATHER, "arguments": '{"city":"London"}'}],
        finish=[("tool_calls", "tool_calls")],
        usage=Usage(prompt=203, completion=92, reasoning=39),
    ),
    "novita-stream.sse": Answer(
        content="Paris.", finish=[("stop", "stop")], usage=Usage(prompt=40, completion=2)
    ),
    "vllm-stream.sse": Answer(
        content=_HELLO,
        reasoning=_THOUGHT,
        finish=[("stop", "stop")],
        usage=Usage(prompt=12, completion=19, reasoning=7),
    ),
    "vllm-stream-tool.sse": Answer(
        reasoning=_THOUGHT,
        tools=[{"id": "functions.get_weather:0", **_WEATHER, "arguments": '{"city": "Paris"}'}],
        finish=[("tool_calls", "tool_calls")],
        usage=Usage(prompt=122, completion=19, reasoning=7),
    ),
    "vllm-stream-length.sse": Answer(
        content="Hello from",
        reasoning=_THOUGHT,
        finish=[("length", "length")],
        usage=Usage(prompt=12, completion=9, reasoning=7),
    ),
    "vllm-stream-choices.sse": Answer(
        content="Hello",
        reasoning=_THOUGHT,
        finish=[("length", "length"), ("length", "length")],
        usage=Usage(prompt=12, completion=18, reasoning=14),
    ),
    "vllm-stream-logprobs.sse": Answer(
        content="Hello",
        reasoning=_THOUGHT,
        finish=[("length", "length")],
        usage=Usage(prompt=12, completion=9, reasoning=7),
    ),
    "openrouter-stream-tool.sse": _ROUTED,
    "novita-stream-leak.sse": _LEAKED,
    "vllm-stream-cached.sse": Answer(
        content=_HELLO,
        reasoning=_THOUGHT,
        finish=[("stop", "stop")],
        usage=Usage(prompt=238, completion=19, cached=128, reasoning=7),
    ),
}
WHOLE = {
    "openrouter-whole-tool.json": _ROUTED,
    "novita-whole-leak.json": _LEAKED,
    "moonshot-whole-tool.json": Answer(
        content="ok",
        reasoning="The user wants the weather.",
        tools=[{"id": "get_weather_0", **_WEATHER, "arguments": '{"city":"London"}'}],
        finish=[("tool_calls", "tool_calls")],
        usage=Usage(prompt=203, completion=92, reasoning=39),
    ),
    "vllm-whole-tool.json": Answer(
        reasoning="A tool is needed",
        tools=[{"id": "functions.get_weather:0", **_WEATHER, "arguments": '{"city": "Paris"}'}],
        finish=[("tool_calls", "tool_calls")],
        usage=Usage(prompt=138, completion=16, cache_write=128, reasoning=4),
    ),
    "vllm-whole.json": Answer(
        content=_HELLO,
        reasoning=_THOUGHT,
        finish=[("stop", "stop")],
        usage=Usage(prompt=12, completion=19, reasoning=7),
    ),
}
UNTIL = {"vllm-stream-engine-death.sse": -1, "vllm-stream-shutdown.sse": -2}
FAILED = {
    "vllm-stream-engine-death.sse": ("InternalServerError", 500),
    "vllm-stream-shutdown.sse": ("abort", None),
}


def reading(name: str) -> Reading:
    return Reading(leaks="leak" in name)


@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_stream_is_understood(name: str) -> None:
    assert answer(events_of(*recorded(name), reading=reading(name))) == STREAMS[name]


@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_stream_is_understood_to_its_end_mark(name: str) -> None:
    reader, events = ChunkReader(), list[Event]()
    *chunks, end = recorded(name)
    for payload in chunks:
        assert not reader.done
        reader.read(payload, events)
    reader.read(end, events)
    assert reader.done
    assert reader.malformed == 0
    assert reader.upstream_id is not None


@pytest.mark.parametrize("name", WHOLE)
def test_a_recorded_whole_reply_is_understood(name: str) -> None:
    upstream_id, events = recorded_whole(name, reading(name))
    assert upstream_id is not None
    assert answer(events) == WHOLE[name]


@pytest.mark.parametrize("name", FAILED)
def test_a_recorded_failure_comes_after_the_text_that_came_before_it(name: str) -> None:
    reader, events = ChunkReader(), list[Event]()
    *before, failure = recorded(name)[: UNTIL[name]]
    for payload in before:
        reader.read(payload, events)
    with pytest.raises(UpstreamFault) as caught:
        reader.read(failure, events)
    assert (caught.value.native_code, caught.value.status) == FAILED[name]
    assert answer(events) == Answer(content="Hello from a", reasoning=_THOUGHT)


def test_the_marks_between_moonshots_phases_are_no_events() -> None:
    assert not any(isinstance(e, Piece) for e in events_of(*recorded("moonshot-stream.sse")))


def test_every_recording_is_read_by_a_test() -> None:
    there = {path.name for path in RECORDINGS.iterdir() if not path.name.startswith("statements-")}
    there -= {"README.md"}
    assert there == {*STREAMS, *WHOLE, *FAILED}
