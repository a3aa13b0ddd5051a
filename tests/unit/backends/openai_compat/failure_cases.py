"""The replies in `failures/`: what each of them means, and how long it asks us to wait."""

from pathlib import Path

from msgspec import Struct

from backends.errors import (
    AccessRefused,
    AccountRateLimited,
    BackendError,
    BadReply,
    ConnectFailed,
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
    RateLimited,
    RequestRefused,
    UpstreamFault,
)

FOLDER = Path(__file__).parent / "failures"
NOW = 1_795_348_800.0  # 2026-11-22 12:00 UTC, by the clock of the replies


class Case(Struct, frozen=True):
    """One file: `<kind>/<status>-<what>.<form>`."""

    path: str
    error: type[BackendError]
    wait: float | None = None
    headers: dict[str, str] = {}

    @property
    def kind(self) -> str:
        """The kind of endpoint."""
        return self.path.partition("/")[0]

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self.path.partition("/")[2][:3])

    @property
    def body(self) -> bytes:
        """What was sent."""
        return (FOLDER / self.path).read_bytes()

    def header(self, name: bytes) -> bytes | None:
        """A header of the reply."""
        value = self.headers.get(name.decode())
        return None if value is None else value.encode()


CASES = (
    Case("moonshot/400-context-length.json", ContextLengthExceeded),
    Case("moonshot/400-input-too-long.json", ContextLengthExceeded),
    Case("moonshot/400-fixed-temperature.json", ParameterUnsupported),
    Case("moonshot/400-tool-choice.json", ParameterUnsupported),
    Case("moonshot/400-invalid.json", RequestRefused),
    Case("moonshot/400-content-filter.json", ContentRefused),
    Case("moonshot/401-invalid.json", CredentialRefused),
    Case("moonshot/401-missing.json", CredentialRefused),
    Case("moonshot/403-permission.json", AccessRefused),
    Case("moonshot/403-balance.json", QuotaExhausted),
    Case("moonshot/404-retired.json", ModelUnavailable),
    Case("moonshot/429-concurrency.json", AccountRateLimited, 1.0),
    Case("moonshot/429-rpm.json", AccountRateLimited, 17.5),
    Case("moonshot/429-tpm.json", AccountRateLimited),
    Case("moonshot/429-overloaded.json", Overloaded, 3.0, {"retry-after": "3"}),
    Case("moonshot/429-quota.json", QuotaExhausted),
    Case("moonshot/429-no-type.json", RateLimited),
    Case("moonshot/499-closed.json", UpstreamFault),
    Case("moonshot/500-server-error.json", UpstreamFault),
    Case("moonshot/500-unexpected-output.json", UpstreamFault),
    Case("moonshot/503-unavailable.json", ProviderUnavailable),
    Case("moonshot/504-page.html", ProviderTimeout),
    Case("moonshot/200-overloaded.sse", Overloaded),
    Case("moonshot_cn/401-other-region.json", CredentialRefused),
    Case("novita/400-reason.json", RequestRefused),
    Case("novita/400-text.json", RequestRefused),
    Case("novita/400-flat.json", RequestRefused),
    Case("novita/400-openai.json", RequestRefused),
    Case("novita/400-context-length.json", ContextLengthExceeded),
    Case("novita/401-key.json", CredentialRefused),
    Case("novita/403-balance.json", QuotaExhausted),
    Case("novita/403-model-access.json", AccessRefused),
    Case("novita/403-unverified.json", AccessRefused),
    Case("novita/404-model.json", ModelUnavailable),
    Case(
        "novita/429-rate.json", RateLimited, 90.0, {"retry-after": "Sun, 22 Nov 2026 12:01:30 GMT"}
    ),
    Case("novita/500-internal.json", UpstreamFault),
    Case("novita/503-unavailable.json", ProviderUnavailable),
    Case("novita/504-timeout.json", ProviderTimeout),
    Case("novita/200-error.sse", UpstreamFault),
    Case("openrouter/400-invalid.json", RequestRefused),
    Case("openrouter/400-model.json", ModelUnavailable),
    Case("openrouter/400-model-typed.json", ModelUnavailable),
    Case("openrouter/400-host.json", RequestRefused),
    Case("openrouter/400-context-length.json", ContextLengthExceeded),
    Case("openrouter/400-host-context-length.json", ContextLengthExceeded),
    Case("openrouter/400-content.json", ContentRefused),
    Case("openrouter/401-key.json", CredentialRefused),
    Case("openrouter/401-key-typed.json", CredentialRefused),
    Case("openrouter/401-host.json", UpstreamFault),
    Case("openrouter/402-credits.json", QuotaExhausted),
    Case("openrouter/402-credits-typed.json", QuotaExhausted),
    Case("openrouter/402-in-flight.json", AccountRateLimited, 2.0, {"retry-after": "2"}),
    Case("openrouter/403-permission.json", AccessRefused),
    Case("openrouter/403-workspace-budget.json", QuotaExhausted),
    Case("openrouter/403-moderation.json", ContentRefused),
    Case("openrouter/403-guardrail.json", ContentRefused),
    Case("openrouter/404-no-host.json", NoHost),
    Case("openrouter/404-model.json", ModelUnavailable),
    Case("openrouter/404-not-found.json", NoHost),
    Case("openrouter/404-no-endpoints.json", NoHost),
    Case("openrouter/404-tools.json", ParameterUnsupported),
    Case("openrouter/404-require-parameters.json", ParameterUnsupported),
    Case("openrouter/404-context-length.json", ContextLengthExceeded),
    Case("openrouter/404-several.json", NoHost),
    Case("openrouter/404-untyped.json", NoHost),
    Case("openrouter/404-privacy.json", NoHost),
    Case("openrouter/404-deprecated.json", ModelUnavailable),
    Case("openrouter/408-timeout.json", ProviderTimeout),
    Case("openrouter/412-precondition.json", RequestRefused),
    Case("openrouter/413-too-large.json", RequestRefused),
    Case("openrouter/429-own.json", AccountRateLimited, 30.0),
    Case(
        "openrouter/429-own-header.json",
        AccountRateLimited,
        45.0,
        {"x-ratelimit-reset": "1795348845000"},
    ),
    Case("openrouter/429-host.json", Overloaded),
    Case("openrouter/429-hosts.json", Overloaded),
    Case("openrouter/429-capacity.json", Overloaded, 7.0),
    Case("openrouter/500-server.json", UpstreamFault),
    Case("openrouter/502-host.json", ProviderUnavailable),
    Case("openrouter/502-untyped.json", ProviderUnavailable),
    Case("openrouter/503-no-host.json", ProviderUnavailable),
    Case("openrouter/503-overloaded.json", Overloaded),
    Case("openrouter/504-timeout.json", ProviderTimeout),
    Case("openrouter/529-overloaded.json", Overloaded),
    Case("openrouter/200-error.json", ProviderUnavailable),
    Case("openrouter/200-choice-error.json", ProviderTimeout),
    Case("openrouter/200-stream-error.sse", ProviderUnavailable),
    Case("openrouter/200-stream-code-as-text.sse", Overloaded),
    Case("openai_compat/508-loop.json", UpstreamFault),
    Case("vercel/403-free-tier.json", NoHost),
    Case("vercel/403-card.json", AccessRefused),
    Case("vercel/403-rule.json", AccessRefused),
    Case("vercel/404-not-found.json", ModelUnavailable),
    Case("vercel/424-dependency.json", ProviderUnavailable),
    Case("vercel/500-internal.json", UpstreamFault),
    Case("vercel/429-host.json", Overloaded),
    Case("vercel/401-host.json", UpstreamFault),
    Case("vllm/400-context-length.json", ContextLengthExceeded),
    Case("vllm/400-input-tokens.json", ContextLengthExceeded),
    Case("vllm/400-output-cap.json", ContextLengthExceeded),
    Case("vllm/400-old-context-length.json", ContextLengthExceeded),
    Case("vllm/400-cap-too-small.json", RequestRefused),
    Case("vllm/400-fields.json", RequestRefused),
    Case("vllm/400-cache-salt.json", UpstreamFault),
    Case("vllm/401-key.json", CredentialRefused),
    Case("vllm/404-model.json", ModelUnavailable),
    Case("vllm/404-path.json", ModelUnavailable),
    Case("vllm/405-method.json", UpstreamFault),
    Case("vllm/500-shutdown.json", UpstreamFault),
    Case("vllm/503-queue-full.json", Overloaded),
    Case("vllm/200-engine-death.sse", UpstreamFault),
    Case("vllm/200-old-engine-death.sse", UpstreamFault),
    Case("litellm/400-BadRequestError.json", RequestRefused),
    Case("litellm/400-UnsupportedParamsError.json", ParameterUnsupported),
    Case("litellm/400-unsupported-value.json", ParameterUnsupported),
    Case("litellm/422-UnprocessableEntityError.json", RequestRefused),
    Case("litellm/400-ContextWindowExceededError.json", ContextLengthExceeded),
    Case("litellm/400-ContentPolicyViolationError.json", ContentRefused),
    Case("litellm/401-AuthenticationError.json", CredentialRefused),
    Case("litellm/403-PermissionDeniedError.json", AccessRefused),
    Case("litellm/404-NotFoundError.json", ModelUnavailable),
    Case("litellm/400-LiteLLMUnknownProvider.json", ModelUnavailable),
    Case("litellm/504-Timeout.json", ProviderTimeout),
    Case("litellm/429-RateLimitError.json", RateLimited),
    Case("litellm/422-BudgetExceededError.json", QuotaExhausted),
    Case("litellm/500-InternalServerError.json", UpstreamFault),
    Case("litellm/500-APIError.json", UpstreamFault),
    Case("litellm/502-APIConnectionError.json", ProviderUnavailable),
    Case("litellm/502-BadGatewayError.json", ProviderUnavailable),
    Case("litellm/503-ServiceUnavailableError.json", ProviderUnavailable),
    Case("litellm/502-APIResponseValidationError.json", BadReply),
    Case("litellm/503-ConnectError.json", ConnectFailed),
    Case("litellm/429-quota.json", QuotaExhausted),
    Case("litellm/200-RateLimitError.sse", RateLimited),
    Case("openai_compat/400-context-length.json", ContextLengthExceeded),
    Case("openai_compat/400-deepseek.json", ContextLengthExceeded),
    Case("openai_compat/400-llama-cpp.json", ContextLengthExceeded),
    Case("openai_compat/400-field.json", RequestRefused),
    Case("openai_compat/400-content-filter.json", ContentRefused),
    Case("openai_compat/400-policy.json", ContentRefused),
    Case("openai_compat/400-unsupported-parameter.json", ParameterUnsupported),
    Case("openai_compat/400-unsupported-value.json", ParameterUnsupported),
    Case("openai_compat/400-hard-limit.json", QuotaExhausted),
    Case("openai_compat/400-page.html", ProviderUnavailable),
    Case("openai_compat/401-key.json", CredentialRefused),
    Case("openai_compat/401-vercel.json", CredentialRefused),
    Case("openai_compat/401-untyped.json", CredentialRefused),
    Case("openai_compat/402-empty.txt", QuotaExhausted),
    Case("openai_compat/402-balance.json", QuotaExhausted),
    Case("openai_compat/403-region.json", AccessRefused),
    Case("openai_compat/403-page.html", ProviderUnavailable),
    Case("openai_compat/404-model.json", ModelUnavailable),
    Case("openai_compat/404-vercel.json", ModelUnavailable),
    Case("openai_compat/404-page.html", ModelUnavailable),
    Case("openai_compat/413-page.html", RequestRefused),
    Case(
        "openai_compat/429-rate.json",
        RateLimited,
        1.5,
        {"retry-after-ms": "1500", "retry-after": "2"},
    ),
    Case("openai_compat/429-untyped.txt", RateLimited, 5.0, {"retry-after": "5"}),
    Case("openai_compat/429-quota.json", QuotaExhausted),
    Case("openai_compat/429-credit.json", QuotaExhausted),
    Case("openai_compat/429-slow-down.json", RateLimited),
    Case("openai_compat/500-vercel.json", UpstreamFault),
    Case("openai_compat/502-page.html", ProviderUnavailable),
    Case("openai_compat/503-page.html", ProviderUnavailable),
    Case("openai_compat/503-overloaded.json", Overloaded),
    Case("openai_compat/504-page.html", ProviderTimeout),
    Case("openai_compat/522-page.html", ProviderUnavailable),
    Case("openai_compat/524-page.html", ProviderTimeout),
    Case("openai_compat/529-overloaded.json", Overloaded),
    Case("openai_compat/302-moved.html", UpstreamFault),
    Case("openai_compat/200-text.sse", UpstreamFault),
)
