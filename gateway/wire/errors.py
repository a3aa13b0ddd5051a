"""Errors as callers of OpenAI's dialect read them."""

from typing import Any

import msgspec

from gateway.errors import GatewayError

_json = msgspec.json.Encoder().encode

# OpenRouter's words (its contract, 2026-08-22) for what this gateway refuses itself. It has none for a
# method that is not allowed or a request that came back: both are the request's fault.
_BY_CODE = {"context_length_exceeded": "context_length_exceeded"}
_BY_STATUS = {
    401: "authentication",
    402: "payment_required",
    403: "permission_denied",
    404: "not_found",
    408: "timeout",
    413: "payload_too_large",
    422: "unprocessable",
    429: "rate_limit_exceeded",
    431: "payload_too_large",
    502: "provider_unavailable",
    504: "timeout",
    508: "invalid_request",
}
_SERVER = 500


def error_type(error: GatewayError) -> str:
    """OpenRouter's word for an error."""
    otherwise = "invalid_request" if error.status < _SERVER else "server"
    return _BY_CODE.get(error.code) or _BY_STATUS.get(error.status, otherwise)


def openrouter_object(error: GatewayError) -> bytes:
    """The JSON of the error object, with what OpenRouter's clients tell errors apart by.

    Where providers failed, the metadata have the word for how they did.
    """
    return _object(error, {"error_type": error_type(error)} | (error.metadata or {}))


def openrouter_body(error: GatewayError) -> bytes:
    """A whole error reply, of such an object."""
    return b'{"error":' + openrouter_object(error) + b"}"


def error_object(error: GatewayError) -> bytes:
    """The JSON of the error object itself."""
    return _object(error, error.metadata)


def _object(error: GatewayError, metadata: dict[str, Any] | None) -> bytes:
    body: dict[str, Any] = {
        "message": error.message,
        "type": error.type,
        "param": error.param,
        "code": error.code,
    }
    if metadata:
        body["metadata"] = metadata
    if error.availability:
        body["availability"] = error.availability
    return _json(body)


def error_body(error: GatewayError) -> bytes:
    """A whole error reply."""
    return b'{"error":' + error_object(error) + b"}"


def error_headers(error: GatewayError) -> dict[str, str]:
    """Headers that belong to an error: content type, and when to come back."""
    headers = {"content-type": "application/json"}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after + 0.499)))
    if error.should_retry is not None:  # OpenAI's and Anthropic's SDKs obey it
        headers["x-should-retry"] = "true" if error.should_retry else "false"
    return headers


def error_header_lines(error: GatewayError) -> bytes:
    """The same as lines of a head."""
    lines = [f"{name}: {value}\r\n" for name, value in error_headers(error).items()]
    return "".join(lines).encode("latin-1")
