"""Reading what an Anthropic request holds, with refusals in the form of that API: `path: message`."""

import codecs
import re
from collections.abc import Callable
from typing import NoReturn, TypeVar

import msgspec
from msgspec import Raw

from gateway.errors import InvalidRequest
from gateway.wire.request import shown

Value = TypeVar("Value")

ABSENT = Raw(b"")  # a default, as `Raw | None` would take nothing but null
_decode_text = msgspec.json.Decoder(str).decode
# Anthropic's tool use guide, read 2026-11-22.
_is_tool_name = re.compile("[a-zA-Z0-9_-]{1,128}").fullmatch
_CHUNK = 1 << 16  # bytes: what is decoded only to be checked stays in the processor's cache


def refuse(path: str, message: str, code: str = "invalid_value") -> NoReturn:
    """Refuse what stands at `path`."""
    raise InvalidRequest(f"{path}: {message}", param=path, code=code) from None


def given(raw: Raw) -> bool:
    """Whether an optional member is there and not null."""
    return bytes(raw) not in {b"", b"null"} if len(raw) <= 4 else True  # noqa: PLR2004 - of "null"


def escaped(raw: Raw, path: str) -> memoryview:
    """The text of a string that must be there, as JSON-escaped bytes, not copied.

    Raises:
        InvalidRequest: it is not there, or is of another type.
    """
    view = memoryview(raw)
    if not view:
        refuse(path, "Field required", "missing_field")
    if view[0] != 0x22:  # noqa: PLR2004 - a quotation mark
        refuse(path, f"must be a string, not {shown(raw)}", "invalid_type")
    return view[1:-1]


def text(raw: Raw, path: str) -> str:
    """The same, decoded: for names and ids.

    Raises:
        InvalidRequest: as above.
    """
    escaped(raw, path)
    return read(_decode_text, raw, path)


def tool_name(raw: Raw, path: str) -> bytes:
    """The name of a tool, which needs no escaping.

    Raises:
        InvalidRequest: it is not there, or is none that Anthropic's API takes.
    """
    name = text(raw, path)
    if not _is_tool_name(name):
        refuse(path, "must be 1 to 128 letters (a-z, A-Z), digits, '_' and '-'")
    return name.encode()


def require_utf8(body: bytes | bytearray) -> None:
    """See that a body is UTF-8, as text that is not decoded is not looked at again.

    Raises:
        InvalidRequest: it is not.
    """
    if body.isascii():  # several times as fast as to decode it
        return
    start, end = 0, len(body)
    while start < end:
        chunk = body[start : start + _CHUNK]
        try:
            start += codecs.utf_8_decode(chunk, "strict", start + _CHUNK >= end)[1]
        except UnicodeDecodeError as error:
            raise InvalidRequest(
                f"the request body is not valid UTF-8, at byte {start + error.start}: send JSON in"
                " UTF-8",
                code="invalid_utf8",
            ) from None


def read(decode: Callable[[Raw], Value], raw: Raw, path: str) -> Value:
    """What a member holds, of a body that passed `require_utf8`.

    Args:
        decode: a msgspec decoder of what is wanted there.
        raw: its JSON.
        path: where it stands, such as `messages.3.content`.

    Raises:
        InvalidRequest: it holds something else; the message names the very place.
    """
    try:
        return decode(raw)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        place = path + where.rstrip("`").replace("[", ".").replace("]", "")
        words = what.replace("`", "'").replace("'array'", "a list").replace("'object'", "an object")
        refuse(place, words, "invalid_type")
    except (msgspec.DecodeError, RecursionError):
        refuse(path, "is nested too deeply", "invalid_json")
