"""The client that requests go upstream with: HTTP/1.1 over pools of kept-alive connections.

It is on the request path, so it is made of protocol callbacks and one future per wait; only opening a
connection may start tasks. TLS always verifies certificate and host name.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from backends.errors import BackendError, ConnectFailed, ConnectionLost, UpstreamTimeout
from backends.http_connection import Connection
from backends.http_dial import Dialer, Opening
from backends.http_outgoing import Outgoing
from backends.http_pool import Pool
from backends.http_response import Response
from backends.http_tls import TlsFiles
from backends.http_values import ClientLimits, OriginStats
from backends.values import Deadlines, Origin

__all__ = ["ClientLimits", "HttpClient", "OriginStats", "Response"]

_WITHOUT_BODY = frozenset({b"GET", b"HEAD", b"DELETE", b"OPTIONS"})


class HttpClient:
    """A client for any number of origins; belongs to the event loop that it is first used in.

    Args:
        clock: seconds on a monotonic clock, such as the loop's `time`.
        ca_file: certificates to trust in place of the system's, PEM; not with `dialer`, which has its own.
        dialer: opens the connections; one without a proxy unless given.
        limits: bounds that hold for every origin.

    Raises:
        TlsFault: `ca_file` cannot be read or holds no certificate.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        ca_file: str | None = None,
        dialer: Dialer | None = None,
        limits: ClientLimits | None = None,
    ) -> None:
        self._clock = clock
        self._limits = limits or ClientLimits()
        self._dialer = dialer or Dialer(tls=TlsFiles(ca_file=ca_file))
        self._pools: dict[Origin, Pool] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False
        self._all_lost: asyncio.Future[None] | None = None

    async def request(
        self,
        origin: Origin,
        *,
        method: bytes,
        target: bytes,
        headers: bytes,
        body: Sequence[bytes | memoryview],
        deadlines: Deadlines,
        timeout: float,
        max_connections: int,
        resend_safe: bool = False,
        tenant: str = "",
    ) -> Response:
        r"""Send a request; return when the head of its reply is there.

        A request that met a kept-alive connection which the upstream was just closing is sent again, once,
        on a new connection: only if no byte of a reply came, and either part of the request never left
        this process or `resend_safe` is set. Cancelling closes the connection.

        Args:
            origin: where to.
            method: in capitals.
            target: path and query, escaped.
            headers: lines that each end in `\r\n`, without Host, Content-Length and the empty line.
            body: pieces, bytes or flat views of bytes; large ones are written without being copied and must
                not change until the reply has come.
            deadlines: seconds for: getting a connection (`connect`, once for the queue and once for
                opening); the reply's first byte, from when the request is out (`first_byte`); silence in
                the reply, and a standstill while the request is written (`idle`).
            timeout: seconds for the whole exchange, up to the end of the reply's body.
            max_connections: most connections to this origin; the latest request's figure holds.
            resend_safe: whether it does no harm if the upstream gets the request twice.
            tenant: for whom, if that is told apart: those who wait for a connection take turns by it.

        Raises:
            ConnectFailed: no connection: name, route, TLS, or too many waiting.
            ConnectionLost: it ended before the head was complete.
            UpstreamTimeout: a deadline passed.
            BadReply: the reply is not HTTP, its head is too large, or its body is encoded.
        """
        if timeout <= 0:
            raise UpstreamTimeout("total", timeout)
        pool = self._pools.get(origin) or self._open_pool(origin)
        now = self._clock()
        length = 0
        for piece in body:
            length += len(piece)
        if length or method not in _WITHOUT_BODY:
            tail = b"Content-Length: %d\r\n%b\r\n" % (length, headers)
        else:
            tail = headers + b"\r\n"
        outgoing = Outgoing(
            b"%b %b%b%b" % (method, target, pool.lead, tail),
            body,
            length,
            method == b"HEAD",
            deadlines,
            timeout,
            now + timeout,
        )
        pool.limit = max_connections
        connection = pool.take(now)
        again = False
        while True:
            if connection is None:
                connection = await self._acquire(pool, outgoing, tenant, fresh=again)
            response = Response(connection, self._limits.max_body_bytes)
            waiter = response.waiter = asyncio.get_running_loop().create_future()
            connection.send(response, outgoing)
            try:
                await waiter
            except asyncio.CancelledError:
                response.abort()
                raise
            if response.status:
                return response
            error = response.error or ConnectionLost("no reply")
            if not _may_resend(connection, error, resend_safe=resend_safe):
                raise error
            again = True  # and for the last time: the next connection is a new one
            connection = None

    def stats(self) -> Mapping[Origin, OriginStats]:
        """The connections of every origin, now."""
        return {origin: pool.stats() for origin, pool in self._pools.items()}

    async def aclose(self) -> None:
        """Close every connection, also those in use, and wait until they are gone."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for pool in self._pools.values():
            pool.shut()
        if self._transports():
            self._all_lost = self._all_lost or asyncio.get_running_loop().create_future()
            await self._all_lost

    # -- inside ------------------------------------------------------------------------------------

    async def _acquire(
        self, pool: Pool, outgoing: Outgoing, tenant: str, *, fresh: bool
    ) -> Connection:
        """A connection with its slot, the slow way: in line, or by opening one."""
        if self._closed:
            raise ConnectFailed("the client was closed")
        if not pool.reserve(evict=fresh):
            phase, seconds, left = self._bound("pool", outgoing)
            connection = await pool.wait(tenant, phase, seconds, left)
            if connection is not None:
                if not fresh and not connection.transport.is_closing():
                    return connection
                connection.close()  # and open a new one in its slot
        try:
            return await self._connect(pool, outgoing)
        except BaseException:
            pool.free()
            raise

    async def _connect(self, pool: Pool, outgoing: Outgoing) -> Connection:
        where = pool.origin.authority
        phase, seconds, left = self._bound("connect", outgoing)
        opening = Opening(self._dialer, pool.route)
        scope = asyncio.timeout(left)
        try:
            async with scope:
                connection = await opening.run(pool.connection)
        except (OSError, ValueError) as exc:  # ValueError: names that cannot be looked up
            if scope.expired():
                raise UpstreamTimeout(phase, seconds, f"{where}: {opening.doing}") from None
            raise ConnectFailed(f"{where}: {str(exc) or type(exc).__name__}") from exc
        if connection.closed or connection.transport.is_closing():
            raise ConnectionLost("closed before the request was written", sent_in_full=False)
        pool.adopt(connection)
        if self._closed:
            connection.close()
            raise ConnectFailed("the client was closed")
        return connection

    def _bound(self, phase: str, outgoing: Outgoing) -> tuple[str, float, float]:
        """What bounds a step before the request is sent: phase, its length, and what is left of it."""
        left = outgoing.give_up - self._clock()
        if outgoing.deadlines.connect < left:
            return phase, outgoing.deadlines.connect, outgoing.deadlines.connect
        return "total", outgoing.timeout, left

    def _open_pool(self, origin: Origin) -> Pool:
        loop = asyncio.get_running_loop()
        try:
            pool = Pool(self._dialer.route(origin), loop, self._clock, self._limits, self._on_lost)
        except UnicodeError as exc:
            raise ConnectFailed(f"host names are written in ASCII: {origin.host!r}") from exc
        self._pools[origin] = pool
        if self._sweep is None:
            self._sweep = loop.call_later(self._limits.idle_seconds / 2, self._on_sweep)
        return pool

    def _on_sweep(self) -> None:
        """Close what was unused for too long; forget origins that nothing is left of."""
        now = self._clock()
        for origin, pool in [*self._pools.items()]:
            pool.expire(now)
            if pool.vacant:
                del self._pools[origin]
        self._sweep = None
        if self._pools:
            loop = asyncio.get_running_loop()
            self._sweep = loop.call_later(self._limits.idle_seconds / 2, self._on_sweep)

    def _on_lost(self) -> None:
        if self._all_lost is not None and not self._transports() and not self._all_lost.done():
            self._all_lost.set_result(None)

    def _transports(self) -> int:
        return sum(pool.transports for pool in self._pools.values())


def _may_resend(connection: Connection, error: BackendError | None, *, resend_safe: bool) -> bool:
    return (
        isinstance(error, ConnectionLost)
        and connection.reused
        and not connection.received
        and (resend_safe or not error.sent_in_full)
    )
