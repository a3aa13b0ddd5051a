"""From an HTTP refusal of an OpenAI-style provider to what it means."""

import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import msgspec
from msgspec import Raw, Struct

from backends.errors import (
    BackendError,
    ContentRefused,
    CredentialRefused,
    ModelUnavailable,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    UpstreamFault,
)

# Shapes of secrets and account numbers that providers put into messages.
_PRIVATE = re.compile(
    r"\b(?:sk|ak|rk|org|proj|key|acct|user)[-_][A-Za-z0-9_\-]{6,}"  # keys and ids with a prefix
    r"|\b[0-9a-f]{24,}\b"  # bare hexadecimal ids
    r"|\b[\w.+-]+@[\w-]+\.[\w.]+"  # addresses
    r"|https?://\S+"
)
_MAX_PUBLIC = 400
_STATUS_DIGITS = 3
_MAX_SEARCHED = 2_000  # the search for secrets takes time that grows faster than the text
_MAX_WAIT = 86_400.0  # seconds
_STATUS = re.compile(r"[1-5][0-9]{2}")

# What decoding a provider's JSON can raise: the last for thousands of nested brackets.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Inner(Struct):
    message: str | None = None
    type: str | None = None
    code: str | int | None = None


class _Coded(Struct):
    code: str | int | None = None


class _Body(Struct):
    """All three error forms met in the wild: OpenAI's, code/reason/message, and flat."""

    error: _Inner | str | None = None
    message: str | None = None
    type: str | None = None
    reason: str | None = None
    code: str | int | None = None


_decode = msgspec.json.Decoder(_Body).decode
_decode_code = msgspec.json.Decoder(_Coded).decode


class Told(Struct, frozen=True):
    """What a provider said about its refusal."""

    message: str
    type: str  # its error type, code or reason; empty where it gave none


def told(body: bytes | Raw) -> Told:
    """Read an error body; whatever cannot be read gives empty strings."""
    try:
        parsed = _decode(body)
    except UNREADABLE:
        return Told("", "")
    return _told(parsed)


def _told(parsed: _Body) -> Told:
    inner = parsed.error
    if isinstance(inner, str):
        return Told(inner, parsed.type or "")
    if inner is not None:
        return Told(inner.message or "", _word(inner.type, inner.code))
    return Told(parsed.message or "", _word(parsed.reason, parsed.type, parsed.code))


def _word(*words: str | int | None) -> str:
    """The word that says most: OpenAI's `code` can be more exact than its `type`."""
    told = [word for word in words if isinstance(word, str) and word]
    return next((word for word in told if word in _BY_TYPE), told[0] if told else "")


def public_text(message: str) -> str | None:
    """A provider's message with everything that could be private taken out; None if nothing is left."""
    text = _PRIVATE.sub("…", message[:_MAX_SEARCHED]).strip()
    text = "".join(c if c.isprintable() else " " for c in text)
    return text[:_MAX_PUBLIC] or None


def retry_after(value: bytes | None, now: float) -> float | None:
    """Seconds from a Retry-After header (RFC 9110, 10.2.3): a number or an HTTP date."""
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    try:
        return max(0.0, min(float(text), _MAX_WAIT))
    except ValueError:
        pass
    try:
        return max(0.0, min(parsedate_to_datetime(text).timestamp() - now, _MAX_WAIT))
    except (ValueError, TypeError, OverflowError):
        return None


_BY_STATUS: dict[int, type[BackendError]] = {
    400: RequestRefused,
    401: CredentialRefused,
    402: QuotaExhausted,
    403: CredentialRefused,
    404: ModelUnavailable,
    413: RequestRefused,
    422: RequestRefused,
    429: RateLimited,
    503: Overloaded,
    529: Overloaded,
}

# Machine-readable words that mean more than the status they come with. Sources: OpenAI error
# reference; Moonshot error reference (stored copy 2026-09-03); Novita reports of 2026.
_BY_TYPE: dict[str, type[BackendError]] = {
    "content_filter": ContentRefused,
    "content_policy_violation": ContentRefused,
    "engine_overloaded_error": Overloaded,
    "exceeded_current_quota_error": QuotaExhausted,
    "insufficient_quota": QuotaExhausted,
    "NOT_ENOUGH_BALANCE": QuotaExhausted,
}


def classify(status: int, wait: float | None, body: bytes) -> BackendError:
    """What an HTTP status other than 200 means.

    Args:
        status: the upstream's HTTP status.
        wait: seconds from its Retry-After header.
        body: the start of the reply's body.
    """
    said = told(body)
    kind = _BY_TYPE.get(said.type) or _BY_STATUS.get(status, UpstreamFault)
    public = public_text(said.message) if kind is RequestRefused else None
    return kind(
        f"HTTP {status} {said.type}: {said.message[:200]}",
        status=status,
        public=public,
        retry_after=wait,
        native_code=said.type or None,
    )


def classify_event(error: Raw) -> BackendError:
    """What an `error` member inside a 200 reply means, or a whole document that is an error."""
    said = told(b'{"error":' + bytes(error) + b"}")
    if not said.type:
        flat = told(error)
        said = Told(said.message or flat.message, flat.type)
    try:
        code = _decode_code(error).code
    except UNREADABLE:
        code = None
    status = int(str(code)) if _STATUS.fullmatch(str(code)) else 0
    kind = _BY_TYPE.get(said.type) or _BY_STATUS.get(status, UpstreamFault)
    found = kind(
        f"error inside a reply: {said.type}: {said.message[:200]}",
        status=status or None,
        public=public_text(said.message) if kind is RequestRefused else None,
        native_code=said.type or None,
    )
    found.in_work = kind is UpstreamFault
    return found


def vllm_refusal(status: int, wait: float | None, body: bytes) -> BackendError:
    """`classify`, knowing vLLM.

    Its old engine (V0, last in 0.10) answers 400 to any `cache_salt`. That field is this gateway's own,
    so it is not the caller who is at fault; no more than the message says which field it is.
    """
    if status == 400 and b"Parameter 'cache_salt'" in body:  # noqa: PLR2004 - Bad Request
        return UpstreamFault(
            "this vLLM takes no cache_salt: use a newer one, or set cache_isolation: none",
            status=status,
            native_code="cache_salt_refused",
        )
    return classify(status, wait, body)


def vllm_event(error: Raw) -> BackendError:
    """`classify_event`, knowing vLLM.

    Up to 0.11 it gave code 400 and type BadRequestError to whatever went wrong in a stream, the death of
    its engine included (its `create_streaming_error_response`, read 2026-11-22). A request that is
    itself at fault is refused before the 200, so that what comes after it is the server's.
    """
    found = classify_event(error)
    if isinstance(found, RequestRefused):
        fault = UpstreamFault(str(found), status=found.status, native_code=found.native_code)
        fault.in_work = True
        return fault
    return found


Classify = Callable[[int, float | None, bytes], BackendError]
ClassifyEvent = Callable[[Raw], BackendError]
