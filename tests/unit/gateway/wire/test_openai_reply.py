"""Events to bytes that OpenAI's own models parse."""

import json
from decimal import Decimal
from typing import Any

import pytest
from msgspec import Raw
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from backends import Event, Finish, Piece, Usage
from backends.errors import BadReply
from gateway.values import Basis, UsageView
from gateway.wire.openai_reply import DONE, StreamEncoder, WholeEncoder
from pricing import Money, Quantities
from tests.builders import END, piece, text

NAMED = {"generation_id": "gen-1", "created": 1_795_348_800, "model": "m/k", "provider": 'a"b'}
USAGE = Usage(prompt=100, completion=20, cached=30, cache_write=5, cache_write_1h=6, reasoning=7)


def view(pico: int = 79_800_000, currency: str = "USD", basis: Basis = Basis.REPORTED) -> UsageView:
    return UsageView(USAGE, Quantities(), Money(currency, pico), basis)


def streamed(*batches: list[Event], usage: UsageView | None = None) -> list[Any]:
    """The JSON of every chunk, each of which OpenAI's model takes."""
    encoder = StreamEncoder(**NAMED)  # type: ignore[arg-type] # a mixed mapping
    data = b"".join([*(encoder.encode(batch) for batch in batches), encoder.end(usage)])
    assert data.endswith(b"\n\n" + DONE)
    blocks = data.removesuffix(DONE).removesuffix(b"\n\n").split(b"\n\n")
    chunks = [json.loads(block.removeprefix(b"data: ")) for block in blocks]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    return chunks


def whole(*batches: list[Event], usage: UsageView | None = None) -> Any:
    """The JSON of a whole answer, which OpenAI's model takes."""
    encoder = WholeEncoder()
    for batch in batches:
        encoder.add(batch)
    data = encoder.end(**NAMED, view=usage or view())  # type: ignore[arg-type] # a mixed mapping
    ChatCompletion.model_validate_json(data, strict=True)
    return json.loads(data)


def tool(index: int, **parts: Any) -> Piece:
    """A fragment of a tool call as providers stream them."""
    call: dict[str, Any] = {"index": index}
    if "id" in parts:
        call |= {"id": parts["id"], "type": "function"}
    call["function"] = {name: parts[name] for name in ("name", "arguments") if name in parts}
    return piece(tool_calls=[call])


def test_a_stream_opens_with_the_role_once() -> None:
    chunks = streamed([text("a")], [text("b")], [END])
    roles = [chunk["choices"][0]["delta"].get("role") for chunk in chunks]
    assert roles == ["assistant", None, None, None]


def test_every_chunk_carries_our_names() -> None:
    for chunk in streamed([text("a"), tool(0, id="c", name="f", arguments="")], [END]):
        assert (chunk["id"], chunk["created"], chunk["model"]) == ("gen-1", 1_795_348_800, "m/k")
        assert chunk["provider"] == 'a"b'


@pytest.mark.parametrize(
    "content", ["plain", 'quo"ted', "back\\slash", "new\nline", "ü 😀", "\x00"]
)
def test_text_comes_out_as_it_went_in(content: str) -> None:
    assert streamed([text(content)])[1]["choices"][0]["delta"] == {"content": content}
    assert whole([text(content)], [END])["choices"][0]["message"]["content"] == content


def test_reasoning_goes_by_both_names() -> None:
    delta = streamed([text("hm", reasoning=True)])[1]["choices"][0]["delta"]
    assert delta == {"reasoning": "hm", "reasoning_content": "hm"}
    of_piece = streamed([piece(1, reasoning="hm")])[1]["choices"][0]
    assert of_piece["delta"] == {"reasoning": "hm", "reasoning_content": "hm"}
    message = whole([text("h", reasoning=True)], [piece(reasoning="m"), text("Hi")])["choices"][0]
    assert message["message"]["reasoning"] == message["message"]["reasoning_content"] == "hm"
    assert message["message"]["content"] == "Hi"


def test_the_ends_come_after_all_text_with_the_providers_own_word() -> None:
    ends: list[Event] = [Finish(0, "length", "max_tokens"), Finish(1, "stop", "eos")]
    chunks = streamed(ends, [text("late")])
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [
        None,
        None,
        "length",
        "stop",
    ]
    last = chunks[-1]["choices"][0]
    assert (last["index"], last["native_finish_reason"], last["delta"]) == (1, "eos", {})


def test_usage_comes_last_in_a_chunk_without_choices() -> None:
    last = streamed([text("a")], [END], usage=view())[-1]
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "cost": 0.0000798,
        "is_byok": False,
        "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 11},
        "completion_tokens_details": {"reasoning_tokens": 7},
    }


def test_usage_that_is_not_asked_for_is_not_sent() -> None:
    assert all("usage" not in chunk for chunk in streamed([text("a"), USAGE], [END]))


@pytest.mark.parametrize("pico", [0, 1, 79_800_000, 10**12, 123_456_789_012_345_678_901])
def test_the_cost_is_exact(pico: int) -> None:
    encoder = WholeEncoder()
    encoder.add([text("a"), END])
    data = encoder.end(**NAMED, view=view(pico))  # type: ignore[arg-type] # a mixed mapping
    cost = json.loads(data, parse_float=Decimal, parse_int=Decimal)["usage"]["cost"]
    assert cost == Decimal(pico) / 10**12


def test_a_foreign_currency_and_an_estimate_are_marked() -> None:
    usage = whole([text("a")], [END], usage=view(currency="CNY", basis=Basis.ESTIMATED))["usage"]
    assert (usage["cost_currency"], usage["estimated"]) == ("CNY", True)


