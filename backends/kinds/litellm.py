"""All that litellm speaks, through the worker that it runs in: see `backends.litellm`."""

from backends.errors import (
    AccessRefused,
    BadReply,
    ConnectFailed,
    ContentRefused,
    ContextLengthExceeded,
    CredentialRefused,
    ModelUnavailable,
    ParameterUnsupported,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    UpstreamFault,
)
from backends.kind import Kind
from backends.openai_compat.failure_rows import READ, SHARED
from backends.openai_compat.failures import FailureRules, row
from backends.openai_compat.quirks import CORE, SAMPLING, Quirks

_LITELLM = f"litellm 1.106.2's exceptions.py, {READ}"

_ROWS = (
    row(ContextLengthExceeded, _LITELLM, "ContextWindowExceededError"),
    row(ContentRefused, _LITELLM, "ContentPolicyViolationError", "RejectedRequestError"),
    row(ParameterUnsupported, _LITELLM, "UnsupportedParamsError"),
    row(
        RequestRefused,
        _LITELLM,
        "BadRequestError",
        "InvalidRequestError",
        "UnprocessableEntityError",
    ),
    row(CredentialRefused, _LITELLM, "AuthenticationError"),
    row(AccessRefused, _LITELLM, "PermissionDeniedError"),
    row(
        ModelUnavailable,
        f"{_LITELLM}; the second is for a model whose provider it does not know",
        "NotFoundError",
        "LiteLLMUnknownProvider",
    ),
    row(RateLimited, _LITELLM, "RateLimitError"),
    row(QuotaExhausted, _LITELLM, "BudgetExceededError", "PaymentRequiredError"),
    row(ProviderTimeout, _LITELLM, "Timeout"),
    row(
        ProviderUnavailable,
        _LITELLM,
        "ServiceUnavailableError",
        "BadGatewayError",
        "APIConnectionError",
    ),
    row(UpstreamFault, _LITELLM, "InternalServerError", "APIError"),
    row(BadReply, _LITELLM, "APIResponseValidationError", "JSONSchemaValidationError"),
    row(
        ConnectFailed,
        "the worker's own word where litellm had no connection, as of 2026-11-22",
        "ConnectError",
    ),
)
FAILURES = FailureRules(_ROWS, SHARED)

# litellm 1.106.2, read and measured 2026-11-22: it knows OpenAI's fields, and of each provider which of
# them it has, and refuses what that one has not; the adapter asks it. Of thinking its words differ by
# provider: they are for the endpoint's row. `n` is several calls at some.
QUIRKS = Quirks(
    source="litellm 1.106.2, read and measured on 2026-11-22. It leaves out what a provider lacks.",
    forwarded=(CORE | SAMPLING) - {"n"},
    fixed={"n": 1.0},
    multiple_choices=False,
    failures=FAILURES,
)

KIND = Kind(quirks=QUIRKS, title="all that litellm speaks, in a process of its own")
