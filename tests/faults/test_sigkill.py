"""A gateway that is killed, again and again, has everything that it told anybody in its ledger."""

import asyncio
import os
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from backends.sandbox import SandboxServer
from tests.contract.sandbox.caller import request
from tests.fakes.gateway_process import GatewayProcess
from tests.faults.books import Journalled, Ledger, journals, read_ledger
from tests.faults.load import (
    PATH,
    Told,
    call_until_lost,
    chat,
    exact,
    long_streams,
    quick_requests,
    told,
)
from tests.faults.providers import DEARER, endpoint

pytestmark = pytest.mark.faults

KILLS = 50
RESPONSES = 5_000
QUICK_CALLERS = 10
STREAMING_CALLERS = 6
BUDGET = "500.00"
TOO_MUCH = 100_000_000  # output tokens: 800 dollars at the dearer endpoint, more than the budget
PICO = 10**12


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayProcess]:
    async with SandboxServer("moonshot") as first, SandboxServer("novita") as second:
        settings = {
            "endpoints": [
                endpoint("one", first.base_url),
                endpoint("two", second.base_url, kind="novita", price=DEARER),
            ]
        }
        async with GatewayProcess(tmp_path, settings) as process:
            yield process


class Witness:
    """Everything that callers were told, and that journals said at each death."""

    def __init__(self) -> None:
        self.told: dict[str, Told] = {}
        self.journalled = Journalled({}, {}, set())

    def hear(self, found: Told | None) -> None:
        if found is not None:
            assert found.generation not in self.told
            self.told[found.generation] = found

    @property
    def complete(self) -> list[Told]:
        """Responses that were received in full."""
        return [one for one in self.told.values() if one.cost is not None]


async def one_life(gateway: GatewayProcess, key: str, random: Random, witness: Witness) -> None:
    """From a start to a SIGKILL under load."""
    await gateway.start()
    seeds = [random.random() for _ in range(STREAMING_CALLERS + QUICK_CALLERS)]
    calls = []
    for number, seed in enumerate(seeds):
        kind = long_streams if number < STREAMING_CALLERS else quick_requests
        requests = kind(Random(seed))  # noqa: S311 - repeatable by its seed
        calls.append(call_until_lost(gateway, key, requests))
    tasks = [asyncio.create_task(call) for call in calls]
    await asyncio.sleep(random.uniform(0.05, 0.4))
    gateway.kill()
    assert await gateway.ended() == -9
    for replies in await asyncio.gather(*tasks):
        for streamed, reply in replies:
            witness.hear(told(reply, streamed=streamed))
    witness.journalled.add(gateway.journal)


async def spent(gateway: GatewayProcess, key: str) -> int:
    """What the budget's counter says, in nano-units: a request that it cannot cover is told."""
    refusal = await request(gateway, "POST", PATH, chat("too much", max_tokens=TOO_MUCH), key=key)
    assert refusal.status == 402, refusal.body
    said = exact(refusal.body)["error"]["metadata"]
    assert said["held"] == "0"
    return int(Decimal(said["spent"]) * 10**9)


def check_ledger(ledger: Ledger, witness: Witness) -> None:
    """Whether the ledger says what callers and journals said."""
    for one in witness.told.values():
        entries = ledger.entries[one.generation]
        if one.cost is not None:
            assert ledger.generations[one.generation].result == "success"
            assert [entry.result for entry in entries].count("success") == 1
            assert ledger.charged(one.generation) == one.cost * PICO
            assert one.cost > 0
        elif one.pieces:
            assert ledger.charged(one.generation) > 0, one
    journalled = witness.journalled
    assert journalled.opened.keys() == ledger.generations.keys()
    assert {one.generation for one in witness.told.values()} <= journalled.opened.keys()
    for generation in journalled.opened.keys() - journalled.closed.keys():
        died = ledger.generations[generation]
        assert (died.result, died.error_code) == ("aborted", "process_died")
        *failed, last = ledger.entries[generation]
        assert all(entry.result == "failed" for entry in failed)
        assert (last.result, last.basis, last.error_code) == (
            "aborted",
            "estimated",
            "process_died",
        )
        assert (last.charge_pico > 0) == (generation in journalled.delivered)
    for generation, outcome in journalled.closed.items():
        charges = [attempt.charge.pico for attempt in outcome.attempts]
        assert charges == [entry.charge_pico for entry in ledger.entries[generation]]


@pytest.mark.timeout(600)
async def test_fifty_kills_lose_nothing_that_anybody_was_told(gateway: GatewayProcess) -> None:
    seed = int(os.urandom(4).hex(), 16)
    print(f"seed {seed}")  # noqa: T201 - so that a failure can be looked into
    random = Random(seed)  # noqa: S311 - repeatable by its seed
    await gateway.first_key()
    key = await gateway.administer("keys", "create", "--team", "default", "--budget", BUDGET)
    witness = Witness()
    kills = 0
    while kills < KILLS or len(witness.complete) < RESPONSES:
        await one_life(gateway, key, random, witness)
        kills += 1
    print(f"{kills} kills, {len(witness.complete)} responses, {len(witness.told)} begun")  # noqa: T201

    await gateway.start()
    assert len(journals(gateway.journal)) == 1  # that of the process that runs
    ledger = read_ledger(gateway.data)
    check_ledger(ledger, witness)
    counter = await spent(gateway, key)
    assert counter == -(-ledger.spent() // 1000)
    another = await request(gateway, "POST", PATH, chat("[[n=3,think=0]]"), key=key)
    cost = Decimal(exact(another.body)["usage"]["cost"])
    assert await spent(gateway, key) == counter + -(-cost * 10**9 // 1)

    assert await gateway.stop() == 0
    assert journals(gateway.journal) == []
    assert read_ledger(gateway.data).spent() == ledger.spent() + cost * PICO
