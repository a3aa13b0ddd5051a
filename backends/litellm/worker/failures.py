"""What went wrong in litellm, as an error of OpenAI's form."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_MAX_MESSAGE = 600
_SHORTEST_SECRET = 6  # what is shorter would blank out ordinary words
_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_PREFIX = re.compile(
    r"^(?:(?:litellm\.)?\w*(?:Error|Timeout): |Timeout Error: |Error code: \d+ - |\w+Exception - )+"
)
_CONTENT = "Received Chunk="  # what it puts behind this is a piece of the answer
_WORD = re.compile(r"[A-Za-z][\w.-]{0,63}")

# What its exceptions stand for, where that is not the status that they carry: `Timeout` has 408, which
# would blame the request; a connection that failed and an unreadable answer have 500.
# An `APIError` is whatever no other class is for, a plain 403 among them.
_CLASSES = {
    401: "AuthenticationError",
    402: "PaymentRequiredError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    429: "RateLimitError",
    503: "ServiceUnavailableError",
}
_STATUS = {"Timeout": 504, "APIConnectionError": 502, "APIResponseValidationError": 502}

# litellm has `InternalServerError` or `APIConnectionError`, both with status 500, for a provider's 500, a
# host that is not there, a connection that died and an answer that makes no sense. What it was is in the
# causes of its exception (seen by each of the sandbox's faults, 2026-11-22): classes with the first part of
# their modules' names, of whichever client a provider's code uses.
_REFUSED = frozenset(
    {
        "httpx.HTTPStatusError",
        "aiohttp.ClientResponseError",
        "botocore.ClientError",
        "requests.HTTPError",
    }
)
_NEVER_SENT = frozenset(
    {
        "aiohttp.ClientConnectorError",
        "aiohttp.ConnectionTimeoutError",
        "httpcore.ConnectError",
        "httpx.ConnectTimeout",
        "httpx.PoolTimeout",
        "botocore.ConnectTimeoutError",
        "botocore.EndpointConnectionError",
        "builtins.ConnectionRefusedError",
        "socket.gaierror",
    }
)
_LOST = frozenset(
    {
        "aiohttp.ClientConnectionError",
        "aiohttp.ClientPayloadError",
        "botocore.HTTPClientError",
        "builtins.ConnectionError",
        "httpx.TransportError",
    }
)
_UNREADABLE = frozenset(
    {"builtins.UnicodeDecodeError", "json.JSONDecodeError", "pydantic_core.ValidationError"}
)


class Failure(Exception):
    """What the gateway is told of a request that failed.

    Attributes:
        status: an HTTP status.
        body: the `error` member: `message`, `type` (the exception's class), `code` (the provider's own
            word, else the status) and, of a provider's refusal, `provider_status`.
        wait: what its Retry-After header said.
        begun: whether the provider may have begun to work, and so may bill: it was sent the request, and
            did not refuse it with a status.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        word: str | None = None,
        provider_status: int | None = None,
        wait: str | None = None,
        begun: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.wait = wait
        self.begun = begun
        self.body: dict[str, Any] = {"message": message, "type": kind, "code": word or status}
        if provider_status is not None:
            self.body["provider_status"] = provider_status


def failure_of(error: BaseException, secrets: Iterable[str]) -> Failure:
    """An exception as an error of OpenAI's form, without what is private.

    Only what litellm made of a provider's answer has its message told. Of any other, such as a mistake of
    its own, the text can be anything.

    Args:
        error: what litellm raised.
        secrets: what must not be in the message.
    """
    if type(error).__name__ == "MidStreamFallbackError":  # litellm's way to have its router go on
        error = getattr(error, "original_exception", None) or error
    if isinstance(error, Failure):
        return error
    causes = [error, *_causes(error)]
    classes = frozenset(name for one in causes for name in _classes(one))
    if classes & _NEVER_SENT and not classes & _REFUSED:
        return Failure(503, "ConnectError", "litellm could not connect to the provider")
    kind = type(error).__name__
    status: Any = getattr(error, "status_code", None)
    if type(error).__module__.partition(".")[0] not in {"litellm", "openai"}:
        return Failure(500, kind, "litellm failed", begun=not classes & _REFUSED)
    text = _PREFIX.sub("", str(getattr(error, "message", error))).partition(_CONTENT)[0]
    body = next(filter(None, (_object(getattr(one, "body", None)) for one in causes)), {})
    body = body or _object(text)
    said = body.get("message")
    message = cleaned(said if isinstance(said, str) else text, secrets)
    told = isinstance(status, int) and 400 <= status <= 599  # noqa: PLR2004 - HTTP's
    if not told or (_is_of_litellms_own(kind, status) and not classes & _REFUSED):
        kind = _kind_of_broken(kind, classes)
        return Failure(_STATUS.get(kind, 500), kind, message, word=_word(body), begun=True)
    headers = (
        getattr(getattr(error, "response", None), "headers", None)
        or getattr(error, "litellm_response_headers", None)
        or {}
    )
    return Failure(
        _STATUS.get(kind, status),
        _CLASSES.get(status, kind) if kind == "APIError" else kind,
        message,
        word=_word(body),
        provider_status=status,
        wait=headers.get("retry-after"),
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What an exception was raised for, and that one, and so on."""
    seen = {id(error)}
    inner: BaseException | None = error
    while inner is not None:
        inner = getattr(inner, "original_exception", None) or inner.__cause__ or inner.__context__
        if not isinstance(inner, BaseException) or id(inner) in seen:
            return
        seen.add(id(inner))
        yield inner


def _classes(error: BaseException) -> Iterator[str]:
    for one in type(error).__mro__:
        yield f"{one.__module__.partition('.')[0]}.{one.__name__}"


def _is_of_litellms_own(kind: str, status: int) -> bool:
    """Whether litellm gives such a status to what no provider told; what it refuses itself has others."""
    return kind == "Timeout" or status >= 500  # noqa: PLR2004 - HTTP's


def _kind_of_broken(kind: str, classes: frozenset[str]) -> str:
    """The class of litellm's that fits what happened to an answer."""
    if kind == "Timeout":
        return kind
    if classes & _LOST:
        return "APIConnectionError"
    if classes & _UNREADABLE:
        return "APIResponseValidationError"
    return (
        "APIError" if kind == "APIConnectionError" else kind
    )  # the provider's own word of failure


def _object(body: Any) -> Mapping[str, Any]:
    """The error that a provider's body holds, in a form like OpenAI's; empty if it is none."""
    if isinstance(body, str) and body.startswith("{"):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            return {}
    inner = body.get("error", body) if isinstance(body, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def _word(body: Mapping[str, Any]) -> str | None:
    """The machine-readable word that says most: OpenRouter's, a code, a type."""
    extra = body.get("metadata")
    said = extra.get("error_type") if isinstance(extra, Mapping) else None
    words = (said, body.get("code"), body.get("reason"), body.get("type"))
    return next((word for word in words if isinstance(word, str) and _WORD.fullmatch(word)), None)


def cleaned(message: str, secrets: Iterable[str]) -> str:
    """A message on one line, without secrets and addresses."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            message = message.replace(secret, "***")
    message = _ADDRESS.sub("…", message)
    return " ".join(message.split())[:_MAX_MESSAGE]
