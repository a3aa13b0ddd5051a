"""Migrations on PostgreSQL: the same schema, several replicas at once, and nothing in anyone's way."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from gateway.errors import ConfigurationError, Unavailable
from gateway.store import schema
from gateway.store.database import Database
from gateway.store.tables.metadata import metadata
from tests.servers.postgres_server import PASSWORD, PostgresServer

pytestmark = pytest.mark.usefixtures("postgres_server")

_CONSTRAINTS = """
    SELECT c.relname, n.conname, pg_get_constraintdef(n.oid)
    FROM pg_constraint n JOIN pg_class c ON c.oid = n.conrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname != 'alembic_version' ORDER BY 1, 2
"""
_COLUMNS = """
    SELECT table_name, column_name, data_type, character_maximum_length, numeric_precision,
        is_nullable, column_default
    FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name != 'alembic_version' ORDER BY 1, 2
"""
_INDEXES = """
    SELECT indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename != 'alembic_version' ORDER BY 1
"""
_FIRST_ROWS = (
    "INSERT INTO organisations (id, name, created_ms) VALUES ('org_1', 'a', 1)",
    "INSERT INTO teams (id, organisation_id, name, created_ms) VALUES ('team_1', 'org_1', 'b', 2)",
    (
        "INSERT INTO api_keys (id, team_id, name, key_hash, prefix, last4, created_ms)"
        " VALUES ('key_1', 'team_1', 'c', '\\x01', 'sk-tg-', 'wxyz', 3)"
    ),
    (
        "INSERT INTO budgets (id, scope, key_id, limit_pico, currency, period, created_ms)"
        " VALUES ('bud_1', 'key', 'key_1', 5, 'USD', 'daily', 6)"
    ),
)


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.fresh(None)


async def _everything(url: str) -> list[tuple[Any, ...]]:
    db = Database(url)
    async with db.reading() as connection:
        found = [
            tuple(row)
            for asked in (_CONSTRAINTS, _COLUMNS, _INDEXES)
            for row in await connection.execute(text(asked))
        ]
    await db.aclose()
    return found


async def _do(url: str, *statements: str) -> None:
    db = Database(url)
    async with db.transaction() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)
    await db.aclose()


async def test_up_down_and_up_again_leaves_the_same(url: str) -> None:
    await schema.upgrade(url)
    before = await _everything(url)
    assert {row[0] for row in before} >= set(metadata.tables)
    await schema.downgrade(url, "base")
    assert await schema.current(url) is None
    assert await _everything(url) == []
    await schema.upgrade(url)
    assert await _everything(url) == before


@pytest.mark.parametrize("revision", ["0001", "0002"])
async def test_a_database_of_an_older_revision_loses_nothing(url: str, revision: str) -> None:
    await schema.upgrade(url, revision)
    await _do(url, *_FIRST_ROWS)
    before = await _everything(url)
    await schema.upgrade(url)
    await schema.downgrade(url, revision)
    assert await _everything(url) == before
    db = Database(url)
    async with db.reading() as connection:
        kept = (await connection.exec_driver_sql("SELECT id, limit_pico FROM budgets")).all()
        assert [tuple(row) for row in kept] == [("bud_1", 5)]
        assert (await connection.exec_driver_sql("SELECT id FROM api_keys")).scalar() == "key_1"
    await db.aclose()


async def test_the_constraints_are_those_of_the_code(
    url: str, postgres_server: PostgresServer
) -> None:
    await schema.upgrade(url)
    other = postgres_server.fresh(None)
    db = Database(other)
    async with db.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    await db.aclose()
    assert await _everything(url) == await _everything(other)


async def test_replicas_that_start_at_once_migrate_once(url: str) -> None:
    await asyncio.gather(*(schema.upgrade(url) for _ in range(6)))
    await schema.require_head(url)


async def test_a_migration_does_not_wait_for_ever_in_front_of_requests(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for a table makes all others wait behind it."""
    monkeypatch.setattr(schema, "_WAIT_FOR_TABLES", "50ms")
    await schema.upgrade(url, "0002")
    db = Database(url)
    async with db.transaction() as connection:
        await connection.exec_driver_sql("SELECT * FROM organisations")
        with pytest.raises(Unavailable):
            await schema.upgrade(url)
    await db.aclose()
    assert await schema.current(url) == "0002", "and nothing was changed"
    await schema.upgrade(url)


async def test_what_is_refused_shows_no_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await schema.require_head(url)
    assert "tidegate migrate" in str(refused.value)
    assert PASSWORD not in str(refused.value)
    with pytest.raises(Unavailable) as away:
        await schema.current(url + "_nowhere")
    told: BaseException | None = away.value
    while told is not None:
        assert PASSWORD not in str(told)
        told = told.__cause__
