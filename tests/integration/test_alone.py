"""Who counts in memory is alone on a shared database, however many begin at the same moment."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.app import alone
from gateway.clock import SystemClock
from gateway.errors import ConfigurationError, Unavailable
from gateway.settings import Settings, check
from gateway.store import leases, owner
from gateway.store.database import Database
from tests.builders import OWN_ENDPOINT


def _settings(folder: Path, url: str) -> Settings:
    endpoint = {**OWN_ENDPOINT, "api_key": "sk-own"}
    settings = check({"data": folder, "database": {"url": url}, "endpoints": [endpoint]})
    owner.take(settings.data)
    return settings


class Replica:
    """What a gateway does to be alone, until it is told to end."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._settings = settings
        self._url = url
        self._end = asyncio.Event()
        self.alone = asyncio.Event()

    async def serve(self, lost: Callable[[], None]) -> None:
        database = Database(self._url)
        try:
            await alone.claim(self._settings, database, SystemClock())
            async with alone.claimed(self._settings, database, lost):
                self.alone.set()
                await self._end.wait()
        finally:
            await database.aclose()

    def end(self) -> None:
        self._end.set()


async def test_of_many_that_begin_at_once_one_is_alone(tmp_path: Path, postgres_url: str) -> None:
    replicas = [
        Replica(_settings(tmp_path / str(number), postgres_url), postgres_url)
        for number in range(4)
    ]
    lost: list[int] = []
    serving = [asyncio.create_task(one.serve(lambda: lost.append(1))) for one in replicas]
    async with asyncio.timeout(30):
        refused = 0
        for done in asyncio.as_completed(serving):
            try:
                await done
            except ConfigurationError:
                refused += 1
            if refused == len(replicas) - 1:
                break
    (winner,) = [one for one in replicas if one.alone.is_set()]
    winner.end()
    await asyncio.gather(*serving, return_exceptions=True)
    assert not lost
    database = Database(postgres_url)
    assert await leases.standing(database, alone.LEASE) is None, "given back"
    await database.aclose()


async def test_one_that_hangs_with_the_lease_in_its_hand_is_waited_for(
    tmp_path: Path, postgres_url: str
) -> None:
    settings = _settings(tmp_path, postgres_url)
    hung, database = Database(postgres_url), Database(postgres_url, command_timeout=0.2)
    assert await leases.take(hung, alone.LEASE, "it", ttl=0.01)
    async with hung.transaction() as connection:
        await connection.execute(text("SELECT 1 FROM leases FOR UPDATE"))
        with pytest.raises(Unavailable):
            await leases.take(database, alone.LEASE, "other", ttl=60)
        claiming = asyncio.create_task(alone.claim(settings, database, SystemClock()))
        await asyncio.wait([claiming], timeout=0.5)
        assert not claiming.done()
    async with asyncio.timeout(20):
        await claiming
    for one in (hung, database):
        await one.aclose()


async def test_on_a_file_nothing_is_asked(tmp_path: Path) -> None:
    endpoint = {**OWN_ENDPOINT, "api_key": "sk-own"}
    settings = check({"data": tmp_path, "endpoints": [endpoint]})
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/none.db")  # without any table
    await alone.claim(settings, database, SystemClock())
    await database.aclose()


def test_a_folder_keeps_its_mark_and_no_two_have_the_same(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        owner.take(folder)
    marks = [owner.mark(folder) for folder in folders]
    assert len({*marks}) == 2
    assert [owner.mark(folder) for folder in folders] == marks
    assert {len(mark) for mark in marks} == {16}
