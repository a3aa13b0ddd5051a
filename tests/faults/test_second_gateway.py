"""Gateways with one database: those that count in memory are alone on it, or do not start."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.app.alone import TTL
from tests.builders import OWN_ENDPOINT
from tests.contract.sandbox.caller import request
from tests.fakes import forms
from tests.fakes.gateway_process import GatewayProcess
from tests.servers.redis_server import RedisServer

pytestmark = pytest.mark.faults
PEPPER = "ab" * 32
CANNOT = "counters in memory cannot be shared"
LEASE = "SELECT until_ms FROM leases WHERE name = 'counters in memory'"
REMEDY = "set 'state.url' to "


class Replicas:
    """Gateways on one database, each with a data folder of its own."""

    def __init__(self, folder: Path, url: str, up: AsyncExitStack) -> None:
        self._folder = folder
        self._url = url
        self._up = up

    async def one(self, name: str, **more: Any) -> GatewayProcess:
        """A gateway that does not run yet."""
        folder = self._folder / name
        folder.mkdir()
        settings = {
            "database": {"url": self._url},
            "auth": {"pepper": PEPPER},
            "endpoints": [{**OWN_ENDPOINT, "api_key": "sk-own"}],
            **more,
        }
        gateway = GatewayProcess(folder, settings, form=forms.ONE)
        return await self._up.enter_async_context(gateway)

    async def serving(self, name: str, **more: Any) -> GatewayProcess:
        """A gateway that serves."""
        gateway = await self.one(name, **more)
        await gateway.start()
        return gateway


@pytest.fixture
async def replicas(tmp_path: Path, postgres_url: str) -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as up:
        yield Replicas(tmp_path, postgres_url, up)


async def serves(gateway: GatewayProcess) -> bool:
    return (await request(gateway, "GET", "/readyz")).status == 200


async def refused(gateway: GatewayProcess) -> str:
    """What a gateway says that does not start."""
    await gateway.begin()
    assert await gateway.ended(within=60.0) == 2, gateway.log
    (line,) = [line for line in gateway.log if line.startswith("tidegate:")]
    return line


async def until(true: Callable[[], bool], within: float) -> None:
    """Return once it is so; of other processes nothing can be awaited."""
    async with asyncio.timeout(within):
        while not true():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)


async def test_a_second_one_that_counts_in_memory_is_refused(replicas: Replicas) -> None:
    first, second = await replicas.serving("first"), await replicas.one("second")
    line = await refused(second)
    assert line.startswith("tidegate: database.url: another gateway, on ")
    assert CANNOT in line
    assert REMEDY in line
    assert await serves(first)
    assert await first.stop() == 0
    begun = time.monotonic()
    await second.start()  # what stopped in order keeps nobody waiting
    assert time.monotonic() - begun < TTL
    assert not [line for line in second.log if "looking for" in line]


async def test_of_two_that_start_at_once_one_serves(replicas: Replicas) -> None:
    both = [await replicas.one(name) for name in ("first", "second")]
    for gateway in both:
        await gateway.begin()
    await until(lambda: any("tidegate: database.url" in text for g in both for text in g.log), 60)
    loser = next(one for one in both if any("tidegate: database.url" in text for text in one.log))
    (winner,) = [one for one in both if one is not loser]
    assert await loser.ended() == 2
    await winner.ready()
    assert await serves(winner)


async def test_one_with_shared_counters_is_refused_beside_it_and_the_other_way_round(
    replicas: Replicas, redis_server: RedisServer
) -> None:
    state = {"url": redis_server.url, "prefix": "second-gateway"}
    alone, shared = await replicas.serving("alone"), await replicas.one("shared", state=state)
    line = await refused(shared)
    assert line.startswith("tidegate: state.url: another gateway, on ")
    assert REMEDY in line
    assert await alone.stop() == 0
    await shared.start()
    line = await refused(alone)
    assert "1 other gateway process(es) serve from this database" in line
    assert CANNOT in line
    assert await serves(shared)
    beside = await replicas.serving("beside", state=state)
    assert await serves(beside)


async def test_one_that_crashed_is_back_at_once_and_says_what_it_waits_for(
    replicas: Replicas,
) -> None:
    gateway = await replicas.serving("first")
    gateway.kill()
    await gateway.ended()
    assert len(gateway.read("SELECT id FROM workers")) == 1
    begun = time.monotonic()
    await gateway.start()
    assert time.monotonic() - begun < TTL, "the lease is that of its own data folder"
    assert [line for line in gateway.log if "looking for 3 s whether they live" in line]
    # All that the other did is in the ledger: its row is gone, and the next start waits for nothing.
    assert len(gateway.read("SELECT id FROM workers")) == 1


async def test_another_takes_the_place_of_one_that_crashed(replicas: Replicas) -> None:
    first, second = await replicas.serving("first"), await replicas.one("second")
    first.kill()
    await first.ended()
    await second.start()
    assert [line for line in second.log if f"looking for up to {TTL:.0f} s which" in line]
    assert await serves(second)


async def test_one_that_hung_while_another_took_its_place_stops(replicas: Replicas) -> None:
    first, second = await replicas.serving("first"), await replicas.one("second")
    renewed = first.read(LEASE)
    # Not within a transaction, in which it would hold the row.
    await until(lambda: first.read(LEASE) != renewed, TTL)
    os.kill(first.pid, signal.SIGSTOP)
    await second.start()
    os.kill(first.pid, signal.SIGCONT)
    assert await first.ended() == 0
    assert [line for line in first.log if "another one took its place" in line]
    assert await serves(second)
