"""What a reader of events would have read."""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from backends.values import Event, Finish, Piece, Text, Usage


class Answer(Struct):
    """An answer put together from events, as far as these tests look at it."""

    content: str = ""
    reasoning: str = ""
    tools: list[dict[str, str]] = []
    finish: list[tuple[str, str]] = []
    usage: Usage | None = None


def answer(events: Iterable[Event]) -> Answer:
    """The first choice of what `events` say, and the usage that stands in the end."""
    whole = Answer()
    for event in events:
        if isinstance(event, Usage):
            whole.usage = event
        elif isinstance(event, Finish):
            whole.finish.append((event.reason, event.native_reason))
        elif isinstance(event, Text):
            text = msgspec.json.decode(b'"' + event.text + b'"', type=str)
            if event.reasoning:
                whole.reasoning += text
            else:
                whole.content += text
        elif event.index == 0:
            _add(whole, event)
    return whole


def _add(whole: Answer, piece: Piece) -> None:
    delta = {name: msgspec.json.decode(raw) for name, raw in piece.delta.items()}
    whole.content += delta.get("content") or ""
    whole.reasoning += delta.get("reasoning") or ""
    for call in delta.get("tool_calls") or ():
        function = call.get("function") or {}
        if "id" in call:
            whole.tools.append({"id": call["id"], "name": function["name"], "arguments": ""})
        whole.tools[call.get("index", 0)]["arguments"] += function.get("arguments") or ""
