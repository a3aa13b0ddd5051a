"""OpenAI's chat dialect, on the caller's side: bytes to a request.

Only the fields that decisions need are decoded. Message content stays the caller's own bytes.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Raw, Struct

from backends import UNASKED
from gateway.errors import InvalidRequest
from gateway.values import NO_PREFERENCES
from gateway.wire import modes, preferences
from gateway.wire.media import may_have_parts
from gateway.wire.request import (
    MAX_TOKENS,
    UNREADABLE,
    UNSUPPORTED,
    ChatRequest,
    decode_fields,
    decoded,
    in_range,
    model_name,
    preset_name,
    refuse_unsupported,
    require_messages,
    unreadable,
)
from gateway.wire.web_search import BUILTIN, MOST_SEARCHES, NAME

_MAX_CHOICES = 16
# Fields that few requests have: one look tells whether any of them is there.
_SPECIAL = frozenset(UNSUPPORTED) | {"preset"} | modes.FIELDS | preferences.FIELDS
# The same of fields that agents send, and plain requests do without.
_FURTHER = frozenset({"service_tier", "stream_options", "usage", "tools"})
_EXAMPLE = '{"model": "…", "messages": [{"role": "user", "content": "…"}]}'


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _Tool(Struct):
    type: str | None = None


class _NamedFunction(Struct):
    name: str | None = None


class _NamedTool(Struct):
    type: str | None = None
    function: _NamedFunction | None = None


class _UsageOption(Struct):
    include: bool | None = None


_BOOL = msgspec.json.Decoder(bool | None).decode
_INT = msgspec.json.Decoder(int | None).decode
_STREAM_OPTIONS = msgspec.json.Decoder(_StreamOptions | None).decode
_USAGE_OPTION = msgspec.json.Decoder(_UsageOption | None).decode
_TOOLS = msgspec.json.Decoder(list[_Tool] | None).decode
_NAMED_TOOLS = msgspec.json.Decoder(list[_NamedTool] | None).decode
_TIER = msgspec.json.Decoder(str | None).decode
_USAGE_WANTED = 'an object such as {"include_usage": true}'


def parse(body: bytes | bytearray, *, usage_always: bool) -> ChatRequest:
    """Read a chat request.

    Args:
        body: the request's body.
        usage_always: end every stream with usage, as OpenRouter's contract has it; otherwise only
            where the caller asks, as OpenAI's has it.

    Raises:
        InvalidRequest: with the field at fault and what to change.
    """
    try:
        fields = decode_fields(body)
    except UNREADABLE as error:
        raise unreadable(error, _EXAMPLE) from None
    get = fields.get
    model = model_name(get("model"))
    require_messages(get("messages"))
    mode, wanted = UNASKED, NO_PREFERENCES
    dropped: tuple[str, ...] = ()
    preset = None
    if not fields.keys().isdisjoint(_SPECIAL) or modes.has_suffix(model):
        refuse_unsupported(fields, UNSUPPORTED)
        mode, dropped = modes.mode_of(fields, model)
        wanted = preferences.preferences_of(fields)
        fields.pop("providerOptions", None)
        preset = preset_name(fields.pop("preset", None))
    asked = False
    tools: Raw | None = None
    searches = 0
    if not fields.keys().isdisjoint(_FURTHER):
        _check_tier(get("service_tier"))
        asked = _asks_for_usage(get("stream_options"), get("usage"))
        tools = get("tools")
        searches = 0 if tools is None else _check_tools(tools)
    stream = get("stream")
    choices = get("n")
    # The size of what becomes prompt: every field counts, so that no rendering of tools or schemas
    # by a provider's template can outgrow it.
    return ChatRequest(
        model=model,
        stream=stream is not None and bool(decoded(_BOOL, "stream", stream, "true or false")),
        include_usage=usage_always or asked,
        max_tokens=_cap(fields),
        choices=1 if choices is None else _choices(choices),
        fields=fields,
        prompt_bytes=len(body) if tools is None else len(body) + len(tools),
        body=body,
        parts=may_have_parts(body),
        dropped=dropped,
        mode=mode,
        preferences=wanted,
        searches=searches,
        preset=preset,
    )


def _check_tier(raw: Raw | None) -> None:
    if raw is not None and decoded(_TIER, "service_tier", raw, "a string") not in (
        None,
        "auto",
        "default",
    ):
        raise InvalidRequest(
            "only the service tiers 'auto' and 'default' are offered",
            param="service_tier",
            code="unsupported_parameter",
        )


def _asks_for_usage(options: Raw | None, usage: Raw | None) -> bool:
    """Whether `stream_options`, or OpenRouter's `usage`, asks that a stream end with usage."""
    return (
        options is not None
        and (o := decoded(_STREAM_OPTIONS, "stream_options", options, _USAGE_WANTED)) is not None
        and bool(o.include_usage)
    ) or (
        usage is not None
        and (u := decoded(_USAGE_OPTION, "usage", usage, 'an object such as {"include": true}'))
        is not None
        and bool(u.include)
    )


def _check_tools(raw: Raw) -> int:
    """Refuse tools that a provider runs, and bills for, itself; but for Moonshot's web search.

    Returns:
        How many searches each answer may call.
    """
    searches = False
    for tool in decoded(_TOOLS, "tools", raw, "a list of tools") or ():
        if tool.type in {None, "function"}:
            continue
        if tool.type != BUILTIN:
            raise InvalidRequest(
                f"'tools' may hold only functions: type 'function', not {tool.type[:40]!r}",
                param="tools",
                code="unsupported_parameter",
            )
        searches = True
    if not searches:
        return 0
    for named in decoded(_NAMED_TOOLS, "tools", raw, "a list of tools") or ():
        if named.type == BUILTIN:
            name = "" if named.function is None else named.function.name or ""
            if name != NAME:
                raise InvalidRequest(
                    f"'tools' may hold only functions: type 'function', and of type {BUILTIN!r}"
                    f" only {NAME!r}, not {name[:40]!r}",
                    param="tools",
                    code="unsupported_parameter",
                )
    return MOST_SEARCHES


def _cap(fields: Mapping[str, Raw]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        raw = fields.get(name)
        if raw is None:
            continue
        value = decoded(_INT, name, raw, "a whole number")
        if value is None:
            continue
        return int(value) if 1 <= value <= MAX_TOKENS else in_range(name, value)
    return None


def _choices(raw: Raw) -> int:
    value = decoded(_INT, "n", raw, "a whole number")
    if value is None:
        return 1
    if not 1 <= value <= _MAX_CHOICES:
        raise InvalidRequest(
            f"'n' must be between 1 and {_MAX_CHOICES}, not {value}",
            param="n",
            code="invalid_value",
        )
    return int(value)
