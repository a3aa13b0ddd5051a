"""Reasoning is told once whatever its form, and usage is found wherever it stands."""

import json as jsonlib
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from backends.openai_compat.reasoning import read_details
from backends.openai_compat.reply import ChunkReader, read_whole
from backends.values import Event, Piece, Text, Usage
from tests.unit.backends.openai_compat.reading import answer, chunk, events_of

U = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
TEN = Usage(prompt=10, completion=4)


def text(words: str | None, **more: Any) -> dict[str, Any]:
    return {"type": "reasoning.text", "text": words, "format": "unknown", "index": 0} | more


SUMMARY = {"type": "reasoning.summary", "summary": "Hm"}
ENCRYPTED = {"type": "reasoning.encrypted", "data": "AAAA", "id": "r1"}


def whole(message: dict[str, Any], **more: Any) -> list[Event]:
    body = {"choices": [{"message": message, "finish_reason": "stop"}]} | more
    return read_whole(msgspec.json.encode(body))[1]


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning": "Hm", "reasoning_details": [text("Hm")]},
        {"reasoning_details": [text("Hm")]},
        {"reasoning_details": [text("H"), text("m", signature=None)]},
        {"reasoning": "", "reasoning_details": [text("Hm", signature="")]},
        {"reasoning": "Hm", "reasoning_details": []},
        {"reasoning": "Hm", "reasoning_details": None},
        {"reasoning": "Hm", "reasoning_details": [text("")]},
        {"reasoning_content": "Hm", "reasoning": "Hm", "reasoning_details": [text("Hm")]},
    ],
)
def test_details_that_only_repeat_the_text_are_told_once(delta: dict[str, Any]) -> None:
    assert events_of(chunk(delta), chunk(delta)) == [Text(b"Hm", reasoning=True)] * 2
    (piece, _) = whole(delta)
    assert piece == Piece(0, {"reasoning": Raw(b'"Hm"')}, meaningful=True)


@pytest.mark.parametrize(
    "details",
    [
        [text("Hm", signature="c2ln")],
        [text("Hm"), ENCRYPTED],
        [SUMMARY],
        [text("Hm"), {"type": "reasoning.server_tool_call", "name": "x"}],
    ],
)
@pytest.mark.parametrize("said", [{}, {"reasoning": "Hm"}])
def test_details_that_say_more_go_on_beside_their_text(
    details: list[Any], said: dict[str, str]
) -> None:
    raw = Raw(msgspec.json.encode(details))
    wanted = Piece(0, {"reasoning": Raw(b'"Hm"'), "reasoning_details": raw}, meaningful=True)
    (told,) = events_of(chunk(said | {"reasoning_details": details}))
    assert told == wanted
    assert whole(said | {"reasoning_details": details})[0] == wanted


def test_encrypted_details_go_on_alone() -> None:
    raw = Raw(msgspec.json.encode([ENCRYPTED]))
    assert events_of(chunk({"reasoning_details": [ENCRYPTED]})) == [
        Piece(0, {"reasoning_details": raw}, meaningful=False)
    ]


def test_details_that_differ_from_the_text_are_kept() -> None:
    (told,) = events_of(chunk({"reasoning": "Hm", "reasoning_details": [text("Oh")]}))
    assert isinstance(told, Piece)
    assert told.delta.keys() == {"reasoning", "reasoning_details"}


@pytest.mark.parametrize(
    "details", [{}, "x", 7, [7], ["x"], [{"type": 7}], [{"text": {}}], {"a": 1}]
)
def test_details_in_no_known_form_go_on_and_void_nothing(details: Any) -> None:
    (told,) = events_of(chunk({"content": "x", "reasoning_details": details}))
    assert isinstance(told, Piece)
    assert told.delta["content"] == Raw(b'"x"')
    assert not read_details(Raw(jsonlib.dumps(details).encode())).plain


@pytest.mark.parametrize(
    "document",
    [
        {"choices": [{"index": 0, "usage": U}]},
        {"choices": [{"index": 0, "usage": U}], "usage": U},
        {"choices": [{"index": 0}], "usage": U},
        {"choices": [{"index": 0, "usage": None}], "usage": U},
        {"choices": [{"index": 0}], "x_groq": {"id": "req_1", "usage": U}},
        {"choices": [{"index": 0}], "usage": None, "x_groq": {"usage": U}},
        {"choices": [{"index": 0}], "usage": U, "x_groq": {"usage": {"prompt_tokens": 1}}},
    ],
    ids=[
        *("in the choice", "in both places", "beside choices", "null in the choice"),
        *("Groq's", "Groq's beside null", "Groq's and another"),
    ],
)
def test_usage_is_the_same_in_stream_and_whole(document: dict[str, Any]) -> None:
    for member, finish in (("delta", None), ("message", "stop")):
        choice = document["choices"][0] | {member: {"content": "x"}, "finish_reason": finish}
        body = msgspec.json.encode(document | {"choices": [choice]})
        events = events_of(body) if member == "delta" else read_whole(body)[1]
        told = answer(events)
        assert (told.content, told.usage) == ("x", TEN)


def test_of_several_statements_the_last_stands() -> None:
    growing = [chunk({"content": "x"}, usage=U | {"completion_tokens": n}) for n in (1, 2, 3)]
    last = msgspec.json.encode({"choices": [], "usage": U | {"completion_tokens": 9}})
    assert answer(events_of(*growing)).usage == Usage(prompt=10, completion=3)
    assert answer(events_of(*growing, last)).usage == Usage(prompt=10, completion=9)


@pytest.mark.parametrize(
    "usage",
    [
        *(7, "x", [], [U], {"prompt_tokens": "10", "completion_tokens": 4}),
        *(U | {"prompt_tokens_details": 7}, U | {"completion_tokens": 1.5}),
    ],
)
def test_usage_that_cannot_be_read_voids_only_itself(usage: Any) -> None:
    reader, events = ChunkReader(), list[Event]()
    for payload in (
        {"choices": [{"delta": {"content": "a"}, "usage": usage}]},
        {"choices": [{"delta": {"content": "b"}}], "usage": usage},
        {"choices": [{"delta": {"content": "c"}}], "x_groq": usage},
        {"choices": [{"delta": {"content": "d"}}], "x_groq": {"usage": usage}},
    ):
        reader.read(jsonlib.dumps(payload).encode(), events)
    assert answer(events).content == "abcd"
    assert answer(events).usage is None
    assert reader.malformed == 0
    body = jsonlib.dumps({"choices": [{"message": {"content": "a"}}], "usage": usage}).encode()
    assert answer(read_whole(body)[1]).content == "a"


def test_absurd_counts_are_passed_on_for_others_to_judge() -> None:
    usage = {"prompt_tokens": -1, "completion_tokens": 1 << 60, "cached_tokens": 99}
    (told,) = events_of(msgspec.json.encode({"choices": [], "usage": usage}))
    assert told == Usage(prompt=-1, completion=1 << 60, cached=99)


def test_cache_writes_and_costs_of_an_aggregator_are_read() -> None:
    """OpenRouter's usage (its contract of 2026-08-22)."""
    usage = U | {
        "cost": 0.0011,
        "cost_details": {"upstream_inference_cost": None},
        "is_byok": False,
        "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 3, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 1, "image_tokens": 0},
    }
    (told,) = events_of(msgspec.json.encode({"choices": [], "usage": usage}))
    assert told == Usage(
        prompt=10, completion=4, cached=2, cache_write=3, reasoning=1, reported_cost="0.0011"
    )
