"""What a provider's refusal means, by status and machine-readable words, and what may be told of it.

Bodies and statuses are those of Moonshot (documentation and recordings, stored copy of 2026-09-03),
Novita (documentation and reports of 2026), vLLM 0.32 (measured 2026-11-22) and OpenAI's reference.
"""

import time
from email.utils import formatdate
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import (
    BackendError,
    Blame,
    ContentRefused,
    CredentialRefused,
    ModelUnavailable,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    UpstreamFault,
)
from backends.openai_compat.failures import classify, public_text, retry_after

ACCOUNT = "Your account org-5a4d6b0c9e1f<ak-f4k3k3yf4k3k3y>"
HTML = b"<html>\r\n<head><title>504 Gateway Time-out</title></head></html>"


def moonshot(kind: str, message: str = "m") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind}}


def novita(status: int, reason: str) -> dict[str, Any]:
    return {"code": status, "reason": reason, "message": "m", "metadata": {}}


def vllm(status: int, kind: str, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": "m", "type": kind, "param": param, "code": status}}


def openai(kind: str | None, code: str | None) -> dict[str, Any]:
    return {"error": {"message": "m", "type": kind, "param": None, "code": code}}


CASES: list[tuple[int, Any, type[BackendError], str | None]] = [
    # Moonshot
    (400, moonshot("invalid_request_error"), RequestRefused, "invalid_request_error"),
    (400, moonshot("content_filter"), ContentRefused, "content_filter"),
    (401, moonshot("invalid_authentication_error"), CredentialRefused, None),
    (401, moonshot("incorrect_api_key_error"), CredentialRefused, None),
    (403, moonshot("permission_denied_error"), CredentialRefused, None),
    (403, moonshot("exceeded_current_quota_error"), QuotaExhausted, None),
    (404, moonshot("resource_not_found_error"), ModelUnavailable, None),
    (429, moonshot("rate_limit_reached_error"), RateLimited, None),
    (429, moonshot("engine_overloaded_error"), Overloaded, None),
    (429, moonshot("exceeded_current_quota_error"), QuotaExhausted, None),
    (499, moonshot("client_closed_request"), UpstreamFault, None),
    (500, moonshot("server_error"), UpstreamFault, None),
    (500, moonshot("unexpected_output"), UpstreamFault, None),
    (503, moonshot("server_unavailable"), Overloaded, None),
    (504, HTML, UpstreamFault, None),
    # Novita
    (400, novita(400, "INVALID_REQUEST_BODY"), RequestRefused, "INVALID_REQUEST_BODY"),
    (401, novita(401, "INVALID_API_KEY"), CredentialRefused, None),
    (403, novita(403, "MODEL_ACCESS_DENIED"), CredentialRefused, None),
    (403, novita(403, "NOT_ENOUGH_BALANCE"), QuotaExhausted, "NOT_ENOUGH_BALANCE"),
    (404, novita(404, "MODEL_NOT_FOUND"), ModelUnavailable, None),
    (429, novita(429, "RATE_LIMIT_EXCEEDED"), RateLimited, None),
    (500, novita(500, "INTERNAL_SERVER_ERROR"), UpstreamFault, None),
    (503, novita(503, "SERVICE_UNAVAILABLE"), Overloaded, None),
    (504, novita(504, "GATEWAY_TIMEOUT"), UpstreamFault, None),
    (400, {"error": "text"}, RequestRefused, None),
    (400, {"message": "m", "type": "invalid_request_error"}, RequestRefused, None),
    # vLLM
    (400, vllm(400, "BadRequestError", "input_tokens"), RequestRefused, "BadRequestError"),
    (400, vllm(400, "Bad Request", "body.messages"), RequestRefused, "Bad Request"),
    (404, vllm(404, "NotFoundError", "model"), ModelUnavailable, None),
    (404, {"detail": "Not Found"}, ModelUnavailable, None),
    (405, {"detail": "Method Not Allowed"}, UpstreamFault, None),
    (401, {"error": "Unauthorized"}, CredentialRefused, None),
    (500, vllm(500, "InternalServerError"), UpstreamFault, None),
    (503, vllm(503, "Service Unavailable"), Overloaded, "Service Unavailable"),
    # OpenAI's form, in which `code` can say more than `type`
    (400, openai("invalid_request_error", "content_filter"), ContentRefused, "content_filter"),
    (400, openai("invalid_request_error", "content_policy_violation"), ContentRefused, None),
    (400, openai(None, "content_filter"), ContentRefused, "content_filter"),
    (429, openai("insufficient_quota", "insufficient_quota"), QuotaExhausted, None),
    (429, openai("requests", "rate_limit_exceeded"), RateLimited, "requests"),
    # by status alone
    (402, b"", QuotaExhausted, None),
    (413, b"", RequestRefused, None),
    (422, b"", RequestRefused, None),
    (429, b"Too Many Requests", RateLimited, None),
    (502, b"", UpstreamFault, None),
    (529, b"", Overloaded, None),
    (302, b"", UpstreamFault, None),
    (418, b"", UpstreamFault, None),
    (400, [{"error": {"message": "m"}}], RequestRefused, None),
    (400, {"error": {"message": {"deep": 1}}}, RequestRefused, None),
    (500, b'{"error":' + b"[" * 50_000, UpstreamFault, None),
]


@pytest.mark.parametrize(("status", "body", "kind", "native"), CASES)
def test_a_refusal_is_classified(
    status: int, body: Any, kind: type[BackendError], native: str | None
) -> None:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    error = classify(status, 2.5, raw)
    assert type(error) is kind
    assert error.status == status
    assert error.retry_after == 2.5
    if native is not None:
        assert error.native_code == native


@given(st.integers(300, 599), st.binary(max_size=40))
def test_any_status_and_any_bytes_are_some_failure(status: int, body: bytes) -> None:
    error = classify(status, None, body)
    assert error.status == status
    assert error.public


def test_only_a_fault_of_the_request_keeps_the_next_endpoint_from_being_tried() -> None:
    for status, body, kind, _ in CASES:
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        error = classify(status, None, raw)
        assert error.try_next == (kind not in {RequestRefused, ContentRefused})
        assert (error.blame is Blame.CALLER) == (not error.try_next)


def test_the_caller_reads_why_its_request_is_at_fault() -> None:
    text = "invalid temperature: only 1 is allowed for this model"
    body = msgspec.json.encode(moonshot("invalid_request_error", text))
    assert classify(400, None, body).public == text


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, "invalid_authentication_error"),
        (403, "permission_denied_error"),
        (404, "resource_not_found_error"),
        (429, "rate_limit_reached_error"),
        (429, "exceeded_current_quota_error"),
        (500, "server_error"),
    ],
)
def test_what_concerns_our_account_or_the_provider_is_not_quoted_at_all(
    status: int, kind: str
) -> None:
    message = f"{ACCOUNT} is suspended, see host-17"
    error = classify(status, None, msgspec.json.encode(moonshot(kind, message)))
    assert error.public == type(error).public_default
    assert message in str(error)


