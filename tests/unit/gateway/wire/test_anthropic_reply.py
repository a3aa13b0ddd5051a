"""Events to messages and event streams that Anthropic's own SDK takes."""

import json
from decimal import Decimal
from typing import Any

import pytest
from anthropic.types import Message

from backends import Event, Finish, Piece, Usage
from backends.errors import BadReply
from gateway.values import Basis, UsageView
from gateway.wire.anthropic_reply import StreamEncoder, WholeEncoder, generation_id, message_id
from gateway.wire.anthropic_tools import ToolCall
from gateway.wire.tool_ids import incoming
from pricing import Money, Quantities
from tests.builders import END, piece, text
from tests.fakes.anthropic_events import events, message

NAMED = {"generation_id": "gen-1", "created": 1_795_348_800, "model": "m/k", "provider": 'a"b'}
USAGE = Usage(prompt=100, completion=20, cached=30, cache_write=5, cache_write_1h=6, reasoning=7)
CALLED = Finish(0, "tool_calls", "tool_calls")


def view(pico: int = 79_800_000, currency: str = "USD", basis: Basis = Basis.REPORTED) -> UsageView:
    return UsageView(USAGE, Quantities(), Money(currency, pico), basis)


def stream(*batches: list[Event], usage: UsageView | None = None) -> bytes:
    encoder = StreamEncoder(**NAMED)  # type: ignore[arg-type] # a mixed mapping
    data = b"".join([encoder.encode(batch) for batch in batches])
    assert encoder.fault is None
    return data + encoder.end(usage or view())


def whole(*batches: list[Event], usage: UsageView | None = None) -> Any:
    encoder = WholeEncoder()
    for batch in batches:
        encoder.add(batch)
    encoder.check()
    data = encoder.end(**NAMED, view=usage or view())  # type: ignore[arg-type] # a mixed mapping
    Message.model_validate_json(data, strict=True)
    return json.loads(data, parse_float=Decimal)


def both(*batches: list[Event]) -> Any:
    """The content and the ending of an answer, which are the same streamed and whole."""
    once = whole(*batches)
    told = message(stream(*batches))
    for name in ("id", "model", "role", "type", "provider", "content", "stop_reason"):
        assert told[name] == once[name]
    return once


def tool(index: int, **parts: Any) -> Piece:
    """A fragment of a tool call as providers stream them."""
    call: dict[str, Any] = {"index": index}
    if "id" in parts:
        call |= {"id": parts["id"], "type": "function"}
    call["function"] = {name: parts[name] for name in ("name", "arguments") if name in parts}
    return piece(tool_calls=[call])


def calls(answer: Any) -> list[tuple[str, str, Any]]:
    """Native id, name and input of each tool_use block."""
    found = [block for block in answer["content"] if block["type"] == "tool_use"]
    return [(incoming(block["id"]), block["name"], block["input"]) for block in found]


def test_ids_of_messages_lead_back_to_the_generation() -> None:
    assert message_id("gen-01ng") == "msg_01ng"
    assert generation_id("msg_01ng") == "gen-01ng"
    assert generation_id("gen-01ng") == "gen-01ng"


def test_a_message_says_who_answered_and_why_it_ended() -> None:
    answer = both([text("Hi")], [END])
    assert answer["id"] == "msg_1"
    assert (answer["model"], answer["provider"]) == ("m/k", 'a"b')
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("end_turn", None)


def test_reasoning_and_text_are_blocks_of_their_own() -> None:
    think = [text("Let me ", reasoning=True), text("see", reasoning=True)]
    answer = both([*think, text("It is ")], [text('"so"\n'), END])
    assert answer["content"] == [
        {"type": "thinking", "thinking": "Let me see", "signature": "gen-1"},
        {"type": "text", "text": 'It is "so"\n'},
    ]


