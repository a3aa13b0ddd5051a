"""Jobs that one process does for all."""

import asyncio
import contextlib
import logging

import pytest

from gateway.clock import SystemClock
from gateway.errors import Unavailable
from gateway.jobs.leader import lead
from gateway.store.database import Database


class Job:
    """Notes who did it."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.changed = asyncio.Condition()

    async def by(self, who: str) -> None:
        async with self.changed:
            self.done.append(who)
            self.changed.notify_all()

    async def until(self, who: str) -> None:
        async with self.changed, asyncio.timeout(20):
            await self.changed.wait_for(lambda: who in self.done)


async def test_one_does_the_job_and_another_takes_over_when_it_lets_go(database_url: str) -> None:
    database, job = Database(database_url), Job()

    async def of(who: str) -> None:
        await lead(
            database,
            "sums",
            who,
            lambda: job.by(who),
            interval=0.02,
            clock=SystemClock(),
            lease=1.0,
        )

    first = asyncio.create_task(of("first"))
    await job.until("first")
    second = asyncio.create_task(of("second"))
    count = len(job.done)
    async with job.changed, asyncio.timeout(20):  # beyond the lease: it is renewed
        await job.changed.wait_for(lambda: len(job.done) > count + 60)
    assert set(job.done) == {"first"}
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    await job.until("second")
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    await database.aclose()


async def test_a_pass_that_fails_is_followed_by_another(database_url: str) -> None:
    database, passes, again = Database(database_url), [0], asyncio.Event()

    async def fails() -> None:
        passes[0] += 1
        if passes[0] > 1:
            again.set()
        raise ValueError("not this time")

    leading = asyncio.create_task(
        lead(database, "sums", "one", fails, interval=0.02, clock=SystemClock())
    )
    async with asyncio.timeout(20):
        await again.wait()
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)
    await database.aclose()


async def test_a_job_rests_in_an_outage_and_says_so_once(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    database, passes, enough = Database(database_url), [0], asyncio.Event()

    async def away() -> None:
        passes[0] += 1
        if passes[0] > 3:
            enough.set()
        raise Unavailable("the database is away")

    with caplog.at_level(logging.WARNING):
        leading = asyncio.create_task(
            lead(database, "sums", "one", away, interval=0.02, clock=SystemClock())
        )
        async with asyncio.timeout(20):
            await enough.wait()
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
    assert [record.getMessage() for record in caplog.records] == [
        "job sums rests: the database is away"
    ]
    assert caplog.records[0].exc_info is None
    await database.aclose()
