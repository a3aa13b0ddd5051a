"""Moonshot's builtin function `$web_search`, as far as its wire goes.

The model calls it, the caller sends the call's arguments back unchanged, and what was found comes into
the prompt in their place (the vendor's guide to web search, stored copy of 2026-09-03). The guide says as
well that K2.5 and K2.6 must not think meanwhile.
"""

from typing import Any

from msgspec import DecodeError, json

from backends.sandbox.answer import BUILTIN, ChatRequest

_NAME = "$web_search"


def searches(request: ChatRequest) -> list[tuple[bool, int]]:
    """The searches that are sent back: whether each is as it was called, and the tokens it found.

    A call that comes back with another `type` is none (a client's note on the live service).
    """
    called = {call.get("id"): call for call in request.past_calls if call.get("type") == BUILTIN}
    found = []
    for message in request.messages or ():
        if message.get("role") == "tool" and message.get("name") == _NAME:
            call = called.get(message.get("tool_call_id")) or {}
            theirs = _read((call.get("function") or {}).get("arguments"))
            same = theirs is not None and theirs == _read(message.get("content"))
            tokens = ((theirs or {}).get("usage") or {}).get("total_tokens", 0) if same else 0
            found.append((same, tokens))
    return found


def search_objection(request: ChatRequest, *, thinks: bool) -> str | None:
    """What the provider says against the searches of a request; the texts are ours.

    `thinks`: the model does, and is one that cannot search meanwhile.
    """
    for tool in request.tools or ():
        if tool.get("type") == BUILTIN:
            name = (tool.get("function") or {}).get("name")
            if name != _NAME:
                return f"unknown builtin function: {name}"
            if thinks:
                return f"{_NAME} is incompatible with thinking enabled"
    if not all(same for same, _ in searches(request)):
        return f"the result of {_NAME} is not what it was called with"
    return None


def _read(text: Any) -> Any:
    try:
        return json.decode(text)
    except (TypeError, DecodeError):
        return None
