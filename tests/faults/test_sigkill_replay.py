"""A start that is killed while it replays a journal is begun anew, and books nothing twice."""

import asyncio
import os
from pathlib import Path
from random import Random

import pytest

from gateway.usage.lines import Card, Close, Line, encode
from tests.fakes.gateway_process import GatewayProcess
from tests.faults.books import Journalled, booked, journals, read_ledger
from tests.faults.providers import endpoint
from tests.unit.gateway.usage.samples import CARD, NOW_MS, OTHER_CARD, opened, outcome, progress

pytestmark = pytest.mark.faults

GENERATIONS = 8_000  # sixteen batches of a replay, the last four of them requests that died
KILLS = 6


def dead_journal(folder: Path) -> None:
    """What a process left: every fourth request open, half of these with something delivered."""
    lines: list[Line] = [Card(CARD, NOW_MS), Card(OTHER_CARD, NOW_MS)]
    for number in range(GENERATIONS):
        name = f"gen-{number}"
        lines.append(opened(name))
        if number % 4:
            lines.append(Close(outcome(name)))
        elif number % 8:
            lines.append(progress(name))
    folder.mkdir()
    data = b"".join(encode(line) + b"\n" for line in lines)
    (folder / "00000000deadbeef-1.jsonl").write_bytes(data + b'{"type":"open","id":"gen-to')


async def killed_in_replay(gateway: GatewayProcess, random: Random) -> bool:
    """Start, and kill as soon as some more has been booked; False if it was too late for that."""
    before = booked(gateway.data)
    await gateway.begin()
    while booked(gateway.data) == before and not gateway.listening:  # noqa: ASYNC110 - see below
        await asyncio.sleep(0.002)  # nothing but another process's ledger tells of it
    await asyncio.sleep(random.uniform(0, 0.05))
    in_time = not gateway.listening
    gateway.kill()
    await gateway.ended()
    return in_time


@pytest.mark.timeout(300)
async def test_kills_during_replay_book_everything_once(tmp_path: Path) -> None:
    seed = int(os.urandom(4).hex(), 16)
    print(f"seed {seed}")  # noqa: T201 - so that a failure can be looked into
    random = Random(seed)  # noqa: S311 - repeatable by its seed
    settings = {"endpoints": [endpoint("one", "http://127.0.0.1:9/v1")]}
    async with GatewayProcess(tmp_path, settings) as gateway:
        await gateway.first_key()
        dead_journal(gateway.journal)
        journalled = Journalled({}, {}, set())
        journalled.add(gateway.journal)
        kills = 0
        while await killed_in_replay(gateway, random):  # each gets at least one batch further
            kills += 1
        assert kills >= KILLS

        await gateway.start()
        assert len(journals(gateway.journal)) == 1  # that of the process that runs
        ledger = read_ledger(gateway.data)
        assert ledger.generations.keys() == journalled.opened.keys()
        for generation, outcome_ in journalled.closed.items():
            charges = [attempt.charge.pico for attempt in outcome_.attempts]
            assert charges == [entry.charge_pico for entry in ledger.entries[generation]]
        for generation in journalled.opened.keys() - journalled.closed.keys():
            assert ledger.generations[generation].result == "aborted"
            (entry,) = ledger.entries[generation]
            assert entry.basis == "estimated"
            assert (entry.charge_pico > 0) == (generation in journalled.delivered)
        assert await gateway.stop() == 0
        assert journals(gateway.journal) == []
