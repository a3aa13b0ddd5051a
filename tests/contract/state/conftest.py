"""The stores that must count alike: memory, and a real Redis."""

from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.store.state.memory import MemoryState
from gateway.store.state.redis import RedisCounters
from tests.contract.state.stores import RedisStore, Store
from tests.fakes.clock import HandClock
from tests.servers.redis_server import RedisServer


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """One that the test may kill; what was written outlives that."""
    with RedisServer(persistence=True) as server:
        yield server


@pytest.fixture
async def counters(redis_server: RedisServer) -> AsyncIterator[RedisCounters]:
    made = RedisCounters(redis_server.url, timeout=20.0)
    await made.connect()
    yield made
    await made.aclose()


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Store:
    """What each test of the suite runs on."""
    if request.param == "memory":
        return MemoryState(HandClock())
    return RedisStore(request.getfixturevalue("counters"))
