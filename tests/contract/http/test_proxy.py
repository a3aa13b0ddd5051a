"""Through a proxy: the same as without one, by CONNECT; and clear words where the proxy fails."""

import asyncio
import base64
import contextlib
import logging
import ssl
from typing import Any

import pytest

from backends.errors import BackendError, ConnectFailed, ConnectionLost, UpstreamTimeout
from backends.http import OriginStats
from backends.http_dial import Dialer, Opening, Route
from backends.http_proxy import Exemptions, Proxy
from backends.http_tls import TlsFiles
from backends.values import Deadlines, Origin
from tests.contract.http.certificates import Authority
from tests.contract.http.clients import PATIENT, Ask, Clients
from tests.fakes.proxy import ESTABLISHED, TunnelScript
from tests.fakes.raw_server import Peer, Script, serve

FAR = Origin("https", "origin.example", 443)  # a name that only the proxy knows
FAR_PLAIN = Origin("http", "origin.example", 8000)
LARGE = bytes(range(256)) * 16_384


@pytest.fixture(scope="session")
def far(authority: Authority) -> ssl.SSLContext:
    return authority.server("DNS:origin.example")


async def obliging(peer: Peer) -> None:
    while True:
        request = await peer.request()
        await peer.reply(request.body or b"ok")


def through(
    clients: Clients, proxy: Origin, authority: Authority | None = None, *, user: str = ""
) -> Ask:
    url = f"{proxy.scheme}://{user and user + '@'}{proxy.host}:{proxy.port}"
    tls = TlsFiles(ca_file=None if authority is None else authority.file)
    return clients.new(dialer=Dialer(tls=tls, proxy=Proxy.of(url)))


def answering(data: bytes, *, close: bool = False) -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)
        if close:
            peer.close()
        await peer.until_gone()

    return script


async def failure(ask: Ask, origin: Origin = FAR, deadlines: Deadlines = PATIENT) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await ask(origin, deadlines=deadlines)
    assert ask.client.stats()[origin] == OriginStats(open=0, idle=0, waiting=0)
    return caught.value


async def test_https_origin_is_verified_by_its_own_name_and_its_connection_kept(
    clients: Clients, authority: Authority, far: ssl.SSLContext
) -> None:
    async with serve(obliging, tls=far) as origin:
        script = TunnelScript(origin.origin)
        async with serve(script) as proxy:
            ask = through(clients, proxy.origin, authority)
            for _ in range(3):
                assert await ask.read(FAR) == b"ok"
            response = await ask(FAR, [b"<", memoryview(LARGE), b">"])
            assert await response.read_all() == b"<" + LARGE + b">"
            assert len(proxy.peers) == 1
    (asked,) = script.asked
    assert asked.head.startswith(
        b"CONNECT origin.example:443 HTTP/1.1\r\nHost: origin.example:443\r\n"
    )
    assert asked.header("proxy-authorization") is None


async def test_plain_http_origin_is_reached_by_connect_too(clients: Clients) -> None:
    async with serve(obliging) as origin:
        script = TunnelScript(origin.origin)
        async with serve(script) as proxy:
            ask = through(clients, proxy.origin)
            for _ in range(2):
                assert await ask.read(FAR_PLAIN) == b"ok"
            assert len(origin.peers) == 1
    assert script.asked[0].head.startswith(b"CONNECT origin.example:8000 HTTP/1.1\r\n")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_proxy_may_be_spoken_to_over_tls(
    clients: Clients,
    authority: Authority,
    far: ssl.SSLContext,
    localhost: ssl.SSLContext,
    scheme: str,
) -> None:
    async with serve(obliging, tls=far if scheme == "https" else None) as origin:
        script = TunnelScript(origin.origin)
        async with serve(script, tls=localhost) as proxy:
            where = Origin("https", "localhost", proxy.origin.port, local=True)
            ask = through(clients, where, authority)
            target = FAR if scheme == "https" else FAR_PLAIN
            response = await ask(target, [LARGE])
            assert await response.read_all() == LARGE
            assert await ask.read(target) == b"ok"
            assert len(proxy.peers) == 1


async def test_proxy_over_tls_is_verified(
    clients: Clients, localhost: ssl.SSLContext, far: ssl.SSLContext
) -> None:
    async with serve(obliging, tls=localhost) as proxy:
        error = await failure(
            through(clients, Origin("https", "localhost", proxy.origin.port, local=True))
        )
        assert isinstance(error, ConnectFailed)
        assert f"proxy https://localhost:{proxy.origin.port}: " in str(error)
        assert "certificate" in str(error)


