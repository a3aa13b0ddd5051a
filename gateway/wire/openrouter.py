"""Read-only answers in OpenRouter's shapes: the model list and a single generation.

Fields and their types follow OpenRouter's OpenAPI document 1.0.0 (2026-08-22) and its Python SDK 1.3.84
(2026-10-27), in which most are required and nullable. What this gateway does not know is null.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.values import AttemptRecord, Candidate, Outcome, Result
from pricing import ModelFacts, Money

_json = msgspec.json.Encoder().encode
_PARAMETERS = (
    "max_tokens",
    "max_completion_tokens",
    "tools",
    "tool_choice",
    "response_format",
    "stop",
)


def model_list(
    models: Mapping[str, tuple[Candidate, ...]], facts: Mapping[str, ModelFacts | None]
) -> bytes:
    """`GET /models`: canonical models with the price of their cheapest endpoint."""
    data = [_model(slug, candidates, facts.get(slug)) for slug, candidates in models.items()]
    return _json({"object": "list", "data": data, "total_count": len(data)})


def _model(
    slug: str, candidates: tuple[Candidate, ...], facts: ModelFacts | None
) -> dict[str, Any]:
    first = candidates[0]
    sandbox = all(candidate.endpoint.sandbox for candidate in candidates)
    name = slug if facts is None else facts.name
    inputs = ["text"] if facts is None else list(facts.modalities)
    model: dict[str, Any] = {
        "id": slug,
        "object": "model",
        "created": 0,
        "owned_by": slug.partition("/")[0],
        "canonical_slug": slug,
        "name": f"{name} (sandbox)" if sandbox else name,
        "hugging_face_id": None if facts is None else facts.hf_id,
        "context_length": max(candidate.context_length for candidate in candidates),
        "architecture": {
            "input_modalities": inputs,
            "output_modalities": ["text"],
            "modality": f"{'+'.join(inputs)}->text",
        },
        "pricing": _prices(first),
        "top_provider": {
            "is_moderated": False,
            "context_length": first.context_length,
            "max_completion_tokens": first.max_output,
        },
        "per_request_limits": None,
        "supported_parameters": list(_PARAMETERS),
        "default_parameters": None,
        "supported_voices": None,
        "links": {"details": f"/api/v1/models/{slug}/endpoints"},
        "providers": sorted({candidate.endpoint.provider for candidate in candidates}),
    }
    if sandbox:
        model["sandbox"] = True
    return model


def _prices(candidate: Candidate) -> dict[str, str]:
    """Decimal strings, in units of the currency per token, and per web search."""
    card = candidate.card
    if card is None:
        return {}
    named = {
        "prompt": card.input,
        "completion": card.output,
        "input_cache_read": card.cache_read,
        "input_cache_write": card.cache_write_5m,
        "input_cache_write_1h": card.cache_write_1h,
        "web_search": card.per_search,
    }
    prices = {
        name: Money(card.currency, pico).decimal_string()
        for name, pico in named.items()
        if pico is not None
    }
    if card.currency != "USD":
        prices["currency"] = card.currency
    return prices


def generation(outcome: Outcome) -> bytes:
    """`GET /generation`: one settled request."""
    attempts = outcome.attempts
    last = attempts[-1] if attempts else None
    data: dict[str, Any] = {
        "id": outcome.generation_id,
        "request_id": outcome.request_id,
        "session_id": None,
        "api_type": "completions",
        "created_at": datetime.fromtimestamp(outcome.created_ms / 1000, UTC).isoformat(),
        "model": outcome.model,
        "provider_name": None if last is None else last.provider,
        "router": None,
        "origin": "",
        "http_referer": None,
        "user_agent": None,
        "app_id": None,
        "external_user": None,
        "preset_id": None,
        "workspace_id": outcome.team_id,
        "data_region": "global",
        "streamed": outcome.streamed,
        "cancelled": outcome.result is Result.CANCELLED,
        "finish_reason": outcome.finish_reason,
        "native_finish_reason": outcome.native_finish_reason,
        "latency": outcome.ttft_ms,
        "generation_time": outcome.closed_ms - outcome.created_ms,
        "moderation_latency": None,
        **_counts(last),
        **_money(attempts, last),
        "is_byok": False,
        "service_tier": None,
        "upstream_id": None if last is None else last.upstream_id,
        "provider_responses": [_attempt(attempt) for attempt in attempts],
        "result": outcome.result.value,
        "status": outcome.status,
        "error_code": outcome.error_code,
        "basis": None if last is None else last.basis.value,
        "sandbox": outcome.sandbox,
    }
    return _json({"data": data})


def _counts(last: AttemptRecord | None) -> dict[str, Any]:
    nothing = dict.fromkeys(
        (
            "tokens_prompt",
            "tokens_completion",
            "native_tokens_prompt",
            "native_tokens_completion",
            "native_tokens_reasoning",
            "native_tokens_cached",
            "native_tokens_completion_images",
            "num_media_prompt",
            "num_media_completion",
            "num_input_audio_prompt",
            "num_search_results",
            "num_fetches",
            "web_search_engine",
            "web_search_requests",
        )
    )
    if last is None:
        return nothing
    quantities = last.quantities
    return {
        **nothing,
        "tokens_prompt": quantities.input_total,
        "tokens_completion": quantities.output,
        "native_tokens_prompt": quantities.input_total,
        "native_tokens_completion": quantities.output,
        "native_tokens_reasoning": last.reasoning_tokens,
        "native_tokens_cached": quantities.cache_read,
        # Ours: how many results a search had, which the contract asks for, nobody tells.
        "web_search_requests": quantities.searches,
    }


def _money(attempts: tuple[AttemptRecord, ...], last: AttemptRecord | None) -> dict[str, Any]:
    """Charges as exact JSON numbers; attempts of one request may be in different currencies."""
    if last is None:
        charge, currency = msgspec.Raw(b"0"), None
    else:
        currency = last.charge.currency
        total = Money.zero(currency)
        for attempt in attempts:
            if attempt.charge.currency == currency:
                total += attempt.charge
        charge = _number(total)
    return {
        "total_cost": charge,
        "usage": charge,
        "currency": currency,
        "upstream_inference_cost": None if last is None else _number(last.cost),
        "cache_discount": None,
    }


def _attempt(attempt: AttemptRecord) -> dict[str, Any]:
    return {
        "endpoint_id": attempt.endpoint_id,
        "id": attempt.upstream_id,
        "is_byok": False,
        "latency": attempt.duration_ms,
        "model_permaslug": attempt.upstream_model,
        "provider_name": attempt.provider,
        "status": attempt.upstream_status,
        "result": attempt.result.value,
        "error_code": attempt.error_code,
        "cost": _number(attempt.cost),
        "charge": _number(attempt.charge),
        "basis": attempt.basis.value,
        "cost_basis": attempt.cost_basis,
        "rate_card_id": attempt.rate_card_id,
    }


def _number(money: Money) -> msgspec.Raw:
    return msgspec.Raw(money.decimal_string().encode())
