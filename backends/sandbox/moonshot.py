"""Moonshot's wire, international endpoint.

Field order, stream shape, model list and the texts marked "recorded" are those of the live service
as published recordings of 2026-09-03 show them; the rest of the error table follows the vendor's
documentation of that day. `kimi-k3.1-pro` was added 2026-10-23. Texts marked "ours" are not known.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from msgspec import Struct
from typing_extensions import override

from backends.sandbox.answer import Answer, ChatRequest
from backends.sandbox.dialect import Dialect, Failure, Frame, Refusal, Stamp, encode
from backends.sandbox.dialect import tool_deltas as tool_call_deltas
from backends.sandbox.moonshot_search import search_objection, searches
from backends.sandbox.tokens import count_prompt_tokens

_INVALID = "invalid_request_error"
_ACCOUNT = "Your account org-5a4d6b0c<ak-sandbox>"
_FINGERPRINT = "fpv0_680ea77f"

_SUSPENDED = (
    f"{_ACCOUNT} is suspended due to insufficient balance, "
    "please recharge your account or check your plan and billing details"
)

_HIGH_RISK = "The request was rejected because it was considered high risk"
_TOO_LONG = (  # recorded
    "Invalid request: Your request exceeded model token limit: {context} (requested: {tokens})"
)

# failure -> status, type, message. An overload is answered with Retry-After [documented].
_ERRORS: Mapping[Failure, tuple[int, str, str]] = {
    Failure.BAD_REQUEST: (400, _INVALID, "invalid temperature: only 1 is allowed for this model"),
    Failure.CONTEXT_LENGTH: (400, _INVALID, _TOO_LONG.format(context=262_144, tokens=269_030)),
    Failure.MODERATION: (403, "content_filter", _HIGH_RISK),
    Failure.CONTENT_FILTER: (
        400,
        "content_filter",
        _HIGH_RISK,
    ),
    Failure.MISSING_KEY: (401, "incorrect_api_key_error", "Incorrect API key provided"),
    Failure.WRONG_KEY: (401, "invalid_authentication_error", "Invalid Authentication"),
    Failure.FORBIDDEN: (
        403,
        "permission_denied_error",
        "The API you are accessing is not open",
    ),
    Failure.UNKNOWN_PATH: (404, "resource_not_found_error", "The path was not found"),  # ours
    Failure.WRONG_METHOD: (405, _INVALID, "Method Not Allowed"),  # ours
    Failure.RATE: (
        429,
        "rate_limit_reached_error",
        f"{_ACCOUNT} request reached organization max RPM: 3, please try again after 1 seconds",
    ),
    Failure.OVERLOADED: (
        429,
        "engine_overloaded_error",
        "The engine is currently overloaded, please try again later",
    ),
    Failure.QUOTA: (
        429,
        "exceeded_current_quota_error",
        _SUSPENDED,
    ),
    Failure.PAYMENT: (402, "exceeded_current_quota_error", _SUSPENDED),
    # one help page of the vendor has 403 for a low balance, its error reference has 429
    Failure.FORBIDDEN_QUOTA: (403, "exceeded_current_quota_error", _SUSPENDED),
    Failure.SERVER: (500, "server_error", "Internal server error"),  # text ours
    Failure.UNAVAILABLE: (503, "server_unavailable", "The service is unavailable"),  # text ours
}


class Model(Struct, frozen=True, kw_only=True):
    """What the sandbox knows of one of Moonshot's models."""

    id: str
    context: int
    efforts: bool = False  # the K3 family: effort levels, dynamic tools, tool_choice required
    toggle: bool = False  # thinking can be switched off
    wants_reasoning: bool = False  # that of past tool calls must come back while it thinks
    retired: bool = False  # switched off; served only by a stand-in that is told to


_MILLION, _QUARTER = 1_048_576, 262_144
MODELS: Mapping[str, Model] = {
    model.id: model
    for model in (
        Model(id="kimi-k3.1-pro", context=_MILLION, efforts=True, toggle=True),
        Model(id="kimi-k3.1-pro-highspeed", context=_MILLION, efforts=True, toggle=True),
        Model(id="kimi-k3", context=_MILLION, efforts=True, toggle=True),
        Model(id="kimi-k2.7-code", context=_QUARTER),
        Model(id="kimi-k2.7-code-highspeed", context=_QUARTER),
        Model(id="kimi-k2.6", context=_QUARTER, toggle=True, wants_reasoning=True),
        # off since 2026-08-31 and 2026-05-25
        Model(id="kimi-k2.5", context=_QUARTER, toggle=True, wants_reasoning=True, retired=True),
        Model(id="kimi-k2-thinking", context=_QUARTER, wants_reasoning=True, retired=True),
    )
}


