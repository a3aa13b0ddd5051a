"""Presets: a request's parts under a name, put under what the request says itself.

    "model": "@preset/code"                      the preset's model, or the default one
    "model": "moonshotai/kimi-k2.6@preset/code"  this model
    "preset": "code"                             the request's model, if it has one

The merge is shallow and the request wins, as OpenRouter documents it (read 2026-10-27): a field that the
request has is not taken from the preset. Fields that say the same thing count as one: with `max_tokens`
in the request, the preset's `max_completion_tokens` is not taken, and of the ways to say how much to think
none where the request says one. `tools` of both are offered together; of two functions of one name the
request's is. A system message is put first where the request has neither a system nor a developer message.
Preferences are not merged: each only tightens the other.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from backends import UNASKED
from gateway.errors import InvalidRequest
from gateway.values import NO_PREFERENCES, Preset
from gateway.wire import modes
from gateway.wire.request import MAX_TOKENS, ChatRequest, decoded, in_range

MARK = "@preset/"
_CAPS = ("max_completion_tokens", "max_tokens")
# What a preset may hold: all that says how to answer and nothing of what, to whom or at whose cost.
FIELDS = (
    frozenset(_CAPS)
    | modes.FIELDS
    | {"temperature", "top_p", "top_k", "top_a", "min_p", "seed", "stop", "verbosity"}
    | {"frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias"}
    | {"tools", "tool_choice", "parallel_tool_calls", "response_format", "structured_outputs"}
)


class _Role(Struct):
    role: str | None = None


class _Function(Struct):
    name: str | None = None


class _Tool(Struct):
    type: str | None = None
    function: _Function | None = None


_INT = msgspec.json.Decoder(int | None).decode
_ROLES = msgspec.json.Decoder(list[_Role]).decode
_TOOLS = msgspec.json.Decoder(list[_Tool] | None).decode
_RAW_TOOLS = msgspec.json.Decoder(list[Raw] | None).decode
_quote = msgspec.json.Encoder().encode


def split(model: str) -> tuple[str, str | None]:
    """A model's name and the slug of the preset in it, if there is one: either may be empty."""
    name, mark, slug = model.partition(MARK)
    return (name, slug) if mark else (model, None)


def applied(request: ChatRequest, preset: Preset) -> ChatRequest:
    """A request with what its preset adds to it, but for the preset's model and preferences.

    Raises:
        InvalidRequest: what the preset adds is not what it must be, or contradicts the request.
    """
    theirs = request.fields
    added = {name: Raw(raw) for name, raw in preset.fields if name not in theirs}
    if request.max_tokens is not None:
        for name in _CAPS:
            added.pop(name, None)
    if request.mode is not UNASKED or not modes.FIELDS.isdisjoint(theirs):
        for name in modes.FIELDS & added.keys():
            del added[name]
    mode, dropped = request.mode, request.dropped
    if not modes.FIELDS.isdisjoint(added) or modes.has_suffix(request.model):
        said = {name: raw for name, raw in theirs.items() if name in modes.FIELDS}
        mode, left_out = modes.mode_of(said | added, request.model)
        dropped = tuple(dict.fromkeys((*dropped, *left_out)))
    fields = {**theirs, **added}
    grown = sum(map(len, added.values()))
    if "tools" in added:
        grown += len(added["tools"])  # twice, as a request's own
    elif more := _more_tools(theirs, preset):
        own = bytes(theirs["tools"]).strip()
        fields["tools"] = Raw(own[:-1].rstrip() + b"," + more + b"]")
        grown += 2 * len(more)
    if preset.system is not None and not _has_system(fields["messages"]):
        message = b'{"role":"system","content":%b}' % _quote(preset.system)
        listed = bytes(fields["messages"]).lstrip()
        fields["messages"] = Raw(b"[" + message + b"," + listed[1:])
        grown += len(message)
    return replace(
        request,
        fields=fields,
        max_tokens=_cap(added) if request.max_tokens is None else request.max_tokens,
        mode=mode,
        dropped=dropped,
        prompt_bytes=request.prompt_bytes + grown,
    )


def _cap(added: Mapping[str, Raw]) -> int | None:
    for name in _CAPS:
        if name in added:
            value = decoded(_INT, name, added[name], "a whole number")
            if value is not None:
                return int(value) if 1 <= value <= MAX_TOKENS else in_range(name, value)
    return None


def _more_tools(theirs: Mapping[str, Raw], preset: Preset) -> bytes:
    """The preset's tools that the request lacks, as members of a list."""
    ours = dict(preset.fields).get("tools")
    if ours is None or "tools" not in theirs:
        return b""
    named = {_identity(tool) for tool in decoded(_TOOLS, "tools", theirs["tools"], "a list") or ()}
    if not named:
        return b""
    tools = zip(
        decoded(_TOOLS, "tools", Raw(ours), "a list") or (),
        decoded(_RAW_TOOLS, "tools", Raw(ours), "a list") or (),
        strict=True,
    )
    return b",".join([bytes(raw) for tool, raw in tools if _identity(tool) not in named])


def _identity(tool: _Tool) -> tuple[str, str | None]:
    return tool.type or "function", None if tool.function is None else tool.function.name


def _has_system(messages: Raw) -> bool:
    roles = decoded(_ROLES, "messages", messages, "a list of messages")
    return any(one.role in {"system", "developer"} for one in roles)


def check(preset: Preset) -> None:
    """See that a preset's fields are such as a request may have.

    Raises:
        InvalidRequest: one is not, or is none that a preset may hold; `param` is its name.
    """
    for name, raw in preset.fields:
        if name not in FIELDS:
            raise InvalidRequest(
                f"'{name}' is not for a preset; it may hold {', '.join(sorted(FIELDS))}", param=name
            )
        if name == "tools":
            for tool in decoded(_TOOLS, name, Raw(raw), "a list of tools") or ():
                if tool.type not in {None, "function"}:
                    raise InvalidRequest(
                        "'tools' of a preset may hold only functions: type 'function'", param=name
                    )
    empty = ChatRequest(
        model="",
        stream=False,
        include_usage=False,
        max_tokens=None,
        choices=1,
        fields={"messages": Raw(b'[{"role":"user"}]')},
        prompt_bytes=0,
        body=b"",
        preferences=NO_PREFERENCES,
    )
    applied(empty, preset)
