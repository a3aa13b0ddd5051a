"""What a provider's refusal says: its words, its members and its text, whatever form it has."""

import re
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct

# What decoding a provider's JSON can raise: the last for thousands of nested brackets.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

# Shapes of secrets and account numbers that providers put into messages.
_PRIVATE = re.compile(
    r"\b(?:sk|ak|rk|org|proj|key|acct|user)[-_][A-Za-z0-9_\-]{6,}"  # keys and ids with a prefix
    r"|\b[0-9a-f]{24,}\b"  # bare hexadecimal ids
    r"|\b[\w.+-]+@[\w-]+\.[\w.]+"  # addresses
    r"|https?://\S+"
)
_MAX_PUBLIC = 400
_MAX_SEARCHED = 2_000  # the search for secrets takes time that grows faster than the text
_MAX_WORD = 64
_MAX_NUMBER = 40  # digits; thousands of them are more than Python converts
_MAX_WAIT = 86_400.0  # seconds
_STATUS = re.compile(r"[1-5][0-9]{2}")
_ABSENT = Raw(b"")
_GIVEN = 2  # bytes of the shortest JSON value that says something, `{}` and `""` left aside


Scalar = str | int | float | None
_T = TypeVar("_T")


class _Document(Struct):
    """The forms of error bodies met in the wild: OpenAI's, code/reason/message, and flat."""

    error: Raw = _ABSENT
    message: Raw = _ABSENT
    detail: Raw = _ABSENT  # FastAPI's
    type: Raw = _ABSENT
    reason: Raw = _ABSENT
    code: Raw = _ABSENT
    param: Raw = _ABSENT
    metadata: Raw = _ABSENT
    error_type: Raw = _ABSENT
    availability: Raw = _ABSENT  # OpenRouter's


class _Metadata(Struct):
    """What OpenRouter adds, of which some is read and some only seen to be there."""

    error_type: Raw = _ABSENT
    limit_source: Raw = _ABSENT
    raw: Raw = _ABSENT
    headers: Raw = _ABSENT
    provider_name: Raw = _ABSENT
    provider_code: Raw = _ABSENT
    previous_errors: Raw = _ABSENT
    reasons: Raw = _ABSENT
    flagged_input: Raw = _ABSENT
    patterns: Raw = _ABSENT


class _Availability(Struct):
    """Why OpenRouter has no host for a request."""

    code: Raw = _ABSENT
    excluded_by: Raw = _ABSENT
    retry_after: Raw = _ABSENT


class Told(Struct, frozen=True):
    """What a provider said about its refusal.

    Attributes:
        message: its text, or the start of a body that is no JSON.
        words: its machine-readable words, those that say most first.
        members: what is there besides: `metadata.<name>` for each member that is given, `param=<name>` for
            the field that is named as being at fault, `availability` where it has a code, and
            `excluded_by=<reason>` where it names one reason only.
        status: an HTTP status that the body names; None if it names none.
        page: whether it is a page for people, as proxies send.
        wait: seconds to wait, where the body has them as a number.
        reset: when its limit is open again, in milliseconds since 1970, where the body has that.
    """

    message: str = ""
    words: tuple[str, ...] = ()
    members: frozenset[str] = frozenset()
    status: int | None = None
    page: bool = False
    wait: float | None = None
    reset: bytes | None = None


_document = msgspec.json.Decoder(_Document).decode
_metadata = msgspec.json.Decoder(_Metadata).decode
_availability = msgspec.json.Decoder(_Availability).decode
_headers = msgspec.json.Decoder(dict[str, Raw]).decode
_words = msgspec.json.Decoder(list[str]).decode
_any_scalar: Callable[[Raw], Scalar] = msgspec.json.Decoder(Scalar).decode