@pytest.mark.parametrize(
    ("message", "public"),
    [
        (f"{ACCOUNT} is over it", "Your account …<…> is over it"),
        ("key sk-abcdefghijkl and sk_abcdefghijkl are", "key … and … are"),
        ("proj-a1b2c3d4 / org_a1b2c3d4 / user-a1b2c3d4", "… / … / …"),
        ("uid 5f1c2d5f1c2d5f1c2d5f1c2d.", "uid …."),
        ("write to jane.doe+x@example.org now", "write to … now"),
        ("see https://x.ai/a?key=1 or http://10.0.0.1:80/b", "see … or …"),
        ("two\nlines\x00and\ta \u202etab", "two lines and a  tab"),
        ("max_tokens must be 1, got 2. (parameter=max_tokens, value=2)",) * 2,
        ("tool_choice 'required' is incompatible with thinking enabled",) * 2,
        ("model token limit: 262144 (requested: 269030)",) * 2,
        ("task-oriented, risk-averse disk-shaped",) * 2,
        ("", None),
        ("   ", None),
    ],
)
def test_what_could_be_private_is_taken_out(message: str, public: str | None) -> None:
    assert public_text(message) == public


def test_public_text_is_short() -> None:
    assert len(public_text("x " * 1000) or "") == 400


def test_a_secret_at_the_edge_of_the_text_is_not_cut_open() -> None:
    for padding in range(330, 420):
        shown = public_text("x" * padding + " sk-0123456789abcdefghij " + "y" * 3000) or ""
        assert "sk-0" not in shown


@pytest.mark.parametrize("unit", ["a.", "a-", "sk-", "a@", "http:", "f"])
def test_a_huge_message_is_scrubbed_in_no_time(unit: str) -> None:
    started = time.process_time()
    public_text(unit * 1_000_000)
    assert time.process_time() - started < 1


NOW = 1_795_324_160.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (b"3", 3.0),
        (b" 0.5 ", 0.5),
        (b"0", 0.0),
        (b"-4", 0.0),
        (b"1e9", 86_400.0),
        (b"inf", 86_400.0),
        (b"nan", 0.0),
        (formatdate(NOW + 90, usegmt=True).encode(), 90.0),
        (formatdate(NOW - 90, usegmt=True).encode(), 0.0),
        (b"Wed, 21 Oct 9998 07:28:00 GMT", 86_400.0),
        (b"99999999999999999999 Jan 2020 00:00:00 GMT", None),
        (b"soon", None),
        (b"", None),
        (b"\xff\xfe", None),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(
    value: bytes | None, seconds: float | None
) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.binary(max_size=40) | st.text("0123456789 +-:,JanGMT", max_size=40).map(str.encode))
def test_no_retry_after_is_too_odd_to_be_read(value: bytes) -> None:
    seconds = retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= 86_400
