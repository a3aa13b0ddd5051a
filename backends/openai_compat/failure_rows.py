"""Failures that any provider may state in OpenAI's words, or by its HTTP status alone, as rows of data.

Providers that have no rows of their own, DeepSeek among them, are understood by these.
A source says what was read or recorded, and when; what nobody has seen is called assumed.
"""

from backends.errors import (
    AccessRefused,
    ContentRefused,
    ContextLengthExceeded,
    CredentialRefused,
    ModelUnavailable,
    Overloaded,
    ParameterUnsupported,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    UpstreamFault,
)
from backends.openai_compat.failures import FailureRules, row

READ = "read 2026-11-22"
_OPENAI = f"Microsoft's documentation of OpenAI's errors (Dev Proxy), stored copy {READ}"
_DEEPSEEK = f"DeepSeek error page, stored copy {READ}"
_VERCEL = f"@ai-sdk/gateway 4.0.62 of 2026-08-22, {READ}"
_CLOUDFLARE = f"Cloudflare documentation, cloudflare-docs at 0c50ffa, {READ}"
_NGINX = "nginx 1.22.1, recorded 2026-11-22"
_LLAMA_CPP = f"llama.cpp server-common.cpp at 006639c, {READ}"
_ANTHROPIC = f"anthropic-sdk-python 2.12.0, {READ}"

# What every provider may say. The last row fits everything.
SHARED = (
    row(
        UpstreamFault,
        "Tidegate itself, 2026-11-22, behind this one: the request came back to it, by settings",
        "loop_detected",
        status=(508,),
    ),
    row(
        ContextLengthExceeded,
        "OpenAI, reports of 2025-06-12 (bytedance/deer-flow 310) and 2025-10-30 (dyad-sh/dyad 1672)",
        "context_length_exceeded",
    ),
    row(ContextLengthExceeded, _LLAMA_CPP, "exceed_context_size_error"),
    row(
        ParameterUnsupported,
        "OpenAI, reports of 2025-05-18 (microsoft/vscode-copilot-release 9954) and 2026-04-20"
        " (johny-b/llmcomp 69)",
        "unsupported_parameter",
        "unsupported_value",
    ),
    row(
        ContentRefused,
        f"Azure OpenAI documentation of 2026-01-14, {READ}: a prompt that is filtered",
        "content_filter",
    ),
    row(
        ContentRefused,
        f"OpenAI, quoted in litellm 1.106.2's exceptions.py, {READ}",
        "content_policy_violation",
    ),
    row(
        QuotaExhausted,
        f"{_OPENAI}; reports of 2023-05-02 (dfinke/PowerShellAI 127) and {READ}"
        " (OpenHands/OpenHands 998)",
        "insufficient_quota",
        "billing_hard_limit_reached",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "project_spend_limit_exceeded",
    ),
    row(RateLimited, f"{_OPENAI}; {_VERCEL}", "rate_limit_exceeded", "slow_down"),
    row(
        CredentialRefused,
        f"OpenAI's troubleshooting guide (openai/openai-developers-for-cursor), stored copy {READ}",
        "invalid_api_key",
    ),
    row(CredentialRefused, f"{_VERCEL}; {_LLAMA_CPP}; {_ANTHROPIC}", "authentication_error"),
    row(
        ModelUnavailable,
        f"OpenAI, a report of 2024-10-11 (Aider-AI/aider 2030); {_VERCEL}",
        "model_not_found",
    ),
    row(
        ProviderUnavailable,
        f"{_NGINX}: a proxy's page, not the provider's judgement",
        status=(400, 403),
        page=True,
    ),
    row(ProviderUnavailable, _NGINX, status=(503,), page=True),
    row(
        RequestRefused,
        f"{_DEEPSEEK} (400, 422); {_ANTHROPIC}, and {_NGINX} (413)",
        status=(400, 413, 422),
    ),
    row(CredentialRefused, _DEEPSEEK, status=(401,)),
    row(QuotaExhausted, f"{_DEEPSEEK}; to RFC 9110 (2022) it is reserved", status=(402,)),
    row(
        AccessRefused,
        "OpenAI, a report of 2024-06-21 (home-assistant/core 120072): a country",
        status=(403,),
    ),
    row(ModelUnavailable, "OpenAI, a report of 2024-10-11 (Aider-AI/aider 2030)", status=(404,)),
    row(
        ProviderTimeout,
        f"litellm 1.106.2's Timeout (408), {READ}; {_NGINX} (504)",
        status=(408, 504),
    ),
    row(RateLimited, f"{_DEEPSEEK}; {_OPENAI}", status=(429,)),
    row(ProviderUnavailable, _NGINX, status=(502,)),
    row(Overloaded, f"{_DEEPSEEK}; {_OPENAI}", status=(503,)),
    row(ProviderUnavailable, _CLOUDFLARE, status=(520, 521, 522, 523, 525, 526, 530)),
    row(ProviderTimeout, _CLOUDFLARE, status=(524,)),
    row(Overloaded, _ANTHROPIC, status=(529,)),
    row(UpstreamFault, "whatever else is stated"),
)

# A kind that has no rows of its own.
UNMARKED = FailureRules((), SHARED)