class Moonshot(Dialect):
    """Speaks as api.moonshot.ai does.

    Args:
        balance: US dollars that the account shows; at or below 0 inference is refused.
        retired: whether models that Moonshot has switched off are served all the same.
    """

    title = "Moonshot AI"
    base_path = "/v1"
    chat_paths: ClassVar[frozenset[str]] = frozenset({"/v1/chat/completions"})
    content_type = "application/json; charset=utf-8"

    def __init__(self, balance: float = 49.58894, *, retired: bool = False) -> None:
        self.balance = balance
        self._models = {
            name: model for name, model in MODELS.items() if retired or not model.retired
        }

    @override
    def refusal(self, failure: Failure, detail: str = "") -> Refusal:
        if failure is Failure.UNKNOWN_MODEL:
            text = f"Not found the model {detail or 'kimi-nonexistent'} or Permission denied"
            return self._error(404, "resource_not_found_error", text)
        status, kind, message = _ERRORS[failure]
        headers = (("Retry-After", "1"),) if failure is Failure.OVERLOADED else ()
        return self._error(status, kind, detail or message, headers)

    def _error(
        self, status: int, kind: str, message: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> Refusal:
        body = encode({"error": {"message": message, "type": kind}})
        return Refusal(status, body, self.content_type, headers)

    @override
    def check(self, request: ChatRequest, prompt_tokens: int) -> Refusal | None:
        if self.balance <= 0:
            return self.refusal(Failure.QUOTA)
        model = self._models.get(request.model or "")
        if model is None:
            return self.refusal(Failure.UNKNOWN_MODEL, request.model or "")
        objection = (
            _fixed_parameters(request, model)
            or _messages(request)
            or _reasoning(request, model, thinks=self.thinks(request))
            or _tools(request, model, thinks=self.thinks(request))
            or search_objection(request, thinks=self.thinks(request) and not model.efforts)
            or _format(request)
        )
        if objection is None and prompt_tokens > model.context:
            objection = _TOO_LONG.format(context=model.context, tokens=prompt_tokens)
        return self.refusal(Failure.BAD_REQUEST, objection) if objection else None

    @override
    def found_tokens(self, request: ChatRequest) -> int:
        return sum(found for _, found in searches(request))

    @override
    def thinks(self, request: ChatRequest) -> bool:
        model = MODELS.get(request.model or "")
        return not (request.thinking_off and model is not None and model.toggle)

    @override
    def tool_id(self, request: ChatRequest, name: str, place: int) -> str:
        model = MODELS.get(request.model or "")
        if model is not None and model.efforts:
            return f"{name}_{place}"
        return super().tool_id(request, name, place)

    @override
    def whole(self, request: ChatRequest, answer: Answer, stamp: Stamp) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.content)}
        if answer.reasoning or request.model == "kimi-k2.6":  # K2.6 sends it empty
            message["reasoning_content"] = "".join(answer.reasoning)
        if answer.tool is not None:
            function = {"name": answer.tool.name, "arguments": answer.tool.arguments}
            call = {
                "index": 0,
                "id": answer.tool.id,
                "type": answer.tool.type,
                "function": function,
            }
            message["tool_calls"] = [call]
        choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
        reply = self._envelope(request, stamp, "chat.completion") | {"choices": [choice]}
        if answer.shows_usage:
            reply["usage"] = _usage(answer)
        return encode(reply)

    @override
    def frames(self, request: ChatRequest, answer: Answer, stamp: Stamp) -> list[Frame]:
        envelope = self._envelope(request, stamp, "chat.completion.chunk")

        def frame(
            delta: dict[str, Any], *, piece: bool = False, end: dict[str, Any] | None = None
        ) -> Frame:
            choice = {"index": 0, "delta": delta, **(end or {"finish_reason": None})}
            chunk = {**envelope, "choices": [choice], "system_fingerprint": _FINGERPRINT}
            return Frame(encode(chunk), piece)

        frames = [frame({"role": "assistant", "content": ""})]
        frames += [frame({"reasoning_content": text}, piece=True) for text in answer.reasoning]
        if answer.reasoning and (answer.content or answer.tool):
            frames.append(frame({"reasoning_content": ""}))  # marks the end of thinking
        frames += [frame({"content": text}, piece=True) for text in answer.content]
        frames += [frame(delta, piece=True) for delta in tool_call_deltas(answer)]
        end: dict[str, Any] = {"finish_reason": answer.finish_reason}
        if answer.shows_usage:
            end["usage"] = _usage(answer)
        frames.append(frame({}, end=end))
        if answer.shows_usage and request.include_usage:
            frames.append(Frame(encode({**envelope, "choices": [], "usage": _usage(answer)})))
        return frames

    @override
    def error_event(self) -> bytes:
        # no recording shows Moonshot's own form: this is the one its clients look for
        return self.refusal(Failure.SERVER).body

    @override
    def document(self, path: str) -> bytes | None:
        if path == "/v1/models":
            return encode(
                {"object": "list", "data": [_row(model) for model in self._models.values()]}
            )
        if path == "/v1/users/me/balance":
            voucher = min(self.balance, 46.58893)
            data = {
                "available_balance": self.balance,
                "voucher_balance": voucher,
                "cash_balance": round(self.balance - voucher, 5),
            }
            return encode({"code": 0, "data": data, "scode": "0x0", "status": True})
        return None

    @override
    def post(self, path: str, messages: Sequence[Mapping[str, Any]]) -> bytes | None:
        if path == "/v1/tokenizers/estimate-token-count":
            return encode({"data": {"total_tokens": count_prompt_tokens(messages)}})
        return None

    @override
    def head(self, stamp: Stamp) -> tuple[tuple[str, str], ...]:
        h = stamp.hex_id
        uuid = f"{h[:8]}-{h[8:12]}-11f1-8{h[17:20]}-{h[20:]}"
        return (("Server", "nginx"), ("Msh-Request-Id", uuid))

    @staticmethod
    def _envelope(request: ChatRequest, stamp: Stamp, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{stamp.hex_id[8:]}",
            "object": kind,
            "created": stamp.created,
            "model": request.model,
        }


