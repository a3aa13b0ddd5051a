"""OpenAI's chat dialect as Kimi's providers speak it."""

from backends.openai_compat.backend import OpenAICompatBackend
from backends.openai_compat.cache_salt import CacheSalts
from backends.openai_compat.modes import THINKING_SWITCHES
from backends.openai_compat.quirks import Quirks

__all__ = [
    "THINKING_SWITCHES",
    "CacheSalts",
    "OpenAICompatBackend",
    "Quirks",
]
