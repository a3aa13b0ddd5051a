"""The wire of a vLLM 0.32 server, as measured on the real one in 2026-11."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

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
from backends.sandbox.tokens import prompt_text

_BAD = "BadRequestError"
_BUSY = (
    "The engine is currently busy and cannot accept new requests. "
    "Please try again later or on a different instance."
)
_DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."
_TOO_LONG = (
    "This model's maximum context length is {context} tokens. However, your "
    "prompt contains at least {tokens} input tokens, which exceeds this limit "
    "even without any output tokens. Please reduce the length of the input prompt. "
    "(parameter=input_tokens, value={tokens})"
)
_LONGEST_SALT = 1024
_FINGERPRINT = "vllm-0.32.0-edee2ed3"

# vLLM itself has no rate, money or content refusals: those stand for a proxy in front of it
_ERRORS: Mapping[Failure, tuple[int, str, str]] = {
    Failure.BAD_REQUEST: (400, _BAD, "the request is not valid"),
    Failure.CONTEXT_LENGTH: (400, _BAD, _TOO_LONG.format(context=262_144, tokens=269_030)),
    Failure.CONTENT_FILTER: (400, _BAD, "the request was refused"),
    Failure.MODERATION: (403, "PermissionDeniedError", "the request was flagged"),
    Failure.FORBIDDEN: (403, "PermissionDeniedError", "Scale-out endpoints are disabled."),
    Failure.RATE: (429, "RateLimitError", "Too many requests"),
    Failure.OVERLOADED: (503, "Service Unavailable", _BUSY),  # a full queue, without Retry-After
    Failure.QUOTA: (429, "RateLimitError", "Quota exceeded"),
    Failure.PAYMENT: (402, "PaymentRequiredError", "Quota exceeded"),
    Failure.FORBIDDEN_QUOTA: (403, "PermissionDeniedError", "Quota exceeded"),
    Failure.SERVER: (500, "InternalServerError", _DEAD),
    Failure.UNAVAILABLE: (503, "Service Unavailable", _BUSY),
}


class Vllm(Dialect):
    """Speaks as `vllm serve` does.

    Args:
        models: the names served; replies carry the first, whichever was asked for.
        context: tokens that prompt and answer may have together.
        cache_details: as with --enable-prompt-tokens-details, off by default.
    """

    title = "vLLM"
    base_path = "/v1"
    chat_paths: ClassVar[frozenset[str]] = frozenset({"/v1/chat/completions"})
    stream_type = "text/event-stream; charset=utf-8"
    key_needed = False
    done_after_error = True

    def __init__(
        self,
        models: Sequence[str] = ("tiny-kimi",),
        context: int = 262_144,
        *,
        cache_details: bool = False,
    ) -> None:
        self.models = tuple(models)
        self.context = context
        self.cache_details = cache_details

    @override
    def refusal(self, failure: Failure, detail: str = "") -> Refusal:
        if failure in {Failure.MISSING_KEY, Failure.WRONG_KEY}:
            return Refusal(401, encode({"error": "Unauthorized"}))
        if failure is Failure.UNKNOWN_PATH:
            return Refusal(404, encode({"detail": "Not Found"}))
        if failure is Failure.WRONG_METHOD:
            return Refusal(405, encode({"detail": "Method Not Allowed"}))
        if failure is Failure.UNKNOWN_MODEL:
            text = (
                f"The model `{detail or 'nope'}` does not exist. "
                f"Valid aliases: {', '.join(self.models)}."
            )
            return _error(404, "NotFoundError", text, "model")
        status, kind, message = _ERRORS[failure]
        param = "input_tokens" if failure is Failure.CONTEXT_LENGTH else None
        return _error(status, kind, detail or message, param)

    @override
    def check(self, request: ChatRequest, prompt_tokens: int) -> Refusal | None:
        if request.model is not None and request.model not in self.models:
            return self.refusal(Failure.UNKNOWN_MODEL, request.model)
        if request.messages is None:
            text = "1 validation error:\n  {'type': 'missing', 'loc': ('body', 'messages')}"
            return _error(400, "Bad Request", text, "body.messages")
        salt = request.cache_salt
        if salt is not None and not (isinstance(salt, str) and 1 <= len(salt) <= _LONGEST_SALT):
            text = "Parameter 'cache_salt' must be a non-empty string if provided."
            return _error(400, _BAD, text, "cache_salt")
        cap = request.cap
        if request.n not in {None, 1}:
            return self.refusal(Failure.BAD_REQUEST, "this sandbox answers with one choice")
        if cap is not None and cap < 1:
            text = f"max_tokens must be at least 1, got {cap}. (parameter=max_tokens, value={cap})"
            return _error(400, _BAD, text, "max_tokens")
        if cap is not None and cap > self.context:
            text = (
                f"max_tokens={cap} cannot be greater than max_model_len={self.context}. "
                "Please request fewer output tokens."
            )
            return _error(400, _BAD, text, "max_tokens")
        if prompt_tokens >= self.context:
            text = _TOO_LONG.format(context=self.context, tokens=prompt_tokens)
            return _error(400, _BAD, text, "input_tokens")
        return None

    @override
    def thinks(self, request: ChatRequest) -> bool:
        return (request.chat_template_kwargs or {}).get("thinking") is not False

    @override
    def leaks(self, request: ChatRequest) -> bool:
        return k2_leaks(request)

    @override
    def whole(self, request: ChatRequest, answer: Answer, stamp: Stamp) -> bytes:
        content: str | None = "".join(answer.content)
        if answer.tool is not None and request.tool_choice != "required":
            content = None
        message: dict[str, Any] = {
            "role": "assistant",
            "content": content,
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
        }
        if answer.tool is not None:
            function = {"name": answer.tool.name, "arguments": answer.tool.arguments}
            call = {"id": answer.tool.id, "type": "function", "function": function}
            message["tool_calls"] = [call]
        message["reasoning"] = "".join(answer.reasoning) or None
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": _finish(answer),
            "stop_reason": None,
            "token_ids": None,
            "routed_experts": None,
        }
        reply = self._envelope(stamp, "chat.completion")
        reply |= {"choices": [choice], "service_tier": None, "system_fingerprint": _FINGERPRINT}
        if answer.shows_usage:
            reply["usage"] = self._usage(answer, stream=False)
        nothing = ("prompt_logprobs", "prompt_token_ids", "prompt_text", "kv_transfer_params")
        return encode(reply | dict.fromkeys((*nothing, "ec_transfer_params", "metrics")))

    @override
    def frames(self, request: ChatRequest, answer: Answer, stamp: Stamp) -> list[Frame]:
        envelope = self._envelope(stamp, "chat.completion.chunk")
        role = {"role": "assistant", "content": ""}
        opening = {"index": 0, "delta": role, "logprobs": None, "finish_reason": None}
        nothing = {"prompt_token_ids": None, "prompt_text": None}
        frames = [Frame(encode({**envelope, "choices": [opening], **nothing}))]
        deltas: list[dict[str, Any]] = [{"reasoning": text} for text in answer.reasoning]
        deltas += [{"content": text} for text in answer.content]
        deltas += tool_deltas(answer, first_with_arguments=True)
        # at the length limit the finish reason stands beside the last piece, not in one more chunk
        merged = bool(deltas) and answer.finish_reason == "length"
        if not merged:
            deltas.append({})
        for delta in deltas:
            choice: dict[str, Any] = {"index": 0, "delta": delta, "logprobs": None}
            choice["finish_reason"] = None
            if delta is deltas[-1]:
                choice |= {"finish_reason": _finish(answer), "stop_reason": None}
            choice["token_ids"] = None
            frames.append(Frame(encode({**envelope, "choices": [choice]}), bool(delta)))
        if answer.shows_usage and request.include_usage:
            bill = {"usage": self._usage(answer, stream=True), "system_fingerprint": _FINGERPRINT}
            frames.append(Frame(encode({**envelope, "choices": [], **bill})))
        return frames

    @override
    def error_event(self) -> bytes:
        # spaces as Python's json writes them: this event is not made by the code of the others
        return (
            b'{"error": {"message": "' + _DEAD.encode() + b'", "type": "InternalServerError", '
            b'"param": null, "code": 500}}'
        )

    @override
    def document(self, path: str) -> bytes | None:
        if path != "/v1/models":
            return None
        return encode({"object": "list", "data": [self._row(name) for name in self.models]})

    @override
    def open_document(self, path: str) -> bytes | None:
        if path in {"/health", "/ping"}:
            return b""
        return encode({"version": "0.32.0"}) if path == "/version" else None

    @override
    def post(self, path: str, messages: Sequence[Mapping[str, Any]]) -> bytes | None:
        if path != "/tokenize":
            return None
        count = max(1, -(-len(prompt_text(messages)) // 4))
        tokens = list(range(count))
        body = {"count": count, "max_model_len": self.context, "tokens": tokens}
        return encode({**body, "token_strs": None})

    def _envelope(self, stamp: Stamp, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{stamp.request_id or stamp.hex_id[16:]}",
            "object": kind,
            "created": stamp.created,
            "model": self.models[0],
        }

    def _usage(self, answer: Answer, *, stream: bool) -> dict[str, Any]:
        usage: dict[str, Any] = {
            "prompt_tokens": answer.prompt_tokens,
            "total_tokens": answer.prompt_tokens + answer.completion_tokens,
            "completion_tokens": answer.completion_tokens,
        }
        reasoning = {"reasoning_tokens": len(answer.reasoning)} if answer.reasoning else None
        details: dict[str, Any] = {"prompt_tokens_details": None}
        if self.cache_details:
            fresh = (answer.prompt_tokens - answer.cached_tokens) // 256 * 256
            details["prompt_tokens_details"] = {
                "cached_tokens": answer.cached_tokens,
                "created_cache_tokens": fresh,
                "multimodal_tokens": None,
            }
        details["completion_tokens_details"] = reasoning
        if stream:  # chunks leave out what is null
            details = {key: value for key, value in details.items() if value is not None}
        return usage | details

    def _row(self, name: str) -> dict[str, Any]:
        permission = {
            "id": "modelperm-90a8137c624dfce6",
            "object": "model_permission",
            "created": 1795324160,
            "allow_create_engine": False,
            "allow_sampling": True,
            "allow_logprobs": True,
            "allow_search_indices": False,
            "allow_view": True,
            "allow_fine_tuning": False,
            "organization": "*",
            "group": None,
            "is_blocking": False,
        }
        return {
            "id": name,
            "object": "model",
            "created": 1795324160,
            "owned_by": "vllm",
            "root": name,
            "parent": None,
            "max_model_len": self.context,
            "permission": [permission],
        }


def _finish(answer: Answer) -> str:
    # recorded 2026-11: an answer that a shutdown ends
    return "abort" if answer.finish_reason == "error" else answer.finish_reason


def _error(status: int, kind: str, message: str, param: str | None = None) -> Refusal:
    error = {"message": message, "type": kind, "param": param, "code": status}
    return Refusal(status, encode({"error": error}))
