"""No connection is opened to an address that an upstream may not be at, whatever its name says."""

import socket
from collections.abc import Sequence

import pytest

from backends.errors import AddressRefused
from backends.http_dial import Address, Dialer, Opening
from backends.http_proxy import Exemptions, Proxy
from backends.values import Origin
from tests.contract.http.clients import Ask, Clients
from tests.fakes.raw_server import Peer, RawServer, serve

FOREIGN = Origin("http", "api.example", 80)
PUBLIC: Address = (socket.AF_INET, ("8.8.8.8", 80))


async def obliging(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.reply()


class Names:
    """A resolver with an answer for each time that it is asked; the last one for ever."""

    def __init__(self, *answers: Sequence[Address]) -> None:
        self.answers = [*answers]
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def at(server: RawServer) -> Address:
    return socket.AF_INET, (server.origin.host, server.origin.port)


def not_local(server: RawServer, host: str = "127.0.0.1") -> Origin:
    return Origin(server.origin.scheme, host, server.origin.port)


async def refused(ask: Ask, origin: Origin) -> str:
    with pytest.raises(AddressRefused) as caught:
        await ask(origin)
    assert caught.value.code == "connect_failed"
    return str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433"])
async def test_an_address_of_ones_own_machine_is_not_dialled(clients: Clients, host: str) -> None:
    async with serve(obliging) as server:
        told = await refused(clients.new(), not_local(server, host))
        assert "127.0.0.1 is a loopback address: set 'local: true'" in told
        assert server.peers == []


async def test_a_local_upstream_is_dialled_at_the_same_address(clients: Clients) -> None:
    async with serve(obliging) as server:
        assert await clients.new().read(server.origin) == b"ok"


async def test_https_is_no_way_around(clients: Clients) -> None:
    async with serve(obliging) as server:
        await refused(clients.new(), Origin("https", "127.0.0.1", server.origin.port))
        assert server.peers == []


async def test_a_name_counts_as_what_it_means(clients: Clients) -> None:
    async with serve(obliging) as server:
        ask = clients.new(dialer=Dialer(resolve=Names([at(server)])))
        assert "127.0.0.1 is a loopback address" in await refused(ask, FOREIGN)
        assert server.peers == []


async def test_a_name_is_checked_again_for_each_connection(clients: Clients) -> None:
    async with serve(obliging) as server:
        names = Names([(socket.AF_INET, ("10.0.0.1", 80))], [at(server)])
        ask = clients.new(dialer=Dialer(resolve=names))
        assert "10.0.0.1" in await refused(ask, FOREIGN)
        assert "127.0.0.1" in await refused(ask, FOREIGN)
        assert server.peers == []


async def test_what_was_checked_is_what_is_dialled(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled: list[Address] = []

    async def note(_: Opening, address: Address) -> socket.socket:
        dialled.append(address)
        raise OSError("not in a test")

    monkeypatch.setattr(Opening, "_attempt", note)
    names = Names([PUBLIC], [(socket.AF_INET, ("127.0.0.1", 80))])  # rebound after the first answer
    ask = clients.new(dialer=Dialer(resolve=names))
    with pytest.raises(Exception, match="not in a test"):
        await ask(FOREIGN)
    assert (dialled, names.asked) == ([PUBLIC], 1)


async def test_private_addresses_among_public_ones_are_passed_over(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled: list[Address] = []

    async def note(_: Opening, address: Address) -> socket.socket:
        dialled.append(address)
        raise OSError("not in a test")

    monkeypatch.setattr(Opening, "_attempt", note)
    mapped: Address = (socket.AF_INET6, ("::ffff:127.0.0.1", 80, 0, 0))
    names = Names([(socket.AF_INET, ("169.254.169.254", 80)), mapped, PUBLIC])
    with pytest.raises(Exception, match="not in a test"):
        await clients.new(dialer=Dialer(resolve=names))(FOREIGN)
    assert dialled == [PUBLIC]


@pytest.mark.parametrize("address", ["169.254.169.254", "100.100.100.200"])
async def test_metadata_services_are_not_dialled_for_local_upstreams_either(
    clients: Clients, address: str
) -> None:
    names = Names([(socket.AF_INET, (address, 80))])
    ask = clients.new(dialer=Dialer(resolve=names))
    told = await refused(ask, Origin("http", "gpu", 80, local=True))
    assert f"{address} is a cloud's metadata service" in told


async def test_a_connection_of_a_local_upstream_is_for_no_other(clients: Clients) -> None:
    async with serve(obliging) as server:
        ask = clients.new()
        assert await ask.read(server.origin) == b"ok"
        assert ask.client.stats()[server.origin].idle == 1
        await refused(ask, not_local(server))
        assert len(server.peers) == 1


async def test_an_address_written_out_does_not_go_to_a_proxy_either(clients: Clients) -> None:
    async with serve(obliging) as server:
        proxy = Proxy("http", server.origin.host, server.origin.port)
        ask = clients.new(dialer=Dialer(proxy=proxy))
        for host in ("10.0.0.1", "169.254.169.254"):
            assert host in await refused(ask, Origin("http", host, 80))
        assert server.peers == []


async def test_who_is_exempt_from_the_proxy_is_checked(clients: Clients) -> None:
    async with serve(obliging) as server:
        dialer = Dialer(
            proxy=Proxy("http", "proxy.example", 3128),
            exemptions=Exemptions(["api.example"]),
            resolve=Names([at(server)]),
        )
        await refused(clients.new(dialer=dialer), FOREIGN)


async def test_a_proxy_may_be_anywhere_but_at_a_metadata_service(clients: Clients) -> None:
    proxy = Proxy("http", "169.254.169.254", 80)
    assert "metadata" in await refused(clients.new(dialer=Dialer(proxy=proxy)), FOREIGN)
