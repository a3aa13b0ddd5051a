"""OpenAI's chat dialect as Kimi's providers speak it."""

from backends.openai_compat.backend import OpenAICompatBackend
from backends.openai_compat.cache_salt import CacheSalts
from backends.openai_compat.quirks import MOONSHOT, NOVITA, OPENAI_COMPAT, VLLM, Quirks

__all__ = [
    "MOONSHOT",
    "NOVITA",
    "OPENAI_COMPAT",
    "VLLM",
    "CacheSalts",
    "OpenAICompatBackend",
    "Quirks",
]
