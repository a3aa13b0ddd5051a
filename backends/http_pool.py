"""The connections to one origin: which are unused, how many there may be, and who waits for one."""

import asyncio
from collections.abc import Callable

from backends.errors import ConnectFailed, LineFull, UpstreamTimeout
from backends.http_connection import Connection
from backends.http_dial import Route
from backends.http_line import Line, Waiter
from backends.http_values import ClientLimits, OriginStats

_SPREAD = 0.1  # of the greatest age
_GOLDEN = 0.618034  # its multiples, less their whole parts, lie evenly between 0 and 1


class Pool:
    """Slots and unused connections of one origin.

    A slot is the right to have a connection. It is held by a connection, by a request that is opening
    one, or by a waiting request that was just granted it.

    Attributes:
        idle: unused connections, the latest used last: that one is taken first, so that those in excess
            grow old and are closed.
        lead: what follows the target in a request's head, up to and including the Host header.
        limit: most slots there may be.
        open: slots taken.
        route: the way to the origin.
    """

    __slots__ = (
        "_clock",
        "_connections",
        "_limits",
        "_line",
        "_loop",
        "_on_lost",
        "_opened",
        "_waiting",
        "idle",
        "lead",
        "limit",
        "open",
        "origin",
        "route",
    )

    def __init__(
        self,
        route: Route,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        limits: ClientLimits,
        on_lost: Callable[[], None],
    ) -> None:
        self.route = route
        self.origin = route.origin
        self.lead = b" HTTP/1.1\r\nHost: %b\r\n" % route.origin.authority.encode("ascii")
        self.idle: list[Connection] = []
        self.open = 0
        self.limit = 0
        self._loop = loop
        self._clock = clock
        self._limits = limits
        self._on_lost = on_lost
        self._line = Line()
        self._waiting = self._line.turns  # empty while nobody waits
        self._opened = 0
        self._connections: set[Connection] = set()  # all whose transport is not gone yet

    def stats(self) -> OriginStats:
        """How things stand now."""
        return OriginStats(open=self.open, idle=len(self.idle), waiting=self._line.length)

    @property
    def transports(self) -> int:
        """How many transports are not gone yet, closing ones included."""
        return len(self._connections)

    @property
    def vacant(self) -> bool:
        """Whether nothing is open, closing or waited for."""
        return not (self.open or self._connections or self._waiting)

    # -- for the client ----------------------------------------------------------------------------

    def connection(self) -> Connection:
        """A connection still without a transport."""
        return Connection(self, self._loop, self._clock, self._limits, tls=self.route.encrypted)

    def adopt(self, connection: Connection) -> None:
        """Count a connection that was just opened until its transport is gone.

        Not from `connection_made` on: uvloop 0.23 never calls `connection_lost` where opening is cancelled
        between the two.
        """
        self._connections.add(connection)
        self._opened += 1
        share = 1 - _SPREAD * (self._opened * _GOLDEN % 1)
        connection.expires = self._clock() + self._limits.max_age * share

    def take(self, now: float) -> Connection | None:
        """An unused connection that is fit for use, with its slot; None: there is none."""
        idle = self.idle
        while idle:
            connection = idle.pop()
            connection.pooled = False
            if (
                now - connection.idle_since < self._limits.idle_seconds
                and not connection.transport.is_closing()
            ):
                return connection
            self.drop(connection)
        return None

    def reserve(self, *, evict: bool) -> bool:
        """Take a slot for a new connection, if one is free or can be freed.

        Args:
            evict: close the unused connection that is oldest, if need be.
        """
        if self._waiting:
            return False
        if evict and self.open >= self.limit and self.idle:
            self.drop(self.idle[0])
        if self.open >= self.limit:
            return False
        self.open += 1
        return True

    async def wait(self, tenant: str, phase: str, seconds: float, left: float) -> Connection | None:
        """Wait in line for a connection, or for a slot to open one in (None).

        Args:
            tenant: for whom; tenants take turns.
            phase: which deadline bounds the wait.
            seconds: its length, for the error.
            left: what remains of it, in seconds.

        Raises:
            LineFull: too many are waiting.
            ConnectFailed: the client was closed.
            UpstreamTimeout: the deadline passed; it says how long the line was.
        """
        line, limits = self._line, self._limits
        if line.length >= limits.max_waiting or line.of(tenant) >= limits.max_waiting_per_tenant:
            raise LineFull(self._how_long(tenant) + "; no more may")
        waiter: Waiter = self._loop.create_future()
        line.add(tenant, waiter)
        self._grant()  # the limit may have been raised
        timer = self._loop.call_later(left, self._expire, waiter, tenant, phase, seconds)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._pass_on(waiter.result())  # granted, and cancelled before it could be used
            raise
        finally:
            timer.cancel()
            line.remove(tenant, waiter)

    def free(self) -> None:
        """Give back a slot that has no connection."""
        self.open -= 1
        self._grant()

    def expire(self, now: float) -> None:
        """Close what has been unused for too long."""
        for connection in [*self.idle]:
            if now - connection.idle_since < self._limits.idle_seconds:
                break  # in order of age
            self.drop(connection)

    def shut(self) -> None:
        """Close everything at once and send the waiting away."""
        while (waiter := self._line.next()) is not None:
            waiter.set_exception(ConnectFailed("the client was closed"))
        for connection in [*self._connections]:
            connection.fail(ConnectFailed("the client was closed"))
            if connection.pooled:
                self.drop(connection)
            connection.close()

    # -- for its connections -----------------------------------------------------------------------

    def lost(self, connection: Connection) -> None:
        """The connection's transport is gone."""
        self._connections.discard(connection)
        self._on_lost()

    def release(self, connection: Connection, now: float) -> None:
        """The connection has done its work well and may be used again."""
        if self.open > self.limit or now >= connection.expires or connection.transport.is_closing():
            self.drop(connection)
            return
        connection.reused = True
        connection.idle_since = now
        if self._waiting:
            self._pass_on(connection)
        else:
            connection.pooled = True
            self.idle.append(connection)

    def drop(self, connection: Connection) -> None:
        """Close the connection and give back its slot."""
        if connection.pooled:
            connection.pooled = False
            self.idle.remove(connection)
        connection.close()
        self.free()

    # -- inside ------------------------------------------------------------------------------------

    def _pass_on(self, grant: Connection | None) -> None:
        """Hand a connection, or a bare slot, to whose turn it is; nobody there: keep or free it."""
        waiter = self._line.next()
        if waiter is not None:
            waiter.set_result(grant)
        elif grant is None or grant.transport.is_closing():
            self.free()
        else:
            grant.pooled = True
            self.idle.append(grant)

    def _grant(self) -> None:
        while self._waiting and self.open < self.limit:
            self.open += 1
            self._pass_on(None)

    def _expire(self, waiter: Waiter, tenant: str, phase: str, seconds: float) -> None:
        if not waiter.done():
            waiter.set_exception(UpstreamTimeout(phase, seconds, self._how_long(tenant)))

    def _how_long(self, tenant: str) -> str:
        line = self._line
        return (
            f"{line.length} requests wait for one of {self.limit} connections to"
            f" {self.origin.authority}, {line.of(tenant)} of them of the same team"
        )
