"""Where an installation is: its database, its pepper and its data folder."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.accounts import pepper
from gateway.errors import ConfigurationError
from gateway.settings import Settings, Whereabouts
from gateway.settings_state import StateSettings
from gateway.store import schema
from gateway.store.database import COMMAND_TIMEOUT, Database, kind, sqlite_url

DATABASE_FILE = "tidegate.db"


@dataclass(frozen=True, slots=True)
class Installation:
    """Where an installation is.

    Attributes:
        data: the data folder.
        url: of the database; it may hold a password, so it is never shown.
        pool_size: connections of this process to PostgreSQL.
        state: where counters are shared, and changes announced.
    """

    data: Path
    url: str = field(repr=False)
    pool_size: int = 5
    _pepper: str | None = field(default=None, repr=False)
    state: StateSettings = field(default_factory=StateSettings, repr=False)

    @classmethod
    def of(cls, settings: Settings | Whereabouts) -> "Installation":
        """Where the settings say: `database.url`, else the data folder.

        Raises:
            ConfigurationError: the URL or the path cannot be used.
        """
        own = settings.auth.pepper
        return cls(
            settings.data,
            database_url(settings),
            settings.database.pool_size,
            None if own is None else own.get_secret_value(),
            settings.state,
        )

    @classmethod
    def in_folder(cls, data: Path) -> "Installation":
        """A data folder with everything in it.

        Raises:
            ConfigurationError: the path cannot be used.
        """
        return cls(data, database_url(data))

    @property
    def shared(self) -> bool:
        """Whether replicas on other machines can share the database."""
        return kind(self.url) == "postgresql"

    def pepper(self) -> bytes:
        """The pepper of the settings, else that of the data folder, made if there is none.

        Raises:
            ConfigurationError: it is not one, or its file cannot be read or written.
        """
        return pepper.ensure(self.data) if self._pepper is None else pepper.read(self._pepper)

    def database(self, *, command_timeout: float | None = COMMAND_TIMEOUT) -> Database:
        """The database, not opened yet; `command_timeout` as in `Database`."""
        return Database(self.url, pool_size=self.pool_size, command_timeout=command_timeout)


def database_url(where: Path | Settings | Whereabouts) -> str:
    """Where a data folder, or an installation by its settings, has its database.

    Raises:
        ConfigurationError: the path or the URL cannot be used.
    """
    if isinstance(where, Settings | Whereabouts):
        if (own := where.database.url) is not None:
            url = own.get_secret_value()
            try:
                kind(url)
            except ValueError as fault:
                raise ConfigurationError([f"database.url: {fault}"]) from fault
            return url
        where = where.data
    try:
        return sqlite_url(where / DATABASE_FILE)
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
async def opened(
    where: Path | Installation, *, command_timeout: float | None = COMMAND_TIMEOUT
) -> AsyncIterator[Database]:
    """The database of an installation, which must be there already: a mistyped path makes none.

    Args:
        where: the installation, or its data folder.
        command_timeout: seconds for one statement on PostgreSQL; None, for what reads the whole ledger.

    Raises:
        ConfigurationError: no database there, or one of another version.
        Unavailable: the database cannot be used; code database_unavailable.
    """
    installation = where if isinstance(where, Installation) else Installation.in_folder(where)
    await schema.require_head(installation.url)
    db = installation.database(command_timeout=command_timeout)
    try:
        yield db
    finally:
        await db.aclose()
