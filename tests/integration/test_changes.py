"""Changes of accounts reach processes that remember principals: noted in the database, told over Redis."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

import pytest
from sqlalchemy import func, insert, select, text
from typing_extensions import override

from gateway.accounts import organisations, teams
from gateway.accounts.announcing import announcer
from gateway.accounts.office import Office
from gateway.clock import SystemClock
from gateway.jobs.changes import KEPT, ChangeWatch, prune_once
from gateway.store.announcements import Announcements, Changes
from gateway.store.database import Database
from gateway.store.tables.operations import account_changes
from tests.fakes.accounts import OPERATOR
from tests.servers.redis_server import RedisServer

PEPPER = bytes(range(32))
SOON = 30.0  # a bound for a test that fails, not a wait


class Heard:
    """What a process was told, and a way to wait for it."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str]] = []
        self._more = asyncio.Event()

    def __call__(self, changes: Iterable[tuple[str, str]]) -> None:
        self.changes += changes
        self._more.set()

    async def until(self, change: tuple[str, str]) -> None:
        async with asyncio.timeout(SOON):
            while change not in self.changes:
                self._more.clear()
                await self._more.wait()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.aclose()


@contextlib.asynccontextmanager
async def _running(watch: ChangeWatch) -> AsyncIterator[None]:
    task = asyncio.create_task(watch.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _organised(office: Office) -> str:
    return (await organisations.create(office, OPERATOR, "acme")).id


async def test_a_change_is_handed_on_once(database: Database) -> None:
    office = Office(database, PEPPER, SystemClock())
    organisation = await _organised(office)
    team = await teams.create(office, OPERATOR, "search", organisation=organisation)
    heard = Heard()
    watch = ChangeWatch(database, heard, SystemClock(), interval=60.0)
    assert await watch.look() == 0, "nothing is remembered of what was before"
    await teams.disable(office, OPERATOR, team.id)
    assert await watch.look() == 1
    assert await watch.look() == 0
    assert heard.changes == [("team", team.id)]


async def test_a_note_that_is_committed_behind_a_later_one_is_seen(database: Database) -> None:
    heard = Heard()
    watch = ChangeWatch(database, heard, SystemClock(), interval=60.0)
    await watch.look()
    row = {"at_ms": 1, "kind": "key"}
    async with database.transaction() as connection:
        await connection.execute(insert(account_changes), [{**row, "id": 12, "ref": "key_late"}])
    assert await watch.look() == 1
    async with database.transaction() as connection:
        await connection.execute(insert(account_changes), [{**row, "id": 11, "ref": "key_early"}])
    assert await watch.look() == 1
    assert heard.changes == [("key", "key_late"), ("key", "key_early")]


async def test_an_outage_of_the_database_loses_no_change(database: Database) -> None:
    office = Office(database, PEPPER, SystemClock())
    organisation = await _organised(office)
    heard = Heard()
    watch = ChangeWatch(database, heard, SystemClock(), interval=0.01)
    await watch.look()
    async with database.transaction() as connection:
        await connection.execute(text("ALTER TABLE account_changes RENAME TO away"))
    async with _running(watch):
        async with database.transaction() as connection:
            await connection.execute(text("ALTER TABLE away RENAME TO account_changes"))
        team = await teams.create(office, OPERATOR, "search", organisation=organisation)
        await teams.rename(office, OPERATOR, team.id, "find")
        await heard.until(("team", team.id))


async def test_what_one_process_changes_another_hears_at_once_over_redis(
    database: Database, redis_server: RedisServer
) -> None:
    here = Announcements(redis_server.url, "test")
    there = Announcements(redis_server.url, "test")
    heard, own = Heard(), Heard()
    listening = asyncio.Event()

    async def listen() -> AsyncIterator[Changes]:
        async for changes in there.listen():
            listening.set()  # the first one says that it does
            yield changes

    # Polling alone would take an hour.
    watch = ChangeWatch(database, heard, SystemClock(), interval=3600.0, listen=listen)
    async with _running(watch):
        office = Office(database, PEPPER, SystemClock(), announcer(own, here))
        organisation = await _organised(office)
        team = await teams.create(office, OPERATOR, "search", organisation=organisation)
        async with asyncio.timeout(SOON):
            await listening.wait()
        await teams.disable(office, OPERATOR, team.id)
        await heard.until(("team", team.id))
    assert ("team", team.id) in own.changes, "the process itself does not wait for Redis"
    await here.aclose()
    await there.aclose()


async def test_polling_goes_on_whatever_becomes_of_listening(database: Database) -> None:
    heard, failed = Heard(), asyncio.Event()

    async def listen() -> AsyncIterator[Changes]:
        failed.set()
        if failed.is_set():
            raise RuntimeError("a fault of the library")
        yield ()

    watch = ChangeWatch(database, heard, SystemClock(), interval=0.01, listen=listen)
    async with _running(watch):
        await failed.wait()
        failed.clear()
        await failed.wait()  # it is tried again
        office = Office(database, PEPPER, SystemClock())
        organisation = await _organised(office)
        team = await teams.create(office, OPERATOR, "search", organisation=organisation)
        await teams.rename(office, OPERATOR, team.id, "find")
        await heard.until(("team", team.id))


async def test_who_asks_for_a_look_during_a_look_gets_another(database: Database) -> None:
    heard, looks = Heard(), 0
    again = asyncio.Event()

    class Watch(ChangeWatch):
        @override
        async def look(self) -> int:
            nonlocal looks
            looks += 1
            if looks == 1:
                self._asked.set()  # as an announcement does that comes just now
            else:
                again.set()
            return 0

    async with _running(Watch(database, heard, SystemClock(), interval=3600.0)):
        async with asyncio.timeout(SOON):
            await again.wait()


async def test_an_act_succeeds_where_redis_is_gone(
    database: Database, redis_server: RedisServer
) -> None:
    del redis_server
    nowhere = Announcements("redis://127.0.0.1:9/0", "test")
    office = Office(database, PEPPER, SystemClock(), announcer(None, nowhere))
    organisation = await _organised(office)
    team = await teams.create(office, OPERATOR, "search", organisation=organisation)
    await teams.disable(office, OPERATOR, team.id)
    async with database.reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(account_changes))
    await nowhere.aclose()


async def test_one_process_for_all_deletes_old_notes(database: Database) -> None:
    clock = SystemClock()

    async def note(age: float) -> None:
        at_ms = int((clock.now() - age) * 1000)
        row = {"at_ms": at_ms, "kind": "team", "ref": f"{age:.0f}"}
        async with database.transaction() as connection:
            await connection.execute(insert(account_changes).values(row))

    async def left() -> list[str]:
        async with database.reading() as connection:
            found = await connection.scalars(select(account_changes.c.ref))
            return sorted(found)

    old, new = f"{KEPT + 60:.0f}", "60"
    for age in (KEPT + 60, 60):
        await note(age)
    assert await prune_once(database, clock, "first")
    assert await left() == [new]
    await note(KEPT + 60)
    assert not await prune_once(database, clock, "second")
    assert await left() == sorted([old, new])
    assert await prune_once(database, clock, "first")
    assert await left() == [new]
