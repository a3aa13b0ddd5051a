"""Attempts that failed: what is noted of them, and what the caller is told when all did."""

import logging
import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from backends import (
    BackendError,
    BadToolCall,
    ConnectFailed,
    ConnectionLost,
    UpstreamTimeout,
    Usage,
)
from backends.errors import ContextLengthExceeded, ParameterUnsupported, RequestRefused
from gateway.errors import AllAttemptsFailed, GatewayError, InvalidRequest
from gateway.uptime.breaker import Breaker
from gateway.values import PlanEntry

_log = logging.getLogger(__name__)

# HTTP status for the caller when the failure that counts was of this kind; 502 otherwise. What is wrong
# with our own account at a provider is never the caller's 401, 402 or 403.
STATUS = {
    "timeout": 504,
    "overloaded": 503,
    "provider_unavailable": 503,
    "connect_failed": 503,
    "rate_limited": 429,
}
# Statuses of refused requests that are handed on; any other becomes 400.
_HANDED_ON = frozenset({413, 422})

# The words of OpenRouter's contract (2026-08-22) for our codes, and for such statuses of refusals.
_ERROR_TYPES = {
    "request_refused": "invalid_request",
    "unsupported_parameter": "invalid_request",
    "context_length_exceeded": "context_length_exceeded",
    "content_policy_violation": "content_policy_violation",
    "rate_limited": "rate_limit_exceeded",
    "overloaded": "provider_overloaded",
    "timeout": "timeout",
}
_REFUSAL_TYPES = {413: "payload_too_large", 422: "unprocessable"}

_OURS = (ConnectFailed, ConnectionLost, UpstreamTimeout)
# What only this endpoint has no room or no word for: it says nothing of whether the others will have.
_ONLY_THERE = (ContextLengthExceeded, ParameterUnsupported)
_WORD = re.compile(r"[\w.:/-]{1,64}", re.ASCII)  # a machine's word, not a sentence


class Attempt(Struct, frozen=True):
    """One attempt under way or over. Times are on the monotonic clock."""

    ordinal: int
    entry: PlanEntry
    started_ms: int  # epoch
    started: float


class Failure(Struct, frozen=True):
    """An attempt that failed before it was chosen, with the usage it stated, if any.

    `malformed` counts the events of it that could not be read; `written` estimates the output tokens that
    had come of it; `searches` are the web searches that it called.
    """

    attempt: Attempt
    error: BackendError
    ended: float
    usage: Usage | None = None
    malformed: int = 0
    written: int = 0
    searches: int = 0

    @property
    def provider(self) -> str:
        """Who failed."""
        return self.attempt.entry.candidate.endpoint.provider


def hush(error: BackendError) -> None:
    """Take out of an error what the provider said: it may quote the request."""
    if not isinstance(error, _OURS):
        error.public, error.args = error.public_default, (error.public_default,)
        if not isinstance(error, BadToolCall):  # whose code is this gateway's own word
            error.native_code = None


def note_failure(breaker: Breaker, attempt: Attempt, error: BackendError) -> None:
    """Count a failure against its endpoint, and log it if that is news.

    The provider's own words stay out of the log: they may quote the prompt. Those of our own client,
    on connections and deadlines, are in it.
    """
    endpoint = attempt.entry.candidate.endpoint
    if breaker.failed(endpoint.id, error, endpoint.account, attempt.started):
        told = str(error) if isinstance(error, _OURS) else _word(error.native_code)
        _log.warning(
            "endpoint %s fails: %s, HTTP status %s, %s",
            endpoint.id,
            error.code,
            error.status or "-",
            told or ("-" if error.__cause__ is None else type(error.__cause__).__name__),
        )


def _word(native_code: str | None) -> str | None:
    return native_code if native_code and _WORD.fullmatch(native_code) else None


def describe(failure: Failure) -> dict[str, Any]:
    """A failed attempt as a caller may read of it."""
    error = failure.error
    seen: dict[str, Any] = {
        "provider": failure.provider,
        "endpoint": failure.attempt.entry.candidate.endpoint.id,
        "code": error.code,
        "message": error.public,
    }
    if error.status is not None:
        seen["status"] = error.status
    return seen


