"""OpenRouter, and whatever aggregator speaks its contract."""

from backends.errors import (
    AccessRefused,
    AccountRateLimited,
    BackendError,
    ContentRefused,
    ContextLengthExceeded,
    CredentialRefused,
    ModelUnavailable,
    NoHost,
    Overloaded,
    ParameterUnsupported,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    RequestRefused,
    UpstreamFault,
)
from backends.kind import Ask, Balance, Kind, Published, amount, member
from backends.openai_compat.failure_rows import READ, SHARED
from backends.openai_compat.failures import FailureRules, row
from backends.openai_compat.messages import History
from backends.openai_compat.quirks import CORE, OPEN_WEIGHT_SAMPLING, SAMPLING, Quirks

_OPENROUTER = "OpenRouter's contract and documentation, 2026-08-22"
_OPENROUTER_NEWS = f"OpenRouter's limits page and a digest of its errors, stored copies {READ}"
# Each says that it was a host that failed, and not OpenRouter.
_HOST = ("metadata.provider_name", "metadata.provider_code", "metadata.previous_errors")

_ROWS = (
    row(
        ModelUnavailable,
        "reports of 2025-05-15 (maxnowack/anthropic-proxy 4) to 2026-05-06: only the text tells",
        status=(400,),
        says=("is not a valid model id",),
        lacks="availability",
        native="model_not_found",
    ),
    row(
        ModelUnavailable,
        "a report of 2025-05-06 (vyancharuk/nodejs-api-boilerplate 16): only the text tells",
        status=(404,),
        says=("no endpoints found for ",),
        lacks="availability",
        native="model_not_found",
    ),
    row(
        ParameterUnsupported,
        "reports of 2025-08-13 (zed-industries/zed 36094) to 2026-06-17"
        " (Routstr/routstr-core 554): only the text tells",
        status=(404,),
        says=("no endpoints found that support",),
        lacks="availability",
        native="no_endpoints",
    ),
    row(
        ParameterUnsupported,
        f"{_OPENROUTER}: the only reason for which no host was left",
        has=("excluded_by=require_parameters",),
    ),
    row(
        ContextLengthExceeded,
        f"{_OPENROUTER}: the only reason for which no host was left",
        has=("excluded_by=context_length",),
    ),
    row(
        ContentRefused,
        f"{_OPENROUTER}: moderation, or a guardrail of the account",
        status=(403,),
        has=("metadata.reasons", "metadata.flagged_input", "metadata.patterns"),
    ),
    row(
        UpstreamFault,
        f"{_OPENROUTER}: the host refused OpenRouter, not us",
        status=(401, 402, 404),
        has=_HOST,
    ),
    row(
        Overloaded,
        f"{_OPENROUTER}; a report of 2026-09-20: the host's limit, which all share",
        status=(429,),
        has=_HOST,
    ),
    row(
        AccountRateLimited, f"{_OPENROUTER_NEWS}: a 402 that passes", "openrouter_in_flight_budget"
    ),
    row(
        QuotaExhausted,
        f"{_OPENROUTER_NEWS}: a 403; all keys of a workspace share it",
        "openrouter_workspace_budget",
    ),
    row(
        ContextLengthExceeded,
        _OPENROUTER,
        "context_length_exceeded",
        "token_limit_exceeded",
        "max_tokens_exceeded",
    ),
    row(ContentRefused, _OPENROUTER, "content_policy_violation", "refusal"),
    row(
        RequestRefused,
        _OPENROUTER,
        *("invalid_request", "invalid_prompt", "string_too_long", "invalid_image"),
        *("image_too_large", "image_too_small", "unsupported_image_format"),
        *("image_download_failed", "image_not_found", "payload_too_large"),
        *("precondition_failed", "unprocessable"),
    ),
    row(CredentialRefused, _OPENROUTER, "authentication"),
    row(QuotaExhausted, _OPENROUTER, "payment_required"),
    row(AccessRefused, _OPENROUTER, "permission_denied"),
    row(
        NoHost,
        f"{_OPENROUTER}: no host meets the request's conditions",
        "no_endpoints",
        "privacy_restricted",
        "constraint_filtered",
        "region_restricted",
        "not_found",
    ),
    row(
        ModelUnavailable,
        f"{_OPENROUTER}: whatever the request is like",
        "model_not_found",
        "wrong_endpoint",
        "model_deprecated",
        "free_variant_ended",
    ),
    row(AccountRateLimited, _OPENROUTER, "rate_limit_exceeded"),
    row(Overloaded, _OPENROUTER, "provider_overloaded", "capacity_exhausted"),
    row(
        ProviderUnavailable,
        _OPENROUTER,
        "provider_unavailable",
        "model_unavailable_upstream",
        "temporarily_unavailable",
    ),
    row(ProviderTimeout, _OPENROUTER, "timeout"),
    row(UpstreamFault, _OPENROUTER, "server", "unmapped"),
    row(
        NoHost, f"{_OPENROUTER}: where nothing tells whether it is the model's name", status=(404,)
    ),
    row(RequestRefused, _OPENROUTER, status=(412,)),
    row(AccountRateLimited, _OPENROUTER, status=(429,)),
    row(
        ProviderUnavailable,
        f"{_OPENROUTER}: no host meets the request's conditions just now",
        status=(503,),
    ),
)
# X-RateLimit-Reset: in milliseconds, in the reply's head or in `metadata.headers` (a report of 2026-04-28).
# A request that ends in an error is not billed (its documentation, 2026-08-22).
FAILURES = FailureRules(_ROWS, SHARED, reset_header=b"x-ratelimit-reset", bills_failures=False)

