"""OpenAI's chat dialect, on the caller's side: bytes to a request.

Only the fields that decisions need are decoded. Message content stays the caller's own bytes.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec
from msgspec import Raw, Struct

from gateway.errors import InvalidRequest

_MAX_NAME = 256
_MAX_CHOICES = 16
_MAX_TOKENS = 100_000_000
_SHOWN = 60

_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _Tool(Struct):
    type: str | None = None


class _UsageOption(Struct):
    include: bool | None = None


_NAME = msgspec.json.Decoder(str).decode
_BOOL = msgspec.json.Decoder(bool | None).decode
_INT = msgspec.json.Decoder(int | None).decode
_STREAM_OPTIONS = msgspec.json.Decoder(_StreamOptions | None).decode
_USAGE_OPTION = msgspec.json.Decoder(_UsageOption | None).decode
_TOOLS = msgspec.json.Decoder(list[_Tool] | None).decode
_TIER = msgspec.json.Decoder(str | None).decode

# Fields that would change where a request goes, what it costs or what is kept, and that this version
# does not act on. Ignoring one in silence could break a caller's policy, so each is refused.
_UNSUPPORTED = {
    "provider": "provider preferences are not supported yet; remove 'provider'",
    "models": "fallback models are not supported yet; remove 'models' and send one 'model'",
    "route": "'route' is not supported yet; remove it",
    "plugins": "plugins are not supported; remove 'plugins'",
    "transforms": "transforms are not supported; remove 'transforms'",
    "preset": "presets are not supported yet; remove 'preset'",
    "web_search_options": "web search is not supported yet; remove 'web_search_options'",
    "audio": "audio output is not offered by these models; remove 'audio'",
    "functions": "'functions' is OpenAI's retired form; send 'tools' instead",
    "function_call": "'function_call' is OpenAI's retired form; send 'tool_choice' instead",
}
# Escaped lower-case letters and underscores, with which the keys of media parts (image_url, video_url,
# file_url, input_audio) could be written otherwise.
_LETTER_ESCAPES = (b"\\u005", b"\\u006", b"\\u007")
_USAGE_WANTED = 'an object such as {"include_usage": true}'
_NOTHING = (b"null", b"{}", b"[]", b'""', b"false")


class ChatRequest(Struct, frozen=True, kw_only=True):
    """A chat request as far as decisions need it.

    Attributes:
        model: the name the caller asked for.
        stream: whether the answer is to be streamed.
        include_usage: whether a stream ends with a usage chunk.
        max_tokens: output cap per choice, None if the caller gave none.
        choices: how many answers are wanted (`n`).
        fields: all top-level fields, raw.
        prompt_bytes: size of everything that may become prompt tokens.
        body: the whole body, as it came.
    """

    model: str
    stream: bool
    include_usage: bool
    max_tokens: int | None
    choices: int
    fields: Mapping[str, Raw]
    prompt_bytes: int
    body: bytes | bytearray

    @property
    def refers_to_media(self) -> bool:
        """Whether the prompt may hold media, whose tokens bytes do not bound.

        Sees too much rather than too little: any mention of a media key counts, and any escape that
        could spell one. Searches the body: ask only where the answer matters.
        """
        body = self.body
        return (
            b"_url" in body
            or b"input_audio" in body
            or (b"\\u00" in body and any(escape in body for escape in _LETTER_ESCAPES))
        )


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
        fields = _decode_fields(body)
    except msgspec.ValidationError:
        raise InvalidRequest(
            "the request body must be a JSON object such as "
            '{"model": "…", "messages": [{"role": "user", "content": "…"}]}',
            code="invalid_json",
        ) from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(
            f"the request body is not valid JSON: {_position(str(error))}", code="invalid_json"
        ) from None
    except UnicodeDecodeError:
        raise InvalidRequest(
            "the name of a top-level field is not valid UTF-8", code="invalid_utf8"
        ) from None
    except RecursionError:
        raise InvalidRequest("the request body is nested too deeply", code="invalid_json") from None

    get = fields.get
    model = _model(get("model"))
    messages = get("messages")
    _check_messages(messages)
    for name in _UNSUPPORTED.keys() & fields.keys():
        if bytes(fields[name]) not in _NOTHING:
            raise InvalidRequest(_UNSUPPORTED[name], param=name, code="unsupported_parameter")
    tier = get("service_tier")
    if tier is not None and _field(_TIER, "service_tier", tier, "a string") not in (
        None,
        "auto",
        "default",
    ):
        raise InvalidRequest(
            "only the service tiers 'auto' and 'default' are offered",
            param="service_tier",
            code="unsupported_parameter",
        )
    stream = get("stream")
    stream_options = get("stream_options")
    usage = get("usage")
    asked = (
        stream_options is not None
        and (o := _field(_STREAM_OPTIONS, "stream_options", stream_options, _USAGE_WANTED))
        is not None
        and bool(o.include_usage)
    ) or (
        usage is not None
        and (u := _field(_USAGE_OPTION, "usage", usage, 'an object such as {"include": true}'))
        is not None
        and bool(u.include)
    )
    tools = get("tools")
    if tools is not None:
        _check_tools(tools)
    # The size of what becomes prompt: every field counts, so that no rendering of tools or schemas
    # by a provider's template can outgrow it.
    return ChatRequest(
        model=model,
        stream=stream is not None and bool(_field(_BOOL, "stream", stream, "true or false")),
        include_usage=usage_always or asked,
        max_tokens=_cap(get("max_completion_tokens"), get("max_tokens")),
        choices=_choices(get("n")),
        fields=fields,
        prompt_bytes=len(body) if tools is None else len(body) + len(tools),
        body=body,
    )


def _model(raw: Raw | None) -> str:
    if raw is None:
        raise InvalidRequest(
            "'model' is missing: name one of the models that GET /v1/models lists",
            param="model",
            code="missing_field",
        )
    model = _field(_NAME, "model", raw, "a string")
    if not model or len(model) > _MAX_NAME or not model.isprintable():
        raise InvalidRequest(
            f"'model' must be a name of 1 to {_MAX_NAME} printable characters",
            param="model",
            code="invalid_value",
        )
    return str(model)


def _check_messages(raw: Raw | None) -> None:
    if raw is None:
        raise InvalidRequest(
            "'messages' is missing: send a list of at least one message",
            param="messages",
            code="missing_field",
        )
    view = memoryview(raw)
    if bytes(view[:1]) != b"[":
        raise InvalidRequest(
            f"'messages' must be a list of messages, not {_shown(raw)}",
            param="messages",
            code="invalid_type",
        )
    if bytes(view[1:64]).lstrip()[:1] == b"]":
        raise InvalidRequest(
            "'messages' must hold at least one message", param="messages", code="invalid_value"
        )


def _check_tools(raw: Raw) -> None:
    """Refuse tools that a provider runs, and bills for, itself."""
    for tool in _field(_TOOLS, "tools", raw, "a list of tools") or ():
        if tool.type not in {None, "function"}:
            raise InvalidRequest(
                f"'tools' may hold only functions: type 'function', not {tool.type[:40]!r}",
                param="tools",
                code="unsupported_parameter",
            )


def _cap(newer: Raw | None, older: Raw | None) -> int | None:
    for name, raw in (("max_completion_tokens", newer), ("max_tokens", older)):
        if raw is None:
            continue
        value = _field(_INT, name, raw, "a whole number")
        if value is None:
            continue
        if not 1 <= value <= _MAX_TOKENS:
            raise InvalidRequest(
                f"'{name}' must be at least 1 and at most {_MAX_TOKENS}, not {value}",
                param=name,
                code="invalid_value",
            )
        return int(value)
    return None


def _choices(raw: Raw | None) -> int:
    if raw is None:
        return 1
    value = _field(_INT, "n", raw, "a whole number")
    if value is None:
        return 1
    if not 1 <= value <= _MAX_CHOICES:
        raise InvalidRequest(
            f"'n' must be between 1 and {_MAX_CHOICES}, not {value}",
            param="n",
            code="invalid_value",
        )
    return int(value)


def _field(decode: Any, name: str, raw: Raw, wanted: str) -> Any:
    try:
        return decode(raw)
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"'{name}' is not valid UTF-8", param=name, code="invalid_utf8"
        ) from None
    except msgspec.DecodeError:
        _wrong_type(name, raw, wanted)


def _wrong_type(name: str, raw: Raw, wanted: str) -> NoReturn:
    raise InvalidRequest(
        f"'{name}' must be {wanted}, not {_shown(raw)}", param=name, code="invalid_type"
    ) from None


def _shown(raw: Raw) -> str:
    """The start of a value, for a message: enough to find it, never a whole prompt."""
    view = memoryview(raw)
    first = bytes(view[:1])
    if first == b"{":
        return "an object"
    if first == b"[":
        return "a list"
    if first == b'"':
        return "a string"
    return bytes(view[:_SHOWN]).decode("utf-8", "replace")


def _position(text: str) -> str:
    """Msgspec's message without its prefix: what is wrong and at which byte."""
    return text.removeprefix("JSON is malformed: ").removeprefix("Input data was truncated") or (
        "it ends too early"
    )