async def test_certificate_of_another_host_behind_the_proxy_is_refused(
    clients: Clients, authority: Authority, localhost: ssl.SSLContext
) -> None:
    async with (
        serve(obliging, tls=localhost) as origin,
        serve(TunnelScript(origin.origin)) as proxy,
    ):
        error = await failure(through(clients, proxy.origin, authority))
        assert isinstance(error, ConnectFailed)
        assert "origin.example" in str(error)
        assert "through the proxy http://127.0.0.1:" in str(error)
        assert "certificate" in str(error)


async def test_credential_goes_to_the_proxy_and_nowhere_else(
    clients: Clients, authority: Authority, far: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[bytes] = []

    async def origin_script(peer: Peer) -> None:
        seen.append((await peer.request()).head)
        await peer.reply()

    async with serve(origin_script, tls=far) as origin:
        script = TunnelScript(origin.origin)
        async with serve(script) as proxy:
            ask = through(clients, proxy.origin, authority, user="us%40er:p%3Aa%2Fss")
            assert await ask.read(FAR) == b"ok"
    credential = base64.b64encode(b"us@er:p:a/ss").decode()
    assert script.asked[0].header("proxy-authorization") == f"Basic {credential}"
    assert b"roxy" not in seen[0]
    assert credential not in caplog.text


@pytest.mark.parametrize("status", [b"407 Basic dXNlcjpzM2NyZXQ=", b"502 s3cret", b"599 s3cret"])
async def test_refusal_names_proxy_status_and_origin_but_no_secret(
    clients: Clients, status: bytes
) -> None:
    reply = b"HTTP/1.1 %b\r\nContent-Length: 6\r\n\r\ns3cret" % status
    async with serve(answering(reply)) as proxy:
        error = await failure(through(clients, proxy.origin, user="user:s3cret"))
        await proxy.peers[0].gone.wait()
    assert isinstance(error, ConnectFailed)
    assert str(error).startswith(
        f"proxy http://127.0.0.1:{proxy.origin.port} answered {status[:3].decode()}"
    )
    assert error.native_code == f"proxy_{status[:3].decode()}"
    assert error.status is None  # it is not the provider's
    for text in (str(error), repr(error), error.public):
        assert "s3cret" not in text
        assert "dXNlcjpzM2NyZXQ" not in text


@pytest.mark.parametrize(
    ("user", "advice"),
    [("", "put a user and a password into its URL"), ("u:p", "check the user and the password")],
)
async def test_407_says_what_to_do(clients: Clients, user: str, advice: str) -> None:
    reply = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    async with serve(answering(reply)) as proxy:
        error = await failure(through(clients, proxy.origin, user=user))
    assert "407 Proxy Authentication Required" in str(error)
    assert advice in str(error)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not answer as an HTTP proxy"),
        (b"H", "closed the connection before it had answered"),
        (b"", "closed the connection before it had answered"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", "does not answer as an HTTP proxy"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "does not answer as an HTTP proxy"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, "a head of over 16384 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "sent 5 bytes more"),
    ],
    ids=["garbage", "cut", "closed", "status", "version", "head", "body"],
)
async def test_proxy_that_breaks_the_protocol_is_named(
    clients: Clients, answer: bytes, said: str
) -> None:
    async with serve(answering(answer, close=len(answer) < 2)) as proxy:
        error = await failure(through(clients, proxy.origin))
    assert isinstance(error, ConnectFailed)
    assert str(error).startswith(f"proxy http://127.0.0.1:{proxy.origin.port} ")
    assert said in str(error)


async def test_answer_of_the_proxy_may_come_byte_by_byte_after_an_interim_one(
    clients: Clients, authority: Authority, far: ssl.SSLContext
) -> None:
    async with serve(obliging, tls=far) as origin:

        async def script(peer: Peer) -> None:
            for byte in b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 \r\nVia: x\r\n":
                await peer.send(bytes([byte]))
                await asyncio.sleep(0)
            await TunnelScript(origin.origin, answer=b"\r\n")(peer)

        async with serve(script) as proxy:
            assert await through(clients, proxy.origin, authority).read(FAR) == b"ok"