def test_what_was_encoded_is_counted() -> None:
    encoder = StreamEncoder(**NAMED)  # type: ignore[arg-type] # a mixed mapping
    encoder.encode([text("a"), text("b", reasoning=True), tool(0, name="f")])
    encoder.encode([piece(meaningful=False, annotations=[]), Usage(prompt=1, completion=1), USAGE])
    assert (encoder.deltas, encoder.usage) == (3, USAGE)


def test_a_failure_ends_the_stream_without_done() -> None:
    encoder = StreamEncoder(**NAMED)  # type: ignore[arg-type] # a mixed mapping
    encoder.encode([text("a")])
    data = encoder.failure(b'{"message":"cut","code":"connection_lost"}')
    chunk = json.loads(data.removeprefix(b"data: "))
    ChatCompletionChunk.model_validate({**chunk, "choices": []}, strict=True)
    assert chunk["error"] == {"message": "cut", "code": "connection_lost"}
    assert chunk["choices"][0]["finish_reason"] == "error"
    assert data.endswith(b"}\n\n")


def test_a_stream_whose_provider_names_no_end_ends_with_stop() -> None:
    last = streamed([text("a")])[-1]["choices"][0]
    assert (last["delta"], last["finish_reason"]) == ({}, "stop")


def test_tool_calls_pass_through_a_stream() -> None:
    chunks = streamed([tool(0, id="c1", name="f", arguments='{"a"')], [tool(0, arguments=":1}")])
    deltas = [chunk["choices"][0]["delta"]["tool_calls"][0] for chunk in chunks[1:3]]
    assert deltas[0]["function"] == {"name": "f", "arguments": '{"a"'}
    assert deltas[1] == {"index": 0, "function": {"arguments": ":1}"}}


def test_fragments_of_tool_calls_are_merged() -> None:
    message = whole(
        [tool(0, id="c1", name="f", arguments="")],
        [tool(1, id="c2", name="g", arguments='{"q":"ü')],
        [tool(0, arguments='{"a":"\\"')],
        [tool(0, arguments='x"}'), tool(1, arguments='\\n"}')],
        [Finish(0, "tool_calls", "tool_calls")],
    )["choices"][0]["message"]
    assert message["content"] is None
    calls = {call["id"]: call["function"] for call in message["tool_calls"]}
    assert {name: call["name"] for name, call in calls.items()} == {"c1": "f", "c2": "g"}
    assert json.loads(calls["c1"]["arguments"]) == {"a": '"x'}
    assert json.loads(calls["c2"]["arguments"]) == {"q": "ü\n"}


@pytest.mark.parametrize(
    "calls",
    [
        "none",
        [{"index": "0"}],
        [{"index": 0, "function": {"name": "f", "arguments": {"a": 1}}}],
        [{"index": 0, "function": {"name": 5, "arguments": "{}"}}],
    ],
)
def test_tool_calls_in_no_known_form_are_the_providers_fault(calls: Any) -> None:
    encoder = WholeEncoder()
    with pytest.raises(BadReply):
        encoder.add([piece(tool_calls=calls)])


def test_a_tool_call_in_one_piece_needs_no_index() -> None:
    calls = [
        {"id": n, "type": "function", "function": {"name": n, "arguments": "{}"}} for n in "ab"
    ]
    message = whole([piece(tool_calls=calls)], [END])["choices"][0]["message"]
    assert [call["id"] for call in message["tool_calls"]] == ["a", "b"]


def test_choices_are_told_apart_and_sorted() -> None:
    answer = whole(
        [piece(2, content="c"), piece(1, content="b")], [text("a"), piece(1, content="B")]
    )
    contents = [(c["index"], c["message"]["content"]) for c in answer["choices"]]
    assert contents == [(0, "a"), (1, "bB"), (2, "c")]
    pieces = streamed([piece(2, content="c")])[:-1]
    assert [chunk["choices"][0]["index"] for chunk in pieces] == [0, 2]


def logprob(token: str) -> dict[str, Any]:
    return {"token": token, "logprob": -0.5, "bytes": None, "top_logprobs": []}


def test_log_probabilities_of_all_pieces_are_kept() -> None:
    pieces: list[Event] = [
        piece(content=token, logprobs={"content": [logprob(token)], "refusal": None})
        for token in ("a", "b", "c")
    ]
    choice = whole(pieces, [END])["choices"][0]
    assert [entry["token"] for entry in choice["logprobs"]["content"]] == ["a", "b", "c"]
    chunks = streamed(pieces)
    assert chunks[2]["choices"][0]["logprobs"]["content"][0]["token"] == "b"


def test_log_probabilities_in_no_known_form_do_not_spoil_the_answer() -> None:
    pieces: list[Event] = [piece(content="a", logprobs=[1]), piece(content="b", logprobs={})]
    choice = whole(pieces, [END])["choices"][0]
    assert choice["message"]["content"] == "ab"


def test_a_refusal_is_kept() -> None:
    message = whole([piece(refusal="I "), piece(refusal="will not")], [END])["choices"][0][
        "message"
    ]
    assert (message["content"], message["refusal"]) == (None, "I will not")


def test_a_whole_answer_that_names_no_end_has_one() -> None:
    choice = whole([text("a")])["choices"][0]
    assert (choice["finish_reason"], choice["logprobs"]) == ("stop", None)


def test_unknown_members_of_a_message_pass_through() -> None:
    extra = Piece(0, {"reasoning_details": Raw(b'[{"type":"x"}]')}, meaningful=False)
    message = whole([extra, text("a")], [END])["choices"][0]["message"]
    assert message["reasoning_details"] == [{"type": "x"}]