def test_a_stream_goes_in_anthropics_order() -> None:
    told = events(stream([text("hm", reasoning=True)], [text("Hi"), text("!")], [END]))
    assert [(event["type"], event.get("index")) for event in told] == [
        ("message_start", None),
        ("content_block_start", 0),
        ("content_block_delta", 0),
        ("content_block_delta", 0),
        ("content_block_stop", 0),
        ("content_block_start", 1),
        ("content_block_delta", 1),
        ("content_block_delta", 1),
        ("content_block_stop", 1),
        ("message_delta", None),
        ("message_stop", None),
    ]
    assert told[1]["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}
    assert told[3]["delta"] == {"type": "signature_delta", "signature": "gen-1"}
    assert told[5]["content_block"] == {"type": "text", "text": ""}
    assert told[0]["message"]["usage"] == {
        "input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 0,
    }


def test_each_event_goes_out_as_it_comes() -> None:
    encoder = StreamEncoder(**NAMED)  # type: ignore[arg-type] # a mixed mapping
    first = encoder.encode([text("Hi")])
    assert [event["type"] for event in events(first)] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
    ]
    assert events(encoder.encode([text(" you")])) == [
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": " you"},
        }
    ]
    assert encoder.encode([END]) == b""
    call = tool(0, id="functions.f:0", name="f", arguments='{"a')
    assert [event["type"] for event in events(encoder.encode([call]))] == [
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
    ]


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        (Finish(0, "stop", "stop"), "end_turn"),
        (Finish(0, "length", "length"), "max_tokens"),
        (Finish(0, "tool_calls", "tool_calls"), "tool_use"),
        (Finish(0, "content_filter", "content_filter"), "refusal"),
        (Finish(0, "stop", "stop_sequence"), "stop_sequence"),
        (Finish(0, "stop", "eos"), "end_turn"),
    ],
)
def test_why_an_answer_ended(finish: Finish, reason: str) -> None:
    assert both([text("Hi")], [finish])["stop_reason"] == reason


def test_a_provider_that_does_not_say_why_it_ended_ended_its_turn() -> None:
    assert both([text("Hi")])["stop_reason"] == "end_turn"


def test_a_tool_call_ends_in_tool_use_whatever_the_provider_calls_it() -> None:
    assert both([tool(0, id="a", name="f", arguments="{}"), END])["stop_reason"] == "tool_use"


def test_input_tokens_leave_the_cached_ones_out() -> None:
    counts = {
        "input_tokens": 59,
        "cache_creation_input_tokens": 11,
        "cache_read_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 6},
        "output_tokens": 20,
        "output_tokens_details": {"thinking_tokens": 7},
        "service_tier": "standard",
        "cost": Decimal("0.0000798"),
        "is_byok": False,
    }
    assert whole([text("Hi")])["usage"] == counts
    told = message(stream([text("Hi")]))["usage"]
    assert told == counts | {"cost": 0.0000798}


def test_usage_says_what_is_estimated_and_which_currency_it_is() -> None:
    odd = view(currency="CNY", basis=Basis.ESTIMATED)
    for usage in (
        whole([text("a")], usage=odd)["usage"],
        message(stream([text("a")], usage=odd))["usage"],
    ):
        assert (usage["estimated"], usage["cost_currency"]) == (True, "CNY")


def test_a_streamed_tool_call() -> None:
    head = tool(0, id="functions.f:0", name="f", arguments="")
    parts: list[Event] = [tool(0, arguments=words) for words in ('{"ci', 'ty": "P\\u00e4', 'ris"}')]
    answer = both([text("I look."), head], parts, [CALLED])
    assert calls(answer) == [("functions.f:0", "f", {"city": "Päris"})]
    assert [block["type"] for block in answer["content"]] == ["text", "tool_use"]


