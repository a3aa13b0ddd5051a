"""Errors as callers of Anthropic's dialect read them.

Types and statuses are those of Anthropic's error reference and of its Python SDK 2.12 (read 2026-11-22).
The status stays the gateway's own, so that records say what was sent: a provider without capacity is
503 with `overloaded_error`, which is what clients look for, and not Anthropic's 529.
"""

from typing import Any

import msgspec

from gateway.errors import GatewayError

_json = msgspec.json.Encoder().encode

_BY_STATUS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
}
_OVERLOADED = frozenset({"overloaded", "too_many_connections"})
_SERVER = 500


def error_type(error: GatewayError) -> str:
    """The word that Anthropic's API has for this kind of error."""
    if error.code in _OVERLOADED:
        return "overloaded_error"
    known = _BY_STATUS.get(error.status)
    if known is not None:
        return known
    return "api_error" if error.status >= _SERVER else "invalid_request_error"


def error_object(error: GatewayError) -> bytes:
    """The JSON of the error object itself. Our stable code is where the SDK reads `error_code`."""
    details: dict[str, Any] = {"error_code": error.code}
    if error.param is not None:
        details["param"] = error.param
    if error.metadata:
        details["metadata"] = error.metadata
    if error.availability:
        details["availability"] = error.availability
    return _json({"type": error_type(error), "message": error.message, "details": details})


def error_body(error: GatewayError, request_id: str) -> bytes:
    """A whole error reply. `request_id` is the generation id."""
    return b'{"type":"error","error":%b,"request_id":%b}' % (
        error_object(error),
        _json(request_id),
    )
