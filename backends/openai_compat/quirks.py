"""How endpoints that speak OpenAI's chat dialect differ, as data.

Each field of a caller's request has one fate at an endpoint:

    forwarded    sent as it came
    translated   written by the adapter in the endpoint's own words, from the neutral call
    fixed        not sent, as the endpoint has one value for it; the caller is told unless it asked for that
    refused      not sent, and the caller told so: it bears cost or retention, or nobody knows what it does
    kept         read by the gateway, of no meaning to a provider; not sent

`docs/reference/fields.md` shows these tables. A field in none of them is refused unless the endpoint's
row names it in `extra_fields`; under a policy of zero retention, and at vLLM, even then.
"""

from collections.abc import Mapping

from msgspec import Struct

from backends.openai_compat.failure_rows import UNMARKED
from backends.openai_compat.failures import FailureRules
from backends.openai_compat.messages import History
from backends.values import MODE_FIELDS

# Written by the adapter, or read by the gateway and of no meaning to a provider.
WRITTEN = frozenset({"model", "stream", "stream_options", "max_tokens", "max_completion_tokens"})
GATEWAY_ONLY = frozenset(
    {"models", "provider", "route", "usage", "user", "metadata", "session_id", "trace", "store"}
)
# Of these, what bears retention: not even an endpoint's row lets it pass.
NEVER_SENT = frozenset({"store"})

# Why fields that callers are known to send are refused where no table takes them.
REFUSED: Mapping[str, str] = {
    "service_tier": "bears cost: tiers have prices of their own",
    "prediction": "bears cost: what is not used of it may be billed beyond the output cap",
    "cache_control": "bears cost: cache writes",
    "prompt_cache_options": "bears cost: cache writes",
    "plugins": "bears cost: searches and files are billed beside tokens",
    "web_search_options": "bears cost: searches are billed beside tokens",
    "modalities": "bears cost: these models write text",
    "audio": "bears cost: these models write text",
    "safety_identifier": "bears retention: names a person",
    "debug": "bears retention: has the request sent back",
    "transforms": "changes the prompt unseen",
    "logit_bias": "not documented there",
    "seed": "not documented there",
    "top_k": "not documented there",
    "top_a": "not documented there",
    "min_p": "not documented there",
    "repetition_penalty": "not documented there",
    "structured_outputs": "not documented there",
    "verbosity": "not documented there",
    "chat_template_kwargs": "not documented there",
}

# OpenAI's chat fields that carry no cost and no retention of their own.
CORE = frozenset(
    {
        "messages",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "stop",
        "prompt_cache_key",
    }
)
SAMPLING = frozenset(
    {"temperature", "top_p", "n", "presence_penalty", "frequency_penalty", "seed", "logit_bias"}
    | {"logprobs", "top_logprobs"}
)
OPEN_WEIGHT_SAMPLING = frozenset({"top_k", "min_p", "repetition_penalty"})


class Quirks(Struct, frozen=True, kw_only=True):
    """What an adapter must know of one kind of endpoint.

    Attributes:
        source: where its table of fields comes from, in Markdown.
        forwarded: request fields sent as the caller wrote them.
        fixed: parameters that have one value there, which is never sent.
        fixed_at_rest: the same while a model that could think does not.
        thinking_switch: how it is told whether to think, one of `modes.THINKING_SWITCHES`, where the
            endpoint's row does not say.
        forces_while_thinking: whether `tool_choice` may force a call while the model thinks, whichever
            model; otherwise the model's profile says what it takes.
        stop_limits: how many stop sequences it takes, and how many bytes each may have.
        takes_extra: whether an endpoint's row may name further fields.
        aggregator: whether it chooses among hosts.
        hosts_field: the field in which an aggregator is told which of them may be used: `provider`, as
            OpenRouter has it, or `providerOptions`, as Vercel has.
        takes_max_price: whether an aggregator can be told what its hosts may charge at most.
        gateway: whether it may be a gateway, from which the request could come back, even at the provider's
            own address. At any other address every kind may be.
        cap_field: the name of the output cap.
        multiple_choices: whether `n` above 1 is offered.
        web_search: whether it runs the builtin function `$web_search`, for a fee beside the tokens.
        fetches_media: whether media may be given by a public URL.
        resend_safe: whether a request that may already have been received can be sent again without
            being billed twice.
        end_mark: whether streams end with `[DONE]`. One that lacks it is broken; where none is sent,
            it is one without a finish reason that is.
        cache_salt: whether requests carry a salt that keeps one tenant's prefix cache from another's.
        history: how the messages of earlier turns are written for it.
        leaks: whether Kimi's own tool-call tokens may come as text, unread by the server.
        failures: what its refusals, and the errors inside its replies, mean.
    """

    source: str = ""
    forwarded: frozenset[str]
    fixed: Mapping[str, float] = {}
    fixed_at_rest: Mapping[str, float] = {}
    thinking_switch: str = "none"
    forces_while_thinking: bool = True
    stop_limits: tuple[int, int] | None = None
    takes_extra: bool = True
    aggregator: bool = False
    hosts_field: str = "provider"
    takes_max_price: bool = False
    gateway: bool = False
    cap_field: str = "max_tokens"
    multiple_choices: bool = True
    web_search: bool = False
    fetches_media: bool = True
    resend_safe: bool = False
    end_mark: bool = True
    cache_salt: bool = False
    history: History = History()
    leaks: bool = True
    failures: FailureRules = UNMARKED


TRANSLATED = MODE_FIELDS | WRITTEN
