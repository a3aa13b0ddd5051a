"""Kinds of endpoint, and the adapter for each."""

import secrets
from collections.abc import Mapping

from msgspec import Struct

from backends.base import Backend
from backends.http import HttpClient
from backends.openai_compat import (
    MOONSHOT,
    NOVITA,
    OPENAI_COMPAT,
    VLLM,
    CacheSalts,
    OpenAICompatBackend,
    Quirks,
)


class Kind(Struct, frozen=True):
    """One kind of endpoint: a row."""

    quirks: Quirks
    base_url: str | None  # where the provider's own service is, if there is just one
    key_variable: str | None  # the environment variable in which people keep its key


# Base URLs: Moonshot platform documentation (stored copy 2026-09-03); Novita API reference (2026-08-12).
KINDS: Mapping[str, Kind] = {
    "moonshot": Kind(MOONSHOT, "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"),
    "novita": Kind(NOVITA, "https://api.novita.ai/openai/v1", "NOVITA_API_KEY"),
    "openai_compat": Kind(OPENAI_COMPAT, None, None),
    "vllm": Kind(VLLM, None, None),
}


def open_backends(client: HttpClient, salt_key: bytes | None = None) -> Mapping[str, Backend]:
    """One adapter for each kind, all on one HTTP client.

    Args:
        client: what they send requests with.
        salt_key: the secret behind cache salts, at least 16 bytes; a new one unless given, with which
            tenants are kept apart as well but find their caches cold.
    """
    salts = CacheSalts(secrets.token_bytes(32) if salt_key is None else salt_key)
    return {
        name: OpenAICompatBackend(client, kind.quirks, salts=salts) for name, kind in KINDS.items()
    }
