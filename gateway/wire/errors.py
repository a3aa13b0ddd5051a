"""Errors as callers of OpenAI's dialect read them."""

from typing import Any

import msgspec

from gateway.errors import GatewayError

_json = msgspec.json.Encoder().encode


def error_object(error: GatewayError) -> bytes:
    """The JSON of the error object itself."""
    body: dict[str, Any] = {
        "message": error.message,
        "type": error.type,
        "param": error.param,
        "code": error.code,
    }
    if error.metadata:
        body["metadata"] = error.metadata
    return _json(body)


def error_body(error: GatewayError) -> bytes:
    """A whole error reply."""
    return b'{"error":' + error_object(error) + b"}"


def error_headers(error: GatewayError) -> dict[str, str]:
    """Headers that belong to an error: content type, and when to come back."""
    headers = {"content-type": "application/json"}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after + 0.499)))
    return headers


def error_header_lines(error: GatewayError) -> bytes:
    """The same as lines of a head."""
    lines = [f"{name}: {value}\r\n" for name, value in error_headers(error).items()]
    return "".join(lines).encode("latin-1")
