"""Kinds of endpoint, each from its file in `backends/kinds`, and the adapter for each."""

import secrets
from collections.abc import Mapping
from functools import lru_cache

from msgspec import Raw

from backends.base import Backend
from backends.http import HttpClient
from backends.kind import Kind
from backends.kinds import (
    litellm,
    moonshot,
    novita,
    openai_compat,
    openrouter,
    vercel,
    vllm,
)
from backends.litellm import LitellmBackend, LitellmWorker
from backends.openai_compat import CacheSalts, OpenAICompatBackend, fates
from backends.values import Endpoint, Mode

_REMEMBERED = 1024  # endpoints' rules


KINDS: Mapping[str, Kind] = {
    "moonshot": moonshot.KIND,
    "moonshot_cn": moonshot.KIND_CN,
    "novita": novita.KIND,
    "openrouter": openrouter.KIND,
    "vercel": vercel.KIND,
    "vllm": vllm.KIND,
    "litellm": litellm.KIND,
    "openai_compat": openai_compat.KIND,
}


def open_backends(
    client: HttpClient, salt_key: bytes | None = None, litellm: LitellmWorker | None = None
) -> Mapping[str, Backend]:
    """One adapter for each kind, all on one HTTP client.

    Args:
        client: what they send requests with.
        salt_key: the secret behind cache salts, at least 16 bytes; a new one unless given, with which
            tenants are kept apart as well but find their caches cold.
        litellm: the worker of kind `litellm`, which there is none of without it.
    """
    salts = CacheSalts(secrets.token_bytes(32) if salt_key is None else salt_key)
    found: dict[str, Backend] = {
        name: OpenAICompatBackend(client, kind.quirks, salts=salts, home=kind.base_url)
        for name, kind in KINDS.items()
    }
    inner = found.pop("litellm")
    if litellm is not None:
        found["litellm"] = LitellmBackend(inner, litellm)
    return found


def unsupported(
    endpoint: Endpoint, fields: Mapping[str, Raw], mode: Mode, *, zdr: bool = False
) -> tuple[str, ...]:
    """What of a request this endpoint would not be sent, or does not do: what its reply would name dropped.

    Args:
        endpoint: where the request might go.
        fields: the caller's fields, as in `Call.fields`.
        mode: the caller's mode, as in `Call.mode`.
        zdr: as in `Call.zdr`: fields that no table has do not pass.

    Returns:
        The caller's fields, and parts of the mode by their neutral names: `thinking`,
        `reasoning_effort`, `reasoning.max_tokens`; and `messages.partial`.
    """
    return fates.unsupported(_rules(endpoint), fields, mode, strict=zdr)


@lru_cache(maxsize=_REMEMBERED)
def _rules(endpoint: Endpoint) -> fates.Rules:
    return fates.rules_of(endpoint, KINDS[endpoint.kind].quirks)
