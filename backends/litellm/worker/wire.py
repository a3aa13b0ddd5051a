"""litellm's answers as OpenAI's wire has them, and what of a request litellm must not see."""

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from .chunks import bound
from .failures import Failure

# The provider's own reasons for an end that are failures: litellm tells them as `stop`.
_FAILED = frozenset({"error", "abort"})
_REFERENCE = re.compile(r"\s*[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# What a message holds besides media: addresses are at home there.
_TEXTS = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal"}
    | {"reasoning", "reasoning_content", "reasoning_details"}
)


def encoded(document: Any) -> bytes:
    """JSON on one line, in UTF-8."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")  # half an emoji has no UTF-8


def refused_in(body: Mapping[str, Any]) -> str | None:
    """What of a request litellm must not see; None: nothing.

    For some hosts it downloads what a message refers to, from wherever the caller says: in parts of its
    content, or beside it (Gemini's `images`); and it acts on tools that are no functions.
    """
    for message in _list(body.get("messages")):
        if any(_REFERENCE.match(text) for text in _media_strings(message)):
            return "content by address is not fetched for this provider: send it as a data: URL"
    for tool in _list(body.get("tools")):
        if not isinstance(tool, Mapping) or tool.get("type") != "function":
            return "only tools of type function are sent to this provider"
    return None


def whole(found: Any) -> dict[str, Any]:
    """An answer in one piece.

    Raises:
        Failure: the provider says that it broke off.
    """
    for choice in found.choices:
        extra = getattr(choice, "provider_specific_fields", None)
        if isinstance(extra, Mapping):
            _check_reason(extra.get("native_finish_reason"))
    choices = [
        {
            "index": choice.index,
            "message": _message(choice.message),
            "finish_reason": choice.finish_reason,
        }
        for choice in found.choices
    ]
    document = {"id": found.id, "object": "chat.completion", "choices": choices}
    usage = usage_of(getattr(found, "usage", None))
    return document if usage is None else {**document, "usage": usage}


async def stream_of(found: Any) -> AsyncIterator[dict[str, Any]]:
    """The chunks of an answer under way.

    litellm ends a stream that the provider cut with a finish reason of its own making, and states usage
    where none came. Neither is told: such an end is a failure, and usage is only what a chunk had.

    Args:
        found: litellm's `CustomStreamWrapper`, or what an odd provider gives in its place.

    Raises:
        Failure: the provider ended it without a finish reason, or with that of a failure.
    """
    bound(found)
    usage = None
    async for chunk in found:
        usage = getattr(chunk, "usage", None) or usage
        choices = [said for choice in chunk.choices if (said := _choice(choice, found))]
        if choices:
            yield {"id": chunk.id, "object": "chat.completion.chunk", "choices": choices}
    _check_end(found)
    counted = usage_of(usage) if _is_counted(found) else None
    if counted is not None:
        yield {"object": "chat.completion.chunk", "choices": [], "usage": counted}


def usage_of(found: Any) -> dict[str, Any] | None:
    """What a provider counted, in OpenAI's members; None where it counted nothing.

    `prompt_tokens` includes what was read from and written to a cache, for Anthropic too (litellm's
    `calculate_usage` adds them up). What was written for an hour is told apart where it is known.
    """
    raw = {} if found is None else _plain(found)
    prompt, completion = raw.get("prompt_tokens") or 0, raw.get("completion_tokens") or 0
    if prompt <= 0:
        return None
    details = raw.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens") or raw.get("cache_read_input_tokens") or 0
    written = (
        details.get("cache_creation_tokens")
        or details.get("cache_write_tokens")
        or raw.get("cache_creation_input_tokens")
        or 0
    )
    terms = details.get("cache_creation_token_details") or {}
    hour = min(terms.get("ephemeral_1h_input_tokens") or 0, written)
    reasoning = (raw.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": cached,
            "cache_write_tokens": written - hour,
            "cache_write_1h_tokens": hour,
        },
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def _choice(choice: Any, found: Any) -> dict[str, Any] | None:
    """A choice of a chunk; None: there is nothing in it."""
    if choice.finish_reason is not None:
        _check_end(found)
    delta = _message(choice.delta)
    scores = _plain(getattr(choice, "logprobs", None))
    if not delta and not scores and choice.finish_reason is None:
        return None
    said = {"index": choice.index, "delta": delta, "finish_reason": choice.finish_reason}
    return {**said, "logprobs": scores} if scores else said


def _check_end(found: Any) -> None:
    """See that it was the provider that ended the answer.

    Raises:
        Failure: litellm did, or the provider says that it broke off.
    """
    if not hasattr(found, "received_finish_reason"):
        return
    reason = found.received_finish_reason or getattr(found, "intermittent_finish_reason", None)
    if not reason:
        why = "the provider ended its stream without a finish reason"
        raise Failure(502, "APIResponseValidationError", why, begun=True)
    _check_reason(reason)


def _check_reason(reason: Any) -> None:
    """See that a finish reason is none of a failure.

    Raises:
        Failure: it is.
    """
    if isinstance(reason, str) and reason in _FAILED:
        raise Failure(500, "APIError", "the provider broke its answer off", begun=True)


def _is_counted(found: Any) -> bool:
    """Whether a chunk of the provider's had usage."""
    chunks = getattr(found, "chunks", None)
    return chunks is None or any(getattr(one, "usage", None) is not None for one in chunks)


def _message(found: Any) -> dict[str, Any]:
    """The members of a message or delta that OpenAI's wire has, and the reasoning."""
    kept: dict[str, Any] = {}
    for name in ("role", "content", "reasoning_content", "refusal"):
        if (value := getattr(found, name, None)) is not None:
            kept[name] = value
    calls = []
    for call in getattr(found, "tool_calls", None) or ():
        raw = _plain(call)
        function = raw.get("function") or {}
        said = {name: raw[name] for name in ("index", "id", "type") if name in raw}
        said["function"] = {
            name: function[name] for name in ("name", "arguments") if name in function
        }
        calls.append(said)
    if calls:
        kept["tool_calls"] = calls
    return kept


def _plain(value: Any) -> Any:
    """A value of litellm's as JSON has it, without what is not set."""
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _media_strings(message: Any) -> Iterator[str]:
    """All strings of a message by which media could be given."""
    if not isinstance(message, Mapping):
        return
    content = message.get("content")
    for part in [content] if isinstance(content, Mapping) else _list(content):
        plain = isinstance(part, Mapping) and part.get("type") == "text"
        yield from _strings({**part, "text": None} if plain else part)
    yield from _strings({name: inner for name, inner in message.items() if name not in _TEXTS})


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
