"""Every test here runs on asyncio's own event loop and on uvloop."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from tests.contract.http.certificates import Authority
from tests.contract.http.clients import Ask, Clients


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    clients = Clients()
    yield clients
    for client in clients.made:
        await client.aclose()


@pytest.fixture
async def ask(clients: Clients) -> Ask:
    return clients.new()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def localhost(authority: Authority) -> ssl.SSLContext:
    return authority.server("DNS:localhost")


@pytest.fixture
async def trusting(clients: Clients, authority: Authority) -> Ask:
    return clients.new(ca_file=authority.file)
