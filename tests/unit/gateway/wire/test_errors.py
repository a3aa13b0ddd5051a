"""Errors as callers read them."""

import json

import pytest

from gateway.errors import (
    AllAttemptsFailed,
    BodyTooLarge,
    BudgetExceeded,
    CallerGone,
    Forbidden,
    GatewayError,
    HeadersTooLarge,
    InvalidRequest,
    LedgerBehind,
    LoopDetected,
    MethodNotAllowed,
    NotFound,
    RequestTimeout,
    Unauthenticated,
    Unavailable,
)
from gateway.wire.errors import (
    error_body,
    error_header_lines,
    error_headers,
    error_type,
    openrouter_body,
)

# The vocabulary of its contract, 2026-08-22, as far as this gateway has a use for it.
OPENROUTERS = {
    "authentication",
    "context_length_exceeded",
    "invalid_request",
    "not_found",
    "payload_too_large",
    "payment_required",
    "permission_denied",
    "provider_unavailable",
    "rate_limit_exceeded",
    "server",
    "timeout",
    "unprocessable",
}


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
    ("error", "word"),
    [
        (InvalidRequest("x"), "invalid_request"),
        (InvalidRequest("x", code="context_length_exceeded"), "context_length_exceeded"),
        (BodyTooLarge("x"), "payload_too_large"),
        (HeadersTooLarge("x"), "payload_too_large"),
        (RequestTimeout("x"), "timeout"),
        (Unauthenticated("x"), "authentication"),
        (BudgetExceeded("x"), "payment_required"),
        (Forbidden("x"), "permission_denied"),
        (NotFound("x"), "not_found"),
        (MethodNotAllowed("x"), "invalid_request"),
        (LoopDetected("x"), "invalid_request"),
        (Unavailable("x"), "server"),
        (LedgerBehind("x"), "server"),
        (GatewayError("x"), "server"),
        (AllAttemptsFailed("x", status=429), "rate_limit_exceeded"),
        (AllAttemptsFailed("x"), "provider_unavailable"),
        (AllAttemptsFailed("x", status=504), "timeout"),
        (CallerGone("x"), "invalid_request"),
    ],
    ids=lambda value: (
        f"{type(value).__name__}-{value.status}" if not isinstance(value, str) else ""
    ),
)
def test_a_client_of_openrouter_finds_its_word_for_each_refusal(
    error: GatewayError, word: str
) -> None:
    plain, told = json.loads(error_body(error)), json.loads(openrouter_body(error))
    assert told["error"].pop("metadata") == {"error_type": word}
    assert told == plain, "and else the same error"


def test_every_kind_of_error_has_a_word_of_openrouter() -> None:
    def family(kind: type[GatewayError]) -> set[type[GatewayError]]:
        return {kind}.union(*(family(child) for child in kind.__subclasses__()))

    assert {error_type(kind("x")) for kind in family(GatewayError)} <= OPENROUTERS


def test_what_providers_did_is_not_overwritten_by_the_status() -> None:
    metadata = {"error_type": "provider_overloaded", "provider_name": "Moonshot"}
    error = AllAttemptsFailed("x", status=503, metadata=metadata)
    assert json.loads(openrouter_body(error))["error"]["metadata"] == metadata


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
