"""Reasoning as each dialect tells it, and as it is left out: counted all the same."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from backends import Event, Finish, Text
from gateway.values import Basis, UsageView
from gateway.wire import anthropic_reply, openai_reply
from gateway.wire.notes import Notes
from pricing import Money, Quantities
from tests.builders import END, USAGE, piece, text

NAMED: dict[str, Any] = {"generation_id": "gen-1", "created": 1, "model": "m", "provider": "p"}
VIEW = UsageView(USAGE, Quantities(), Money("USD", 1), Basis.REPORTED)
THOUGHT = text('Let "me" see', reasoning=True)
DETAIL = {"type": "reasoning.text", "text": 'Let "me" see', "format": "unknown", "index": 0}
OWN = [{"type": "reasoning.encrypted", "data": "x", "format": "unknown", "index": 0}]
LOGPROBS = {"content": [{"token": "secret", "logprob": 0, "top_logprobs": []}]}


def deltas(*batches: Sequence[Event], **form: bool) -> list[dict[str, Any]]:
    encoder = openai_reply.StreamEncoder(**(NAMED | form))
    data = b"".join([*(encoder.encode(batch) for batch in batches), encoder.end(None)])
    blocks = data.removesuffix(openai_reply.DONE).removesuffix(b"\n\n").split(b"\n\n")
    choices = [json.loads(block.removeprefix(b"data: "))["choices"][0] for block in blocks]
    return [choice["delta"] for choice in choices[1:-1]]  # between the role and the end


def choice(*events: Event, **form: bool) -> dict[str, Any]:
    encoder = openai_reply.WholeEncoder(**form)
    encoder.add(events)
    (only,) = json.loads(encoder.end(**NAMED, view=VIEW))["choices"]
    return dict(only)


BOTH = {"reasoning": 'Let "me" see', "reasoning_content": 'Let "me" see'}


def test_v1_tells_reasoning_under_two_names() -> None:
    assert deltas([], [THOUGHT], [END]) == [BOTH]
    assert deltas([], [piece(reasoning='Let "me" see')], [END]) == [BOTH]
    message = choice(THOUGHT, text("Hi"), END)["message"]
    assert message == {"role": "assistant", "content": "Hi", **BOTH}


def test_openrouters_dialect_tells_it_in_details_too() -> None:
    told = BOTH | {"reasoning_details": [DETAIL]}
    assert deltas([], [THOUGHT], [END], details=True) == [told]
    assert deltas([THOUGHT], [END], details=True) == [told]  # with the role before it
    assert deltas([], [piece(reasoning='Let "me" see')], [END], details=True) == [told]
    assert choice(THOUGHT, text("Hi"), END, details=True)["message"] == {
        "role": "assistant",
        "content": "Hi",
        **told,
    }
    lone = piece(content="Hi", reasoning='Let "me" see')
    assert choice(lone, END, details=True)["message"] == {
        "role": "assistant",
        "content": "Hi",
        **told,
    }


def test_content_has_no_details() -> None:
    assert deltas([], [text("Hi")], [END], details=True) == [{"content": "Hi"}]
    assert deltas([], [piece(reasoning=None, content="Hi")], [END], details=True) == [
        {"reasoning": None, "reasoning_content": None, "content": "Hi"}
    ]


def test_a_providers_own_details_take_the_place_of_ours() -> None:
    own = piece(reasoning="a", reasoning_details=OWN)
    told = {"reasoning": "a", "reasoning_content": "a", "reasoning_details": OWN}
    assert deltas([], [own], [END], details=True) == [told]
    more = piece(reasoning="b", reasoning_details=OWN)
    message = choice(own, more, END, details=True)["message"]
    assert message["reasoning"] == "ab"
    assert message["reasoning_details"] == OWN + OWN


@pytest.mark.parametrize("details", [False, True])
def test_reasoning_that_is_not_wanted_is_counted_and_not_told(details: bool) -> None:  # noqa: FBT001 - a column
    events: list[Event] = [
        THOUGHT,
        piece(reasoning="secret", logprobs=LOGPROBS),
        piece(role="assistant", reasoning="secret", reasoning_details=OWN),
        piece(content="Hi", reasoning="secret", logprobs=LOGPROBS),
    ]
    encoder = openai_reply.StreamEncoder(**NAMED, exclude=True, details=details)
    sent = encoder.encode([]) + b"".join(encoder.encode([event]) for event in events)
    assert b"secret" not in sent
    assert b"reasoning" not in sent
    assert b"Let" not in sent
    assert (encoder.deltas, encoder.size > 50) == (4, True)
    assert deltas([], *([event] for event in events), [END], exclude=True) == [
        {"role": "assistant"},
        {"content": "Hi"},
    ]
    for batch in (events, [events[3]]):
        only = choice(*batch, END, exclude=True, details=details)
        assert only["message"] == {"role": "assistant", "content": "Hi"}
        assert only["logprobs"] is None


def test_probabilities_of_content_are_kept_without_those_of_reasoning() -> None:
    of_content = {"content": [{"token": "Hi", "logprob": 0, "top_logprobs": []}]}
    events: list[Event] = [
        piece(reasoning="secret", logprobs=LOGPROBS),
        piece(content="Hi", logprobs=of_content),
        END,
    ]
    assert choice(*events, exclude=True)["logprobs"]["content"] == of_content["content"]
    assert len(choice(*events)["logprobs"]["content"]) == 2


def test_an_answer_of_nothing_but_unwanted_reasoning_has_no_content() -> None:
    cut = Finish(0, "length", "length")
    only = choice(THOUGHT, cut, exclude=True)
    assert only["message"] == {"role": "assistant", "content": None}
    assert only["finish_reason"] == "length"


def test_messages_leave_out_the_thinking_block() -> None:
    encoder = anthropic_reply.StreamEncoder(**NAMED, exclude=True)
    pieces: list[Event] = [THOUGHT, piece(reasoning="secret"), text("Hi")]
    sent = b"".join(encoder.encode([event]) for event in pieces)
    assert b"thinking" not in sent
    assert b"secret" not in sent
    assert sent.count(b"content_block_start\n") == 1
    assert b'"index":0,"content_block":{"type":"text"' in sent
    assert encoder.deltas == 3
    whole = anthropic_reply.WholeEncoder(exclude=True)
    whole.add([*pieces, END])
    assert json.loads(whole.end(**NAMED, view=VIEW))["content"] == [{"type": "text", "text": "Hi"}]
    assert whole.deltas == 3


def test_a_piece_of_text_costs_one_chunk_however_it_is_told() -> None:
    forms: list[dict[str, Any]] = [{}, {"details": True}, {"exclude": True}]
    for form in forms:
        encoder = openai_reply.StreamEncoder(**(NAMED | form))
        encoder.encode([])
        assert encoder.encode([Text(b"a")]).count(b"data: ") == 1


def test_notes_are_bounded_and_stand_once() -> None:
    notes = Notes(dropped=tuple(["n" * 1000] * 1000))
    encoder = openai_reply.StreamEncoder(**NAMED)
    encoder.encode([Finish(0, "stop", "stop"), Finish(1, "stop", "stop")])
    end = encoder.end(None, notes)
    assert end.count(b'"tidegate"') == 1
    assert len(end) < 20_000
    chunks = [json.loads(block[6:]) for block in end.split(b"\n\n")[:-2]]
    assert [chunk["choices"][0]["index"] for chunk in chunks] == [0, 1]
    assert "tidegate" in chunks[1]
