import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from gateway.errors import Unavailable
from gateway.store import database
from gateway.store.database import Database, sqlite_url

COUNT = text("SELECT count(*) FROM parent")


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    db = Database(sqlite_url(tmp_path / "test.db"))
    async with db.transaction() as connection:
        await connection.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
        await connection.execute(text("CREATE TABLE child (p INTEGER REFERENCES parent (id))"))
    yield db
    await db.aclose()


async def _count(db: Database) -> int:
    async with db.reading() as connection:
        return int(await connection.scalar(COUNT) or 0)


async def test_a_transaction_commits_at_its_end(db: Database) -> None:
    async with db.transaction() as connection:
        await connection.execute(text("INSERT INTO parent VALUES (1)"))
        assert await _count(db) == 0
    assert await _count(db) == 1


async def test_a_transaction_that_raises_leaves_nothing(db: Database) -> None:

    async def fail_late() -> None:
        async with db.transaction() as connection:
            await connection.execute(text("INSERT INTO parent VALUES (1)"))
            await connection.execute(text("CREATE TABLE extra (id INTEGER)"))
            raise KeyError

    with pytest.raises(KeyError):
        await fail_late()
    assert await _count(db) == 0
    with pytest.raises(DBAPIError, match="no such table"):
        async with db.reading() as connection:
            await connection.execute(text("SELECT * FROM extra"))


async def test_a_transaction_that_is_cancelled_leaves_nothing_and_frees_the_lock(
    db: Database,
) -> None:
    inside = asyncio.Event()

    async def linger() -> None:
        async with db.transaction() as connection:
            await connection.execute(text("INSERT INTO parent VALUES (1)"))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(linger())
    await inside.wait()
    task.cancel()
    await asyncio.wait([task])
    async with db.transaction() as connection:
        await connection.execute(text("INSERT INTO parent VALUES (2)"))
    assert await _count(db) == 1


async def test_reading_never_commits(db: Database) -> None:
    async with db.reading() as connection:
        await connection.execute(text("INSERT INTO parent VALUES (1)"))
    assert await _count(db) == 0


async def test_reading_is_one_snapshot(db: Database) -> None:
    async with db.reading() as connection:
        assert await connection.scalar(COUNT) == 0
        async with db.transaction() as writer:
            await writer.execute(text("INSERT INTO parent VALUES (1)"))
        assert await connection.scalar(COUNT) == 0
    assert await _count(db) == 1


async def test_writers_take_turns_so_that_what_they_read_stays_true(db: Database) -> None:
    """Without the lock taken at BEGIN, both would read the same maximum, or fail as locked."""

    async def add_one() -> None:
        async with db.transaction() as connection:
            highest = await connection.scalar(text("SELECT coalesce(max(id), 0) FROM parent"))
            await connection.execute(text("INSERT INTO parent VALUES (:id)"), {"id": highest + 1})

    await asyncio.gather(*(add_one() for _ in range(8)))
    assert await _count(db) == 8


async def test_foreign_keys_are_enforced(db: Database) -> None:
    with pytest.raises(IntegrityError):
        async with db.transaction() as connection:
            await connection.execute(text("INSERT INTO child VALUES (9)"))


async def test_every_connection_is_set_up_as_documented(db: Database) -> None:
    expected = {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 5000}
    async with db.reading() as first, db.reading() as second:
        for connection in (first, second):
            for pragma, value in expected.items():
                assert await connection.scalar(text(f"PRAGMA {pragma}")) == value, pragma


async def test_a_database_that_stays_locked_is_unavailable(
    tmp_path: Path, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 10)
    impatient = Database(sqlite_url(tmp_path / "test.db"))
    async with db.transaction():
        with pytest.raises(Unavailable) as caught:
            async with impatient.transaction():
                pytest.fail("two writers at once")
    assert caught.value.code == "database_unavailable"
    await impatient.aclose()


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "junk.db").write_bytes(b"not a database, but long enough to have a header" * 100)
    junk = Database(sqlite_url(tmp_path / "junk.db"))
    with pytest.raises(Unavailable):
        async with junk.reading() as connection:
            await connection.scalar(text("SELECT 1 FROM sqlite_master"))
    await junk.aclose()


async def test_a_wrong_statement_is_a_fault_not_an_outage(db: Database) -> None:
    with pytest.raises(DBAPIError, match="no such table"):
        async with db.transaction() as connection:
            await connection.execute(text("SELECT * FROM nowhere"))


async def test_errors_do_not_show_parameters(db: Database) -> None:
    with pytest.raises(IntegrityError) as caught:
        async with db.transaction() as connection:
            await connection.execute(text("INSERT INTO child VALUES (:p)"), {"p": 98765})
    assert "98765" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite+aiosqlite://",
        "sqlite+aiosqlite:///:memory:",
        "sqlite+aiosqlite:///a.db?mode=ro",
        "sqlite:///a.db",
        "mysql+aiomysql://h/d",
    ],
)
def test_other_kinds_of_database_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"database|SQLite"):
        Database(url)


def test_a_path_that_no_url_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="question mark"):
        sqlite_url(Path("what?/tidegate.db"))


def test_sqlite_is_new_enough_for_upserts_and_returning() -> None:
    assert sqlite3.sqlite_version_info >= (3, 35)
