"""Novita's wire.

The stream follows a live recording of 2026-08-12 (made through a router of another company); the
model list follows the vendor's documentation and two public clients of that year; prices are those
of 2026-11. No recording of an error body is public: `{"code", "reason", "message", "metadata"}` is
the company-wide form, `error_form="openai"` gives the other form that clients are known to handle.
The reasons are ours, but for NOT_ENOUGH_BALANCE, which users report with status 403.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from msgspec import Struct
from typing_extensions import override

from backends.sandbox.answer import Answer, ChatRequest
from backends.sandbox.dialect import (
    Dialect,
    Failure,
    Frame,
    Refusal,
    Stamp,
    encode,
    k2_leaks,
    tool_deltas,
)

ErrorForm = Literal["reason", "openai"]

_ERRORS: Mapping[Failure, tuple[int, str, str]] = {
    Failure.BAD_REQUEST: (400, "INVALID_REQUEST_BODY", "invalid request parameters"),
    Failure.CONTEXT_LENGTH: (
        400,
        "INVALID_REQUEST_BODY",
        "This model's maximum context length is 262144 tokens. However, you requested 269030 tokens.",
    ),
    Failure.MODERATION: (403, "CONTENT_POLICY", "the request was flagged"),
    Failure.CONTENT_FILTER: (400, "CONTENT_POLICY", "the request was rejected by content policy"),
    Failure.MISSING_KEY: (401, "MISSING_API_KEY", "API key is missing"),
    Failure.WRONG_KEY: (401, "INVALID_API_KEY", "API key is missing or incorrect"),
    Failure.FORBIDDEN: (403, "MODEL_ACCESS_DENIED", "access to the model is denied"),
    Failure.UNKNOWN_PATH: (404, "NOT_FOUND", "not found"),
    Failure.WRONG_METHOD: (405, "METHOD_NOT_ALLOWED", "method not allowed"),
    Failure.RATE: (429, "RATE_LIMIT_EXCEEDED", "rate limit exceeded: RPM"),
    Failure.OVERLOADED: (429, "SERVER_OVERLOADED", "the model is overloaded, try again later"),
    Failure.QUOTA: (403, "NOT_ENOUGH_BALANCE", "not enough balance"),
    Failure.PAYMENT: (402, "NOT_ENOUGH_BALANCE", "not enough balance"),
    Failure.FORBIDDEN_QUOTA: (403, "NOT_ENOUGH_BALANCE", "not enough balance"),
    Failure.SERVER: (500, "INTERNAL_SERVER_ERROR", "internal server error"),
    Failure.UNAVAILABLE: (503, "SERVICE_UNAVAILABLE", "service unavailable"),
}


class Model(Struct, frozen=True):
    """A row of Novita's list. Prices in its own unit: 1/10,000 US dollar per million tokens."""

    id: str
    context: int
    max_output: int
    input: int
    output: int
    cache_read: int | None = None


_MILLION, _QUARTER = 1_048_576, 262_144
MODELS: Mapping[str, Model] = {
    model.id: model
    for model in (
        Model("moonshotai/kimi-k3.1-pro", _MILLION, _MILLION, 20_000, 100_000, 2_000),
        Model("moonshotai/kimi-k3.1-pro-highspeed", _MILLION, _MILLION, 40_000, 200_000, 2_000),
        Model("moonshotai/kimi-k3", _MILLION, _MILLION, 30_000, 150_000, 3_000),
        Model("moonshotai/kimi-k2.7-code", _QUARTER, _QUARTER, 9_500, 40_000, 1_900),
        Model("moonshotai/kimi-k2.6", _QUARTER, _QUARTER, 8_000, 34_000, 1_600),
        Model("moonshotai/kimi-k2.5", _QUARTER, _QUARTER, 6_000, 30_000, 1_000),
        Model("moonshotai/kimi-k2-thinking", _QUARTER, _QUARTER, 6_000, 25_000, 1_500),
        Model("moonshotai/kimi-k2-0905", _QUARTER, _QUARTER, 6_000, 25_000),
        Model("moonshotai/kimi-k2-instruct", 131_072, 100_352, 5_700, 23_000),
    )
}
_SILENT = frozenset({"moonshotai/kimi-k2-0905", "moonshotai/kimi-k2-instruct"})  # never reason


