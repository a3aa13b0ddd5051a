"""What the spine needs of a chat request, whichever dialect it came in; and reading fields of JSON.

The neutral form of a request is OpenAI's, as every provider of Kimi models speaks it: a mapping of
top-level fields to the raw JSON of their values. A caller's dialect that is another is transcoded.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import msgspec
from msgspec import Raw, Struct

from backends import UNASKED, Mode
from gateway.errors import InvalidRequest
from gateway.values import NO_PREFERENCES, Preferences
from gateway.wire.media import NO_MEDIA, Media
from gateway.wire.web_search import may_name_it

_MAX_NAME = 256
MAX_TOKENS = 100_000_000
_SHOWN = 60
_LIST = re.compile(rb"\[[ \t\n\r]*(\])?")  # matched in place: the list may be megabytes long

# The fields of a request's body, each the raw JSON of its value; and what that raises if it is no
# JSON object.
decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decode_name = msgspec.json.Decoder(str).decode

# Fields that would change where a request goes, what it costs or what is kept, and that this version
# does not act on. Ignoring one in silence could break a caller's policy, so each is refused.
UNSUPPORTED = {
    "models": "fallback models are not supported yet; remove 'models' and send one 'model'",
    "route": "'route' is not supported yet; remove it",
    "plugins": "plugins are not supported; remove 'plugins'",
    "transforms": "transforms are not supported; remove 'transforms'",
    "web_search_options": "web search is not supported yet; remove 'web_search_options'",
    "audio": "audio output is not offered by these models; remove 'audio'",
    "functions": "'functions' is OpenAI's retired form; send 'tools' instead",
    "function_call": "'function_call' is OpenAI's retired form; send 'tool_choice' instead",
}
# Escaped lower-case letters and underscores, with which the keys of media parts (image_url, video_url,
# file_url, input_audio, file) could be written otherwise.
_LETTER_ESCAPES = (b"\\u005", b"\\u006", b"\\u007")
_NOTHING = (b"null", b"{}", b"[]", b'""', b"false")


class ChatRequest(Struct, frozen=True, kw_only=True):
    """A chat request as far as decisions need it.

    Attributes:
        model: the name the caller asked for; "" if it named none.
        stream: whether the answer is to be streamed.
        include_usage: whether a stream ends with usage.
        max_tokens: output cap per choice, None if the caller gave none.
        choices: how many answers are wanted (`n`).
        fields: all top-level fields, raw, under OpenAI's names.
        prompt_bytes: size of everything that may become prompt tokens.
        body: the whole body, as it came.
        media: the media of the prompt, where the dialect's reader knows them.
        parts: whether any content may be a list of parts.
        dropped: what of the request the dialect's reader left out, under the caller's names.
        mode: how much the model is to think.
        preferences: what is asked of the endpoints.
        searches: web searches that each answer may call; 0 where the tool is not declared.
        preset: what `preset` names: parts that the request leaves unsaid.
    """

    model: str
    stream: bool
    include_usage: bool
    max_tokens: int | None
    choices: int
    fields: Mapping[str, Raw]
    prompt_bytes: int
    body: bytes | bytearray
    media: Media | None = None
    parts: bool = True
    dropped: tuple[str, ...] = ()
    mode: Mode = UNASKED
    preferences: Preferences = NO_PREFERENCES
    searches: int = 0
    preset: str | None = None

    @property
    def end_user(self) -> bytes | None:
        """Whom the caller says that it asks for, as UTF-8; None where it does not say.

        `user`, or OpenAI's newer `safety_identifier`; Anthropic's `metadata.user_id` has become `user`.
        Both go on to the provider as they came.
        """
        for name in ("user", "safety_identifier"):
            raw = self.fields.get(name)
            if raw is None:
                continue
            try:
                said = _decode_name(raw)
            except (msgspec.DecodeError, UnicodeDecodeError):
                said = "" if raw == b"null" else bytes(raw).decode("utf-8", "replace")
            if said:
                return str(said).encode("utf-8", "replace")
        return None

    @property
    def may_refer_to_searches(self) -> bool:
        """Whether the prompt may hold searches of earlier turns, whose tokens bytes do not bound.

        They come back as a short reference, in whose place Moonshot puts what was found. Searches the body,
        and rather says yes than no: ask only where the answer matters.
        """
        return may_name_it(self.body) and may_name_it(bytes(self.fields["messages"]))

    @property
    def refers_to_media(self) -> bool:
        """Whether the prompt may hold media, whose tokens bytes do not bound.

        Where nobody has looked it sees too much rather than too little: any mention of a media key
        counts, and any escape that could spell one. Searches the body: ask only where the answer
        matters.
        """
        if self.media is not None:
            return self.media is not NO_MEDIA
        body = self.body
        return self.parts and (
            b"_url" in body
            or b"input_audio" in body
            or b'"file_id"' in body
            or b'"file_data"' in body
            or (b"\\u00" in body and any(escape in body for escape in _LETTER_ESCAPES))
        )


def unreadable(error: Exception, example: str) -> InvalidRequest:
    """What to tell the sender of a body that `decode_fields` could not read.

    Args:
        error: what it raised, one of `UNREADABLE`.
        example: a good body, for the message.
    """
    if isinstance(error, msgspec.ValidationError):
        text = f"the request body must be a JSON object such as {example}"
    elif isinstance(error, msgspec.DecodeError):
        text = f"the request body is not valid JSON: {_position(str(error))}"
    elif isinstance(error, UnicodeDecodeError):
        return InvalidRequest(
            "the name of a top-level field is not valid UTF-8", code="invalid_utf8"
        )
    else:
        text = "the request body is nested too deeply"
    return InvalidRequest(text, code="invalid_json")


def refuse_unsupported(fields: Mapping[str, Raw], refused: Mapping[str, str]) -> None:
    """Refuse fields that must not be ignored; null, false and empty ones say nothing.

    Raises:
        InvalidRequest: with the message that `refused` has for the field.
    """
    for name in refused.keys() & fields.keys():
        if bytes(fields[name]) not in _NOTHING:
            raise InvalidRequest(refused[name], param=name, code="unsupported_parameter")


def missing_model() -> InvalidRequest:
    """What to tell the sender of a request without a model, where none is set for it."""
    return InvalidRequest(
        "'model' is missing: name one of the models that GET /v1/models lists",
        param="model",
        code="missing_field",
    )


def preset_name(raw: Raw | None) -> str | None:
    """The preset that the field `preset` names, if there is one.

    Raises:
        InvalidRequest: it cannot be a name.
    """
    if raw is None or bytes(raw) in _NOTHING:
        return None
    slug = str(decoded(_decode_name, "preset", raw, "a string"))
    if not 0 < len(slug) <= _MAX_NAME:
        raise InvalidRequest(
            f"'preset' must be a name of 1 to {_MAX_NAME} characters",
            param="preset",
            code="invalid_value",
        )
    return slug.removeprefix("@preset/")


def model_name(raw: Raw | None) -> str:
    """The model that is asked for; "" if none is.

    Raises:
        InvalidRequest: it cannot be a name.
    """
    if raw is None:
        return ""
    model = decoded(_decode_name, "model", raw, "a string")
    if not model or len(model) > _MAX_NAME or not model.isprintable():
        raise InvalidRequest(
            f"'model' must be a name of 1 to {_MAX_NAME} printable characters",
            param="model",
            code="invalid_value",
        )
    return str(model)


def require_messages(raw: Raw | None) -> Raw:
    """The messages, which are a list of at least one.

    Raises:
        InvalidRequest: they are not.
    """
    if raw is None:
        raise InvalidRequest(
            "'messages' is missing: send a list of at least one message",
            param="messages",
            code="missing_field",
        )
    begun = _LIST.match(raw)
    if begun is None:
        raise InvalidRequest(
            f"'messages' must be a list of messages, not {shown(raw)}",
            param="messages",
            code="invalid_type",
        )
    if begun.lastindex:
        raise InvalidRequest(
            "'messages' must hold at least one message", param="messages", code="invalid_value"
        )
    return raw


def in_range(name: str, value: int) -> int:
    """An output cap that can be one.

    Raises:
        InvalidRequest: it is below 1 or absurd.
    """
    if not 1 <= value <= MAX_TOKENS:
        raise InvalidRequest(
            f"'{name}' must be at least 1 and at most {MAX_TOKENS}, not {value}",
            param=name,
            code="invalid_value",
        )
    return int(value)


def decoded(decode: Callable[[Any], Any], name: str, raw: Raw, wanted: str) -> Any:
    """What a field holds.

    Args:
        decode: a msgspec decoder of the type that is wanted.
        name: the field, for the message.
        raw: its JSON.
        wanted: the type in words, such as "a whole number".

    Raises:
        InvalidRequest: it holds something else.
    """
    try:
        return decode(raw)
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"'{name}' is not valid UTF-8", param=name, code="invalid_utf8"
        ) from None
    except (msgspec.DecodeError, RecursionError):
        wrong_type(name, raw, wanted)


def wrong_type(name: str, raw: Raw, wanted: str) -> NoReturn:
    """Refuse a field of another type than `wanted`."""
    raise InvalidRequest(
        f"'{name}' must be {wanted}, not {shown(raw)}", param=name, code="invalid_type"
    ) from None


def shown(raw: Raw) -> str:
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
