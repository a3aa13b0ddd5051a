"""Opening connections: the way to an origin, names, addresses, proxies, TLS. Never the hot path."""

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from msgspec import Struct

from backends.errors import AddressRefused
from backends.http_addresses import allowed, literal
from backends.http_connection import Connection
from backends.http_proxy import Exemptions, Proxy, Tunnel
from backends.http_tls import TlsFiles, client_context
from backends.values import Origin

# What is left of a look-up: family and address, as `socket.connect` takes it.
Address = tuple[int, tuple[Any, ...]]
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]

# RFC 8305 §5: the next address is tried when this has passed, or as soon as one has failed.
ATTEMPT_DELAY = 0.25


class Route(Struct, frozen=True):
    """The way to one origin.

    Attributes:
        tls: what is spoken with the origin; None: plain HTTP.
        proxy: through which; None: directly.
        proxy_tls: what is spoken with that; None: plain HTTP.
    """

    origin: Origin
    tls: ssl.SSLContext | None
    proxy: Proxy | None
    proxy_tls: ssl.SSLContext | None

    @property
    def encrypted(self) -> bool:
        """Whether the connection's own transport is one of TLS."""
        return self.tls is not None or self.proxy_tls is not None


class Dialer:
    """Opens connections to any origin.

    Args:
        tls: the files that count for every origin, and for a proxy that is spoken to over TLS.
        tls_of: the files of origins that have their own.
        proxy: through which origins are reached.
        exemptions: whom it is not for.
        resolve: looks a name and a port up; the system's way unless given. Raises OSError.

    Raises:
        TlsFault: a file cannot be used.
    """

    def __init__(
        self,
        *,
        tls: TlsFiles | None = None,
        tls_of: Mapping[Origin, TlsFiles] | None = None,
        proxy: Proxy | None = None,
        exemptions: Exemptions | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        self._tls = client_context(tls or TlsFiles())
        contexts: dict[TlsFiles, ssl.SSLContext] = {}
        for files in (tls_of or {}).values():
            if files not in contexts:
                contexts[files] = client_context(files)
        self._tls_of = {origin: contexts[files] for origin, files in (tls_of or {}).items()}
        self._proxy = proxy
        self._exemptions = exemptions or Exemptions()
        self._resolve = resolve or system_resolve
        self._lookups: dict[tuple[str, int], asyncio.Task[Sequence[Address]]] = {}

    def route(self, origin: Origin) -> Route:
        """The way to an origin."""
        tls = self._tls_of.get(origin, self._tls) if origin.scheme == "https" else None
        proxy = self._proxy
        if proxy is None or self._exemptions.cover(origin.host, origin.port):
            return Route(origin, tls, None, None)
        return Route(origin, tls, proxy, self._tls if proxy.scheme == "https" else None)

    async def look_up(self, host: str, port: int) -> Sequence[Address]:
        """The addresses of a name; those who ask at the same time share one look-up.

        A look-up takes a thread of which there are few: one name whose servers are silent must not use
        up those that other names need.
        """
        key = host, port
        task = self._lookups.get(key)
        if task is None:
            task = self._lookups[key] = asyncio.create_task(self._looked_up(host, port))
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    async def _looked_up(self, host: str, port: int) -> Sequence[Address]:
        return await self._resolve(host, port)

    def _forget(self, key: tuple[str, int], task: "asyncio.Task[Sequence[Address]]") -> None:
        del self._lookups[key]
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits for it any more


class Opening:
    """One attempt to open a connection.

    Attributes:
        doing: what it is at, for whoever gives it up.
    """

    def __init__(self, dialer: Dialer, route: Route) -> None:
        self.doing = ""
        self._dialer = dialer
        self._route = route
        self._loop = asyncio.get_running_loop()

    async def run(self, make: Callable[[], Connection]) -> Connection:
        """A connection from `make`, with its transport. Cancelling leaves nothing behind.

        Raises:
            OSError: name, route or TLS.
            ValueError: the name cannot be looked up.
            AddressRefused: all that it means are addresses that may not be dialled.
            ConnectFailed: the proxy refused.
        """
        origin, proxy = self._route.origin, self._route.proxy
        if proxy is not None:
            return await self._through(proxy, make())
        self.doing = f"looking {origin.host} up"
        found = await self._addresses(origin.host, origin.port)
        # These very addresses are dialled next: nothing is looked up again in between.
        sock = await self._connected(_checked(origin.host, found, local=origin.local))
        tls = self._route.tls
        if tls is not None:
            self.doing = "TLS handshake"
        _, connection = await self._loop.create_connection(
            make, sock=sock, ssl=tls, server_hostname=None if tls is None else origin.host
        )
        return connection

    async def _through(self, proxy: Proxy, connection: Connection) -> Connection:
        """Via a proxy: its tunnel first, and the origin's TLS inside it."""
        origin, tls, proxy_tls = self._route.origin, self._route.tls, self._route.proxy_tls
        if (address := literal(origin.host)) is not None:  # a name is the proxy's to look up
            _checked(origin.host, [(0, (address,))], local=origin.local)
        transport: asyncio.Transport | None = None
        loop = self._loop
        try:
            self.doing = f"looking the proxy {proxy} up"
            found = await self._addresses(proxy.host, proxy.port)
            # The operator's own, so it may be anywhere but where clouds keep credentials.
            sock = await self._connected(_checked(proxy.host, found, local=True))
            self.doing = f"waiting for the proxy {proxy}"
            transport, tunnel = await loop.create_connection(
                lambda: Tunnel(proxy, origin.host, origin.port, loop),
                sock=sock,
                ssl=proxy_tls,
                server_hostname=None if proxy_tls is None else proxy.host,
            )
            await tunnel.opened
        except (OSError, ValueError) as exc:
            _abort(transport)
            raise OSError(f"proxy {proxy}: {str(exc) or type(exc).__name__}") from exc
        except BaseException:
            _abort(transport)
            raise
        if tls is None:
            transport.set_protocol(connection)
            connection.connection_made(transport)
            transport.resume_reading()
            return connection
        self.doing = f"TLS handshake through the proxy {proxy}"
        # If the far end speaks, or leaves, before the lines below, this is what must be closed.
        connection.transport = transport
        try:
            inner = await loop.start_tls(transport, connection, tls, server_hostname=origin.host)
        except OSError as exc:
            _abort(transport)
            raise OSError(f"through the proxy {proxy}: {str(exc) or type(exc).__name__}") from exc
        except BaseException:
            _abort(transport)
            raise
        if inner is None:
            raise OSError(f"through the proxy {proxy}: closed in the TLS handshake")
        connection.connection_made(inner)
        return connection

    async def _addresses(self, host: str, port: int) -> Sequence[Address]:
        try:
            found = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        except socket.gaierror:
            pass  # a name, to be looked up elsewhere: that may block
        else:
            return [(family, address) for family, _, _, _, address in found]
        addresses = await self._dialer.look_up(host, port)
        if not addresses:
            raise OSError(f"{host} has no address")
        return _alternating(addresses)

    async def _connected(self, addresses: Sequence[Address]) -> socket.socket:
        """A socket that is connected to the first of these addresses that answers (RFC 8305).

        Raises:
            OSError: none does.
        """
        self.doing = f"connecting to {', '.join(_shown(address) for _, address in addresses)}"
        if len(addresses) == 1:
            return await self._attempt(addresses[0])
        left = [*reversed(addresses)]
        running: set[asyncio.Task[socket.socket]] = set()
        faults: list[str] = []
        winner: socket.socket | None = None
        try:
            while winner is None and (left or running):
                if left:
                    running.add(asyncio.create_task(self._attempt(left.pop())))
                done, running = await asyncio.wait(
                    running,
                    timeout=ATTEMPT_DELAY if left else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    if (fault := task.exception()) is not None:
                        faults.append(str(fault))
                    elif winner is None:
                        winner = task.result()
                    else:
                        task.result().close()
        finally:
            for task in running:
                task.cancel()
                task.add_done_callback(_close)  # one may have succeeded meanwhile
        if winner is None:
            raise OSError("; ".join(faults))
        return winner

    async def _attempt(self, address: Address) -> socket.socket:
        family, where = address
        sock: socket.socket | None = None
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)  # fails where there is no such family
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(sock, where)
        except BaseException as exc:
            if sock is not None:
                sock.close()
            if not isinstance(exc, OSError):
                raise
            why = os.strerror(exc.errno) if exc.errno else str(exc)
            raise OSError(f"{_shown(where)}: {why}") from exc
        return sock


async def system_resolve(host: str, port: int) -> Sequence[Address]:
    """The addresses that the system knows, in its order of preference (RFC 6724)."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


def _alternating(addresses: Sequence[Address]) -> Sequence[Address]:
    """One family after the other, beginning with that of the first (RFC 8305 §4)."""
    preferred = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    pairs = zip_longest(preferred, others)
    return [address for pair in pairs for address in pair if address is not None]


def _checked(host: str, addresses: Sequence[Address], *, local: bool) -> Sequence[Address]:
    try:
        return allowed(host, addresses, local=local)
    except ValueError as refused:
        raise AddressRefused(str(refused)) from None


def _close(task: "asyncio.Task[socket.socket]") -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _shown(where: tuple[Any, ...]) -> str:
    host, port = where[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def _abort(transport: asyncio.Transport | None) -> None:
    if transport is not None:
        transport.abort()
