"""The schema that migrations make is the schema that the code expects."""

import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from gateway.errors import ConfigurationError
from gateway.store import schema
from gateway.store.database import Database
from gateway.store.tables import accounts, operations, roll_ups, usage
from gateway.store.tables.metadata import metadata

ROOT = Path(__file__).parents[2]
TABLES = (accounts, operations, roll_ups, usage)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/tidegate.db"


def _file(url: str) -> Path:
    return Path(url.removeprefix("sqlite+aiosqlite:///"))


def _statements(path: Path) -> dict[str, list[str]]:
    """What made each table and index, without differences of layout."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
            " AND name NOT LIKE 'sqlite_%' AND name != 'alembic_version'"
        ).fetchall()
    connection.close()
    return {name: _normal(sql) for name, sql in rows}


def _normal(sql: str) -> list[str]:
    # Columns and constraints may come in any order, and those added later stand on one line: only
    # what they say counts.
    # A table that was made under another name and renamed has its name in quotes.
    head, _, inner = " ".join(sql.split()).partition("(")
    head = head.replace('"', "")
    parts, depth, begun = [head.strip()], 0, 0
    for position, letter in enumerate(inner):
        depth += (letter == "(") - (letter == ")")
        if (letter == "," and depth == 0) or depth < 0:
            parts.append(inner[begun:position].strip())
            begun = position + 1
        if depth < 0:
            break
    return sorted([*parts, inner[begun:].strip()])


async def _create_all(url: str) -> None:
    db = Database(url)
    async with db.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    await db.aclose()


def test_there_is_one_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.head()]


async def test_up_down_and_up_again(url: str) -> None:
    assert await schema.current(url) is None
    await schema.upgrade(url)
    assert await schema.current(url) == schema.head()
    before = _statements(_file(url))
    await schema.downgrade(url, "base")
    assert await schema.current(url) is None
    assert _statements(_file(url)) == {}
    await schema.upgrade(url)
    assert _statements(_file(url)) == before
    assert set(metadata.tables) <= set(before)


FIRST_ROWS = (
    "INSERT INTO organisations (id, name, created_ms) VALUES ('org_1', 'a', 1)",
    "INSERT INTO teams (id, organisation_id, name, created_ms) VALUES ('team_1', 'org_1', 'b', 2)",
    (
        "INSERT INTO api_keys (id, team_id, name, key_hash, prefix, last4, created_ms, expires_ms)"
        " VALUES ('key_1', 'team_1', 'c', x'01', 'sk-tg-', 'wxyz', 3, 4)"
    ),
    (
        "INSERT INTO budgets (id, scope, key_id, limit_pico, currency, period, created_ms)"
        " VALUES ('bud_1', 'key', 'key_1', 5, 'USD', 'daily', 6)"
    ),
)


def _rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    with sqlite3.connect(path) as raw:
        raw.row_factory = sqlite3.Row
        found = {
            table: [dict(row) for row in raw.execute(f"SELECT * FROM {table}")]  # noqa: S608 - ours
            for table in ("organisations", "teams", "api_keys", "budgets")
        }
    raw.close()
    return found


async def test_a_database_of_the_first_revision_loses_nothing_up_and_down(url: str) -> None:
    await schema.upgrade(url, "0001")
    with sqlite3.connect(_file(url)) as raw:
        for statement in FIRST_ROWS:
            raw.execute(statement)
    raw.close()
    tables, rows = _statements(_file(url)), _rows(_file(url))
    await schema.upgrade(url)
    upgraded = _rows(_file(url))
    for table in ("organisations", "teams", "api_keys"):
        (row,) = upgraded[table]
        assert row.items() >= rows[table][0].items(), "all that was there is there"
        assert (row["zdr"], row["no_training"]) == (0, 0), "nobody demanded anything"
        assert (row["settings"], row["revision"]) == ("{}", 1), "nor set anything"
    (budget,) = upgraded["budgets"]
    assert budget.items() >= rows["budgets"][0].items()
    assert (budget["on_state_loss"], budget["revision"]) == ("lease", 1)
    await schema.downgrade(url, "0001")
    assert (_statements(_file(url)), _rows(_file(url))) == (tables, rows)


async def test_a_gateway_of_the_version_before_goes_on_with_the_newer_schema(url: str) -> None:
    await schema.upgrade(url)
    with sqlite3.connect(_file(url)) as raw:
        for statement in FIRST_ROWS:
            raw.execute(statement)
    raw.close()
    assert [row["zdr"] for row in _rows(_file(url))["api_keys"]] == [0]


async def test_upgrading_twice_changes_nothing(url: str) -> None:
    await schema.upgrade(url)
    db = Database(url)
    async with db.transaction() as connection:
        await connection.execute(
            text("INSERT INTO organisations (id, name, created_ms) VALUES ('org_1', 'a', 1)")
        )
    await db.aclose()
    await schema.upgrade(url)
    with sqlite3.connect(_file(url)) as raw:
        assert raw.execute("SELECT count(*) FROM organisations").fetchone() == (1,)
    raw.close()


async def test_the_migrated_schema_is_the_one_in_the_code(blank_url: str) -> None:
    await schema.upgrade(blank_url)

    def differences(connection: Connection) -> list[Any]:
        asked = {"compare_server_default": True, "compare_type": True}
        context = MigrationContext.configure(connection, opts=asked)
        return list(compare_metadata(context, metadata))

    db = Database(blank_url)
    async with db.reading() as connection:
        assert await connection.run_sync(differences) == []
    await db.aclose()


async def test_checks_and_foreign_key_actions_are_the_same_too(url: str, tmp_path: Path) -> None:
    """Alembic's comparison does not look at CHECK constraints; the statements show everything."""
    await schema.upgrade(url)
    other = f"sqlite+aiosqlite:///{tmp_path}/other.db"
    await _create_all(other)
    assert _statements(_file(url)) == _statements(_file(other))


