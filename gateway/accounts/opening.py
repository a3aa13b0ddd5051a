"""A data folder, opened for administration."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.errors import ConfigurationError
from gateway.store import schema
from gateway.store.database import Database, sqlite_url

DATABASE_FILE = "tidegate.db"


def database_url(data: Path) -> str:
    """Where a data folder has its database.

    Raises:
        ConfigurationError: the path cannot be used.
    """
    try:
        return sqlite_url(data / DATABASE_FILE)
    except ValueError as fault:
        raise ConfigurationError([str(fault)]) from fault


def make_folder(data: Path) -> None:
    """Make the data folder, for its owner only, if there is none.

    Raises:
        ConfigurationError: it cannot be made.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise ConfigurationError([f"{data}: {fault.strerror}; choose another folder"]) from fault


@asynccontextmanager
async def opened(data: Path) -> AsyncIterator[Database]:
    """The database of a data folder, which must be there already: a mistyped path makes none.

    Raises:
        ConfigurationError: no database there, or one of another version.
        Unavailable: the database cannot be used; code database_unavailable.
    """
    url = database_url(data)
    await schema.require_head(url)
    db = Database(url)
    try:
        yield db
    finally:
        await db.aclose()
