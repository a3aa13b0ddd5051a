"""vLLM, on machines of one's own."""

from backends.errors import (
    ContextLengthExceeded,
    ModelUnavailable,
    Overloaded,
    RequestRefused,
    UpstreamFault,
)
from backends.kind import Kind
from backends.openai_compat.failure_rows import READ, SHARED
from backends.openai_compat.failures import FailureRules, row
from backends.openai_compat.messages import History
from backends.openai_compat.quirks import CORE, OPEN_WEIGHT_SAMPLING, SAMPLING, Quirks

_VLLM = "vLLM 0.32, measured 2026-11-22"
_VLLM_OLD = f"sources of vLLM before that, stored copies without a version {READ}"

_ROWS = (
    row(
        UpstreamFault,
        f"{_VLLM_OLD}, with the engine V0: the field is this gateway's own",
        status=(400,),
        says=("parameter 'cache_salt'",),
        inside=False,
        native="cache_salt_refused",
        hint="this vLLM takes no cache_salt: use a newer one, or set cache_isolation: none",
    ),
    row(
        ContextLengthExceeded,
        f"{_VLLM}: so for an output cap; vllm-project/vllm 20409, {READ}: only the text tells",
        status=(400,),
        says=("maximum context length", "max_model_len"),
        inside=False,
    ),
    row(
        ContextLengthExceeded,
        _VLLM,
        status=(400,),
        has=("param=input_tokens",),
        inside=False,
    ),
    row(RequestRefused, _VLLM, "BadRequestError", "Bad Request", inside=False),
    row(ModelUnavailable, _VLLM, "NotFoundError"),
    row(Overloaded, f"{_VLLM}: its queue is full", "Service Unavailable"),
    row(UpstreamFault, f"{_VLLM}: its engine died, or it is shutting down", "InternalServerError"),
    row(
        UpstreamFault,
        f"{_VLLM_OLD}: whatever goes wrong in a stream has code 400",
        status=(400,),
        inside=True,
    ),
)
FAILURES = FailureRules(_ROWS, SHARED)

# vLLM 0.32 measured 2026-11-22: unknown fields are ignored; a request costs GPU time, not money. Among the
# fields that it does know are some that read or steer the server itself (`kv_transfer_params`,
# `priority`, `chat_template`, `return_token_ids`; its protocol.py, read that day): no row lets any pass.
QUIRKS = Quirks(
    source="vLLM 0.32, measured on 2026-11-22, and its `protocol.py` of that day.",
    forwarded=CORE | SAMPLING | OPEN_WEIGHT_SAMPLING | {"chat_template_kwargs"},
    thinking_switch="chat_template_kwargs",
    takes_extra=False,
    resend_safe=True,
    cache_salt=True,
    # Its request model takes `reasoning_content` for `reasoning` (0.32, read 2026-11-22); versions from
    # about 0.12 to 0.19 drop it, and older ones read nothing else: so both are sent, with the same text.
    history=History(reasoning=("reasoning", "reasoning_content"), partial="asked"),
    failures=FAILURES,
)

KIND = Kind(quirks=QUIRKS, title="a vLLM server")
