"""SIGTERM: streams under way end whole if they can in time, are told if they cannot, and are settled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from backends.sandbox import SandboxServer
from tests.contract.sandbox.caller import Caller
from tests.fakes.gateway_process import GatewayProcess
from tests.faults.books import journals, read_ledger
from tests.faults.load import PATH, chat, ended, events_of, exact, generation_of, pieces_of, told
from tests.faults.providers import endpoint

pytestmark = pytest.mark.faults

PICO = 10**12


@asynccontextmanager
async def running(folder: Path, drain_timeout: float) -> AsyncIterator[tuple[GatewayProcess, str]]:
    async with SandboxServer("moonshot") as provider:
        settings = {
            "server": {"drain_timeout": drain_timeout},
            "endpoints": [endpoint("one", provider.base_url)],
        }
        async with GatewayProcess(folder, settings) as gateway:
            key = await gateway.first_key()
            await gateway.start()
            yield gateway, key


async def begun(gateway: GatewayProcess, key: str, content: str, **fields: Any) -> Caller:
    """A caller whose request is under way; where it streams, it has its first pieces."""
    caller = await Caller.connect(gateway)
    caller.send("POST", PATH, chat(content, **fields), key=key)
    if fields.get("stream"):
        await caller.until(lambda reply: pieces_of(reply) > 0)
    return caller


async def test_streams_that_can_end_in_time_end_whole(tmp_path: Path) -> None:
    async with running(tmp_path, 20) as (gateway, key):
        body = "[[n=40,pace=50,think=0]]"
        callers = [await begun(gateway, key, body, stream=True) for _ in range(5)]
        idle = await begun(gateway, key, "[[n=1,think=0]]")
        await idle.whole()  # its connection stays open, with nothing on it
        gateway.terminate()
        replies = [await caller.whole() for caller in callers]
        assert await gateway.ended(within=5) == 0
        assert idle.lost
        with pytest.raises(ConnectionError):
            await Caller.connect(gateway)
    ledger = read_ledger(gateway.data)
    for reply in replies:
        assert ended(reply)
        assert pieces_of(reply) == 40
        known = told(reply, streamed=True)
        assert known is not None
        assert known.cost is not None
        assert ledger.generations[known.generation].result == "success"
        assert ledger.charged(known.generation) == known.cost * PICO
    assert journals(gateway.journal) == []


async def test_what_cannot_end_in_time_is_told_and_settled_as_aborted(tmp_path: Path) -> None:
    async with running(tmp_path, 1) as (gateway, key):
        body = "[[n=2000,pace=50,think=0]]"
        streams = [await begun(gateway, key, body, stream=True) for _ in range(3)]
        short = await begun(gateway, key, "[[n=10,pace=20,think=0]]", stream=True)
        whole = await begun(gateway, key, body)
        gateway.terminate()
        replies = [await caller.whole() for caller in streams]
        refused = await whole.whole()
        assert ended(await short.whole())
        assert await gateway.ended(within=5) == 0
    ledger = read_ledger(gateway.data)
    for reply in replies:
        assert reply.complete
        assert not ended(reply)
        assert events_of(reply)[-1]["error"]["code"] == "shutting_down"
        generation = generation_of(reply)
        assert ledger.generations[generation].result == "aborted"
        (entry,) = ledger.entries[generation]
        assert (entry.result, entry.basis) == ("aborted", "estimated")
        assert entry.charge_pico >= pieces_of(reply) * 4_000_000  # $4 per million tokens
    assert refused.status == 503
    assert exact(refused.body)["error"]["code"] == "shutting_down"
    generation = generation_of(refused)
    assert ledger.generations[generation].result == "aborted"
    assert ledger.charged(generation) == 0
    assert len(ledger.generations) == 5
    assert journals(gateway.journal) == []


async def test_with_nothing_under_way_it_stops_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, 20) as (gateway, key):
        caller = await begun(gateway, key, "[[n=1,think=0]]")
        await caller.whole()
        async with asyncio.timeout(3):
            assert await gateway.stop() == 0
        assert caller.lost
