"""Proxies that upstreams are reached through: where they are, whom they are not for, how they are asked.

Every origin behind a proxy, plain http included, is reached by CONNECT (RFC 9110 §9.3.6): so the proxy
sees names and ports and no prompt of an https origin, and connections, deadlines and framing stay the
same as without it.
"""

import asyncio
import base64
import ipaddress
import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import cast
from urllib.parse import unquote_to_bytes, urlsplit

from msgspec import Struct
from typing_extensions import override

from backends.errors import ConnectFailed
from backends.secret import Secret

_SCHEMES = {"http": 80, "https": 443}
_MAX_HEAD = 16_384  # bytes of a proxy's answer
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?\r\n")
_START = b"HTTP/1."
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxy(Struct, frozen=True):
    """Where a proxy is and what it wants to hear. Prints without its credential.

    Attributes:
        scheme: `http`, or `https` for one that is spoken to over TLS.
        authorization: the value of Proxy-Authorization.
    """

    scheme: str
    host: str
    port: int
    authorization: Secret | None = None

    @classmethod
    def of(cls, url: str) -> "Proxy":
        """The proxy that a URL such as `http://user:password@proxy.example:3128` names.

        Raises:
            ValueError: it names none. The message holds nothing of the URL, which may hold a password.
        """
        try:
            parts = urlsplit(url)
            port, host = parts.port, parts.hostname
        except ValueError:
            raise ValueError(_NO_PROXY_URL) from None
        default = _SCHEMES.get(parts.scheme)
        bare = parts.path in {"", "/"} and not parts.query and not parts.fragment
        if default is None or not host or not host.isascii() or not bare or port == 0:
            raise ValueError(_NO_PROXY_URL)
        authorization = None
        if parts.username is not None:
            user = unquote_to_bytes(parts.username)
            if b":" in user:
                raise ValueError("the proxy's user name must not hold a colon (RFC 7617)")
            both = base64.b64encode(b"%b:%b" % (user, unquote_to_bytes(parts.password or "")))
            authorization = Secret("Basic " + both.decode())
        return cls(parts.scheme, host, port or default, authorization)

    @override
    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @override
    def __repr__(self) -> str:
        return f"<Proxy {self}>"


_NO_PROXY_URL = (
    "must be an address such as http://proxy.example:3128, with a user and a password before the"
    " host if it wants them (special characters percent-encoded), and nothing after the port"
)