def verdict(
    model: str,
    failures: Sequence[Failure],
    *,
    waits: Sequence[tuple[PlanEntry, float]] = (),
    too_short: Sequence[PlanEntry] = (),
) -> GatewayError:
    """What the caller is told when no endpoint answered.

    Args:
        model: what was asked for.
        failures: the attempts, in order.
        waits: endpoints that were passed over as our account there is at a limit, and for how many
            seconds more.
        too_short: those that were passed over as their context is no larger than one that did not do.
    """
    metadata: dict[str, Any] = {"attempts": [describe(failure) for failure in failures]}
    if excluded := [*_excluded(waits, "account_limit"), *_excluded(too_short, "context_length")]:
        metadata["excluded"] = excluded
    counted = [f for f in failures if not isinstance(f.error, _ONLY_THERE)]
    if waits and not counted:  # what these lack may be had there
        return _limited(model, waits, metadata)
    if not failures:
        return AllAttemptsFailed(
            "the request's total time was used up before any endpoint could be tried",
            status=504,
            code="timeout",
            metadata=metadata,
        )
    last = counted[-1] if counted else failures[-1]
    metadata |= as_openrouter(last, failures)
    if not last.error.try_next or not counted:
        return _callers_fault(last, metadata)
    error, tried = last.error, len(failures)
    more = f" (all {tried} endpoints tried; the last was {last.provider})" if tried > 1 else ""
    pauses = [f.error.retry_after for f in failures if f.error.retry_after is not None]
    return AllAttemptsFailed(
        f"no endpoint could answer for {model}: {error.public}{more}",
        code=error.code,
        status=STATUS.get(error.code, 502),
        retry_after=min(pauses) if pauses else None,
        metadata=metadata,
    )


def _callers_fault(last: Failure, metadata: dict[str, Any]) -> InvalidRequest:
    error = last.error
    if isinstance(error, ContextLengthExceeded):
        message = f"the request does not fit the model's context at {last.provider}: {error.public}"
        return InvalidRequest(message, code=error.code, param="messages", metadata=metadata)
    return InvalidRequest(
        f"{last.provider} refused the request: {error.public}",
        code=error.code,
        status=error.status if error.status in _HANDED_ON else 400,
        metadata=metadata,
    )


def _excluded(entries: Sequence[Any], reason: str) -> list[dict[str, str]]:
    found = [entry[0] if isinstance(entry, tuple) else entry for entry in entries]
    return [{"endpoint": entry.candidate.endpoint.id, "reason": reason} for entry in found]


def _limited(
    model: str, waits: Sequence[tuple[PlanEntry, float]], metadata: dict[str, Any]
) -> AllAttemptsFailed:
    """Nothing could be tried, for our accounts are at their limits."""
    providers = ", ".join(sorted({entry.candidate.endpoint.provider for entry, _ in waits}))
    return AllAttemptsFailed(
        f"no endpoint can take a request for {model} now: this gateway's accounts at {providers}"
        " are at their limits; try again after the time that Retry-After says",
        status=429,
        code="account_limit",
        retry_after=min(wait for _, wait in waits),
        metadata=metadata,
    )


def as_openrouter(last: Failure, failures: Sequence[Failure]) -> dict[str, Any]:
    """What clients of OpenRouter look for in an error's metadata. `last` is the failure that is told."""
    error = last.error
    kind = _ERROR_TYPES.get(error.code, "provider_unavailable")
    if isinstance(error, RequestRefused) and error.status is not None:
        kind = _REFUSAL_TYPES.get(error.status, kind)
    told: dict[str, Any] = {"error_type": kind, "provider_name": last.provider}
    if before := [failure for failure in failures if failure is not last]:
        told["previous_errors"] = [
            {"provider": f.provider, "code": f.error.code, "status": f.error.status} for f in before
        ]
    return told
