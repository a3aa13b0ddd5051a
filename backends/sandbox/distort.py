"""What faults make of a good answer, before and after it is put into a provider's words.

`distorted` works on the pieces of an answer, `distorted_frames` and `distorted_whole` on the JSON that
a dialect made of them. Faults of the bytes on the wire are in `script`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import json
from msgspec.structs import replace

from backends.sandbox.answer import Answer, ToolCall, truncate
from backends.sandbox.dialect import Frame, encode
from backends.sandbox.faults import Fault, FaultName

OVERSIZED_LINE = 5 * 1024 * 1024  # bytes: more than the gateway reads in one line
OVERSIZED_BODY = 36 * 1024 * 1024  # bytes: more than the gateway reads of a whole reply
_MEBIBYTE = 1024 * 1024
_MARK = "These-bytes-are-no-UTF-8"
_NO_UTF8 = b"\xff\xfe\x80"
_TEXTS = ("content", "reasoning_content", "reasoning")
Chunk = dict[str, Any]


def distorted(answer: Answer, fault: Fault | None) -> Answer:
    """`answer` as `fault` makes it; the same if the fault is of another sort."""
    if fault is None:
        return answer
    match fault.name:
        case FaultName.NO_USAGE:
            return replace(answer, shows_usage=False)
        case FaultName.UNKNOWN_FINISH:
            return replace(answer, finish_reason="ran_out_of_luck")
        case FaultName.FINISH_ERROR:
            return replace(truncate(answer, fault.after or 0), finish_reason="error")
        case FaultName.FINISH_FILTER:
            return replace(truncate(answer, fault.after or 0), finish_reason="content_filter")
        case FaultName.OVERSIZED_LINE:
            place = max(fault.after or 0, 0)
            giant = "x" * (fault.size or OVERSIZED_LINE)
            return replace(
                answer, content=(*answer.content[:place], giant, *answer.content[place:])
            )
        case FaultName.OVERSIZED_BODY:
            pieces = -(-(fault.size or OVERSIZED_BODY) // _MEBIBYTE)
            return replace(answer, content=(*answer.content, *(["x" * _MEBIBYTE] * pieces)))
    return answer if answer.tool is None else _with_tool(answer, answer.tool, fault.name)


def billed(error: bytes, whole: bytes) -> bytes:
    """An error object with the token counts of a whole reply beside it."""
    return encode({**json.decode(error), "usage": json.decode(whole)["usage"]})


def _with_tool(answer: Answer, tool: ToolCall, name: FaultName) -> Answer:
    match name:
        case FaultName.BROKEN_ARGUMENTS:
            cut = (*tool.fragments[:-1], tool.fragments[-1].rstrip("}")) if tool.fragments else ()
            return replace(answer, tool=replace(tool, fragments=cut))
        case FaultName.WRONG_ARGUMENTS:
            asked = json.decode(tool.arguments or b"{}")
            wrong = {key: [{"unexpected": value}] for key, value in asked.items()} or [1]
            return replace(answer, tool=replace(tool, fragments=(encode(wrong).decode(),)))
        case FaultName.UNKNOWN_TOOL:
            return replace(answer, tool=replace(tool, name="no_such_tool"))
        case FaultName.LEAKED_TOOL:
            return leaked(answer)
    return answer


def leaked(answer: Answer) -> Answer:
    """`answer` with its tool call as the raw text of Kimi K2, in tokens of its own.

    K2's model card (Hugging Face, read 2026-11): between these special tokens, the id is
    `functions.<name>:<place>`. Hosts whose parser fails pass them on as content.
    """
    tool = answer.tool
    if tool is None:
        return answer
    raw = (
        "<|tool_calls_section_begin|>",
        "<|tool_call_begin|>",
        tool.id if tool.id.startswith("functions.") else f"functions.{tool.name}:0",
        "<|tool_call_argument_begin|>",
        *tool.fragments,
        "<|tool_call_end|>",
        "<|tool_calls_section_end|>",
    )
    return replace(answer, content=(*answer.content, *raw), tool=None, finish_reason="stop")


def distorted_frames(frames: Sequence[Frame], fault: Fault | None) -> list[Frame]:
    """The events of a stream as `fault` makes them."""
    if fault is None:
        return list(frames)
    if fault.name is FaultName.INVALID_UTF8:
        return _no_utf8(frames, max(fault.after or 0, 0))
    place = _PLACES.get(fault.name)
    if place is None:
        return list(frames)
    chunks = [(json.decode(frame.data), frame.piece) for frame in frames]
    stated = [usage for chunk, _ in chunks for usage in _usages(chunk)]
    if not stated:
        return list(frames)
    bare = [
        (_without_usage(chunk), piece)
        for chunk, piece in chunks
        if chunk.get("choices") or "usage" not in chunk
    ]
    return [Frame(encode(chunk), piece) for chunk, piece in place(bare, stated[-1])]


def distorted_whole(body: bytes, fault: Fault | None) -> bytes:
    """A whole reply as `fault` makes it."""
    if fault is None or fault.name not in {*_PLACES, FaultName.INVALID_UTF8}:
        return body
    reply = json.decode(body)
    if fault.name is FaultName.INVALID_UTF8:
        return _marked(reply, reply["choices"][0]["message"])
    usage = reply.get("usage")
    if usage is None:
        return body
    if fault.name is FaultName.WRONG_USAGE:
        reply["usage"] = _impossible(usage)
    elif fault.name is FaultName.USAGE_IN_CHOICE:
        reply["choices"][0]["usage"] = reply.pop("usage")
    elif fault.name is FaultName.DUPLICATE_USAGE:
        reply["choices"][0]["usage"] = _half(usage)
    return encode(reply)


def _no_utf8(frames: Sequence[Frame], after: int) -> list[Frame]:
    pieces = [place for place, frame in enumerate(frames) if frame.piece]
    if not pieces:
        return list(frames)
    at = pieces[min(after, len(pieces) - 1)]
    chunk = json.decode(frames[at].data)
    broken = Frame(_marked(chunk, chunk["choices"][0]["delta"]), piece=True)
    return [*frames[:at], broken, *frames[at + 1 :]]


def _marked(document: Any, texts: dict[str, Any]) -> bytes:
    """`document` with bad bytes at the end of the first of its `texts`."""
    name = next((name for name in _TEXTS if texts.get(name)), None)
    if name is not None:
        texts[name] += _MARK
    else:
        texts["tool_calls"][0]["function"]["arguments"] += _MARK
    return encode(document).replace(_MARK.encode(), _NO_UTF8, 1)


# where token counts can stand

Placed = list[tuple[Chunk, bool]]


def _usages(chunk: Chunk) -> list[Any]:
    found = [choice.get("usage") for choice in chunk.get("choices") or ()]
    return [usage for usage in (*found, chunk.get("usage")) if usage]


def _without_usage(chunk: Chunk) -> Chunk:
    choices = [
        {name: value for name, value in choice.items() if name != "usage"}
        for choice in chunk["choices"]
    ]
    return {
        name: value for name, value in (chunk | {"choices": choices}).items() if name != "usage"
    }


def _bill(bare: Placed, usage: Any) -> tuple[Chunk, bool]:
    return {**bare[-1][0], "choices": [], "usage": usage}, False


def _in_choice(bare: Placed, usage: Any) -> Placed:
    bare[-1][0]["choices"][0]["usage"] = usage
    return bare


def _on_finish(bare: Placed, usage: Any) -> Placed:
    bare[-1][0]["usage"] = usage
    return bare


def _running(bare: Placed, usage: Any) -> Placed:
    prompt, written = usage["prompt_tokens"], 0
    for chunk, piece in bare:
        written += piece
        chunk["usage"] = {
            "prompt_tokens": prompt,
            "completion_tokens": written,
            "total_tokens": prompt + written,
        }
    return _on_finish(bare, usage)


def _twice(bare: Placed, usage: Any) -> Placed:
    return [*bare, _bill(bare, _half(usage)), _bill(bare, usage)]


def _wrong(bare: Placed, usage: Any) -> Placed:
    return [*bare, _bill(bare, _impossible(usage))]


def _half(usage: Any) -> Any:
    prompt, completion = usage["prompt_tokens"] // 2, usage["completion_tokens"] // 2
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _impossible(usage: Any) -> Any:
    cached = usage["prompt_tokens"] + 7
    told = usage | {"prompt_tokens_details": {"cached_tokens": cached}}
    return told | {"cached_tokens": cached} if "cached_tokens" in usage else told


_PLACES: dict[FaultName, Callable[[Placed, Any], Placed]] = {
    FaultName.WRONG_USAGE: _wrong,
    FaultName.DUPLICATE_USAGE: _twice,
    FaultName.USAGE_IN_CHOICE: _in_choice,
    FaultName.USAGE_ON_FINISH: _on_finish,
    FaultName.USAGE_RUNNING: _running,
}