class Exemptions:
    """Hosts that are reached without the proxy.

    Loopback addresses and `localhost` always are: to a proxy they are another machine. The forms are
    those of Go's httpproxy (golang.org/x/net v0.30, October 2024), which most tools follow:

    - `example.com`: this host and all below it; `.example.com` or `*.example.com`: only those below it;
    - `10.0.0.7`, `fd00::7`: this address; `10.0.0.0/8`: the addresses of this network. Names are not
      looked up for these: they are compared with what stands in the endpoint's URL;
    - each of the above, but networks, with `:port`: only on this port;
    - `*`: everything.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        """Raises ValueError: an entry has none of the forms."""
        self._all = False
        self._hosts: set[tuple[str, int | None]] = set()
        self._below: set[tuple[str, int | None]] = set()
        self._networks: list[tuple[_Network, int | None]] = []
        for entry in entries:
            self._add(entry.strip().lower())

    def cover(self, host: str, port: int) -> bool:
        """Whether this host and port are exempt."""
        host = host.lower().rstrip(".")
        if self._all or host == "localhost":
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            pass
        else:
            return address.is_loopback or any(
                address in network and only in {None, port} for network, only in self._networks
            )
        if not self._hosts.isdisjoint({(host, None), (host, port)}):
            return True
        while (dot := host.find(".")) >= 0:
            host = host[dot + 1 :]
            if not self._below.isdisjoint({(host, None), (host, port)}):
                return True
        return False

    def _add(self, entry: str) -> None:
        if entry == "*":
            self._all = True
            return
        try:
            if "/" in entry:
                self._networks.append((ipaddress.ip_network(entry, strict=False), None))
                return
            host, port = _with_port(entry)
            if (network := _single(host)) is not None:
                self._networks.append((network, port))
                return
        except ValueError:
            raise ValueError(_malformed(entry)) from None
        name = host.removeprefix("*").removeprefix(".").rstrip(".")
        if not _HOST.fullmatch(name):
            raise ValueError(_malformed(entry))
        self._below.add((name, port))
        if not host.startswith(("*", ".")):
            self._hosts.add((name, port))


def _malformed(entry: str) -> str:
    return (
        f"{entry!r} is not a host, a .suffix, an address, a network such as 10.0.0.0/8, or *;"
        " a scheme and a path do not belong here"
    )


def _with_port(entry: str) -> tuple[str, int | None]:
    """Raises ValueError: what follows the colon is no port."""
    if entry.startswith("["):
        host, closed, rest = entry[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError(rest)
        text = rest[1:]
    elif entry.count(":") == 1:
        host, _, text = entry.partition(":")
    else:
        return entry, None  # a name, or an address of version 6
    if not _is_port(text):
        raise ValueError(text)
    return host, int(text) if text else None


def _is_port(text: str) -> bool:
    return not text or (text.isdecimal() and 0 < int(text) < 65_536)  # noqa: PLR2004 - TCP's


def _single(host: str) -> _Network | None:
    try:
        return ipaddress.ip_network(host)  # an address is a network of one
    except ValueError:
        return None


class Tunnel(asyncio.Protocol):
    """Asks a proxy for a way to an origin, and steps aside once there is one.

    Attributes:
        opened: done when the way is open, with reading paused; raises `ConnectFailed`.
    """

    def __init__(self, proxy: Proxy, host: str, port: int, loop: asyncio.AbstractEventLoop) -> None:
        self._proxy = proxy
        self._authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._head = b""
        self.opened: asyncio.Future[None] = loop.create_future()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        authority = self._authority.encode("ascii")
        lines: Sequence[bytes] = (
            b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n" % (authority, authority),
            b"User-Agent: tidegate\r\n",
            self._credential(),
            b"\r\n",
        )
        self._transport.write(b"".join(lines))

    @override
    def data_received(self, data: bytes) -> None:
        if self.opened.done():
            return
        head = self._head = self._head + data
        if not head.startswith(_START[: len(head)]):
            self._fail("does not answer as an HTTP proxy")
            return
        while (end := self._head.find(b"\r\n\r\n")) >= 0:
            line = _STATUS_LINE.match(self._head)
            if line is None:
                self._fail("does not answer as an HTTP proxy")
                return
            status, rest = int(line[1]), self._head[end + 4 :]
            if status >= HTTPStatus.OK:
                self._conclude(status, rest)
                return
            self._head = rest  # an interim reply: another one follows
        if len(head) > _MAX_HEAD:
            self._fail(f"answers with a head of over {_MAX_HEAD} bytes")

    @override
    def eof_received(self) -> None:
        self._fail("closed the connection before it had answered")

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"closed the connection before it had answered{f': {exc}' if exc else ''}")

    # -- inside ------------------------------------------------------------------------------------

    def _credential(self) -> bytes:
        authorization = self._proxy.authorization
        if authorization is None:
            return b""
        return b"Proxy-Authorization: %b\r\n" % authorization.reveal().encode()

    def _conclude(self, status: int, rest: bytes) -> None:
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            self._fail(f"answered {_phrase(status)}{self._advice(status)}", f"proxy_{status}")
        elif rest:
            # Nobody speaks before us at the other end: neither TLS nor HTTP. So this is the proxy's own.
            self._fail(f"sent {len(rest)} bytes more after it had answered {_phrase(status)}")
        else:
            self._transport.pause_reading()  # whatever comes now is for whoever comes next
            self.opened.set_result(None)

    def _advice(self, status: int) -> str:
        if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            if self._proxy.authorization is None:
                return ": put a user and a password into its URL"
            return ": check the user and the password in its URL"
        if status in {HTTPStatus.FORBIDDEN, HTTPStatus.METHOD_NOT_ALLOWED}:
            return f": it does not allow CONNECT to {self._authority}; change its rules, or exempt the host"
        return ""

    def _fail(self, detail: str, native_code: str = "proxy") -> None:
        if not self.opened.done():
            error = ConnectFailed(f"proxy {self._proxy} {detail}", native_code=native_code)
            self.opened.set_exception(error)


def _phrase(status: int) -> str:
    # The phrase of the standard, not the proxy's own words: those may repeat the credential.
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
