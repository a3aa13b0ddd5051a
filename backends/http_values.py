"""Settings and figures of the upstream HTTP client."""

from msgspec import Struct


class ClientLimits(Struct, frozen=True):
    """Bounds that hold for every upstream of a client.

    Attributes:
        max_head_bytes: size of a reply's status line and headers, interim replies included, and of the
            framing between two pieces of its body; more is a `BadReply`.
        max_body_bytes: size of a body that `Response.read_all` takes, and of what a compressed piece may
            become before it is read.
        idle_seconds: how long an unused connection may be used again. It must be shorter than what
            servers grant, or requests meet connections that are being closed: uvicorn, and so vLLM,
            closes after 5 s (its `--timeout-keep-alive`, uvicorn 0.54 documentation, November 2026).
        high_water: bytes of a body that may wait for their reader before the socket is no longer read.
        max_age: seconds after which a connection is not used again, less up to a tenth so that those that
            were opened together are not closed together. So a name that has come to mean other addresses
            is followed: it is looked up for every connection that is opened.
        max_waiting: requests that may queue for a connection to one origin.
        max_waiting_per_tenant: of these, those of one tenant.
    """

    max_head_bytes: int = 65_536
    max_body_bytes: int = 33_554_432
    idle_seconds: float = 4.0
    high_water: int = 262_144
    max_age: float = 300.0
    max_waiting: int = 1024
    max_waiting_per_tenant: int = 256


class OriginStats(Struct, frozen=True):
    """Connections of one origin: all that are open or being opened, the unused of these, the queue."""

    open: int
    idle: int
    waiting: int
