"""A connection to Redis, or what speaks its protocol (RESP2), made for many small calls at a time.

All calls of one tick of the event loop go out as one write, and answers are matched to them by order.
It keeps no queue for a server that is away: a call without a connection fails at once.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis
from msgspec import Struct
from typing_extensions import override

from gateway.store.state import StateLost

Answer = Any  # bytes, int, None, a list of these, or a `hiredis.ReplyError`

_PORT = 6379
# A server that answers nothing for this many calls does not get more: each is some hundred bytes.
_MOST_WAITING = 65_536


class Address(Struct, frozen=True, kw_only=True):
    """Where a server is, and what it wants to know. `path` is that of a Unix socket."""

    host: str = "localhost"
    port: int = _PORT
    path: str | None = None
    database: int = 0
    user: str | None = None
    password: str | None = None
    tls: bool = False
    authorities: str | None = None
    certificate: str | None = None
    private_key: str | None = None


def address(url: str) -> Address:
    """Read the URL of a server.

    `redis://user:password@host:6379/0`, `rediss://` for TLS, or `unix:///path/of/socket?db=0`. With TLS the
    parameters `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile` are files, named as redis-py names them.

    Raises:
        ValueError: it is no such URL; the message says what is wrong, without any of the URL's secrets.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("the URL of Redis begins with redis://, rediss:// or unix://")
    asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    files = {
        name: asked.pop(name, None) for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
    }
    if parts.scheme != "rediss" and any(files.values()):
        raise ValueError("the URL of Redis names TLS files, but only rediss:// speaks TLS")
    unix = parts.scheme == "unix"
    database = asked.pop("db", None) or ("" if unix else parts.path.strip("/")) or "0"
    if asked:
        raise ValueError(f"the URL of Redis has a parameter that means nothing: {min(asked)!r}")
    if not database.isdecimal():
        raise ValueError("the database in the URL of Redis is a number, as in redis://host:6379/0")
    if unix and not parts.path:
        raise ValueError(
            "the URL of Redis lacks the path of its socket, as in unix:///run/redis.sock"
        )
    try:
        port = parts.port
    except ValueError:
        raise ValueError("the port in the URL of Redis is no number up to 65535") from None
    return Address(
        host=parts.hostname or "localhost",
        port=port or _PORT,
        path=unquote(parts.path) if unix else None,
        database=int(database),
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=parts.scheme == "rediss",
        authorities=files["ssl_ca_certs"],
        certificate=files["ssl_certfile"],
        private_key=files["ssl_keyfile"],
    )


def pack(*words: bytes | str | int) -> bytes:
    """A whole command, as it goes over the wire."""
    return b"*%d\r\n" % len(words) + bulks(*words)


def bulks(*words: bytes | str | int) -> bytes:
    """The words of a command, without how many they are: packed once where they are the same each time."""
    packed = []
    for word in words:
        raw = word if isinstance(word, bytes) else str(word).encode()
        packed.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(packed)


class Connection(asyncio.Protocol):
    """One connection; once lost it stays so, and its owner opens another."""

    def __init__(self, timeout: float) -> None:
        """`timeout`: seconds without an answer after which the server counts as lost."""
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._outgoing: list[bytes] = []
        self._waiting: deque[asyncio.Future[Answer]] = deque()
        # When each write must be answered, and how many answers come before those are all there.
        self._deadlines: deque[tuple[float, int]] = deque()
        self._asked = self._answered = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._closed = self._loop.create_future()

    @property
    def live(self) -> bool:
        """Whether calls can be made."""
        return self._transport is not None

    def call(self, command: bytes) -> Awaitable[Answer]:
        """Send a packed command; the answer may be a `hiredis.ReplyError`, which is not raised.

        Raises:
            StateLost: there is no connection, or it was lost before the answer came.
        """
        if self._transport is None:
            raise StateLost("there is no connection to the state store")
        if len(self._waiting) >= _MOST_WAITING:
            raise StateLost("the state store is behind by too many calls")
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(command)
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting.append(answer)
        return answer

    def _flush(self) -> None:
        if self._transport is None:
            return
        self._asked += len(self._outgoing)
        self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()
        self._deadlines.append((self._loop.time() + self._timeout, self._asked))
        if self._alarm is None:
            self._alarm = self._loop.call_later(self._timeout, self._look)

    def _look(self) -> None:
        """Give up on a server that is late; one timer serves all calls, as answers come in order."""
        self._alarm = None
        deadlines = self._deadlines
        while deadlines and deadlines[0][1] <= self._answered:
            deadlines.popleft()
        if not deadlines:
            return
        left = deadlines[0][0] - self._loop.time()
        if left <= 0:
            self._lose(f"the state store has not answered for {self._timeout:g} s")
        else:
            self._alarm = self._loop.call_later(left, self._look)

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, as uvloop's own is no subclass.
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        reader, waiting, deadlines = self._reader, self._waiting, self._deadlines
        try:
            reader.feed(data)
            while (answer := reader.gets()) is not False:
                future = waiting.popleft()
                self._answered += 1
                if not future.done():
                    future.set_result(answer)
        except (hiredis.ProtocolError, IndexError):
            self._lose("the state store answers with what is not Redis's protocol")
        while deadlines and deadlines[0][1] <= self._answered:
            deadlines.popleft()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._lose("the connection to the state store was lost")
        if not self._closed.done():
            self._closed.set_result(None)

    def _lose(self, why: str) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._outgoing.clear()
        self._deadlines.clear()
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(StateLost(why))

    async def aclose(self) -> None:
        """Close it; calls under way fail."""
        if self._transport is not None:
            self._lose("the connection to the state store was closed")
            await self._closed


async def connect(where: Address, *, timeout: float) -> Connection:
    """Open a connection, say who we are, and choose the database.

    Raises:
        StateLost: it cannot be reached, or does not let us in.
    """
    loop = asyncio.get_running_loop()

    def made() -> Connection:
        return Connection(timeout)

    try:
        async with asyncio.timeout(timeout):
            if where.path is not None:
                _, connection = await loop.create_unix_connection(made, where.path)
            else:
                tls = _tls(where) if where.tls else None
                _, connection = await loop.create_connection(made, where.host, where.port, ssl=tls)
    except TimeoutError:
        raise StateLost(f"the state store was not reached within {timeout:g} s") from None
    except OSError as error:
        raise StateLost(f"the state store cannot be reached: {error}") from error
    try:
        if where.password is not None:
            named = (where.user, where.password) if where.user else (where.password,)
            _check("AUTH", await connection.call(pack("AUTH", *named)))
        if where.database:
            _check("SELECT", await connection.call(pack("SELECT", where.database)))
    except BaseException:
        await connection.aclose()
        raise
    return connection


def _check(command: str, answer: Answer) -> None:
    if isinstance(answer, hiredis.ReplyError):
        raise StateLost(f"the state store refuses {command}: {answer}")


def _tls(where: Address) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=where.authorities)
    if where.certificate is not None:
        context.load_cert_chain(where.certificate, where.private_key)
    return context
