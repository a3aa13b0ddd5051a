"""Names mean several addresses, and other ones tomorrow: both are followed, within the connect deadline."""

import asyncio
import socket
from collections.abc import Iterator, Sequence

import pytest

from backends import http_dial
from backends.errors import ConnectFailed, UpstreamTimeout
from backends.http import ClientLimits, OriginStats
from backends.http_dial import ATTEMPT_DELAY, Address, Dialer
from backends.http_proxy import Proxy
from backends.values import Deadlines, Origin
from tests.contract.http.clients import Ask, Clients, becomes_true
from tests.fakes.raw_server import Peer, RawServer, serve

NAMED = Origin("http", "api.example", 80, local=True)


class Names:
    """A resolver that answers what the test says, and counts."""

    def __init__(self, *servers: RawServer) -> None:
        self.addresses: list[Address] = [_at(server) for server in servers]
        self.asked: list[tuple[str, int]] = []
        self.answering = asyncio.Event()
        self.answering.set()

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append((host, port))
        await self.answering.wait()
        return [*self.addresses]

    def client(self, clients: Clients, limits: ClientLimits | None = None) -> Ask:
        return clients.new(limits, dialer=Dialer(resolve=self))


def _at(server: RawServer) -> Address:
    return socket.AF_INET, (server.origin.host, server.origin.port)


