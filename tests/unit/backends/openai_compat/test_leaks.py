"""Kimi's own tool-call tokens become tool calls, wherever they are cut; all other text stays text."""

from time import perf_counter
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw

from backends.errors import BadReply
from backends.openai_compat.reply import ChunkReader, Reading, read_whole
from backends.values import Event, Finish, Piece, Text
from tests.unit.backends.openai_compat.reading import Answer, answer, chunk

BEGIN, END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
CALL, ARGUMENTS, CALL_END = (
    "<|tool_call_begin|>",
    "<|tool_call_argument_begin|>",
    "<|tool_call_end|>",
)
PARIS = '{"city":"Paris \\"<3>\\" é"}'
LOOKING = Reading(leaks=True)


def call(identity: str = "functions.get_weather:0", arguments: str = PARIS) -> str:
    return f"{CALL}{identity}{ARGUMENTS}{arguments}{CALL_END}"


LEAK = BEGIN + call() + END
WEATHER = {"id": "functions.get_weather:0", "name": "get_weather", "arguments": PARIS}


def streamed(*payloads: bytes, reading: Reading = LOOKING) -> list[Event]:
    reader, events = ChunkReader(reading=reading), list[Event]()
    for payload in (*payloads, b"[DONE]"):
        reader.read(payload, events)
    return events


def texts(*pieces: str, name: str = "content", escaped: bool = False) -> list[bytes]:
    """Chunks of text deltas; escaped, as Go's encoder writes them."""
    chunks = [chunk({name: piece}) for piece in pieces]
    if escaped:
        chunks = [c.replace(b"<", rb"\u003c").replace(b">", rb"\u003e") for c in chunks]
    return chunks


def told(*payloads: bytes, reading: Reading = LOOKING) -> Answer:
    end = chunk({}, finish_reason="stop")
    return answer(streamed(*payloads, end, reading=reading))


def cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("name", ["content", "reasoning", "reasoning_content"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, 1000])
def test_a_leaked_call_is_a_call_however_it_is_cut(name: str, size: int, *, escaped: bool) -> None:
    pieces = cut(f"Let me see. {LEAK} So.", size)
    found = told(*texts(*pieces, name=name, escaped=escaped))
    text = found.content if name == "content" else found.reasoning
    assert text == "Let me see.  So."
    assert found.tools == [WEATHER]
    assert found.finish == [("tool_calls", "stop")]


@pytest.mark.parametrize("finish", ["stop", "tool_calls"])
@pytest.mark.parametrize("name", ["content", "reasoning"])
def test_a_leaked_call_of_a_whole_reply_is_a_call(name: str, finish: str) -> None:
    message = {"role": "assistant", "content": None, name: f"See: {LEAK}"}
    body = msgspec.json.encode({"choices": [{"message": message, "finish_reason": finish}]})
    _, events = read_whole(body, reading=LOOKING)
    found = answer(events)
    assert (found.content, found.reasoning) == (
        ("See: ", "") if name == "content" else ("", "See: ")
    )
    assert found.tools == [WEATHER]
    assert found.finish == [("tool_calls", finish)]


def test_without_tools_the_tokens_are_text() -> None:
    assert told(*texts(LEAK), reading=Reading()).content == LEAK
    body = msgspec.json.encode({"choices": [{"message": {"content": LEAK}}]})
    assert answer(read_whole(body)[1]).content == LEAK


def test_several_calls_of_a_section_count_on() -> None:
    section = f"{BEGIN}\n{call('functions.f:3', '{}')}\n{call('functions.g:4', ' ')} {END}"
    events = streamed(*texts(*cut(section, 9)))
    assert [msgspec.json.decode(e.delta["tool_calls"]) for e in events if isinstance(e, Piece)] == [
        [
            {
                "index": index,
                "id": f"functions.{name}:{index + 3}",
                "type": "function",
                "function": {"name": name, "arguments": "{}"},
            }
        ]
        for index, name in enumerate("fg")
    ]
    assert events[-1:] == [Finish(0, "tool_calls", "stop")]


