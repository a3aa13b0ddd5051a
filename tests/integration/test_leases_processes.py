"""A lease among processes: one holder at a time, whatever their clocks say, and another after a death."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TTL = 1.0
# Its calendar is wrong by some hours, and its seconds are a little too long or too short. Every moment in
# which it may do the job is noted with the time of the machine, which nothing else here looks at.
PROCESS = """
import asyncio, contextlib, sys, time
from gateway.clock import Clock
from gateway.errors import Unavailable
from gateway.store.database import Database
from gateway.store.leases import LeaderLock

url, name, hours, speed, ttl = sys.argv[1], sys.argv[2], *map(float, sys.argv[3:])

class Skewed(Clock):
    def now(self):
        return time.time() + hours * 3600
    def monotonic(self):
        return time.monotonic() * speed + hours * 3600

async def main():
    database = Database(url)
    lock = LeaderLock(database, "sweep", name, ttl=ttl, clock=Skewed())
    while True:
        with contextlib.suppress(Unavailable):
            await lock.renew()
            print("asked", flush=True)
        for _ in range(10):
            at = time.monotonic_ns()
            if lock.held:
                print("held", at, flush=True)
            await asyncio.sleep(ttl / 30)

asyncio.run(main())
"""


class Contender:
    """A process that wants the lease."""

    def __init__(self, url: str, number: int, notes: Path) -> None:
        self.notes = notes / f"{number}"
        hours, speed = ((-5, 1.05), (0, 1.0), (7, 0.95))[number]
        with self.notes.open("w") as file:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    PROCESS,
                    url,
                    f"p{number}",
                    f"{hours}",
                    f"{speed}",
                    f"{TTL}",
                ],
                cwd=ROOT,
                stdout=file,
            )

    def moments(self) -> list[int]:
        """Nanoseconds at which it held the lease."""
        lines = self.notes.read_text().splitlines()
        return [int(line.split()[1]) for line in lines if line.startswith("held ")]

    def times_asked(self) -> int:
        return self.notes.read_text().count("asked")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def contenders(postgres_url: str, tmp_path: Path) -> Iterator[list[Contender]]:
    made: list[Contender] = []
    try:
        made.extend(Contender(postgres_url, number, tmp_path) for number in range(3))
        yield made
    finally:
        for contender in made:
            contender.kill()


def _holder(contenders: list[Contender], after: int = 0) -> Contender:
    """Who holds it after a moment, as soon as somebody does."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        for contender in contenders:
            if any(moment > after for moment in contender.moments()):
                return contender
        time.sleep(0.02)  # of other processes' notes, nothing tells
    raise AssertionError("nobody took it")


def _never_two_at_a_time(contenders: list[Contender]) -> bool:
    """Whether nobody held it when another did, or had just done.

    A holder notes each thirtieth of its time, so the notes of two would lie closer together than the part
    of its time that a holder leaves unused, whatever its seconds are.
    """
    noted = sorted((moment, at) for at, one in enumerate(contenders) for moment in one.moments())
    gaps = [after[0] - before[0] for before, after in pairwise(noted) if after[1] != before[1]]
    return min(gaps) > 0.04 * TTL * 10**9


def test_one_holds_it_and_after_its_death_another_though_clocks_differ(
    contenders: list[Contender],
) -> None:
    died: list[Contender] = []
    for _ in range(2):
        living = [one for one in contenders if one not in died]
        holder = _holder(living, max((one.moments()[-1] for one in died), default=0))
        holder.kill()
        died.append(holder)
    (last,) = (one for one in contenders if one not in died)
    _holder([last], died[-1].moments()[-1])
    assert _never_two_at_a_time(contenders)


def test_one_that_was_stopped_for_long_believes_no_more_that_it_holds_it(
    contenders: list[Contender],
) -> None:
    holder = _holder(contenders)
    asked = holder.times_asked()
    while holder.times_asked() == asked:
        time.sleep(0.01)
    os.kill(holder.process.pid, signal.SIGSTOP)  # just after it asked: it locks no row now
    paused = time.monotonic_ns()
    other = _holder([one for one in contenders if one is not holder], paused)
    os.kill(holder.process.pid, signal.SIGCONT)
    resumed = time.monotonic_ns()
    _holder([other], resumed + round(TTL * 10**9))
    assert not [at for at in holder.moments() if paused < at < other.moments()[0]]
    assert _never_two_at_a_time(contenders)