def _usage(answer: Answer) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }
    if answer.cached_tokens:
        usage["cached_tokens"] = answer.cached_tokens
    if answer.reasoning:
        usage["completion_tokens_details"] = {"reasoning_tokens": len(answer.reasoning)}
    if answer.cached_tokens:
        usage["prompt_tokens_details"] = {"cached_tokens": answer.cached_tokens}
    return usage


def _row(model: Model) -> dict[str, Any]:
    permission = {
        "created": 0,
        "id": "",
        "object": "",
        "organization": "moonshot",
        "group": "moonshot",
        "is_blocking": False,
    }
    row: dict[str, Any] = {
        "created": 1788143653,
        "id": model.id,
        "object": "model",
        "owned_by": "moonshot",
        "permission": [permission],
        "root": "",
        "parent": "",
        "supports_image_in": True,
        "supports_video_in": True,
        "supports_reasoning": True,
    }
    if model.efforts:
        levels = {"support": True, "valid_efforts": ["low", "high", "max"], "default_effort": "max"}
        row |= {
            "supports_dynamic_tools": True,
            "think_efforts": levels,
            "reasoning_efforts": levels,
            "supports_thinking_type": "only",
        }
    return row | {"context_length": model.context}


def _fixed_parameters(request: ChatRequest, model: Model) -> str | None:
    """Sampling parameters are fixed on all current models [documented; temperature recorded]."""
    cool = model.id == "kimi-k2.6" and request.thinking_off
    fixed = (
        ("temperature", request.temperature, 0.6 if cool else 1),
        ("top_p", request.top_p, 0.95),
        ("n", request.n, 1),
        ("presence_penalty", request.presence_penalty, 0),
        ("frequency_penalty", request.frequency_penalty, 0),
    )
    for name, value, only in fixed:
        if value is not None and value != only:
            return f"invalid {name}: only {only} is allowed for this model"
    return None


def _messages(request: ChatRequest) -> str | None:
    if not request.messages:
        return "messages must not be empty"  # ours
    for place, message in enumerate(request.messages):
        if not (message.get("content") or message.get("tool_calls") or message.get("tools")):
            return f"message at position {place} must not be empty"  # ours
    if request.cap is not None and request.cap < 1:
        return "max_tokens must be at least 1"  # ours
    return None


def _reasoning(request: ChatRequest, model: Model, *, thinks: bool) -> str | None:
    """Reasoning belongs to the tool calls that it led to.

    Vendor's documentation of Kimi Code, stored copy of 2026-09-03, and reports on K2 Thinking, K2.5
    and K2.6; K3 took a history without it (recorded 2026-09-03).
    """
    if not (thinks and model.wants_reasoning):
        return None
    for place, message in enumerate(request.messages or ()):
        if message.get("tool_calls") and not message.get("reasoning_content"):
            return (
                "thinking is enabled but reasoning_content is missing in assistant tool call"
                f" message at index {place}"
            )
    return None


def _tools(request: ChatRequest, model: Model, *, thinks: bool) -> str | None:
    choice = request.tool_choice
    if isinstance(choice, str) and choice not in {"auto", "none", "required"}:
        return f"invalid tool_choice: {choice}"  # ours
    if choice == "required" and not request.tools:
        return "tool_choice 'required' needs tools"  # ours
    if thinks and choice == "required" and not model.efforts:
        return "tool_choice 'required' is incompatible with thinking enabled"  # recorded
    if thinks and isinstance(choice, dict):
        return "tool_choice 'specified' is incompatible with thinking enabled"  # recorded
    return None


def _format(request: ChatRequest) -> str | None:
    asked = request.response_format or {}
    if asked.get("type") == "json_object" and (request.messages or [{}])[-1].get("partial"):
        return "partial is incompatible with response_format json_object"  # ours
    if asked.get("type", "text") not in {"text", "json_object", "json_schema"}:
        return f"invalid response_format type: {asked['type']}"  # ours
    strict = (asked.get("json_schema") or {}).get("strict", True)
    return None if isinstance(strict, bool) else "invalid strict: must be a boolean"  # ours