class Novita(Dialect):
    """Speaks as api.novita.ai does.

    Args:
        error_form: which of the two known forms error bodies have.
    """

    title = "Novita AI"
    base_path = "/openai/v1"
    chat_paths: ClassVar[frozenset[str]] = frozenset(
        {"/openai/v1/chat/completions", "/v3/openai/chat/completions"}
    )

    def __init__(self, error_form: ErrorForm = "reason") -> None:
        self.error_form = error_form

    @override
    def refusal(self, failure: Failure, detail: str = "") -> Refusal:
        headers = (("Retry-After", "1"),) if failure is Failure.OVERLOADED else ()
        if failure is Failure.UNKNOWN_MODEL:
            status, reason = 404, "MODEL_NOT_FOUND"
            message = f"model: {detail or 'moonshotai/kimi-nonexistent'} not found"
        else:
            status, reason, message = _ERRORS[failure]
            message = detail or message
        if self.error_form == "openai":
            return Refusal(status, _openai_form(status, reason, message), headers=headers)
        body = {"code": status, "reason": reason, "message": message, "metadata": {}}
        return Refusal(status, encode(body), headers=headers)

    @override
    def check(self, request: ChatRequest, prompt_tokens: int) -> Refusal | None:
        model = MODELS.get(request.model or "")
        if model is None:
            return self.refusal(Failure.UNKNOWN_MODEL, request.model or "")
        objection = None
        if not request.messages:
            objection = "messages is required"
        elif request.n not in {None, 1}:
            objection = "this sandbox answers with one choice"
        elif request.cap is not None and not 1 <= request.cap <= model.max_output:
            objection = f"max_tokens must be between 1 and {model.max_output}"
        elif prompt_tokens > model.context:
            objection = (
                f"This model's maximum context length is {model.context} tokens."
                f" However, you requested {prompt_tokens} tokens."
            )
        return self.refusal(Failure.BAD_REQUEST, objection) if objection else None

    @override
    def thinks(self, request: ChatRequest) -> bool:
        if request.model in _SILENT or request.enable_thinking is False:
            return False
        return super().thinks(request)

    @override
    def leaks(self, request: ChatRequest) -> bool:
        k2 = (request.model or "").startswith("moonshotai/kimi-k2")
        return k2 and k2_leaks(request)

    @override
    def whole(self, request: ChatRequest, answer: Answer, stamp: Stamp) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.content)}
        if answer.reasoning:
            message["reasoning_content"] = "".join(answer.reasoning)
        if answer.tool is not None:
            function = {"name": answer.tool.name, "arguments": answer.tool.arguments}
            message["tool_calls"] = [
                {"index": 0, "id": answer.tool.id, "type": "function", "function": function}
            ]
        choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
        reply = _envelope(request, stamp, "chat.completion") | {"choices": [choice]}
        if answer.shows_usage:
            reply["usage"] = _usage(answer)
        return encode(reply | {"system_fingerprint": ""})

    @override
    def frames(self, request: ChatRequest, answer: Answer, stamp: Stamp) -> list[Frame]:
        envelope = _envelope(request, stamp, "chat.completion.chunk")
        sla = {"sla_metrics": {"ttft_ms": 274, "ts_us": int(stamp.now * 1e6)}}
        tail = {"system_fingerprint": "", **sla}

        def frame(delta: dict[str, Any], *, finish: str | None = None, piece: bool = True) -> Frame:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            return Frame(encode({**envelope, "choices": [choice], **tail}), piece)

        frames = [frame({"role": "assistant"}, piece=False)]
        frames += [frame({"reasoning_content": text}) for text in answer.reasoning]
        frames += [frame({"content": text}) for text in answer.content]
        frames += [frame(delta) for delta in tool_deltas(answer)]
        frames.append(frame({}, finish=answer.finish_reason, piece=False))
        if answer.shows_usage:  # also unasked
            bill = {"system_fingerprint": "", "usage": _usage(answer), **sla}
            frames.append(Frame(encode({**envelope, "choices": [], **bill})))
        return frames

    @override
    def error_event(self) -> bytes:
        # not recorded; error objects inside streams have this form at every provider that shows one
        status, reason, message = _ERRORS[Failure.SERVER]
        return _openai_form(status, reason, message)

    @override
    def document(self, path: str) -> bytes | None:
        for base in ("/openai/v1/models", "/v3/openai/models"):
            if path == base:
                return encode({"data": [_row(model) for model in MODELS.values()]})
            if path.startswith(f"{base}/") and (model := MODELS.get(path[len(base) + 1 :])):
                return encode(_row(model))
        return None


def _openai_form(status: int, reason: str, message: str) -> bytes:
    return encode({"error": {"message": message, "type": reason.lower(), "code": status}})


def _envelope(request: ChatRequest, stamp: Stamp, kind: str) -> dict[str, Any]:
    return {
        "id": stamp.hex_id,
        "object": kind,
        "created": stamp.created,
        "model": request.model,
    }


def _usage(answer: Answer) -> dict[str, Any]:
    cached = {"cached_tokens": answer.cached_tokens} if answer.cached_tokens else None
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        "prompt_tokens_details": cached,
        "completion_tokens_details": None,
    }


def _row(model: Model) -> dict[str, Any]:
    pricing = {
        "prompt": {"price_per_m": model.input},
        "completion": {"price_per_m": model.output},
    }
    if model.cache_read is not None:
        pricing["input_cache_read"] = {"price_per_m": model.cache_read}
    name = model.id.removeprefix("moonshotai/")
    features = ["function-calling", "structured-outputs"]
    return {
        "created": 1733560109,
        "id": model.id,
        "object": "model",
        "owned_by": "unknown",
        "input_token_price_per_m": model.input,
        "output_token_price_per_m": model.output,
        "title": name,
        "display_name": name,
        "description": "A stand-in of Tidegate's sandbox.",
        "context_size": model.context,
        "max_output_tokens": model.max_output,
        "features": features if model.id in _SILENT else [*features, "reasoning"],
        "input_modalities": ["text"],
        "output_modalities": ["text"],
        "endpoints": ["chat/completions"],
        "model_type": "chat",
        "status": 1,
        "tags": [],
        "pricing": pricing,
    }