def told(body: bytes | Raw) -> Told:
    """Read an error body; of one that cannot be read, the start of its text."""
    raw = bytes(body)
    try:
        outer = _document(raw)
    except UNREADABLE:
        text = raw[:_MAX_SEARCHED].decode("utf-8", "replace")
        return Told(text, page=text.lstrip().startswith("<"))
    inner = _read(_document, outer.error, _Document())
    extra = _read(_metadata, inner.metadata, _Metadata())
    available = _read(_availability, inner.availability, _Availability())
    host = _host(extra.raw)
    message = _string(inner.message) or _string(outer.error) or _string(outer.message)
    said = [extra.limit_source, available.code, extra.error_type, inner.error_type, inner.code]
    said += [inner.type, outer.reason, outer.type, outer.code]
    words = [word for raw_word in said if (word := _word(raw_word))]
    return Told(
        host.message or message or _string(outer.detail),
        tuple(dict.fromkeys((*words, *host.words))),
        frozenset(_members(inner, extra, available)),
        _status(inner.code) or _status(outer.code),
        wait=_number(available.retry_after),
        reset=_reset(extra.headers),
    )


def _read(decode: Callable[[Raw], _T], raw: Raw, otherwise: _T) -> _T:
    try:
        return decode(raw)
    except UNREADABLE:
        return otherwise


def _host(raw: Raw) -> Told:
    """The host's own body, which an aggregator hands on as a string."""
    text = _string(raw)
    try:
        outer = _document(text)
    except UNREADABLE:
        return Told(text)
    inner = _read(_document, outer.error, _Document())
    words = [word for part in (inner.code, inner.type, outer.code) if (word := _word(part))]
    return Told(_string(inner.message) or _string(outer.message), tuple(words))


def _members(inner: _Document, extra: _Metadata, available: _Availability) -> Iterator[str]:
    for name in _Metadata.__struct_fields__:
        given = bytes(getattr(extra, name))
        if len(given) > _GIVEN and given != b"null":
            yield f"metadata.{name}"
    if param := _word(inner.param):
        yield f"param={param}"
    if _word(available.code):
        yield "availability"
    excluded = _read(_words, available.excluded_by, list[str]())
    if len(excluded) == 1:  # of several, none is the one that a change would help against
        yield f"excluded_by={excluded[0]}"


def _scalar(raw: Raw) -> Scalar:
    if len(bytes(raw)) > _MAX_NUMBER and bytes(raw)[:1] != b'"':
        return None
    return _read(_any_scalar, raw, None)


def _string(raw: Raw) -> str:
    value = _scalar(raw)
    return value if isinstance(value, str) else ""


def _word(raw: Raw) -> str:
    """A machine-readable word; empty for a number, and for what is too long to be one."""
    word = _string(raw)
    return word if len(word) <= _MAX_WORD and word.isprintable() else ""


def _number(raw: Raw) -> float | None:
    value = _scalar(raw)
    return None if value is None or isinstance(value, str) else bounded(float(value))


def _status(code: Raw) -> int | None:
    digits = str(_scalar(code))
    return int(digits) if _STATUS.fullmatch(digits) else None


def _reset(headers: Raw) -> bytes | None:
    found = _read(_headers, headers, dict[str, Raw]())
    value = next((raw for name, raw in found.items() if name.lower() == "x-ratelimit-reset"), None)
    return None if value is None else str(_scalar(value)).encode()


def public_text(message: str) -> str | None:
    """A provider's message with everything that could be private taken out; None if nothing is left."""
    text = _PRIVATE.sub("…", message[:_MAX_SEARCHED]).strip()
    text = "".join(c if c.isprintable() else " " for c in text)
    return text[:_MAX_PUBLIC] or None


def bounded(seconds: float) -> float:
    """Seconds to wait: not negative, at most a day."""
    return max(0.0, min(seconds, _MAX_WAIT))


def retry_after(value: bytes | None, now: float) -> float | None:
    """Seconds from a Retry-After header (RFC 9110, 10.2.3): a number or an HTTP date."""
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    try:
        return bounded(float(text))
    except ValueError:
        pass
    try:
        return bounded(parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def milliseconds(value: bytes | None) -> float | None:
    """Seconds from a number of milliseconds; None if it is none."""
    try:
        return None if value is None else float(value) / 1000
    except ValueError:
        return None
