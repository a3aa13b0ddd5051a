"""A process that is killed with SIGKILL loses nothing that it had told anybody."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.jobs.shipper import Replayed, replay
from gateway.store.database import Database
from gateway.usage import queries
from gateway.values import Result
from pricing import Money
from tests.unit.gateway.usage.samples import files_in

ROOT = Path(__file__).parents[2]
# Serves requests and says so, until it is killed: every tenth stays open with some of it delivered.
SERVER = """
import asyncio, sys
from pathlib import Path
from gateway.usage.journal import Journal
from gateway.usage.lines import Close, begin, encode
from tests.unit.gateway.usage.samples import CARD, opened, outcome, progress

async def main():
    journal = Journal(
        Path(sys.argv[1]), loop=asyncio.get_running_loop(), sync=sys.argv[2], max_bytes=50_000
    )
    number = 0
    while True:
        name = f"gen-{number}"
        await begin(journal, opened(name), (CARD,))
        if number % 10:
            await journal.append(encode(Close(outcome(name))))
        else:
            await journal.append(encode(progress(name, tokens=40)))
        print(number, flush=True)
        number += 1

asyncio.run(main())
"""
DELIVERED = Money("USD", 100 * 600_000 + 40 * 2_500_000)


def _serve_until_killed(folder: Path, sync: str, requests: int) -> int:
    """Returns the number of requests that the process had confirmed when it was killed."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(folder), sync],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= requests:
                os.kill(process.pid, signal.SIGKILL)
                break
        last = requests
        for line in process.stdout:  # what it had said before it died
            if line.endswith("\n"):
                last = int(line)
    assert process.returncode == -signal.SIGKILL
    return last + 1


@pytest.mark.parametrize("sync", ["group", "always"])
async def test_every_confirmed_request_is_booked_once_after_sigkill(
    tmp_path: Path, database_url: str, sync: str
) -> None:
    folder = tmp_path / "journal"
    confirmed = await asyncio.to_thread(_serve_until_killed, folder, sync, 200)
    assert len(files_in(folder)) > 1
    database = Database(database_url)
    found = await replay(folder, database, clock=SystemClock())
    ids = [f"gen-{number}" for number in range(confirmed)]
    assert await queries.known_generations(database, ids) == set(ids)
    for number in (0, 1, 9, 10, confirmed - 1):
        booked = await queries.generation(database, f"gen-{number}")
        assert booked is not None
        expected = Result.SUCCESS if number % 10 else Result.ABORTED
        assert booked.result is expected
        if expected is Result.ABORTED:
            assert booked.attempts[0].charge == DELIVERED
    # At most one request was under way beyond the last one that it told of.
    assert confirmed <= found.shipped + found.aborted <= confirmed + 1
    assert files_in(folder) == []
    assert await replay(folder, database, clock=SystemClock()) == Replayed()
    await database.aclose()


async def test_a_journal_in_use_is_left_to_its_owner(tmp_path: Path, database_url: str) -> None:
    folder = tmp_path / "journal"
    database = Database(database_url)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVER, folder, "group"), cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    assert await replay(folder, database, clock=SystemClock()) == Replayed()
    process.kill()
    await process.communicate()
    found = await replay(folder, database, clock=SystemClock())
    assert found.files >= 1
    assert found.shipped + found.aborted >= 1
    await database.aclose()