def test_a_reply_in_one_piece_has_its_thinking_first() -> None:
    made = {"id": "f_0", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    lone = piece(content="Hi", tool_calls=[made], reasoning="hm", role="assistant")
    answer = both([lone, CALLED])
    assert [block["type"] for block in answer["content"]] == ["thinking", "text", "tool_use"]
    assert calls(answer) == [("f_0", "f", {"a": 1})]


def test_a_refusal_in_words_is_text() -> None:
    assert both([piece(refusal="I will not")])["content"] == [
        {"type": "text", "text": "I will not"}
    ]


@pytest.mark.parametrize("arguments", ["", "{}", " {} \n", "null", " ", "\t\n\r ", " null\n"])
@pytest.mark.parametrize("size", [1, 2, 9])
def test_a_tool_without_arguments_has_an_empty_input(arguments: str, size: int) -> None:
    head = tool(0, id="a", name="f")
    cut = [arguments[n : n + size] for n in range(0, len(arguments), size)]
    parts = [tool(0, arguments=words) for words in cut]
    assert calls(both([head, *parts, CALLED])) == [("a", "f", {})]
    later = tool(1, id="b", name="g", arguments=arguments)
    assert calls(both([head, later, *parts, CALLED])) == [("a", "f", {}), ("b", "g", {})]


def test_white_space_before_arguments_waits_for_them_and_is_told() -> None:
    encoder = StreamEncoder(**NAMED)  # type: ignore[arg-type] # a mixed mapping
    encoder.encode([tool(0, id="a", name="f", arguments="\n ")])
    assert encoder.encode([tool(0, arguments=" ")]) == b""
    told = events(encoder.encode([tool(0, arguments='{"x"')]))
    assert "".join(event["delta"]["partial_json"] for event in told) == '\n  {"x"'


def test_calls_without_ids_or_with_equal_ones_get_distinct_ids() -> None:
    named = [tool(n, id=given, name="f", arguments="{}") for n, given in enumerate(["a", "a", ""])]
    other = tool(3, name="g", arguments="{}")
    assert [native for native, _, _ in calls(both([*named, other]))] == [
        "a",
        "functions.f:1",
        "functions.f:2",
        "functions.g:3",
    ]


def test_an_id_that_is_made_is_none_that_is_used() -> None:
    first = tool(0, id="functions.f:1", name="f", arguments="{}")
    found = calls(both([first, tool(1, name="f", arguments="{}")]))
    assert [native for native, _, _ in found] == ["functions.f:1", "functions.f:2"]


def test_a_new_id_without_an_index_opens_a_new_call() -> None:
    def lone(**parts: Any) -> Piece:
        function = {name: parts[name] for name in ("name", "arguments") if name in parts}
        return piece(tool_calls=[{"id": parts.get("id"), "function": function}])

    answer = both(
        [lone(id="a", name="f", arguments='{"x":')],
        [lone(arguments="1}")],
        [lone(id="b", name="g", arguments="")],
        [lone(arguments='{"y":2')],
        [lone(id="b", arguments="}")],
    )
    assert calls(answer) == [("a", "f", {"x": 1}), ("b", "g", {"y": 2})]


def test_a_long_call_is_not_parsed_again_at_every_fragment(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    original = ToolCall.parsed

    def counted(call: ToolCall) -> bytes | None:
        parsed.append(call)
        return original(call)

    monkeypatch.setattr(ToolCall, "parsed", counted)
    heads = [tool(0, id="a", name="f", arguments="{"), tool(1, id="b", name="g", arguments="{}")]
    words = ['"x":"', *["word "] * 50, '"}']
    encoder = StreamEncoder(**NAMED)  # type: ignore[arg-type] # a mixed mapping
    told = b"".join(
        [encoder.encode([part]) for part in [*heads, *[tool(0, arguments=w) for w in words]]]
    )
    assert b'"name":"g"' in told
    assert len(parsed) == 1


def test_several_calls_one_after_the_other() -> None:
    batches: list[list[Event]] = [
        [tool(0, id="a", name="f", arguments='{"x":')],
        [tool(0, arguments="1}")],
        [tool(1, id="b", name="g", arguments="")],
        [tool(1, arguments='{"y":2}')],
    ]
    assert calls(both(*batches)) == [("a", "f", {"x": 1}), ("b", "g", {"y": 2})]
    # The second begins as soon as the first is complete, not only at the end.
    encoder = StreamEncoder(**NAMED)  # type: ignore[arg-type] # a mixed mapping
    told = b"".join([encoder.encode(batch) for batch in batches])
    assert b'"name":"g"' in told


def test_calls_in_turn_are_told_one_after_the_other() -> None:
    batches: list[list[Event]] = [
        [tool(0, id="a", name="f", arguments=""), tool(1, id="b", name="g", arguments="")],
        [tool(0, arguments='{"x":'), tool(1, arguments='{"y":')],
        [tool(0, arguments="1}"), tool(1, arguments="2}")],
    ]
    assert calls(both(*batches)) == [("a", "f", {"x": 1}), ("b", "g", {"y": 2})]


def test_a_call_that_waited_to_the_end_is_told_there() -> None:
    first = tool(0, id="a", name="f", arguments="")  # without arguments none knows that it is over
    answer = both([first, tool(1, id="b", name="g", arguments='{"y":2}')], [CALLED])
    assert calls(answer) == [("a", "f", {}), ("b", "g", {"y": 2})]


def test_the_name_of_a_call_may_come_later() -> None:
    batches: list[list[Event]] = [
        [tool(0, arguments='{"x":')],
        [tool(0, id="a", name="f", arguments="1}")],
    ]
    assert calls(both(*batches)) == [("a", "f", {"x": 1})]


def test_text_between_two_calls_keeps_its_place_in_a_stream() -> None:
    first = tool(0, id="a", name="f", arguments="{}")
    second = tool(1, id="b", name="g", arguments="{}")
    told = message(stream([first, text("and"), second]))
    assert [block["type"] for block in told["content"]] == ["tool_use", "text", "tool_use"]


@pytest.mark.parametrize(
    "batches",
    [
        [[piece(tool_calls={"a": 1})]],
        [[tool(0, id="a", name="f", arguments=5)]],
        [[tool(0, id="a", arguments="{}")]],
        [[tool(0, id="a", name="f", arguments='{"x"')], [text("and")], [tool(0, arguments=":1}")]],
        [[tool(0, id="a", name="f", arguments="[1]")]],
        [[tool(0, id="a", name="f", arguments="nul")]],
        [[tool(0, id="a", name="f", arguments='{"x":')], [CALLED]],
        [[tool(0, id="a", name="f", arguments="null"), tool(0, arguments="{}")]],
        [[tool(0, id="a", name="f", arguments="\u00a0{}")]],
    ],
    ids=[
        "no list",
        "no string",
        "no name",
        "torn apart",
        "no object",
        "no word",
        "half",
        "two values",
        "no white space",
    ],
)
def test_a_call_that_cannot_be_told_is_a_fault_and_no_exception(batches: list[list[Event]]) -> None:
    encoder = StreamEncoder(**NAMED)  # type: ignore[arg-type] # a mixed mapping
    for batch in batches:
        encoder.encode(batch)
    encoder.encode([text("more")])
    assert isinstance(encoder.fault, BadReply)


@pytest.mark.parametrize("arguments", ["[1]", '"x"', "3", '{"a":', "{} {}", "{'a': 1}"])
def test_a_whole_answer_is_refused_whose_tool_input_is_no_object(arguments: str) -> None:
    with pytest.raises(BadReply):
        whole([tool(0, id="a", name="f", arguments=arguments), CALLED])


def test_a_call_that_the_output_cap_cut_is_left_out_of_a_whole_answer() -> None:
    cut = Finish(0, "length", "length")
    first = tool(0, id="a", name="f", arguments="{}")
    answer = whole([first, tool(1, id="b", name="g", arguments='{"x'), cut])
    assert calls(answer) == [("a", "f", {})]
    assert answer["stop_reason"] == "max_tokens"


def test_a_call_that_the_output_cap_cut_before_its_name_is_left_out() -> None:
    first = tool(0, id="a", name="f", arguments='{"x":1}')
    encoder = StreamEncoder(**NAMED)  # type: ignore[arg-type] # a mixed mapping
    encoder.encode([first, tool(1, id="b"), Finish(0, "length", "length")])
    assert encoder.fault is None
    answer = both([first, tool(1, id="b"), Finish(0, "length", "length")])
    assert calls(answer) == [("a", "f", {"x": 1})]
    assert answer["stop_reason"] == "max_tokens"


def test_a_call_that_the_output_cap_cut_is_told_in_a_stream_as_far_as_it_came() -> None:
    cut = Finish(0, "length", "length")
    told = events(stream([tool(0, id="a", name="f", arguments='{"x'), cut]))
    assert told[2]["delta"] == {"type": "input_json_delta", "partial_json": '{"x'}
    assert told[-2]["delta"]["stop_reason"] == "max_tokens"


def test_an_answer_without_a_word_is_an_empty_message() -> None:
    assert both([Finish(0, "length", "length")])["content"] == []


def test_further_choices_and_other_deltas_are_not_told_but_counted() -> None:
    other = piece(1, content="second")
    odd = piece(annotations=[{"a": 1}], meaningful=False, logprobs={"content": []})
    assert both([text("Hi"), other, odd, Finish(1, "length", "length"), END])["content"] == [
        {"type": "text", "text": "Hi"}
    ]
    encoder = StreamEncoder(**NAMED)  # type: ignore[arg-type] # a mixed mapping
    encoder.encode([text("Hi"), other, odd, END, USAGE])
    assert (encoder.deltas, encoder.usage, encoder.finishes) == (2, USAGE, [END])
    assert encoder.size > len("Hisecond")


def test_a_failure_is_an_error_event_and_no_end() -> None:
    encoder = StreamEncoder(**NAMED)  # type: ignore[arg-type] # a mixed mapping
    told = encoder.encode([text("Hi")]) + encoder.failure(b'{"type":"api_error","message":"x"}')
    assert events(told)[-1] == {
        "type": "error",
        "error": {"type": "api_error", "message": "x"},
        "request_id": "gen-1",
    }
