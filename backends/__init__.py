"""Upstream side of the gateway: adapters that turn a neutral call into a provider's wire and back."""

from backends.base import Backend, Reply
from backends.errors import (
    BackendError,
    BadReply,
    BadToolCall,
    Blame,
    ConnectFailed,
    ConnectionLost,
    EmptyReply,
    UpstreamTimeout,
)
from backends.http import ClientLimits, HttpClient
from backends.http_addresses import address_fault
from backends.http_dial import Dialer
from backends.http_proxy import Exemptions, Proxy
from backends.http_tls import TlsFault, TlsFiles, client_context
from backends.litellm import LitellmPlan, LitellmRow, LitellmWorker
from backends.litellm import fault_of as litellm_fault
from backends.openai_compat import THINKING_SWITCHES
from backends.profiles import PROFILES, Profile, profile_of
from backends.registry import KINDS, open_backends, unsupported
from backends.rotation import rotating
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
    "PROFILES",
    "THINKING_SWITCHES",
    "UNASKED",
    "Backend",
    "BackendError",
    "BadReply",
    "BadToolCall",
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
    "LitellmPlan",
    "LitellmRow",
    "LitellmWorker",
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
    "address_fault",
    "client_context",
    "litellm_fault",
    "open_backends",
    "profile_of",
    "rotating",
    "unsupported",
]
