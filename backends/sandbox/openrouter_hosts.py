"""The hosts behind OpenRouter's stand-in: who serves which model, at what price, with what policy.

Models and context lengths are those of OpenRouter's catalogue (public dumps, last of 2026-08-21). Which
host serves what, and its policies and prices, are the sandbox's own: no stored copy shows the real ones.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace


class Host(Struct, frozen=True, kw_only=True):
    """One host of one model. Prices are US dollars per million tokens, as decimal strings."""

    slug: str
    tag: str
    name: str
    prompt: str
    completion: str
    cached: str
    zdr: bool = False
    collects: bool = False


class Model(Struct, frozen=True, kw_only=True):
    """One model and its hosts, the one that is tried first at the front."""

    id: str
    context: int
    hosts: tuple[Host, ...]
    reasons: bool = True


def _hosts(prompt: str, completion: str, cached: str) -> tuple[Host, ...]:
    first = Host(
        slug="moonshotai",
        tag="moonshotai/int4",
        name="Moonshot AI",
        prompt=prompt,
        completion=completion,
        cached=cached,
        collects=True,
    )
    return (
        first,
        replace(first, slug="novita", tag="novita/fp8", name="Novita", collects=False),
        replace(
            first,
            slug="fireworks",
            tag="fireworks",
            name="Fireworks",
            prompt=str(float(prompt) * 2),
            completion=str(float(completion) * 2),
            collects=False,
            zdr=True,
        ),
    )


_MILLION, _QUARTER = 1_048_576, 262_144
MODELS: Mapping[str, Model] = {
    model.id: model
    for model in (
        Model(id="moonshotai/kimi-k3", context=_MILLION, hosts=_hosts("3", "15", "0.3")),
        Model(id="moonshotai/kimi-k2.7-code", context=_QUARTER, hosts=_hosts("0.95", "4", "0.19")),
        Model(id="moonshotai/kimi-k2.6", context=_QUARTER, hosts=_hosts("0.95", "4", "0.16")),
        Model(id="moonshotai/kimi-k2.5", context=_QUARTER, hosts=_hosts("0.45", "2.25", "0.07")),
        Model(
            id="moonshotai/kimi-k2-thinking", context=_QUARTER, hosts=_hosts("0.6", "2.5", "0.15")
        ),
        Model(
            id="moonshotai/kimi-k2-0905",
            context=_QUARTER,
            hosts=_hosts("0.6", "2.5", "0.6"),
            reasons=False,
        ),
        Model(
            id="moonshotai/kimi-k2",
            context=131_072,
            hosts=_hosts("0.57", "2.3", "0.57"),
            reasons=False,
        ),
    )
}


def hosts_for(model: Model, wishes: Mapping[str, Any]) -> tuple[list[Host], list[str]]:
    """The hosts that a request's `provider` object allows, and what it left out others for.

    Of that object `only`, `ignore`, `order`, `allow_fallbacks`, `zdr`, `data_collection` and `max_price`
    are acted on.
    """
    most = wishes.get("max_price") or {}
    order = wishes.get("order") or []
    allowed = wishes.get("only") or [host.slug for host in model.hosts]
    if order and wishes.get("allow_fallbacks") is False:
        allowed = [name for name in order if name in allowed or name.partition("/")[0] in allowed]
    left, excluded = [], []
    for host in model.hosts:
        reason = None
        if not _named(host, allowed) or _named(host, wishes.get("ignore") or ()):
            reason = "allowed_providers"
        elif wishes.get("zdr") is True and not host.zdr:
            reason = "data_policy:zdr"
        elif wishes.get("data_collection") == "deny" and host.collects:
            reason = "data_policy:training"
        elif any(
            most.get(name) is not None and float(price) > float(most[name])
            for name, price in (("prompt", host.prompt), ("completion", host.completion))
        ):
            reason = "max_price"
        if reason is None:
            left.append(host)
        else:
            excluded.append(reason)
    left.sort(key=lambda host: _place(host, order))
    return left, list(dict.fromkeys(excluded))


def _named(host: Host, names: Any) -> bool:
    """Whether a slug stands for this host: the slug alone for each of its variants, a tag for one."""
    return any(name in {host.slug, host.tag} for name in names)


def _place(host: Host, order: list[str]) -> int:
    return next((at for at, name in enumerate(order) if _named(host, [name])), len(order))


def _per_token(price: str) -> str:
    return f"{float(price) / 1_000_000:.10f}".rstrip("0")


def _pricing(host: Host) -> dict[str, str]:
    return {
        "prompt": _per_token(host.prompt),
        "completion": _per_token(host.completion),
        "input_cache_read": _per_token(host.cached),
    }


def model_row(model: Model) -> dict[str, Any]:
    """A row of `/models`."""
    return {
        "id": model.id,
        "canonical_slug": model.id,
        "name": model.id,
        "created": 1_770_000_000,
        "description": "A stand-in of Tidegate's sandbox.",
        "context_length": model.context,
        "architecture": {
            "input_modalities": ["text"],
            "output_modalities": ["text"],
            "modality": "text->text",
        },
        "pricing": _pricing(model.hosts[0]),
        "top_provider": {
            "is_moderated": False,
            "context_length": model.context,
            "max_completion_tokens": None,
        },
        "per_request_limits": None,
        "supported_parameters": ["max_tokens", "reasoning", "response_format", "tools"],
        "default_parameters": None,
        "supported_voices": None,
        "links": {"details": f"/api/v1/models/{model.id}/endpoints"},
    }


def policy_row(model: Model, host: Host) -> dict[str, Any]:
    """A row of `/endpoints/zdr` and of a model's endpoints."""
    return {
        "name": f"{host.name} | {model.id}",
        "model_id": model.id,
        "model_name": model.id,
        "provider_name": host.name,
        "tag": host.tag,
        "context_length": model.context,
        "max_completion_tokens": None,
        "max_prompt_tokens": None,
        "quantization": "unknown",
        "pricing": _pricing(host),
        "supported_parameters": ["max_tokens", "reasoning", "response_format", "tools"],
        "supports_implicit_caching": True,
        "status": 0,
        "latency_last_30m": None,
        "throughput_last_30m": None,
        "uptime_last_5m": None,
        "uptime_last_30m": None,
        "uptime_last_1d": None,
    }
