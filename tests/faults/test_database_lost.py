"""PostgreSQL that dies, hangs or restarts under the gateway's database layer: an outage, in seconds."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.errors import Unavailable
from gateway.store import database as store
from gateway.store.database import Database
from tests.servers.postgres_server import PostgresServer

pytestmark = pytest.mark.faults


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as own:
        yield own


async def _one(database: Database) -> None:
    async with database.reading() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar() == 1


async def test_a_killed_server_is_an_outage_and_a_restarted_one_costs_no_error(
    server: PostgresServer,
) -> None:
    database = Database(server.fresh(None))
    await asyncio.gather(*(_one(database) for _ in range(5)))
    await asyncio.to_thread(server.restart)
    await asyncio.gather(*(_one(database) for _ in range(5)))
    await asyncio.to_thread(server.kill)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await _one(database)
    await asyncio.to_thread(server.start)
    await _one(database)
    await database.aclose()


async def test_a_server_that_hangs_is_an_outage_in_seconds(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "CONNECT_TIMEOUT", 0.5)
    database = Database(server.fresh(None), command_timeout=0.5)
    await _one(database)
    async with database.reading() as connection:
        await connection.execute(text("SELECT 1"))
        server.pause()
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            await connection.execute(text("SELECT 1"))
        with pytest.raises(Unavailable):
            await _one(database)
        assert time.monotonic() - begun < 5
        await connection.invalidate()
    server.resume()
    await _one(database)
    await database.aclose()


async def test_a_server_that_ends_in_the_middle_of_a_transaction_is_an_outage(
    server: PostgresServer,
) -> None:
    database = Database(server.fresh(None))

    async def cut_off() -> None:
        async with database.transaction() as connection:
            await connection.execute(text("SELECT 1"))
            await asyncio.to_thread(server.stop)
            await connection.execute(text("SELECT 1"))

    with pytest.raises(Unavailable):
        await cut_off()
    await database.aclose()


async def test_a_pool_in_use_is_an_outage(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "CONNECT_TIMEOUT", 0.2)
    database = Database(server.fresh(None), pool_size=1)
    async with database.reading():
        with pytest.raises(Unavailable):
            await _one(database)
    await _one(database)
    await database.aclose()


async def test_a_refused_row_is_no_outage(server: PostgresServer) -> None:
    """Else the shipper would try for ever."""
    database = Database(server.fresh(None))
    async with database.transaction() as connection:
        await connection.execute(text("CREATE TABLE t (n INTEGER NOT NULL, s TEXT)"))
    for row in (("one", "s"), (2**40, "s"), (None, "s"), (1, "\0")):
        with pytest.raises((DBAPIError, OverflowError)):
            await database.insert([("INSERT INTO t (n, s) VALUES ($1, $2)", [row])])
    await database.aclose()
