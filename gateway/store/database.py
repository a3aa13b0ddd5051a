"""The one way to the database: an engine, write transactions and read snapshots."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, exc, make_url
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway.errors import Unavailable

BUSY_TIMEOUT_MS = 5_000
"""How long SQLite waits for another process's write transaction before it gives up."""

CONNECT_TIMEOUT = 5.0
"""Seconds to get a connection to PostgreSQL that answers, from the pool or new."""

COMMAND_TIMEOUT = 10.0
"""Seconds that PostgreSQL has for one statement; a server that hangs is one that is away."""

IDLE_TIMEOUT = 60.0
"""Seconds for which a transaction may stand still on PostgreSQL: what hangs holds no locks for longer."""

Inserts = Sequence[tuple[str, Sequence[Sequence[Any]]]]
"""Statements in the driver's own notation, each with the parameters of its executions."""

_WRITES = "tidegate_writes"
# https://www.postgresql.org/docs/15/errcodes-appendix.html, November 2026: connections, refused
# credentials and databases, deadlocks and lost races, resources, interventions of the operator,
# locks not to be had, faults of the system, corrupt data.
_POSTGRES_OUTAGES = re.compile("08|28|3D|40001|40P01|53|57|55P03|58|XX")
_SQLITE_OUTAGES = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
}


def sqlite_url(file: Path) -> str:
    """The URL of a SQLite file.

    Raises:
        ValueError: the path has a `?`, which URLs of databases cannot hold.
    """
    if "?" in str(file):
        raise ValueError(f"the path {file} has a question mark; use another folder")
    return f"sqlite+aiosqlite:///{file}"


def kind(url: str) -> str:
    """`sqlite` or `postgresql`.

    Raises:
        ValueError: the URL is of another kind; the message does not show it.
    """
    return _parsed(url).get_backend_name()


class Database:
    """A database by its URL: `sqlite+aiosqlite:///file` or `postgresql://user:password@host/name`.

    Nothing is opened before the first use. Statements are committed by leaving `transaction()`, and
    nowhere else. Their parameters never appear in errors or logs.

    SQLite is set up on every connection with:

    - `journal_mode=WAL`: readers never wait for the writer.
    - `synchronous=NORMAL`: the log is synced at checkpoints, not at each commit. A killed process
      loses nothing; a power cut can undo the last commits, never corrupt the file
      (SQLite's documentation of PRAGMA synchronous, November 2026). What must outlive a power cut
      is in the journal, which is synced, and is shipped again.
    - `foreign_keys=ON`, which SQLite leaves off by default.
    - `busy_timeout`: a second writer waits instead of failing.

    PostgreSQL is asked by asyncpg. A connection from the pool is tried before it is used (a round trip,
    never on the way of a known key), so that a restarted server costs no request. Whoever finds a server
    that does not answer gives up after `CONNECT_TIMEOUT` or `COMMAND_TIMEOUT`.

    Args:
        url: where the database is. In-memory SQLite is refused: its connections would not see the
            same data.
        foreign_keys: off only for migrations, which rebuild tables (SQLite only).
        pool_size: connections to PostgreSQL at most.
        command_timeout: seconds for one statement on PostgreSQL; None: no limit.

    Raises:
        ValueError: the URL is of another kind.
    """

    def __init__(
        self,
        url: str,
        *,
        foreign_keys: bool = True,
        pool_size: int = 5,
        command_timeout: float | None = COMMAND_TIMEOUT,
    ) -> None:
        parsed = _parsed(url)
        self._bulk: _Bulk | None = None
        if parsed.get_backend_name() == "sqlite":
            self._engine = _sqlite(parsed, foreign_keys=foreign_keys)
            self._bulk = _Bulk(parsed.database or "")
            self._reader = self._engine
        else:
            self._engine = _postgres(parsed, pool_size, command_timeout)
            self._reader = self._engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        self._writer = self._engine.execution_options(**{_WRITES: True})

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose work is committed at the end, and undone if the block raises.

        On SQLite it holds the one write lock from its first line (`BEGIN IMMEDIATE`): what it reads
        is still true when it writes. On PostgreSQL others write at the same time: lock the rows that a
        decision stands on (`with_for_update`). Keep it short, and never nest one in another.

        Raises:
            Unavailable: the database cannot be reached, stayed locked or chose this one of two
                that waited for each other; code database_unavailable.
        """
        with _translated():
            async with self._connected(self._writer) as connection, connection.begin():
                yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read from: one consistent snapshot. Nothing is ever committed.

        Raises:
            Unavailable: the database cannot be reached; code database_unavailable.
        """
        with _translated():
            async with self._connected(self._reader) as connection:
                yield connection

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        async with AsyncExitStack() as stack:
            # A server that hangs would take the time of a statement for each part of getting there.
            async with asyncio.timeout(None if self._bulk is not None else CONNECT_TIMEOUT):
                connection = await stack.enter_async_context(engine.connect())
            try:
                yield connection
            except TimeoutError:
                # Nothing more will come from it, not even an answer to a rollback.
                await connection.invalidate()
                raise

    async def insert(self, inserts: Inserts) -> None:
        """Execute statements in one transaction, fast: for rows that come with every request.

        On SQLite all of it is one journey to a thread, and the fewer statements, the less that thread
        and the event loop's fight for the interpreter's lock.

        Raises:
            Unavailable: the database cannot be reached or stayed locked; code database_unavailable.
            sqlalchemy.exc.DBAPIError, OverflowError: it refuses a row; then none is kept.
        """
        if self._bulk is not None:
            with _translated():
                await self._bulk.insert(inserts)
            return
        async with self.transaction() as connection:
            for statement, rows in inserts:
                await connection.exec_driver_sql(statement, [tuple(row) for row in rows])

    async def aclose(self) -> None:
        """Close every connection. Harmless twice."""
        if self._bulk is not None:
            await self._bulk.aclose()
        await self._engine.dispose()


