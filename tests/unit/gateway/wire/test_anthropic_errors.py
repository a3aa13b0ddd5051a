"""Errors as callers of Anthropic's dialect read them."""

import json

import pytest

from gateway.errors import (
    AllAttemptsFailed,
    BodyTooLarge,
    BudgetExceeded,
    Forbidden,
    GatewayError,
    HeadersTooLarge,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    RequestTimeout,
    Unauthenticated,
    Unavailable,
)
from gateway.wire.anthropic_errors import error_body


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidRequest("x"), "invalid_request_error"),
        (Unauthenticated("x"), "authentication_error"),
        (BudgetExceeded("x"), "billing_error"),
        (Forbidden("x"), "permission_error"),
        (NotFound("x"), "not_found_error"),
        (MethodNotAllowed("x"), "invalid_request_error"),
        (RequestTimeout("x"), "invalid_request_error"),
        (BodyTooLarge("x"), "request_too_large"),
        (HeadersTooLarge("x"), "invalid_request_error"),
        (AllAttemptsFailed("x", status=429, code="rate_limited"), "rate_limit_error"),
        (AllAttemptsFailed("x", status=503, code="overloaded"), "overloaded_error"),
        (AllAttemptsFailed("x", code="overloaded"), "overloaded_error"),
        (AllAttemptsFailed("x", status=504, code="timeout"), "timeout_error"),
        (AllAttemptsFailed("x"), "api_error"),
        (Unavailable("x", code="too_many_connections"), "overloaded_error"),
        (Unavailable("x", code="shutting_down"), "api_error"),
        (GatewayError("x"), "api_error"),
    ],
)
def test_each_error_has_anthropics_type(error: GatewayError, kind: str) -> None:
    assert json.loads(error_body(error, "gen-1"))["error"]["type"] == kind


def test_an_error_has_anthropics_form() -> None:
    error = InvalidRequest('say "n"', param="n", code="invalid_value", metadata={"a": 1})
    assert json.loads(error_body(error, "gen-1")) == {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": 'say "n"',
            "details": {"error_code": "invalid_value", "param": "n", "metadata": {"a": 1}},
        },
        "request_id": "gen-1",
    }
    plain = json.loads(error_body(GatewayError("x"), "gen-1"))["error"]
    assert plain["details"] == {"error_code": "internal_error"}
