"""Novita."""

from backends.errors import (
    AccessRefused,
    ContextLengthExceeded,
    ModelUnavailable,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
)
from backends.kind import Ask, Balance, Kind, Published, amount, member
from backends.openai_compat.failure_rows import READ, SHARED
from backends.openai_compat.failures import FailureRules, row
from backends.openai_compat.quirks import CORE, OPEN_WEIGHT_SAMPLING, SAMPLING, Quirks

_NOVITA = f"Novita error page, stored copy {READ}"

_ROWS = (
    row(
        ContextLengthExceeded,
        f"assumed: the texts of vLLM (vllm-project/vllm 20409, {READ}) and SGLang"
        " (QwenLM/Qwen3 1321 of 2025-04-29)",
        status=(400,),
        says=("maximum context length", "model's context length"),
    ),
    row(
        QuotaExhausted,
        "a report of 2026; the form of the body is not recorded",
        "NOT_ENOUGH_BALANCE",
    ),
    row(AccessRefused, f"{_NOVITA}: the key is limited to other models", "model_access_denied"),
    row(
        ModelUnavailable,
        "assumed, after the form of the one above; no source found by 2026-11-22",
        "MODEL_NOT_FOUND",
    ),
    row(RateLimited, f"{_NOVITA}: requests or tokens a minute", status=(429,)),
    row(ProviderUnavailable, _NOVITA, status=(503,)),
)
FAILURES = FailureRules(_ROWS, SHARED)

# Novita API reference, chat completions, stored copy read 2026-08-12: the same fields plus top_k,
# min_p and repetition_penalty; no `tool_choice` in the list, though clients send it. Of thinking it has
# `enable_thinking`, for GLM 4.5 and DeepSeek V3.1 and V3.2: nothing documents a switch for Kimi models
# (models.dev of 2026-07-02 lists a toggle for K2.6 and does not say which). A switch that is ignored would
# bill reasoning to somebody who was told that there is none: so there is none, unless a row says so.
QUIRKS = Quirks(
    source="Novita's API reference, read on 2026-08-12. It does not list `tool_choice`,"
    " `parallel_tool_calls` and `prompt_cache_key`, which clients send all the same, and documents no"
    " switch for Kimi models.",
    forwarded=CORE | SAMPLING | OPEN_WEIGHT_SAMPLING,
    failures=FAILURES,
)

# The privacy policy leaves out what API customers send, and points to a customer agreement, which
# was not read.
PUBLISHED = Published(
    source="privacy policy of 2024-05-20 does not say of API content", date="2026-08-12"
)


async def _balance(ask: Ask) -> Balance:
    # Documentation "User Balance Info", read 2026-11-22: {"availableBalance":"1000000",…}, in 1/10000 USD.
    document = await ask("/openapi/v1/billing/balance/detail", at_root=True)
    return Balance(amount(member(document, "availableBalance")) / 10_000, "USD")


# API reference, read 2026-08-12.
KIND = Kind(
    quirks=QUIRKS,
    title="Novita",
    base_url="https://api.novita.ai/openai/v1",
    key_variable="NOVITA_API_KEY",
    catalogue="novita",
    published=PUBLISHED,
    balance=_balance,
)