def test_leaked_calls_count_on_behind_real_ones_and_the_other_way_round() -> None:
    real = {"index": 0, "id": "functions.f:0", "function": {"name": "f", "arguments": "{}"}}
    leak = texts(BEGIN + call("functions.g:1", "{}") + END)
    for order in ((chunk({"tool_calls": [real]}), *leak), (*leak, chunk({"tool_calls": [real]}))):
        found = told(*order)
        assert sorted(call["id"] for call in found.tools) == ["functions.f:0", "functions.g:1"]
        assert [call["arguments"] for call in found.tools] == ["{}", "{}"]


def test_a_whole_reply_may_have_real_and_leaked_calls() -> None:
    real = {"id": "functions.f:0", "type": "function", "function": {"name": "f", "arguments": ""}}
    message = {"content": LEAK, "tool_calls": [real]}
    body = msgspec.json.encode({"choices": [{"message": message, "finish_reason": "tool_calls"}]})
    parts = [
        msgspec.json.decode(event.delta["tool_calls"])[0]
        for event in read_whole(body, reading=LOOKING)[1]
        if isinstance(event, Piece)
    ]
    assert {part["function"]["name"]: part.get("index", 0) for part in parts} == {
        "f": 0,
        "get_weather": 1,
    }


def test_a_leaked_id_that_the_caller_has_already_is_another() -> None:
    reading = Reading(leaks=True, held=frozenset({"functions.get_weather:0"}))
    assert told(*texts(LEAK), reading=reading).tools == [
        WEATHER | {"id": "functions.get_weather:0.1"}
    ]


@pytest.mark.parametrize("begin", ["<|tool_call_section_begin|>", ""])
@pytest.mark.parametrize("end", ["<|tool_call_section_end|>", ""])
def test_the_marks_of_a_section_may_be_spelled_otherwise_or_lacking(begin: str, end: str) -> None:
    found = told(*texts("a", begin, call(), end))
    assert (found.content, found.tools) == ("a", [WEATHER])


def test_a_section_without_calls_says_nothing() -> None:
    assert told(*texts(f"a{BEGIN} {END}b")).content == "ab"


@pytest.mark.parametrize(
    "text",
    [
        "a < b <| c |> <|im_end|> <",
        "<|tool_calls",
        "<|tool_calls_section_begin|",
        BEGIN,
        f"{BEGIN} not a call",
        f"{BEGIN}{CALL}functions.f:0",
        f"{BEGIN}{CALL}functions.f:0{ARGUMENTS}{{",
        f"{BEGIN}{CALL}functions.f:0{CALL_END}",
        f"{BEGIN}{CALL}two words{ARGUMENTS}{{}}{CALL_END}",
        f"{BEGIN}{CALL}{ARGUMENTS}{{}}{CALL_END}",
        END,
        f"{CALL_END}{ARGUMENTS}",
        "\\u003c|tool_calls_section_begin|>",
        "\\",
        "<" * 9,
    ],
)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_what_is_no_call_is_given_out_as_the_text_that_it_was(text: str, size: int) -> None:
    found = told(*texts(*cut(text, size)))
    assert (found.content, found.tools) == (text, [])
    assert found.finish == [("stop", "stop")]
    body = msgspec.json.encode({"choices": [{"message": {"content": text}}]})
    assert answer(read_whole(body, reading=LOOKING)[1]).content == text


def test_a_call_that_the_output_cap_cuts_is_text_behind_the_calls_before() -> None:
    pieces = cut(BEGIN + call() + CALL + "functions.f:1" + ARGUMENTS + '{"a', 11)
    found = answer(streamed(*texts(*pieces), chunk({}, finish_reason="length")))
    assert found.tools == [WEATHER]
    assert found.content == CALL + "functions.f:1" + ARGUMENTS + '{"a'
    assert found.finish == [("length", "length")]


def test_only_what_may_begin_a_call_is_held_back() -> None:
    reader, events = ChunkReader(reading=LOOKING), list[Event]()
    for piece, known in (("a <", "a "), ("|im", "a <|im"), ("_end|> <|tool", "a <|im_end|> ")):
        reader.read(chunk({"content": piece}), events)
        assert answer(events).content == known
    reader.end(events)
    assert answer(events).content == "a <|im_end|> <|tool"
    assert all(isinstance(event, Text) for event in events)


def test_what_is_held_comes_before_the_end_of_its_choice() -> None:
    events = streamed(*texts("a<|tool_"), chunk({}, finish_reason="stop"))
    assert events == [Text(b"a"), Text(b"<|tool_"), Finish(0, "stop", "stop")]


