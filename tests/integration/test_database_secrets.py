"""What a database refuses is told without the values that it refused."""

import logging
import traceback
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from gateway.store.database import Database
from gateway.store.tables.accounts import organisations

SECRET = "what-nobody-may-read"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.aclose()


async def test_a_row_that_is_there_already_is_not_quoted(database: Database) -> None:
    row = {"id": SECRET, "name": "a", "created_ms": 1}
    with pytest.raises(IntegrityError) as caught:  # noqa: PT012 - the second one is refused
        async with database.transaction() as connection:
            await connection.execute(insert(organisations).values(row))
            await connection.execute(insert(organisations).values(row))
    assert SECRET not in _all(caught.value)


async def test_a_value_of_the_wrong_kind_is_not_quoted(database: Database) -> None:
    if database.dialect == "sqlite":
        pytest.skip("SQLite takes any value in any column")
    query = text("INSERT INTO account_changes (at_ms, kind, ref) VALUES (:at, 'key', 'key_1')")
    with pytest.raises(DBAPIError) as caught:
        async with database.transaction() as connection:
            await connection.execute(query, {"at": SECRET})
    assert SECRET not in _all(caught.value)


async def test_nor_where_it_is_logged(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    row = {"id": SECRET, "name": "a", "created_ms": 1}
    try:
        async with database.transaction() as connection:
            await connection.execute(insert(organisations), [row, row])
    except IntegrityError:
        logging.getLogger("test").exception("refused")
    assert "refused" in caplog.text
    assert SECRET not in caplog.text


def _all(error: BaseException) -> str:
    return f"{error} {error!r} {''.join(traceback.format_exception(error))}"