async def obliging(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.reply()


async def closed_port() -> Address:
    async with serve(obliging) as server:
        return _at(server)


@pytest.fixture
async def refusing() -> Address:
    return await closed_port()


class Silent:
    """An address that neither takes nor refuses: a socket whose backlog is full."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.address: Address = (socket.AF_INET, self._listener.getsockname())
        self._fill = [socket.socket() for _ in range(4)]
        for sock in self._fill:
            sock.setblocking(False)
            sock.connect_ex(self.address[1])

    def close(self) -> None:
        for sock in (self._listener, *self._fill):
            sock.close()


@pytest.fixture
def silent() -> Iterator[Silent]:
    made = Silent()
    yield made
    made.close()


async def test_change_of_address_is_followed_when_the_connection_has_its_age(
    clients: Clients,
) -> None:
    async with serve(obliging) as before, serve(obliging) as after:
        names = Names(before)
        ask = names.client(clients, ClientLimits(max_age=60, idle_seconds=1000))
        await ask.read(NAMED)
        names.addresses = [_at(after)]
        clients.skipped += 50
        await ask.read(NAMED)
        assert (len(before.peers), len(after.peers)) == (1, 0)
        clients.skipped += 10
        await ask.read(NAMED)  # comes in on the old connection, which is then given up
        assert ask.client.stats()[NAMED] == OriginStats(open=0, idle=0, waiting=0)
        await ask.read(NAMED)
        assert (len(before.peers), len(after.peers)) == (1, 1)
        assert names.asked == [("api.example", 80)] * 2


async def test_connections_opened_together_do_not_all_end_together(clients: Clients) -> None:
    ready = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await ready.wait()
            await peer.reply()

    async def together() -> None:
        ready.clear()
        reads = [asyncio.create_task(ask.read(NAMED)) for _ in range(8)]
        await becomes_true(lambda: ask.client.stats().get(NAMED) == OriginStats(8, 0, 0))
        ready.set()
        await asyncio.gather(*reads)

    async with serve(script) as server:
        ask = Names(server).client(clients, ClientLimits(max_age=100, idle_seconds=1000))
        await together()
        clients.skipped += 89
        await together()
        assert ask.client.stats()[NAMED].open == 8
        clients.skipped += 6
        await together()
        assert 0 < ask.client.stats()[NAMED].open < 8
        clients.skipped += 6
        await together()
        assert len(server.peers) > 8


async def test_refused_address_gives_way_to_the_next_at_once(
    clients: Clients, refusing: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_dial, "ATTEMPT_DELAY", 60)  # longer than the test may take
    async with serve(obliging) as server:
        names = Names(server)
        names.addresses.insert(0, refusing)
        assert await names.client(clients).read(NAMED) == b"ok"


async def test_silent_address_gives_way_to_the_next(clients: Clients, silent: Silent) -> None:
    async with serve(obliging) as server:
        names = Names(server)
        names.addresses.insert(0, silent.address)
        ask = names.client(clients)
        response = await ask(NAMED, deadlines=Deadlines(connect=5))
        assert await response.read_all() == b"ok"


async def test_second_address_is_not_waited_for_where_the_first_answers(
    clients: Clients, silent: Silent
) -> None:
    async with serve(obliging) as server:
        names = Names(server)
        names.addresses.append(silent.address)  # never gets its turn
        assert await names.client(clients).read(NAMED) == b"ok"


async def test_all_addresses_refusing_are_all_named(clients: Clients) -> None:
    first, second = await closed_port(), await closed_port()
    names = Names()
    names.addresses = [first, second]
    ask = names.client(clients)
    with pytest.raises(ConnectFailed) as caught:
        await ask(NAMED)
    for _, (host, port) in (first, second):
        assert f"{host}:{port}: Connection refused" in str(caught.value)
    assert ask.client.stats()[NAMED].open == 0


async def test_silent_addresses_are_bounded_by_connect_and_named(
    clients: Clients, silent: Silent
) -> None:
    names = Names()
    names.addresses = [silent.address] * 2
    ask = names.client(clients)
    with pytest.raises(UpstreamTimeout) as caught:
        await ask(NAMED, deadlines=Deadlines(connect=0.4))
    assert caught.value.phase == "connect"
    assert f"connecting to 127.0.0.1:{silent.address[1][1]}" in str(caught.value)
    assert ask.client.stats()[NAMED].open == 0


async def test_families_take_turns(clients: Clients) -> None:
    """RFC 8305: where IPv6 is broken, IPv4 must not wait until all addresses of it were tried."""
    _, (_, port) = await closed_port()
    names = Names()
    names.addresses = [
        *((socket.AF_INET6, ("::1", port, number, 0)) for number in range(3)),
        (socket.AF_INET, ("127.0.0.1", port)),
    ]
    with pytest.raises(ConnectFailed) as caught:
        await names.client(clients)(NAMED)
    tried = [part.strip().rpartition(":")[0] for part in str(caught.value)[13:].split(";")]
    assert tried == [f"[::1]:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", f"[::1]:{port}"]


async def test_name_without_addresses_is_connect_failed(clients: Clients) -> None:
    with pytest.raises(ConnectFailed, match=r"api\.example has no address"):
        await Names().client(clients)(NAMED)


async def test_lookup_that_fails_is_connect_failed_with_its_reason(clients: Clients) -> None:
    async def broken(host: str, port: int) -> Sequence[Address]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    ask = clients.new(dialer=Dialer(resolve=broken))
    with pytest.raises(ConnectFailed, match=r"^api\.example: .*Temporary failure"):
        await ask(NAMED)


async def test_lookup_that_never_ends_is_bounded_by_connect(clients: Clients) -> None:
    names = Names()
    names.answering.clear()
    ask = names.client(clients)
    with pytest.raises(UpstreamTimeout) as caught:
        await ask(NAMED, deadlines=Deadlines(connect=0.05))
    assert (caught.value.phase, caught.value.seconds) == ("connect", 0.05)
    assert "looking api.example up" in str(caught.value)
    names.answering.set()


async def test_requests_that_open_at_the_same_time_share_one_lookup(clients: Clients) -> None:
    async with serve(obliging) as server:
        names = Names(server)
        names.answering.clear()
        ask = names.client(clients)
        reads = [asyncio.create_task(ask.read(NAMED)) for _ in range(5)]
        await becomes_true(lambda: ask.client.stats().get(NAMED) == OriginStats(5, 0, 0))
        reads[0].cancel()  # who asked first leaves: the others still get their answer
        await asyncio.sleep(0)
        names.answering.set()
        assert await asyncio.gather(*reads[1:]) == [b"ok"] * 4
        assert names.asked == [("api.example", 80)]


async def test_address_in_the_url_is_not_looked_up(clients: Clients) -> None:
    async with serve(obliging) as server:
        names = Names()
        assert await names.client(clients).read(server.origin) == b"ok"
        assert not names.asked


async def test_behind_a_proxy_only_the_proxy_is_looked_up(clients: Clients) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await obliging(peer)

    async with serve(script) as proxy:
        names = Names(proxy)
        where = Proxy.of("http://proxy.example:3128")
        ask = clients.new(dialer=Dialer(proxy=where, resolve=names))
        assert await ask.read(NAMED) == b"ok"
        assert names.asked == [("proxy.example", 3128)]


async def test_cancelled_race_leaves_no_socket(clients: Clients, silent: Silent) -> None:
    names = Names()
    names.addresses = [silent.address] * 3
    ask = names.client(clients)
    task = asyncio.create_task(ask(NAMED))
    await asyncio.sleep(ATTEMPT_DELAY * 1.5)  # two attempts are under way: the race is the point
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ask.client.stats()[NAMED].open == 0
    await becomes_true(lambda: asyncio.all_tasks() == {asyncio.current_task()})
    # A socket left open would be a ResourceWarning, which is an error.