def test_text_of_another_kind_ends_what_is_held() -> None:
    found = streamed(*texts("<|tool_", name="reasoning"), *texts("calls"))
    assert found == [Text(b"<|tool_", reasoning=True), Text(b"calls")]


def test_a_failure_gives_out_what_is_held_first() -> None:
    reader, events = ChunkReader(reading=LOOKING), list[Event]()
    reader.read(chunk({"content": "x<|tool_calls"}), events)
    reader.end(events)
    reader.end(events)
    assert answer(events).content == "x<|tool_calls"


def test_calls_are_found_beside_log_probabilities_and_in_further_choices() -> None:
    scores = {"content": [{"token": "x", "logprob": -1.0}]}
    payloads = [
        chunk({"content": f"a{LEAK}"}, logprobs=scores),
        msgspec.json.encode({"choices": [{"index": 1, "delta": {"content": f"b{LEAK}c"}}]}),
        msgspec.json.encode({"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]}),
    ]
    events = streamed(*payloads)
    called = [e.index for e in events if isinstance(e, Piece) and "tool_calls" in e.delta]
    assert called == [0, 1]
    assert Piece(0, {}, meaningful=False, logprobs=Raw(msgspec.json.encode(scores))) in events
    for text in (b'"b"', b'"c"'):
        assert Piece(1, {"content": Raw(text)}, meaningful=True) in events
    assert Finish(1, "tool_calls", "stop") in events


def test_arguments_that_are_no_json_make_a_whole_reply_bad() -> None:
    body = msgspec.json.encode({"choices": [{"message": {"content": BEGIN + call("f:0", "{x")}}]})
    with pytest.raises(BadReply, match="tool call"):
        read_whole(body, reading=LOOKING)


def test_long_arguments_in_small_pieces_are_looked_at_once() -> None:
    arguments = '{"text":"' + "x" * 200_000 + '"}'
    found = told(*texts(*cut(BEGIN + call("functions.f:0", arguments), 50)))
    assert found.tools == [{"id": "functions.f:0", "name": "f", "arguments": arguments}]


@pytest.mark.parametrize("before", [BEGIN, BEGIN + call()])
def test_white_space_without_end_is_neither_held_nor_looked_through_again(before: str) -> None:
    """What a model that is stuck writes, token by token."""
    reader, events = ChunkReader(reading=LOOKING), list[Event]()
    newline, begun = chunk({"content": "\n"}), perf_counter()
    reader.read(chunk({"content": before}), events)
    for _ in range(20_000):
        reader.read(newline, events)
    assert perf_counter() - begun < 2.0
    reader.read(chunk({"content": call()}), events)
    found = answer(events)
    assert found.content.count("\n") > 18_000
    assert [tool["name"] for tool in found.tools][-1:] == ["get_weather"]


WORDS = st.sampled_from(
    [
        *(BEGIN, END, CALL, ARGUMENTS, CALL_END, "functions.f:0", "{}"),
        *("<", "<|", "|>", "\\", "\n", "é", "\\u003c", '"', "a", " "),
    ]
)


@given(st.lists(WORDS, max_size=12), st.integers(1, 9), st.booleans())
@example([BEGIN, CALL, "functions.f:0", ARGUMENTS, "{}", CALL_END, "\\", "\n"], 1, True)
def test_any_text_is_told_in_full_and_the_same_however_it_is_cut(
    words: list[str],
    size: int,
    escaped: bool,  # noqa: FBT001 - a parameter
) -> None:
    text = "".join(words)
    once = told(*texts(text, escaped=escaped))
    found = told(*texts(*cut(text, size), escaped=escaped))
    assert found == once
    if not once.tools and BEGIN not in text:
        assert once.content == text
    for event in streamed(*texts(*cut(text, size), escaped=escaped)):
        if isinstance(event, Text):
            assert event.text
            msgspec.json.decode(b'"' + event.text + b'"', type=str)


def test_the_marks_may_stand_in_the_arguments_of_a_real_call() -> None:
    parts: list[Any] = [
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": f'{{"a":"{BEGIN}'}},
        {"index": 0, "function": {"arguments": '"}'}},
    ]
    found = told(*(chunk({"tool_calls": [part]}) for part in parts))
    assert found.tools == [{"id": "a", "name": "f", "arguments": f'{{"a":"{BEGIN}"}}'}]
