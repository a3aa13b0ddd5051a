"""How endpoints that speak OpenAI's chat dialect differ, as data.

Each field of a caller's request has one fate at an endpoint: *forwarded* as it is; *written* by the
adapter from the call; or *dropped*, and the caller told so. A field in none of these sets is dropped
unless the endpoint's row names it in `extra_fields`.
"""

from msgspec import Struct

from backends.openai_compat.failures import (
    Classify,
    ClassifyEvent,
    classify,
    classify_event,
    vllm_event,
    vllm_refusal,
)

# Written by the adapter, or read by the gateway and of no meaning to a provider.
WRITTEN = frozenset({"model", "stream", "stream_options", "max_tokens", "max_completion_tokens"})
GATEWAY_ONLY = frozenset(
    {"models", "provider", "route", "usage", "user", "metadata", "session_id", "trace", "store"}
)

# OpenAI's chat fields that carry no cost and no retention of their own.
_CORE = frozenset(
    {
        "messages",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "stop",
        "reasoning_effort",
        "prompt_cache_key",
    }
)
_SAMPLING = frozenset(
    {"temperature", "top_p", "n", "presence_penalty", "frequency_penalty", "seed", "logit_bias"}
    | {"logprobs", "top_logprobs"}
)
_OPEN_WEIGHT_SAMPLING = frozenset({"top_k", "min_p", "repetition_penalty"})


class Quirks(Struct, frozen=True, kw_only=True):
    """What an adapter must know of one kind of endpoint.

    Attributes:
        forwarded: request fields sent as the caller wrote them.
        cap_field: the name of the output cap.
        multiple_choices: whether `n` above 1 is offered.
        resend_safe: whether a request that may already have been received can be sent again without
            being billed twice.
        end_mark: whether streams end with `[DONE]`. One that lacks it is broken; where none is sent,
            it is one without a finish reason that is.
        cache_salt: whether requests carry a salt that keeps one tenant's prefix cache from another's.
        classify: (HTTP status, seconds to wait, body) to the error it means.
        classify_event: an error inside a reply of status 200 to what it means.
    """

    forwarded: frozenset[str]
    cap_field: str = "max_tokens"
    multiple_choices: bool = True
    resend_safe: bool = False
    end_mark: bool = True
    cache_salt: bool = False
    classify: Classify = classify
    classify_event: ClassifyEvent = classify_event


OPENAI_COMPAT = Quirks(forwarded=_CORE | _SAMPLING)

# Novita API reference, chat completions, stored copy read 2026-08-12: the same fields plus top_k,
# min_p and repetition_penalty; no `tool_choice` in the list, though clients send it.
NOVITA = Quirks(forwarded=_CORE | _SAMPLING | _OPEN_WEIGHT_SAMPLING)

# vLLM 0.32 measured 2026-11-22: unknown fields are ignored; a request costs GPU time, not money.
VLLM = Quirks(
    forwarded=_CORE | _SAMPLING | _OPEN_WEIGHT_SAMPLING | {"chat_template_kwargs"},
    cap_field="max_tokens",
    resend_safe=True,
    cache_salt=True,
    classify=vllm_refusal,
    classify_event=vllm_event,
)

# Moonshot platform documentation, stored copy of 2026-09-03, and recordings of that day: temperature,
# top_p, n and both penalties are fixed on every current model and any other value is answered 400, so
# none of them is sent; `max_tokens` still works but `max_completion_tokens` is the documented name.
MOONSHOT = Quirks(
    forwarded=_CORE
    | {"thinking", "logprobs", "top_logprobs", "prompt_cache_options", "safety_identifier"},
    cap_field="max_completion_tokens",
    multiple_choices=False,
)