class _Bulk:
    """A connection to a SQLite file with a thread of its own, opened at the first use."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._connection: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def insert(self, inserts: Inserts) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger-insert")
        loop = asyncio.get_running_loop()
        # Shielded, for a thread cannot be cancelled: whoever stops waits until the rows are in or out.
        working = loop.run_in_executor(self._thread, self._insert, inserts)
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError:
            await asyncio.wait([working])
            raise

    def _insert(self, inserts: Inserts) -> None:
        statement = "BEGIN IMMEDIATE"
        try:
            connection = self._connection or self._open()
            connection.execute(statement)
            try:
                for statement, rows in inserts:
                    for row in rows:
                        connection.execute(statement, row)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as fault:
            # The same errors as from every other use of the database.
            raise exc.DBAPIError.instance(
                statement, None, fault, sqlite3.Error, hide_parameters=True
            ) from fault

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._file, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None
        )
        try:
            for pragma in _pragmas(foreign_keys=True):
                connection.execute(pragma)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    async def aclose(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
            thread.shutdown()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (exc.DBAPIError, exc.TimeoutError, OSError) as fault:
        if isinstance(fault, exc.DBAPIError) and not _is_outage(fault):
            if getattr(fault.orig, "sqlstate", None) is not None or _cause(fault) is not None:
                _forget_values(fault)
            raise
        raise Unavailable(
            "the gateway's database cannot be used now; try again", code="database_unavailable"
        ) from fault


def _forget_values(fault: exc.DBAPIError) -> None:
    """Leave of an error of asyncpg's what names the fault: its text quotes the row, or the value."""
    orig = fault.orig
    kind = type(_cause(fault) or orig).__name__
    said = f"{kind}, SQLSTATE {getattr(orig, 'sqlstate', None)}"
    fault.args = (said,)
    if orig is not None:
        orig.args, orig.__cause__, orig.__suppress_context__ = (said,), None, True
    fault.__cause__, fault.__suppress_context__ = None, True


def _is_outage(fault: exc.DBAPIError) -> bool:
    """Whether the database is at fault, rather than the statement."""
    code = getattr(fault.orig, "sqlite_errorcode", None)
    if code is not None:  # SQLite calls a missing table an operational error too
        return (code & 0xFF) in _SQLITE_OUTAGES  # the high bits tell sub-cases
    state = getattr(fault.orig, "sqlstate", None)
    if state is not None:
        return _POSTGRES_OUTAGES.match(state) is not None
    if any(kind.__name__ == "DataError" for kind in type(_cause(fault)).__mro__):
        return False  # asyncpg refuses a value: to it that is an error of its interface too, but it is ours
    return isinstance(fault, exc.OperationalError | exc.InterfaceError)


def _cause(fault: exc.DBAPIError) -> BaseException | None:
    return None if fault.orig is None else fault.orig.__cause__


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        raise ValueError(
            "not a URL of a database: use postgresql://user:password@host/name"
        ) from None
    if parsed.drivername in {"postgresql", "postgres", "postgresql+asyncpg"}:
        return parsed.set(drivername="postgresql+asyncpg")
    if parsed.drivername != "sqlite+aiosqlite":
        raise ValueError(f"unknown kind of database {parsed.drivername!r}: use postgresql://…")
    return parsed


def _postgres(url: URL, pool_size: int, command_timeout: float | None) -> AsyncEngine:
    query = dict(url.query)
    if (tls := query.pop("sslmode", None)) is not None:  # as libpq calls it, and everyone writes it
        query.setdefault("ssl", tls)
    return create_async_engine(
        url.set(query=query),
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT,
        connect_args={
            "timeout": CONNECT_TIMEOUT,
            "command_timeout": command_timeout,
            "server_settings": {
                "application_name": "tidegate",
                "idle_in_transaction_session_timeout": f"{IDLE_TIMEOUT * 1000:.0f}",
            },
        },
    )


def _sqlite(url: URL, *, foreign_keys: bool) -> AsyncEngine:
    if not url.database or ":memory:" in url.database or url.query:
        raise ValueError("SQLite needs a plain file: sqlite+aiosqlite:///path/to/tidegate.db")
    # With isolation_level None the driver opens no transactions of its own, which it would do late
    # and only before some statements; `_begin` opens them.
    engine = create_async_engine(
        url,
        hide_parameters=True,
        connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_MS / 1000},
    )
    pragmas = _pragmas(foreign_keys=foreign_keys)

    @event.listens_for(engine.sync_engine, "connect")
    def _connected(dbapi_connection: Any, _record: object) -> None:
        cursor = dbapi_connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _pragmas(*, foreign_keys: bool) -> tuple[str, ...]:
    return (
        f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",  # first: the switch to WAL can find a lock too
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=NORMAL",
        f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}",
    )


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
