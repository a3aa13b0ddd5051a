"""Upstream side of the gateway: adapters that turn a neutral call into a provider's wire and back."""

from backends.base import Backend, Reply
from backends.errors import BackendError, BadReply, Blame, EmptyReply, UpstreamTimeout
from backends.http import HttpClient
from backends.registry import KINDS, open_backends
from backends.secret import Secret
from backends.values import (
    Call,
    Deadlines,
    Endpoint,
    Event,
    Finish,
    Origin,
    Piece,
    Text,
    Usage,
)

__all__ = [
    "KINDS",
    "Backend",
    "BackendError",
    "BadReply",
    "Blame",
    "Call",
    "Deadlines",
    "EmptyReply",
    "Endpoint",
    "Event",
    "Finish",
    "HttpClient",
    "Origin",
    "Piece",
    "Reply",
    "Secret",
    "Text",
    "UpstreamTimeout",
    "Usage",
    "open_backends",
]