async def test_proxy_that_never_answers_is_bounded_by_connect_and_named(clients: Clients) -> None:
    async def mute(peer: Peer) -> None:
        await peer.until_gone()

    async with serve(mute) as proxy:
        ask = through(clients, proxy.origin, user="user:s3cret")
        error = await failure(ask, FAR, Deadlines(connect=0.05))
        assert isinstance(error, UpstreamTimeout)
        assert error.phase == "connect"
        assert f"waiting for the proxy http://127.0.0.1:{proxy.origin.port}" in str(error)
        assert "s3cret" not in str(error)
        await proxy.peers[0].gone.wait()


async def test_handshake_that_never_ends_behind_the_proxy_is_bounded(clients: Clients) -> None:
    async with serve(answering(ESTABLISHED)) as proxy:
        error = await failure(through(clients, proxy.origin), FAR, Deadlines(connect=0.1))
        assert isinstance(error, UpstreamTimeout)
        assert "TLS handshake through the proxy" in str(error)
        await proxy.peers[0].gone.wait()


@pytest.mark.parametrize("origin", [FAR, FAR_PLAIN], ids=["https", "http"])
async def test_tunnel_that_closes_at_once_is_a_failure_and_no_hang(
    clients: Clients, origin: Origin
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ESTABLISHED)
        peer.close()

    async with serve(script) as proxy:
        await failure(through(clients, proxy.origin), origin)


async def test_far_end_that_speaks_first_breaks_nothing_but_its_own_exchange(
    clients: Clients, authority: Authority, far: ssl.SSLContext
) -> None:
    async def rude(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        peer.close()

    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    async with serve(rude, tls=far) as origin, serve(TunnelScript(origin.origin)) as proxy:
        ask = through(clients, proxy.origin, authority)
        # Whether it was sent before or after our request, nobody can tell from here.
        with contextlib.suppress(BackendError):
            assert (await ask(FAR)).status == 408
        assert ask.client.stats()[FAR].open == 0
    assert not faults


class EagerLoop:
    """The loop, but that what the far end says comes in before TLS is told to be ready."""

    def __init__(self, loop: asyncio.AbstractEventLoop, early: bytes) -> None:
        self._loop = loop
        self._early = early

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def start_tls(
        self, transport: asyncio.Transport, protocol: asyncio.Protocol, *words: Any, **more: Any
    ) -> asyncio.Transport | None:
        inner = await self._loop.start_tls(transport, protocol, *words, **more)
        if self._early:
            protocol.data_received(self._early)
        else:
            protocol.eof_received()
        return inner


@pytest.mark.parametrize("early", [b"HTTP/1.1 408 Request Timeout\r\n", b""])
async def test_what_comes_before_tls_is_told_to_be_ready_ends_the_connection(
    clients: Clients,
    authority: Authority,
    far: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    early: bytes,
) -> None:
    begin = Opening.__init__

    def begin_eagerly(opening: Opening, dialer: Dialer, route: Route) -> None:
        begin(opening, dialer, route)
        monkeypatch.setattr(opening, "_loop", EagerLoop(opening._loop, early))

    async with serve(obliging, tls=far) as origin, serve(TunnelScript(origin.origin)) as proxy:
        ask = through(clients, proxy.origin, authority)
        monkeypatch.setattr(Opening, "__init__", begin_eagerly)
        assert isinstance(await failure(ask), ConnectionLost)
        await proxy.peers[0].gone.wait()


async def test_cancelled_opening_leaves_nothing_at_the_proxy(clients: Clients) -> None:
    async with serve(answering(b"")) as proxy:
        ask = through(clients, proxy.origin)
        task = asyncio.create_task(ask(FAR))
        peer = await proxy.peer(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await peer.gone.wait()
        assert ask.client.stats()[FAR].open == 0


async def test_proxy_that_refuses_connections_is_named(clients: Clients) -> None:
    async with serve(obliging) as server:
        gone = server.origin
    error = await failure(through(clients, gone))
    assert isinstance(error, ConnectFailed)
    assert f"origin.example: proxy http://127.0.0.1:{gone.port}: " in str(error)
    assert "refused" in str(error)


async def test_exempt_hosts_are_reached_directly(clients: Clients) -> None:
    async with serve(obliging) as server, serve(answering(b"no")) as proxy:
        url = f"http://127.0.0.1:{proxy.origin.port}"
        ask = clients.new(dialer=Dialer(proxy=Proxy.of(url), exemptions=Exemptions()))
        assert await ask.read(server.origin) == b"ok"  # a loopback address
        assert await ask.read(Origin("http", "localhost", server.origin.port, local=True)) == b"ok"
        assert not proxy.peers
