"""What a caller can be told: a closed tree of errors.

    GatewayError                     status  code
    ├── InvalidRequest               400     invalid_request (or the case's own code)
    │   ├── BodyTooLarge             413     body_too_large
    │   ├── HeadersTooLarge          431     headers_too_large
    │   └── RequestTimeout           408     request_timeout
    ├── Unauthenticated              401     missing_api_key | invalid_api_key | …
    ├── BudgetExceeded               402     budget_exceeded
    ├── RateLimited                  429     rate_limit_exceeded | concurrency_limit_exceeded
    ├── Forbidden                    403     permission_denied
    ├── NotFound                     404     model_not_found | no_endpoint | …
    ├── Conflict                     409     conflict
    │   ├── RevisionConflict         412     revision_conflict
    │   └── RevisionRequired         428     revision_required
    ├── MethodNotAllowed             405     method_not_allowed
    ├── AllAttemptsFailed            502/503/504/429   the code of the last attempt
    ├── LoopDetected                 508     loop_detected
    ├── Unavailable                  503     journal_unavailable | shutting_down | …
    │   └── LedgerBehind             503     ledger_behind
    └── CallerGone                   499     caller_gone (nobody is left to read it)

Each carries its HTTP status, a stable public code, the error type of OpenAI's contract, a message that
says what to change, and the field at fault. `docs/reference/errors.md` lists every code.

Whoever ends the request logs it once; an error here is not a fault of the gateway. What is not a
GatewayError is one, and becomes a 500 with a masked message.
"""

from collections.abc import Sequence
from typing import Any


class GatewayError(Exception):
    """A refusal or failure that the caller is told of."""

    status = 500
    code = "internal_error"
    type = "api_error"
    should_retry: bool | None = None  # what clients that come again by themselves are told

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        metadata: dict[str, Any] | None = None,
        availability: dict[str, Any] | None = None,
    ) -> None:
        """`availability`: why no endpoint can serve a request, in the form of OpenRouter's errors."""
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.metadata = metadata
        self.availability = availability
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status


class InvalidRequest(GatewayError):
    """The request is at fault."""

    status = 400
    code = "invalid_request"
    type = "invalid_request_error"


class BodyTooLarge(InvalidRequest):
    """The body is over the limit."""

    status = 413
    code = "body_too_large"


class HeadersTooLarge(InvalidRequest):
    """The head of the request is over the limit."""

    status = 431
    code = "headers_too_large"


class RequestTimeout(InvalidRequest):
    """The caller sends, or reads, too slowly."""

    status = 408
    code = "request_timeout"


class Unauthenticated(GatewayError):
    """No key, or one that this gateway does not know."""

    status = 401
    code = "invalid_api_key"
    type = "authentication_error"


class BudgetExceeded(GatewayError):
    """A budget cannot cover what the request may cost."""

    status = 402
    code = "budget_exceeded"
    type = "insufficient_quota"


class RateLimited(GatewayError):
    """A limit of a key, its team or another level is reached; the caller may come again later."""

    status = 429
    code = "rate_limit_exceeded"
    type = "rate_limit_error"


class Forbidden(GatewayError):
    """The key is good, but may not do this."""

    status = 403
    code = "permission_denied"
    type = "permission_error"


class NotFound(GatewayError):
    """No such route, model or generation."""

    status = 404
    code = "not_found"
    type = "not_found_error"


class Conflict(GatewayError):
    """What is there already stands in the way."""

    status = 409
    code = "conflict"
    type = "invalid_request_error"


class RevisionConflict(Conflict):
    """Somebody changed the thing since it was read."""

    status = 412
    code = "revision_conflict"


class RevisionRequired(Conflict):
    """A change must say which revision of the thing it was made for."""

    status = 428
    code = "revision_required"


class MethodNotAllowed(GatewayError):
    """The path exists, but not for this method."""

    status = 405
    code = "method_not_allowed"
    type = "invalid_request_error"


class LoopDetected(GatewayError):
    """The request came back to a gateway that it had passed, or passed too many."""

    status = 508
    code = "loop_detected"
    type = "invalid_request_error"


class Unavailable(GatewayError):
    """The gateway cannot serve this now."""

    status = 503
    code = "unavailable"
    type = "api_error"


class LedgerBehind(Unavailable):
    """What a budget has spent is not known until the ledger has caught up with an outage."""

    code = "ledger_behind"


class AllAttemptsFailed(GatewayError):
    """Every endpoint of the plan failed; the metadata lists each attempt."""

    status = 502
    code = "upstream_error"
    type = "api_error"


class CallerGone(GatewayError):
    """The caller left before the answer was complete."""

    status = 499
    code = "caller_gone"


class ConfigurationError(Exception):
    """Settings that the gateway cannot start with; one line for each fault."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)
