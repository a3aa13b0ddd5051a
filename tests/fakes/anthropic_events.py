"""A client of Anthropic's event streams that is stricter than any: it checks the order of everything."""

import json
from typing import Any

import pydantic
from anthropic.types import Message, RawMessageStreamEvent

_EVENT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(RawMessageStreamEvent)
_DELTAS = {
    "text": {"text_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
}


def events(data: bytes) -> list[dict[str, Any]]:
    """The JSON of every event of a stream that ended well or broke off, pings left out.

    Each is one that Anthropic's own SDK takes, and named as its `type` says.
    """
    assert data.endswith(b"\n\n")
    found = []
    for block in data.decode().removesuffix("\n\n").split("\n\n"):
        first, second = block.split("\n")
        event = json.loads(second.removeprefix("data: "))
        assert first == f"event: {event['type']}"
        if event["type"] not in {"ping", "error"}:
            _EVENT.validate_python(event, strict=True)
        if event["type"] != "ping":
            found.append(event)
    return found


def message(data: bytes) -> dict[str, Any]:
    """The message that a complete stream tells, put together from its events in order."""
    start, *middle, delta, stop = events(data)
    assert (start["type"], delta["type"], stop) == (
        "message_start",
        "message_delta",
        {"type": "message_stop"},
    )
    whole: dict[str, Any] = start["message"]
    content: list[dict[str, Any]] = whole["content"]
    assert content == []
    arguments: list[str] = []
    is_open = False
    for event in middle:
        if event["type"] == "content_block_start":
            assert not is_open
            assert event["index"] == len(content)
            content.append(event["content_block"])
            arguments.append("")
            is_open = True
            continue
        assert is_open
        assert event["index"] == len(content) - 1
        if event["type"] == "content_block_stop":
            is_open = False
            continue
        piece, block = event["delta"], content[-1]
        assert piece["type"] in _DELTAS[block["type"]]
        if piece["type"] == "input_json_delta":
            arguments[-1] += piece["partial_json"]
        else:
            name = piece["type"].removesuffix("_delta")
            block[name] += piece[name]
    assert not is_open
    for block, words in zip(content, arguments, strict=True):
        if block["type"] == "tool_use":
            block["input"] = json.loads(words) if words else {}
    whole |= delta["delta"] | {"usage": whole["usage"] | delta["usage"]}
    Message.model_validate(whole, strict=True)
    return whole
