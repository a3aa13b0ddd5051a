"""One connection of the upstream client without a socket or a loop: bytes in, what came of them out."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from msgspec import Struct
from typing_extensions import override

from backends.http_connection import Connection
from backends.http_outgoing import Outgoing
from backends.http_response import Response
from backends.http_values import ClientLimits
from backends.values import Deadlines


class FakeTransport(asyncio.Transport):
    """Takes every write at once. `paused`: the connection does not want to read."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.aborted = self.paused = False

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    @override
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    @override
    def get_write_buffer_size(self) -> int:
        return 0

    @override
    def is_closing(self) -> bool:
        return self.aborted

    @override
    def abort(self) -> None:
        self.aborted = True

    @override
    def pause_reading(self) -> None:
        self.paused = True

    @override
    def resume_reading(self) -> None:
        self.paused = False


class _Timer:
    def __init__(self, due: float, call: Callable[[], None]) -> None:
        self.due = due
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Result(Struct, frozen=True):
    """How an exchange ended. `error` is None, the class of what failed, or "pending"."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    error: type[Exception] | str | None


class Wire:
    """A connection, its clock and its owner.

    Attributes:
        now: the clock, in seconds.
        released: exchanges after which the connection was given back.
        dropped: whether it was closed instead.
        response: what the exchange under way fills.
        most_unread: the most bytes of a body that waited for their reader.
    """

    def __init__(self, limits: ClientLimits | None = None) -> None:
        self.now = 0.0
        self.released = 0
        self.dropped = False
        self.most_unread = 0
        self.limits = limits or ClientLimits()
        self.response: Response
        self._body = bytearray()
        self._timers: list[_Timer] = []
        loop = cast("asyncio.AbstractEventLoop", self)
        self.connection = Connection(self, loop, lambda: self.now, self.limits, tls=False)
        self.transport = FakeTransport()
        self.connection.connection_made(self.transport)

    # -- what a connection wants of its loop and of its owner ---------------------------------------

    def call_later(self, delay: float, call: Callable[[], None]) -> Any:
        timer = _Timer(self.now + delay, call)
        self._timers.append(timer)
        return timer

    def lost(self, connection: Connection) -> None:
        pass

    def release(self, connection: Connection, now: float) -> None:
        self.released += 1
        connection.reused = True

    def drop(self, connection: Connection) -> None:
        self.dropped = True
        connection.close()

    # -- for tests ----------------------------------------------------------------------------------

    def ask(self, *, method: bytes = b"POST", timeout: float = 900.0) -> None:
        """Begin an exchange."""
        self._body.clear()
        self.response = Response(self.connection, self.limits.max_body_bytes)
        outgoing = Outgoing(
            b"%b / HTTP/1.1\r\n\r\n" % method,
            (),
            0,
            method == b"HEAD",
            Deadlines(),
            timeout,
            self.now + timeout,
        )
        self.connection.send(self.response, outgoing)

    def feed(self, data: bytes) -> None:
        """Bytes arrive; whatever can be read of the body is read. Nothing arrives once it is closed."""
        if not self.transport.aborted:
            self.connection.data_received(data)
            self.read()

    def read(self) -> None:
        """Read the body as far as it has come."""
        response = self.response
        self.most_unread = max(self.most_unread, response.size)
        for part in response.parts:
            self._body += part
        response.parts.clear()
        response.size = 0
        if self.connection.reading_paused:
            self.connection.resume_reading()

    def end(self) -> None:
        """The far end closes."""
        if not self.transport.aborted:
            self.connection.eof_received()
        self.connection.connection_lost(None)

    def run_out(self) -> None:
        """Let the time pass that the exchange has left."""
        for _ in range(10_000):
            timers = [timer for timer in self._timers if not timer.cancelled]
            if self.response.connection is None or not timers:
                return
            first = min(timers, key=lambda timer: timer.due)
            self._timers = [timer for timer in timers if timer is not first]
            self.now = max(self.now, first.due)
            first.call()
        raise AssertionError("the timers do not end")

    def result(self) -> Result:
        """How it stands."""
        response, error = self.response, self.response.error
        outcome: type[Exception] | str | None = None if error is None else type(error)
        if response.connection is not None:
            outcome = "pending"
        headers = () if outcome or not response.status else tuple(response.headers)
        return Result(response.status, headers, bytes(self._body), outcome)