# OpenRouter's contract (its OpenAPI document and documentation of 2026-08-22, its Python SDK of
# 2026-10-27), also spoken by other aggregators: no `n`; what a host does not support is left out there
# in silence. `cache_control` and `prompt_cache_options` stay here as the hold prices no cache writes that
# an aggregator's host may ask for; tiers and plugins have prices of their own.
QUIRKS = Quirks(
    source="OpenRouter's contract: its OpenAPI document and documentation of 2026-08-22, its Python SDK of"
    " 2026-10-27. What the host that it chooses does not support, it leaves out in silence.",
    forwarded=((CORE | SAMPLING) - {"n"})
    | OPEN_WEIGHT_SAMPLING
    | {"top_a", "structured_outputs", "verbosity"},
    fixed={"n": 1.0},
    thinking_switch="reasoning",
    aggregator=True,
    takes_max_price=True,
    gateway=True,
    multiple_choices=False,
    # It knows the role developer, reads `reasoning` and `reasoning_details`, and continues a last message
    # of the assistant. Hosts behind it refuse tool calls without reasoning as well (Moonshot through an
    # aggregator, an issue of OnesoftQwQ/opencode-go-copilot of 2026-04-29).
    history=History(reasoning=("reasoning",), details=True, developer=True, partial="implied"),
    failures=FAILURES,
)

# Itself: prompts are kept only where the account opted in to that. Its hosts have policies of their
# own; those that are not known count as "retains and trains" there too.
PUBLISHED = Published(
    trains=False,
    retains=False,
    source="documentation of data collection and zero data retention",
    date="2026-08-22",
)


async def _balance(ask: Ask) -> Balance | None:
    # OpenAPI document, stored copy of 2026-08-22: GET /key has the limit of the key, which may have none;
    # GET /credits has what was bought and used, and is for management keys only.
    left = member(member(await ask("/key"), "data"), "limit_remaining")
    found = [] if left is None else [amount(left)]
    try:
        account = member(await ask("/credits"), "data")
    except BackendError as error:
        if not error.next_key:
            raise
    else:
        bought, used = member(account, "total_credits"), member(account, "total_usage")
        found.append(amount(bought) - amount(used))
    return Balance(min(found), "USD") if found else None


# Where models are listed to anybody, what only a good key is told: OpenRouter's OpenAPI document (stored
# copy of 2026-08-22), Vercel's page "Usage & Billing" of 2026-01-21 (read 2026-11-22).
# Documentation, 2026-08-22: prices are those of whichever host answered, and its `usage.cost` is billed.
KIND = Kind(
    quirks=QUIRKS,
    title="any aggregator that speaks OpenRouter's contract",
    base_url="https://openrouter.ai/api/v1",
    key_variable="OPENROUTER_API_KEY",
    catalogue="openrouter",
    reports_cost=True,
    published=PUBLISHED,
    balance=_balance,
    good_key_path="/key",
)
