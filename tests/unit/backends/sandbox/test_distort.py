"""A fault changes of a good answer what its name says, and nothing else."""

from typing import Any

import msgspec
import pytest

from backends.sandbox.answer import Answer, ToolCall
from backends.sandbox.dialect import Frame, encode
from backends.sandbox.distort import distorted, distorted_frames, distorted_whole, leaked
from backends.sandbox.faults import Fault, FaultName

CALL = ToolCall("functions.get_weather:0", "get_weather", ('{"city"', ':"Paris"}'))
TEXT = Answer(prompt_tokens=2, reasoning=("Hm",), content=("a", "b", "c"))
TOOL = Answer(prompt_tokens=2, tool=CALL, finish_reason="tool_calls")
USAGE = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}


def chunk(usage: Any = None, **delta: str) -> dict[str, Any]:
    whole: dict[str, Any] = {"id": "x", "choices": [{"index": 0, "delta": delta}]}
    return whole if usage is None else {**whole, "usage": usage}


FRAMES = [
    Frame(encode(chunk(role="assistant"))),
    Frame(encode(chunk(content="a")), piece=True),
    Frame(encode(chunk(reasoning="b")), piece=True),
    Frame(encode({"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})),
    Frame(encode({"id": "x", "choices": [], "usage": USAGE})),
]


def fault(name: str, **details: Any) -> Fault:
    return Fault(name=getattr(FaultName, name.upper()), **details)


def frames(name: str, **details: Any) -> list[Any]:
    return [
        msgspec.json.decode(frame.data)
        for frame in distorted_frames(FRAMES, fault(name, **details))
    ]


def test_an_oversized_piece_stands_where_it_is_asked_for() -> None:
    content = distorted(TEXT, fault("oversized_line", after=1, size=5000)).content
    assert [len(piece) for piece in content] == [1, 5000, 1, 1]


def test_an_oversized_answer_is_as_large_as_asked_in_pieces_of_a_mebibyte() -> None:
    content = distorted(TEXT, fault("oversized_body", size=3_000_000)).content
    assert [len(piece) for piece in content] == [1, 1, 1, *[1_048_576] * 3]


@pytest.mark.parametrize(
    ("name", "reason"), [("finish_error", "error"), ("finish_filter", "content_filter")]
)
@pytest.mark.parametrize("after", [None, 0, 2, 99])
def test_an_answer_can_be_ended_early(name: str, reason: str, after: int | None) -> None:
    answer = distorted(TEXT, fault(name, after=after))
    assert answer.completion_tokens == min(after or 0, 4)
    assert answer.finish_reason == reason


def test_a_tool_call_can_be_broken_wrong_unknown_or_leaked() -> None:
    broken = distorted(TOOL, fault("broken_arguments")).tool
    assert broken is not None
    assert broken.arguments == '{"city":"Paris"'
    wrong = distorted(TOOL, fault("wrong_arguments")).tool
    assert wrong is not None
    assert msgspec.json.decode(wrong.arguments) == {"city": [{"unexpected": "Paris"}]}
    unknown = distorted(TOOL, fault("unknown_tool")).tool
    assert unknown is not None
    assert (unknown.name, unknown.arguments) == ("no_such_tool", CALL.arguments)
    raw = distorted(TOOL, fault("leaked_tool"))
    assert raw == leaked(TOOL)
    assert (raw.tool, raw.finish_reason) == (None, "stop")
    assert "".join(raw.content) == (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
        '<|tool_call_argument_begin|>{"city":"Paris"}<|tool_call_end|><|tool_calls_section_end|>'
    )


@pytest.mark.parametrize("name", ["broken_arguments", "unknown_tool", "leaked_tool", "cut"])
def test_an_answer_without_a_tool_call_has_none_to_spoil(name: str) -> None:
    assert distorted(TEXT, fault(name)) == TEXT


def test_counts_can_stand_inside_the_last_choice_only() -> None:
    *rest, last = frames("usage_in_choice")
    assert len(rest) == 3
    assert all("usage" not in one and "usage" not in one["choices"][0] for one in rest)
    assert "usage" not in last
    assert last["choices"][0]["usage"] == USAGE


def test_counts_can_stand_on_the_finish_chunk_only() -> None:
    *rest, last = frames("usage_on_finish")
    assert all("usage" not in one for one in rest)
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["usage"] == USAGE


def test_counts_can_grow_from_chunk_to_chunk() -> None:
    told = [one["usage"]["completion_tokens"] for one in frames("usage_running")]
    assert told == [0, 1, 2, 3]


def test_of_two_counts_the_last_is_right() -> None:
    *_, first, last = frames("duplicate_usage")
    assert first["usage"] == {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    assert last["usage"] == USAGE


def test_counts_can_be_impossible() -> None:
    told = frames("wrong_usage")[-1]["usage"]
    assert told["prompt_tokens_details"]["cached_tokens"] > told["prompt_tokens"]


@pytest.mark.parametrize(("after", "place"), [(None, 1), (1, 2), (9, 2)])
def test_one_text_can_hold_bytes_that_are_no_utf8(after: int | None, place: int) -> None:
    made = distorted_frames(FRAMES, fault("invalid_utf8", after=after))
    for at, frame in enumerate(made):
        if at == place:
            with pytest.raises(UnicodeDecodeError):
                frame.data.decode()
        else:
            assert frame == FRAMES[at]


def test_a_stream_without_counts_has_none_to_spoil() -> None:
    for name in ("usage_running", "wrong_usage", "duplicate_usage"):
        assert distorted_frames(FRAMES[:-1], fault(name)) == FRAMES[:-1]


def test_a_whole_reply_is_spoilt_as_a_stream_is() -> None:
    body = encode({"choices": [{"message": {"content": "a"}}], "usage": USAGE})

    def whole(name: str) -> Any:
        return msgspec.json.decode(distorted_whole(body, fault(name)))

    assert whole("usage_in_choice")["choices"][0]["usage"] == USAGE
    assert "usage" not in whole("usage_in_choice")
    assert whole("duplicate_usage")["usage"] == USAGE
    assert whole("wrong_usage")["usage"]["prompt_tokens_details"]["cached_tokens"] == 17
    assert distorted_whole(body, fault("usage_running")) == body
    with pytest.raises(UnicodeDecodeError):
        distorted_whole(body, fault("invalid_utf8")).decode()
