"""Bringing a database's schema to a revision of the `migrations` package.

Each call runs in one transaction: it happens as a whole or not at all, and one process at a time, so
that several may start at once. (SQLite undoes DDL too, if BEGIN is sent before it.)

Alembic is loaded only to migrate: it would take a quarter of a second of every command and every start.
"""

import re
from importlib.resources import as_file, files
from pathlib import Path

from sqlalchemy import Connection, func, inspect, make_url, select, text

from gateway.errors import ConfigurationError
from gateway.store.database import Database, kind

_TABLE = "alembic_version"
_REVISION = re.compile(r"([0-9]{4})_\w+\.py")
_LOCK = 0x7464_6D67  # any number that nobody else locks
# How long a replica waits for another's migration; and how long a migration waits for requests that use
# a table. Whoever comes after it waits behind it, so that is short: rather begin again.
_WAIT_FOR_OTHERS = "5min"
_WAIT_FOR_TABLES = "10s"


async def upgrade(url: str, revision: str = "head") -> None:
    """Bring the schema up to a revision, making the SQLite file if there is none.

    Raises:
        ConfigurationError: the database is at a revision that this version does not know, or the
            migrated data breaks a foreign key; nothing was changed.
        Unavailable: the database cannot be reached; code database_unavailable.
    """
    if revision == "head" and await current(url) == head():
        return
    await _migrate(url, revision, down=False)


async def downgrade(url: str, revision: str) -> None:
    """Take the schema down to a revision, or to nothing with `base`. Drops what it does not know.

    Raises:
        ConfigurationError: no such revision; nothing was changed.
        Unavailable: the database cannot be reached; code database_unavailable.
    """
    await _migrate(url, revision, down=True)


async def current(url: str) -> str | None:
    """The revision that the database is at; None if it is empty or not there. Changes nothing.

    Raises:
        Unavailable: the database cannot be reached; code database_unavailable.
    """
    if not _exists(url):
        return None  # opening it would make the file
    db = Database(url)
    try:
        async with db.reading() as connection:
            return await connection.run_sync(_current)
    finally:
        await db.aclose()


def head() -> str:
    """The newest revision that this version of the gateway knows: the files of revisions are numbered."""
    names = (entry.name for entry in files("migrations").joinpath("versions").iterdir())
    known = [found[1] for name in names if (found := _REVISION.fullmatch(name))]
    if not known:
        raise ConfigurationError(["the package `migrations` has no revisions: install it again"])
    return max(known)


async def require_head(url: str) -> None:
    """Refuse to work with a database whose schema is not this version's.

    Raises:
        ConfigurationError: with what to do about it.
        Unavailable: the database cannot be reached; code database_unavailable.
    """
    found, wanted = await current(url), head()
    if found is None:
        raise ConfigurationError(["there is no database here yet; make it with `tidegate migrate`"])
    if found != wanted:
        fault = f"the database is at revision {found}, this version needs {wanted}"
        raise ConfigurationError([f"{fault}; run `tidegate migrate`"])


async def _migrate(url: str, revision: str, *, down: bool) -> None:
    # Rebuilding a table drops the old one. With foreign keys on, that deletes the rows that refer
    # to it, and inside a transaction they cannot be turned off (both measured with SQLite 3.40,
    # November 2026). So they are off from the start, and checked at the end.
    db = Database(url, foreign_keys=False, command_timeout=None)
    try:
        async with db.transaction() as connection:
            if db.dialect == "postgresql":
                await connection.execute(text(f"SET LOCAL lock_timeout = '{_WAIT_FOR_OTHERS}'"))
                await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
                await connection.execute(text(f"SET LOCAL lock_timeout = '{_WAIT_FOR_TABLES}'"))
            await connection.run_sync(_run, revision, down)
            if db.dialect == "sqlite":
                broken = (await connection.execute(text("PRAGMA foreign_key_check"))).all()
                if broken:
                    tables = ", ".join(sorted({row[0] for row in broken}))
                    raise ConfigurationError(
                        [f"the migrated data breaks foreign keys of {tables}; nothing was changed"]
                    )
    finally:
        await db.aclose()


def _run(connection: Connection, revision: str, down: bool) -> None:  # noqa: FBT001 - run_sync is positional
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above
    from alembic.util import CommandError  # noqa: PLC0415 - see above

    with as_file(files("migrations")) as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        try:
            (command.downgrade if down else command.upgrade)(config, revision)
        except CommandError as fault:
            at = _current(connection)
            what = f"this version cannot take the database from revision {at} to {revision}"
            raise ConfigurationError(
                [f"{what} ({fault}); if a newer version made it, use that one"]
            ) from fault


def _exists(url: str) -> bool:
    return kind(url) != "sqlite" or Path(make_url(url).database or "").exists()


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_TABLE):
        return None
    found: str | None = connection.scalar(text(f"SELECT version_num FROM {_TABLE}"))  # noqa: S608 - our own name
    return found
