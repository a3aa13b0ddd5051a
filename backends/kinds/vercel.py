"""Vercel's AI Gateway."""

from backends.errors import (
    AccessRefused,
    ModelUnavailable,
    NoHost,
    Overloaded,
    ProviderUnavailable,
    UpstreamFault,
)
from backends.kind import Ask, Balance, Kind, Published, amount, member
from backends.openai_compat.failure_rows import SHARED
from backends.openai_compat.failures import FailureRules, row
from backends.openai_compat.messages import History
from backends.openai_compat.quirks import CORE, SAMPLING, Quirks

_VERCEL = "@ai-sdk/gateway at ed857f5 of 2026-08-22, read 2026-11-22"
_VERCEL_HOST = "vercel/ai 9290 of 2025-10-08, with the host's status"
_VERCEL_REPORT = "reports of 2026-09 and later, stored copies read 2026-11-22"

_ROWS = (
    row(
        NoHost,
        f"{_VERCEL_REPORT}: 403; its documentation has no word for a request that no host may take",
        "no_providers_available",
    ),
    row(
        AccessRefused,
        f"{_VERCEL_REPORT}: 403, the account has no card on file, or the model is for paying ones",
        "customer_verification_required",
        "free_tier_model_not_available",
    ),
    row(AccessRefused, f"{_VERCEL}: 403, by a routing rule of the account", "forbidden"),
    row(ModelUnavailable, f"{_VERCEL}: 404", "not_found"),
    row(ProviderUnavailable, f"{_VERCEL}: 424", "failed_dependency"),
    row(UpstreamFault, f"{_VERCEL}: 500", "internal_server_error"),
    row(
        Overloaded,
        f"{_VERCEL_HOST}: the host's limit, which all share",
        "AI_APICallError",
        status=(429,),
    ),
    row(
        UpstreamFault,
        f"{_VERCEL_HOST}: the host refused Vercel, not us",
        "AI_APICallError",
        status=(401, 402, 403, 404),
    ),
)
FAILURES = FailureRules(_ROWS, SHARED)

# Vercel's AI Gateway, by its OpenAI-compatible API, which "implements the same specification" as OpenAI's
# (its documentation, 2026-03-07 and 2026-09-08, read 2026-11-22). Reasoning is asked for by `reasoning`
# with one of enabled, effort (none to xhigh) and max_tokens, "with any reasoning model", and told in
# `reasoning` and `reasoning_details`, which it takes back in the history; `stream_options.include_usage`
# has usage, with `cost` in dollars, on the last chunk (recordings of charmbracelet/fantasy at f6d4d1e, made
# 2026-03-12, read 2026-11-22: none is of a Kimi model, and of Gemini `completion_tokens` left the reasoning
# out). Which hosts may be used goes into `providerOptions.gateway` (@ai-sdk/gateway at ed857f5 of
# 2026-08-22), which has no limit on the price. Nothing tells whether it knows the role developer,
# continues a last message, takes `n`, or fetches media: it is taken not to.
QUIRKS = Quirks(
    source="Vercel's documentation of its AI Gateway's OpenAI-compatible API, 2026-03-07 and 2026-09-08,"
    " and recordings of 2026-03-12 with models of others than Kimi, all read on 2026-11-22.",
    forwarded=(CORE | SAMPLING) - {"n"},
    fixed={"n": 1.0},
    thinking_switch="reasoning",
    aggregator=True,
    hosts_field="providerOptions",
    gateway=True,
    multiple_choices=False,
    fetches_media=False,
    history=History(reasoning=("reasoning",), details=True),
    failures=FAILURES,
)

# Itself: "does not retain prompts, outputs, or sensitive data" (pages of 2026-01-19 and 2026-02-10).
# Nothing read says of itself whether it trains: without keeping anything it could not, but that is
# not what it says. So its hosts' policies decide nothing until the settings state its own.
PUBLISHED = Published(
    retains=False,
    source="documentation of zero data retention, 2026-02-10; does not say of training",
    date="2026-11-22",
)


async def _balance(ask: Ask) -> Balance:
    # Documentation "Usage & Billing", read 2026-11-22: {"balance":"95.50","total_used":"4.50"}; it does not
    # say that these are dollars, as its prices are.
    return Balance(amount(member(await ask("/credits"), "balance")), "USD")


# Where models are listed to anybody, what only a good key is told: OpenRouter's OpenAPI document (stored
# copy of 2026-08-22), Vercel's page "Usage & Billing" of 2026-01-21 (read 2026-11-22).
# Documentation, 2026-09-08, read 2026-11-22; its own statement of the cost is billed (recorded 2026-03-12).
KIND = Kind(
    quirks=QUIRKS,
    title="Vercel's AI Gateway",
    base_url="https://ai-gateway.vercel.sh/v1",
    key_variable="AI_GATEWAY_API_KEY",
    catalogue="vercel-ai-gateway",
    reports_cost=True,
    published=PUBLISHED,
    balance=_balance,
    good_key_path="/credits",
)
