"""OpenRouter's wire.

Paths, fields, errors and stream follow OpenRouter's OpenAPI document 1.0.0 and its documentation, both
of 2026-08-22, and its Python SDK 1.3.84 of 2026-10-27: comments while it is at work, `provider` and
`native_finish_reason` on chunks, reasoning in two forms, usage with its cost always, an error after the
first token as a chunk whose choice ends with `error`, and then no end mark. The hosts behind it, their
policies and who of them is tried first are ours.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from msgspec import Struct
from typing_extensions import override

from backends.sandbox.answer import Answer, ChatRequest
from backends.sandbox.dialect import Dialect, Failure, Frame, Refusal, Stamp, encode, tool_deltas
from backends.sandbox.openrouter_hosts import MODELS, Host, hosts_for, model_row, policy_row

_FAILED = "Provider returned error"

# failure -> status, error_type, message
_ERRORS: Mapping[Failure, tuple[int, str, str]] = {
    Failure.BAD_REQUEST: (400, "invalid_request", "the request is not valid"),
    Failure.CONTEXT_LENGTH: (
        400,
        "context_length_exceeded",
        (
            "This endpoint's maximum context length is 262144 tokens. However, you requested about"
            " 269030 tokens. Please reduce the length of either one."
        ),
    ),
    Failure.CONTENT_FILTER: (400, "content_policy_violation", _FAILED),
    Failure.MODERATION: (403, "permission_denied", "moonshotai/kimi-k2.6 requires moderation"),
    Failure.MISSING_KEY: (401, "authentication", "Missing Authentication header"),
    Failure.WRONG_KEY: (401, "authentication", "User not found."),
    Failure.FORBIDDEN: (403, "permission_denied", "This key may not use this model"),
    Failure.UNKNOWN_PATH: (404, "not_found", "Not Found"),
    Failure.WRONG_METHOD: (405, "invalid_request", "Method Not Allowed"),
    Failure.RATE: (429, "rate_limit_exceeded", "Rate limit exceeded"),
    Failure.OVERLOADED: (429, "rate_limit_exceeded", _FAILED),
    Failure.QUOTA: (402, "payment_required", "Insufficient credits. Add more to go on"),
    Failure.PAYMENT: (402, "payment_required", "Insufficient credits. Add more to go on"),
    Failure.FORBIDDEN_QUOTA: (403, "permission_denied", "Key limit exceeded (total limit)"),
    Failure.SERVER: (500, "server", "Internal Server Error"),
    Failure.UNAVAILABLE: (503, "provider_overloaded", "No instances available"),
}
# What else is in the metadata of an error, by the documents named above.
_METADATA: Mapping[Failure, dict[str, Any]] = {
    Failure.CONTENT_FILTER: {"provider_code": "content_filter"},
    Failure.MODERATION: {
        "reasons": ["flagged"],
        "flagged_input": "…",
        "provider_name": "Moonshot AI",
        "model_slug": "moonshotai/kimi-k2.6",
    },
    Failure.OVERLOADED: {"provider_name": "Moonshot AI", "provider_code": "engine_overloaded"},
}
_MANDATORY = frozenset({"moonshotai/kimi-k2-thinking", "moonshotai/kimi-k2.7-code"})


class Account(Struct, frozen=True):
    """What `/key` and `/credits` tell, in US dollars."""

    credits: str = "25"
    usage: str = "1.5"
    limit: str | None = None


class OpenRouter(Dialect):
    """Speaks as openrouter.ai does.

    Args:
        account: what it tells of the key's account; without credits left, inference is refused.
    """

    title = "OpenRouter"
    base_path = "/api/v1"
    chat_paths: ClassVar[frozenset[str]] = frozenset({"/api/v1/chat/completions"})
    comment = b": OPENROUTER PROCESSING"

    def __init__(self, account: Account | None = None) -> None:
        self.account = account or Account()

    @override
    def refusal(self, failure: Failure, detail: str = "") -> Refusal:
        if failure is Failure.UNKNOWN_MODEL:
            return _no_model(detail)
        status, kind, message = _ERRORS[failure]
        metadata = {"error_type": kind, **_METADATA.get(failure, {})}
        headers: tuple[tuple[str, str], ...] = ()
        if failure is Failure.OVERLOADED:
            headers = (("Retry-After", "1"),)
        elif failure is Failure.RATE:  # only on limits of the platform's own
            headers = (("X-RateLimit-Limit", "20"), ("X-RateLimit-Remaining", "0"))
        return _refusal(status, detail or message, metadata, headers=headers)

    @override
    def check(self, request: ChatRequest, prompt_tokens: int) -> Refusal | None:
        if Decimal(self.account.credits) <= Decimal(self.account.usage):
            return self.refusal(Failure.QUOTA)
        model = MODELS.get(_slug(request))
        if model is None:
            return self.refusal(Failure.UNKNOWN_MODEL, request.model or "")
        if not request.messages:
            return self.refusal(Failure.BAD_REQUEST, "Input required: specify messages")
        if request.reasoning and {"effort", "max_tokens"} <= request.reasoning.keys():
            return self.refusal(
                Failure.BAD_REQUEST, "Only one of reasoning.effort and reasoning.max_tokens"
            )
        if _effort(request) == "none" and _slug(request) in _MANDATORY:
            text = "Reasoning is mandatory for this endpoint and cannot be disabled."
            return self.refusal(Failure.BAD_REQUEST, text)
        if prompt_tokens > model.context:
            return self.refusal(Failure.CONTEXT_LENGTH)
        hosts, excluded = hosts_for(model, request.provider or {})
        return None if hosts else _nobody(request, excluded)

    @override
    def thinks(self, request: ChatRequest) -> bool:
        model = MODELS.get(_slug(request))
        if model is None or not model.reasons:
            return False
        if _slug(request) in _MANDATORY:
            return True
        return _effort(request) != "none" and (request.reasoning or {}).get("enabled") is not False

    @override
    def whole(self, request: ChatRequest, answer: Answer, stamp: Stamp) -> bytes:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(answer.content) if answer.content or not answer.tool else None,
            "refusal": None,
        }
        reasoning = "".join(answer.reasoning) if _shows_reasoning(request) else ""
        message["reasoning"] = reasoning or None
        if reasoning:
            message["reasoning_details"] = [_detail(reasoning)]
        if answer.tool is not None:
            function = {"name": answer.tool.name, "arguments": answer.tool.arguments}
            message["tool_calls"] = [
                {"type": "function", "index": 0, "id": answer.tool.id, "function": function}
            ]
        choice: dict[str, Any] = {
            "logprobs": None,
            **_finished(answer.finish_reason),
            "index": 0,
            "message": message,
        }
        if answer.finish_reason == "error":
            choice["error"] = _broken_off()
        reply = self._envelope(request, stamp, "chat.completion")
        reply |= {"system_fingerprint": None, "choices": [choice]}
        if answer.shows_usage:
            reply["usage"] = self._usage(request, answer)
        return encode(reply)

    @override
    def frames(self, request: ChatRequest, answer: Answer, stamp: Stamp) -> list[Frame]:
        envelope = self._envelope(request, stamp, "chat.completion.chunk")

        def frame(delta: dict[str, Any], *, finish: str | None = None, piece: bool = True) -> Frame:
            choice: dict[str, Any] = {"index": 0, "delta": {"role": "assistant", **delta}}
            choice |= {**_finished(finish), "logprobs": None}
            if finish == "error":
                return Frame(encode({**envelope, "error": _broken_off(), "choices": [choice]}))
            return Frame(encode({**envelope, "choices": [choice]}), piece)

        frames = [frame({"content": ""}, piece=False)]
        if _shows_reasoning(request):
            frames += [
                frame({"content": "", "reasoning": text, "reasoning_details": [_detail(text)]})
                for text in answer.reasoning
            ]
        frames += [frame({"content": text}) for text in answer.content]
        frames += [frame({"content": None, **delta}) for delta in tool_deltas(answer)]
        frames.append(frame({"content": ""}, finish=answer.finish_reason, piece=False))
        # Always, as `stream_options` means nothing here; but nothing comes after an error.
        if answer.shows_usage and answer.finish_reason != "error":
            bill = {"choices": [], "usage": self._usage(request, answer)}
            frames.append(Frame(encode({**envelope, **bill})))
        return frames

    @override
    def error_event(self) -> bytes:
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
        return encode(
            {
                "id": "gen-1700000000-sandbox",
                "object": "chat.completion.chunk",
                "created": 1_700_000_000,
                "model": "moonshotai/kimi-k2.6",
                "provider": "Moonshot AI",
                "error": _broken_off(),
                "choices": [choice],
            }
        )

    @override
    def error_document(self) -> bytes:
        return encode({"error": _broken_off(), "user_id": "user_sandbox"})

    @override
    def document(self, path: str) -> bytes | None:
        account = self.account
        match path.removeprefix(self.base_path):
            case "/key":
                left = None
                if account.limit is not None:
                    left = float(Decimal(account.limit) - Decimal(account.usage))
                used = float(account.usage)
                spent = dict.fromkeys(
                    ("usage", "usage_daily", "usage_weekly", "usage_monthly"), used
                )
                return encode(
                    {
                        "data": {
                            "label": "sk-or-v1-san...box",
                            "limit": None if account.limit is None else float(account.limit),
                            "limit_remaining": left,
                            "limit_reset": None,
                            "include_byok_in_limit": False,
                            **spent,
                            "is_free_tier": False,
                            "is_management_key": False,
                            "is_provisioning_key": False,
                            "rate_limit": {"requests": -1, "interval": "10s", "note": "deprecated"},
                        }
                    }
                )
            case "/credits":
                told = {
                    "total_credits": float(account.credits),
                    "total_usage": float(account.usage),
                }
                return encode({"data": told})
            case "/endpoints/zdr":
                rows = [policy_row(m, h) for m in MODELS.values() for h in m.hosts if h.zdr]
                return encode({"data": rows})
        return None

    @override
    def open_document(self, path: str) -> bytes | None:
        inner = path.removeprefix(self.base_path)
        if inner == "/models":
            rows = [model_row(model) for model in MODELS.values()]
            return encode({"data": rows, "total_count": len(rows), "links": {"next": None}})
        name = inner.removeprefix("/models/").removesuffix("/endpoints")
        model = MODELS.get(name)
        if model is None or inner != f"/models/{name}/endpoints":
            return None
        rows = [policy_row(model, host) for host in model.hosts]
        return encode({"data": {"id": model.id, "name": model.id, "endpoints": rows}})

    @override
    def head(self, stamp: Stamp) -> tuple[tuple[str, str], ...]:
        return (("X-Generation-Id", _identity(stamp)),)

    def _envelope(self, request: ChatRequest, stamp: Stamp, kind: str) -> dict[str, Any]:
        return {
            "id": _identity(stamp),
            "provider": _chosen(request).name,
            "model": _slug(request),
            "object": kind,
            "created": stamp.created,
        }

    def _usage(self, request: ChatRequest, answer: Answer) -> dict[str, Any]:
        host = _chosen(request)
        fresh = answer.prompt_tokens - answer.cached_tokens
        prompt = fresh * Decimal(host.prompt) + answer.cached_tokens * Decimal(host.cached)
        written = answer.completion_tokens * Decimal(host.completion)
        reasoned = {"reasoning_tokens": len(answer.reasoning), "audio_tokens": 0}
        return {
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "total_tokens": answer.prompt_tokens + answer.completion_tokens,
            "cost": float((prompt + written) / 1_000_000),
            "is_byok": False,
            "prompt_tokens_details": {
                "cached_tokens": answer.cached_tokens,
                "cache_write_tokens": 0,
                "audio_tokens": 0,
                "video_tokens": 0,
            },
            "cost_details": {
                "upstream_inference_cost": None,
                "upstream_inference_prompt_cost": float(prompt / 1_000_000),
                "upstream_inference_completions_cost": float(written / 1_000_000),
            },
            "completion_tokens_details": reasoned,
        }


def _slug(request: ChatRequest) -> str:
    """The model asked for, without a suffix that only orders hosts."""
    return (request.model or next(iter(request.models or ()), "")).partition(":")[0]


def _effort(request: ChatRequest) -> str | None:
    return (request.reasoning or {}).get("effort") or request.reasoning_effort


def _shows_reasoning(request: ChatRequest) -> bool:
    return request.include_reasoning is not False and not (request.reasoning or {}).get("exclude")


def _chosen(request: ChatRequest) -> Host:
    hosts, _ = hosts_for(MODELS[_slug(request)], request.provider or {})
    return hosts[0]


def _identity(stamp: Stamp) -> str:
    return f"gen-{stamp.created}-{stamp.hex_id[12:]}"


def _detail(text: str) -> dict[str, Any]:
    return {"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}


def _finished(reason: str | None) -> dict[str, Any]:
    """A finish reason in OpenRouter's words, and in the host's."""
    known = {None, "stop", "length", "tool_calls", "content_filter", "error"}
    return {
        "finish_reason": reason if reason in known else "stop",
        "native_finish_reason": reason,
    }


def _broken_off() -> dict[str, Any]:
    metadata = {"error_type": "provider_unavailable", "provider_code": "server_error"}
    return {"code": 502, "message": _FAILED, "metadata": metadata}


def _no_model(name: str) -> Refusal:
    """A name that is none is 400, a model that is gone 404."""
    if name:
        status, code, kind = 400, "model_not_found", "invalid_request"
        text = f"{name} is not a valid model ID"
    else:
        status, code, kind = 404, "model_deprecated", "not_found"
        text = "No endpoints found for moonshotai/kimi-k2:free."
    availability = {"code": code, "retryable": False, "requested_models": [name]}
    return _refusal(status, text, {"error_type": kind}, availability=availability)


def _nobody(request: ChatRequest, excluded: Sequence[str]) -> Refusal:
    """No host is left: which of the request's wishes left it out."""
    private = any(reason.startswith("data_policy") for reason in excluded)
    availability = {
        "code": "privacy_restricted" if private else "constraint_filtered",
        "retryable": False,
        "requested_models": [_slug(request)],
        "excluded_by": list(excluded),
        "docs_url": "https://openrouter.ai/docs",
    }
    text = "No endpoints found matching your data policy" if private else "No allowed providers"
    return _refusal(404, text, {"error_type": "not_found"}, availability=availability)


def _refusal(
    status: int,
    message: str,
    metadata: dict[str, Any],
    *,
    headers: tuple[tuple[str, str], ...] = (),
    availability: dict[str, Any] | None = None,
) -> Refusal:
    error: dict[str, Any] = {"code": status, "message": message, "metadata": metadata}
    if availability is not None:  # its documentation's examples of these have another form
        error = {
            "message": message,
            "error_type": metadata["error_type"],
            "http_status": status,
            "availability": availability,
        }
    return Refusal(status, encode({"error": error, "user_id": "user_sandbox"}), headers=headers)
