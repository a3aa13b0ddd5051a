"""An upstream's reply, as its reader sees it."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct
from typing_extensions import override

from backends.errors import BackendError, BadReply, ConnectionLost

if TYPE_CHECKING:
    from backends.http_connection import Connection


class Response(Struct, eq=False):
    """A reply whose head has arrived and whose body may still be on its way.

    One task at a time may read it. What arrived before a failure is delivered before the failure is
    raised by `chunk`. Where the body has ended cleanly the connection is already back in its pool, even
    if nothing was read yet: the data stays here.

    Attributes:
        status: the HTTP status; 0 until the head has arrived.
        headers: names in lower case, in the order of arrival. Trailers are left out.

    The other attributes are filled by the connection and are not for readers.
    """

    connection: "Connection | None"  # None once nothing more will come
    max_body_bytes: int
    status: int = 0
    headers: list[tuple[bytes, bytes]] = []
    parts: list[bytes] = []  # what waits for the reader
    size: int = 0  # of that, in bytes
    collected: list[bytes] | None = None  # a list while `read_all` gathers
    waiter: asyncio.Future[None] | None = None
    error: BackendError | None = None
    # Given each piece of the body as it arrives, while it returns True: for readers to whom waking a
    # task for every piece is too dear. Once it returns False it is forgotten, and `chunk` returns.
    sink: Callable[[bytes], bool] | None = None

    @override
    def __repr__(self) -> str:
        return f"<Response {self.status}>"  # never the body: it is the caller's

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header by its lower-case name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    async def chunk(self) -> bytes:
        """Whatever has arrived since the last call, joined; b"" at the clean end of the body.

        A cancelled wait closes the connection.

        Raises:
            ConnectionLost: the body was cut short.
            UpstreamTimeout: the idle or the total deadline passed.
            BadReply: the framing of the body is broken.
        """
        parts = self.parts
        if not parts:
            if self.connection is not None:
                await self._wait()
            if not parts:
                if self.error is not None:
                    raise self.error
                return b""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.size = 0
        connection = self.connection
        if connection is not None and connection.reading_paused:
            connection.resume_reading()
        return data

    async def read_all(self) -> bytes:
        """The rest of the body, up to the client's `max_body_bytes`.

        A cancelled wait closes the connection.

        Raises:
            BadReply: the body is too large, or its framing is broken.
            ConnectionLost: the body was cut short.
            UpstreamTimeout: the idle or the total deadline passed.
        """
        connection = self.connection
        if connection is not None:
            self.collected = []
            if connection.reading_paused:
                connection.resume_reading()
            await self._wait()
        if self.error is not None:
            raise self.error
        if self.size > self.max_body_bytes:
            raise self.too_large()
        data = b"".join((*self.collected, *self.parts)) if self.collected else b"".join(self.parts)
        self.collected = None
        self.parts.clear()
        self.size = 0
        return data

    def abort(self) -> None:
        """Close the connection at once, unless the body has ended. Idempotent.

        What was not read yet is thrown away, and whoever waits for more gets `ConnectionLost`.
        """
        if self.connection is not None:
            self.parts.clear()
            self.connection.fail(ConnectionLost("given up by this gateway"))

    def wake(self) -> None:
        """Tell the waiting task, if there is one, to look again."""
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def too_large(self) -> BadReply:
        """The failure of a body over the limit."""
        return BadReply(f"body over {self.max_body_bytes} bytes", status=self.status)

    async def _wait(self) -> None:
        waiter = self.waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
        except asyncio.CancelledError:
            self.waiter = None
            self.abort()
            raise
