"""What goes out on a connection, and who keeps connections."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct
from typing_extensions import override

from backends.values import Deadlines

if TYPE_CHECKING:
    from backends.http_connection import Connection


class Owner(Protocol):
    """Who keeps connections: what a connection tells its pool."""

    def lost(self, connection: "Connection") -> None:
        """The transport is gone."""

    def release(self, connection: "Connection", now: float) -> None:
        """An exchange ended well: the connection may be used again."""

    def drop(self, connection: "Connection") -> None:
        """Close the connection and give back its slot."""


class Outgoing(Struct, frozen=True):
    """A request as it goes on the wire, and what bounds its exchange.

    Attributes:
        head: up to and including the empty line.
        body: pieces that must not change until the reply has come.
        length: of the body, in bytes.
        bodiless: whether the reply has no body whatever its head says: this is a HEAD request.
        timeout: the total deadline in seconds, as the caller gave it.
        give_up: when that passes, on the client's clock.
    """

    head: bytes
    body: Sequence[bytes | memoryview]
    length: int
    bodiless: bool
    deadlines: Deadlines
    timeout: float
    give_up: float

    @override
    def __repr__(self) -> str:
        return f"<Outgoing of {self.length} bytes>"  # the head holds a credential
