"""Moonshot, the maker of the Kimi models: its platform, and its platform in China."""

from decimal import Decimal

from backends.errors import (
    AccessRefused,
    AccountRateLimited,
    ContextLengthExceeded,
    CredentialRefused,
    ModelUnavailable,
    Overloaded,
    ParameterUnsupported,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    RequestRefused,
    UpstreamFault,
)
from backends.kind import Ask, Balance, Kind, Published, amount, member
from backends.openai_compat.failure_rows import SHARED
from backends.openai_compat.failures import FailureRules, row
from backends.openai_compat.messages import History
from backends.openai_compat.quirks import CORE, Quirks

_MOONSHOT = "Moonshot error reference, stored copy of 2026-09-03"
_MOONSHOT_LIVE = "recorded 2026-09-03"

_ROWS = (
    row(
        ContextLengthExceeded,
        f"{_MOONSHOT}, and a third party's recording: only the text tells",
        status=(400,),
        says=("exceeded model token limit", "input token length too long"),
    ),
    row(
        ParameterUnsupported,
        f"{_MOONSHOT_LIVE}: sampling that is fixed there, tool_choice; only the text tells",
        status=(400,),
        says=("is allowed for this model", "is incompatible with thinking enabled"),
        native="parameter_refused",
    ),
    row(RequestRefused, f"{_MOONSHOT}; {_MOONSHOT_LIVE}", "invalid_request_error"),
    row(
        CredentialRefused,
        f"{_MOONSHOT_LIVE}; {_MOONSHOT}",
        "invalid_authentication_error",
        "incorrect_api_key_error",
    ),
    row(AccessRefused, _MOONSHOT, "permission_denied_error"),
    row(
        ModelUnavailable,
        f"{_MOONSHOT_LIVE}: also for an id that was retired",
        "resource_not_found_error",
    ),
    row(
        AccountRateLimited,
        f"{_MOONSHOT}: limits are the account's, not the key's nor the model's",
        "rate_limit_reached_error",
    ),
    row(Overloaded, _MOONSHOT, "engine_overloaded_error"),
    row(
        QuotaExhausted,
        f"{_MOONSHOT}: 429; a help page of that day says 403",
        "exceeded_current_quota_error",
    ),
    row(UpstreamFault, _MOONSHOT, "server_error", "unexpected_output"),
    row(ProviderUnavailable, _MOONSHOT, "server_unavailable"),
    row(
        ProviderTimeout,
        f"{_MOONSHOT}: a page, when nothing was written for 900 s",
        status=(504,),
        page=True,
    ),
)
# "please try again after 1 seconds": recordings of 2025 by third parties.
FAILURES = FailureRules(
    _ROWS, SHARED, wait_text=r"try again after ([0-9]{1,6}(?:\.[0-9]{1,3})?) second"
)

# Moonshot platform documentation, stored copy of 2026-09-03, and recordings of that day: temperature,
# top_p, n and both penalties are fixed on every current model and any other value is answered 400;
# `max_tokens` still works but `max_completion_tokens` is the documented name. At most five stop
# sequences of 32 bytes. Media come as data: URLs or ms:// ids of its own files; public URLs are not
# fetched. The builtin function `$web_search` is being reworked; for K3 the vendor advises the tools that
# it calls Formula instead, which is no reason to refuse it. `prompt_cache_options` chooses cache writes of
# five minutes or an hour, which the rate card prices and the hold covers.
QUIRKS = Quirks(
    source="Moonshot's platform documentation and recordings of 2026-09-03.",
    forwarded=CORE | {"logprobs", "top_logprobs", "prompt_cache_options", "safety_identifier"},
    fixed={
        "temperature": 1.0,
        "top_p": 0.95,
        "n": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    },
    fixed_at_rest={"temperature": 0.6},
    thinking_switch="thinking",
    forces_while_thinking=False,
    stop_limits=(5, 32),
    cap_field="max_completion_tokens",
    multiple_choices=False,
    web_search=True,
    fetches_media=False,
    history=History(native_ids=False, partial="kept"),
    leaks=False,
    failures=FAILURES,
)

# "may use content to maintain and improve" the services unless a written enterprise agreement says
# otherwise; the privacy policy names the training of models, and keeps inputs while the account is
# active. No offer of zero retention is published.
PUBLISHED = Published(
    trains=True,
    retains=True,
    region="Singapore",
    source="terms of 2026-07-30 and privacy policy",
    date="2026-09-03",
)
# A service of its own, with terms of its own, which were not read.
PUBLISHED_CN = Published(
    source="its own terms were not read; those of the international platform are not its",
    date="2026-11-22",
)


async def _available(ask: Ask) -> Decimal:
    # Documentation, stored copy of 2026-09-03: {"code":0,"data":{"available_balance":49.58894,…}}, in the
    # currency of the region; at or below 0, requests are refused.
    document = await ask("/users/me/balance")
    return amount(member(member(document, "data"), "available_balance"))


async def _dollars(ask: Ask) -> Balance:
    return Balance(await _available(ask), "USD")


async def _yuan(ask: Ask) -> Balance:
    return Balance(await _available(ask), "CNY")


# Documentation, stored copy of 2026-09-03: one address for each of its two regions, with accounts, keys and
# prices of their own.
KIND = Kind(
    quirks=QUIRKS,
    title="Moonshot",
    base_url="https://api.moonshot.ai/v1",
    key_variable="MOONSHOT_API_KEY",
    catalogue="moonshot",
    published=PUBLISHED,
    balance=_dollars,
)
KIND_CN = Kind(
    quirks=QUIRKS,
    title="Moonshot's platform in China",
    base_url="https://api.moonshot.cn/v1",
    key_variable="MOONSHOT_CN_API_KEY",
    catalogue="moonshot-cn",
    published=PUBLISHED_CN,
    balance=_yuan,
)