async def test_asking_for_the_revision_makes_no_file(url: str) -> None:
    assert await schema.current(url) is None
    assert not _file(url).exists()


async def test_a_database_of_a_newer_version_is_left_alone(url: str) -> None:
    await schema.upgrade(url)
    with sqlite3.connect(_file(url)) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    with pytest.raises(ConfigurationError, match=r"9999.*newer version"):
        await schema.upgrade(url)
    with pytest.raises(ConfigurationError, match="9999"):
        await schema.require_head(url)
    assert await schema.current(url) == "9999"


async def test_a_revision_that_fails_half_way_leaves_nothing(url: str) -> None:
    """A table in the way stops the first revision after it has made others."""
    with sqlite3.connect(_file(url)) as raw:
        raw.execute("CREATE TABLE budgets (id TEXT)")
    raw.close()
    with pytest.raises(DBAPIError, match="budgets"):
        await schema.upgrade(url)
    assert set(_statements(_file(url))) == {"budgets"}


async def test_rows_that_break_a_foreign_key_undo_the_migration(url: str) -> None:
    await schema.upgrade(url, "0002")
    with sqlite3.connect(_file(url)) as raw:
        raw.execute(
            "INSERT INTO teams (id, organisation_id, name, created_ms)"
            " VALUES ('team_1', 'org_nowhere', 'a', 1)"
        )
    raw.close()
    with pytest.raises(ConfigurationError, match="teams"):
        await schema.upgrade(url)
    assert await schema.current(url) == "0002"


def test_where_there_is_nothing_to_migrate_alembic_is_not_loaded(url: str) -> None:
    for loaded in ("True", "False"):
        ran = subprocess.run(
            [sys.executable, "-c", _UPGRADE, url],
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout.strip() == loaded


_UPGRADE = """
import asyncio, sys
from gateway.store import schema
asyncio.run(schema.upgrade(sys.argv[1]))
print("alembic" in sys.modules)
"""


def test_revisions_import_nothing_of_the_project() -> None:
    for revision in (ROOT / "migrations" / "versions").glob("*.py"):
        imports = re.findall(r"^(?:from|import) (\w+)", revision.read_text(), re.MULTILINE)
        assert set(imports) <= {"sqlalchemy", "alembic"}, revision.name
