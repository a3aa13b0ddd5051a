"""Upstream side of the gateway: adapters that turn a neutral call into a provider's wire and back."""

from backends.base import Backend, Reply
from backends.errors import (
    BackendError,
    BadReply,
    Blame,
    ConnectFailed,
    ConnectionLost,
    EmptyReply,
    UpstreamTimeout,
)
from backends.http import ClientLimits, HttpClient
from backends.http_dial import Dialer
from backends.http_proxy import Exemptions, Proxy
from backends.http_tls import TlsFault, TlsFiles, client_context
from backends.profiles import Profile, profile_of
from backends.registry import KINDS, open_backends
from backends.secret import Secret
from backends.values import (
    EFFORTS,
    MODE_FIELDS,
    UNASKED,
    Call,
    Deadlines,
    Endpoint,
    Event,
    Finish,
    Mode,
    Origin,
    Piece,
    Text,
    Usage,
)

__all__ = [
    "EFFORTS",
    "KINDS",
    "MODE_FIELDS",
    "UNASKED",
    "Backend",
    "BackendError",
    "BadReply",
    "Blame",
    "Call",
    "ClientLimits",
    "ConnectFailed",
    "ConnectionLost",
    "Deadlines",
    "Dialer",
    "EmptyReply",
    "Endpoint",
    "Event",
    "Exemptions",
    "Finish",
    "HttpClient",
    "Mode",
    "Origin",
    "Piece",
    "Profile",
    "Proxy",
    "Reply",
    "Secret",
    "Text",
    "TlsFault",
    "TlsFiles",
    "UpstreamTimeout",
    "Usage",
    "client_context",
    "open_backends",
    "profile_of",
]
