"""What a client of OpenAI's chat dialect makes of an answer, streamed or whole: one and the same thing."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct


class Completion(Struct):
    """The first choice of an answer, with what stands beside it. What is empty or null is left out."""

    message: dict[str, Any]
    finish: str | None = None
    provider: str | None = None
    usage: dict[str, Any] | None = None
    notes: dict[str, Any] | None = None

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The tool calls."""
        found: list[dict[str, Any]] = self.message.get("tool_calls", [])
        return found


def of_document(document: Mapping[str, Any]) -> Completion:
    """What an answer in one piece says."""
    (choice,) = document["choices"]
    message = {name: value for name, value in choice["message"].items() if value}
    calls = message.get("tool_calls", [])
    for place, call in enumerate(calls):
        assert call.pop("index", place) == place
    return Completion(
        message,
        choice["finish_reason"],
        document.get("provider"),
        document.get("usage"),
        document.get("tidegate"),
    )


def of_chunks(chunks: Iterable[Mapping[str, Any]]) -> Completion:
    """What the chunks of a stream say together, put together as clients do it."""
    told = Completion({})
    calls: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        told.provider = chunk.get("provider", told.provider)
        told.usage = chunk.get("usage") or told.usage
        told.notes = chunk.get("tidegate", told.notes)
        for choice in chunk["choices"]:
            assert choice["index"] == 0
            told.finish = choice.get("finish_reason") or told.finish
            _add(told.message, calls, choice["delta"])
    if calls:
        told.message["tool_calls"] = list(calls.values())
    return told


def _add(
    message: dict[str, Any], calls: dict[int, dict[str, Any]], delta: Mapping[str, Any]
) -> None:
    if "role" in delta:
        message["role"] = delta["role"]
    for name in ("content", "reasoning", "reasoning_content"):
        if delta.get(name):
            message[name] = message.get(name, "") + delta[name]
    for detail in delta.get("reasoning_details") or ():
        known = message.setdefault("reasoning_details", [{**detail, "text": ""}])
        known[0]["text"] += detail["text"]
    for part in delta.get("tool_calls") or ():
        call = calls.setdefault(part["index"], {"function": {"arguments": ""}})
        call |= {name: part[name] for name in ("id", "type") if part.get(name)}
        function = part.get("function") or {}
        if function.get("name"):
            call["function"]["name"] = function["name"]
        call["function"]["arguments"] += function.get("arguments") or ""
