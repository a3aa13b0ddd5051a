"""Errors as callers read them."""

import json

import pytest

from gateway.errors import BudgetExceeded, GatewayError, InvalidRequest
from gateway.wire.errors import error_body, error_header_lines, error_headers


def test_an_error_has_openais_form() -> None:
    error = InvalidRequest('say "n"', param="n", code="invalid_value")
    assert json.loads(error_body(error)) == {
        "error": {
            "message": 'say "n"',
            "type": "invalid_request_error",
            "param": "n",
            "code": "invalid_value",
        }
    }


def test_metadata_are_there_where_there_are_any() -> None:
    error = BudgetExceeded("no", metadata={"needed": "0.01"})
    assert json.loads(error_body(error))["error"]["metadata"] == {"needed": "0.01"}


@pytest.mark.parametrize(
    ("seconds", "header"),
    [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.1, "2"), (7.0, "7"), (59.6, "60")],
)
def test_retry_after_is_whole_seconds_never_too_early(seconds: float, header: str) -> None:
    error = GatewayError("wait", retry_after=seconds)
    assert error_headers(error)["retry-after"] == header
    assert error_header_lines(error).splitlines() == [
        b"content-type: application/json",
        b"retry-after: " + header.encode(),
    ]


def test_without_a_reason_to_wait_there_is_no_such_header() -> None:
    assert error_headers(GatewayError("no")) == {"content-type": "application/json"}
