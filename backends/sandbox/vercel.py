"""The wire of Vercel's AI Gateway, by its OpenAI-compatible API.

Replies follow recordings of 2026-03-12 (charmbracelet/fantasy at f6d4d1e, none of them of a Kimi model):
ids `gen_…`, reasoning in two forms, the usage, with its cost, on the chunk that ends the choice, beside an
account of how the request was routed. Errors follow @ai-sdk/gateway of 2026-08-22 and reports of the same
year; both read 2026-11-22. Its hosts, with policies and prices, are those of OpenRouter's stand-in.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

from msgspec.structs import replace
from typing_extensions import override

from backends.sandbox.answer import Answer, ChatRequest
from backends.sandbox.dialect import Failure, Frame, Refusal, Stamp, encode, tool_deltas
from backends.sandbox.openrouter import Account, OpenRouter
from backends.sandbox.openrouter_hosts import MODELS, Host, hosts_for

# failure -> status, type, message
_ERRORS: Mapping[Failure, tuple[int, str, str]] = {
    Failure.BAD_REQUEST: (400, "invalid_request_error", "the request is not valid"),
    Failure.CONTEXT_LENGTH: (400, "AI_APICallError", "context_length_exceeded"),
    Failure.CONTENT_FILTER: (400, "AI_APICallError", "content_filter"),
    Failure.MODERATION: (400, "AI_APICallError", "content_filter"),
    Failure.MISSING_KEY: (401, "authentication_error", "Missing authentication"),
    Failure.WRONG_KEY: (401, "authentication_error", "Invalid API key"),
    Failure.FORBIDDEN: (403, "forbidden", "A routing rule denies this model"),
    Failure.UNKNOWN_MODEL: (404, "model_not_found", "Model not found"),
    Failure.UNKNOWN_PATH: (404, "not_found", "Not found"),
    Failure.WRONG_METHOD: (405, "invalid_request_error", "Method not allowed"),
    Failure.RATE: (429, "rate_limit_exceeded", "Rate limit exceeded"),
    Failure.OVERLOADED: (429, "AI_APICallError", "The engine is currently overloaded"),
    Failure.QUOTA: (402, "insufficient_funds", "Insufficient funds"),
    Failure.PAYMENT: (402, "insufficient_funds", "Insufficient funds"),
    Failure.FORBIDDEN_QUOTA: (403, "customer_verification_required", "Add a valid credit card"),
    Failure.SERVER: (500, "internal_server_error", "Internal server error"),
    Failure.UNAVAILABLE: (503, "internal_server_error", "Service unavailable"),
}
# What a host said, in its own words: its error's code, as `param` shows it.
_HOST_CODES = {
    Failure.CONTEXT_LENGTH: "context_length_exceeded",
    Failure.CONTENT_FILTER: "content_filter",
    Failure.MODERATION: "content_filter",
}
_WISHES = {"only": "only", "order": "order"}


class Vercel(OpenRouter):
    """Speaks as ai-gateway.vercel.sh does.

    Args:
        account: what its `/credits` tells.
    """

    title = "Vercel AI Gateway"
    base_path = "/v1"
    chat_paths: ClassVar[frozenset[str]] = frozenset({"/v1/chat/completions"})
    comment = b""

    def __init__(self, account: Account | None = None) -> None:
        super().__init__(account)

    @override
    def refusal(self, failure: Failure, detail: str = "") -> Refusal:
        status, kind, message = _ERRORS[failure]
        error: dict[str, Any] = {"message": detail or message, "type": kind}
        if failure is Failure.UNKNOWN_MODEL:
            error = {**error, "message": message, "param": {"modelId": detail}}
        if failure in _HOST_CODES:
            error["code"] = _HOST_CODES[failure]
        return Refusal(status, encode({"error": error, "generationId": "gen_sandbox"}))

    @override
    def check(self, request: ChatRequest, prompt_tokens: int) -> Refusal | None:
        wished = _wished(request)
        model = MODELS.get(wished.model or "")
        if model is not None and not hosts_for(model, wished.provider or {})[0]:
            error = {
                "message": "No providers available for this model meet the request's conditions",
                "type": "no_providers_available",
            }
            return Refusal(403, encode({"error": error, "generationId": "gen_sandbox"}))
        return super().check(wished, prompt_tokens)

    @override
    def whole(self, request: ChatRequest, answer: Answer, stamp: Stamp) -> bytes:
        reasoning = "".join(answer.reasoning) if _shows_reasoning(request) else ""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.content) or None}
        if reasoning:
            message |= _thought(reasoning)
        if answer.tool is not None:
            function = {"name": answer.tool.name, "arguments": answer.tool.arguments}
            message["tool_calls"] = [
                {"id": answer.tool.id, "type": "function", "function": function}
            ]
        message["provider_metadata"] = self._metadata(request, answer)
        choice = {"index": 0, "message": message, "logprobs": None}
        choice["finish_reason"] = answer.finish_reason
        reply = _envelope(request, stamp, "chat.completion") | {"choices": [choice]}
        if answer.shows_usage:
            reply["usage"] = self._bill(request, answer)
        return encode(reply)

    @override
    def frames(self, request: ChatRequest, answer: Answer, stamp: Stamp) -> list[Frame]:
        envelope = _envelope(request, stamp, "chat.completion.chunk")

        def frame(
            delta: dict[str, Any],
            *,
            finish: str | None = None,
            piece: bool = True,
            **more: Any,
        ) -> Frame:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return Frame(encode({**envelope, "choices": [choice], **more}), piece)

        frames = [frame({"role": "assistant"}, piece=False)]
        if _shows_reasoning(request):
            frames += [frame(_thought(text)) for text in answer.reasoning]
        frames += [frame({"content": text}) for text in answer.content]
        frames += [frame(delta) for delta in tool_deltas(answer)]
        if answer.finish_reason == "error":
            frames.append(Frame(self.error_event()))
            return frames
        bill: dict[str, Any] = {}
        if answer.shows_usage and request.include_usage:
            bill["usage"] = self._bill(request, answer)
        told = {"provider_metadata": self._metadata(request, answer)}
        frames.append(frame(told, finish=answer.finish_reason, piece=False, **bill))
        return frames

    @override
    def error_event(self) -> bytes:
        error = {"message": "Provider returned error", "type": "internal_server_error"}
        return encode({"error": error})

    @override
    def error_document(self) -> bytes:
        return self.error_event()

    @override
    def document(self, path: str) -> bytes | None:
        if path != f"{self.base_path}/credits":
            return None
        left = Decimal(self.account.credits) - Decimal(self.account.usage)
        return encode({"balance": str(left), "total_used": self.account.usage})

    @override
    def open_document(self, path: str) -> bytes | None:
        if path != f"{self.base_path}/models":
            return None
        rows = [{"id": name, "object": "model", "owned_by": "moonshotai"} for name in MODELS]
        return encode({"object": "list", "data": rows})

    @override
    def head(self, stamp: Stamp) -> tuple[tuple[str, str], ...]:
        del stamp
        return ()

    def _bill(self, request: ChatRequest, answer: Answer) -> dict[str, Any]:
        usage = self._usage(_wished(request), answer)
        details = {
            name: count
            for name, count in usage["prompt_tokens_details"].items()
            if name != "cache_write_tokens"
        }
        return usage | {
            "prompt_tokens_details": details,
            "cache_creation_input_tokens": 0,
            "market_cost": usage["cost"],
        }

    def _metadata(self, request: ChatRequest, answer: Answer) -> dict[str, Any]:
        host = _chosen(request)
        cost = self._usage(_wished(request), answer)["cost"]
        return {
            "gateway": {
                "routing": {"finalProvider": host.slug, "attempts": []},
                "cost": str(cost),
                "marketCost": str(cost),
            }
        }


def _wished(request: ChatRequest) -> ChatRequest:
    """The same with its wishes as OpenRouter has them."""
    asked = (request.providerOptions or {}).get("gateway") or {}
    wishes: dict[str, Any] = {ours: asked[name] for name, ours in _WISHES.items() if name in asked}
    if asked.get("zeroDataRetention") is True:
        wishes["zdr"] = True
    if asked.get("disallowPromptTraining") is True:
        wishes["data_collection"] = "deny"
    return replace(request, provider=wishes)


def _chosen(request: ChatRequest) -> Host:
    wished = _wished(request)
    hosts, _ = hosts_for(MODELS[wished.model or ""], wished.provider or {})
    return hosts[0]


def _shows_reasoning(request: ChatRequest) -> bool:
    return not (request.reasoning or {}).get("exclude")


def _thought(text: str) -> dict[str, Any]:
    detail = {"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}
    return {"reasoning": text, "reasoning_details": [detail]}


def _envelope(request: ChatRequest, stamp: Stamp, kind: str) -> dict[str, Any]:
    identity = f"gen_{stamp.hex_id[:26].upper()}"
    return {
        "id": identity,
        "object": kind,
        "created": stamp.created,
        "model": request.model,
        "system_fingerprint": "fp_sandbox",
        "generationId": identity,
    }
