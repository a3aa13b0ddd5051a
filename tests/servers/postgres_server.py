"""A real PostgreSQL, for tests, and fresh databases in it in some 50 ms."""

import asyncio
import os
import pwd
import signal
import subprocess
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, TypeVar

import asyncpg
from typing_extensions import override

from tests.servers import binaries
from tests.servers.watched import Unready, WatchedServer

USER = "tidegate"
PASSWORD = "sesame-of-the-tests"

Value = TypeVar("Value")

# It must not be slow, and need not survive a power cut.
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


class PostgresServer(WatchedServer):
    """A server of its own, with a superuser, on a free port of 127.0.0.1.

    It refuses to run as root; then it runs as `postgres` or `nobody`.

    Args:
        settings: more of its settings, such as `{"max_connections": "5"}`.

    Raises:
        Missing: there is none on this machine.
        Unready: its folder cannot be made.
    """

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self._program = binaries.postgres()
        super().__init__("postgres", user=_user())
        self._settings = {**_SETTINGS, **(settings or {})}
        self._templates: dict[str, str] = {}
        self._numbers = count(1)
        self._made = False

    @override
    def start(self) -> None:
        if not self._made:
            self._initialise()
            self._made = True
        super().start()

    @override
    def stop(self) -> None:
        """End it at once but in order (a fast shutdown: sessions are told, and cut off)."""
        self._end(signal.SIGINT)

    @override
    def command(self) -> Sequence[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "timezone": "GMT",
            "log_timezone": "GMT",
            **self._settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self._program.path), "-D", str(self.folder / "data"), *options]

    @override
    def variables(self) -> Mapping[str, str]:
        return self._program.variables

    @override
    def answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            return False
        return True

    def url(self, database: str = "postgres") -> str:
        """`postgresql://user:password@127.0.0.1:PORT/database`."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Execute statements, each by itself."""

        async def work() -> None:
            connection = await asyncpg.connect(self.url(database), timeout=5)
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        apart(work())

    def fresh(self, revision: str | None = "head") -> str:
        """The URL of a new database, with the schema of a revision; None: an empty one.

        The schema is made once, in a template that the others are copied from.
        """
        name = f"test_{next(self._numbers)}"
        if revision is None:
            self.execute(f"CREATE DATABASE {name}")
            return self.url(name)
        if (template := self._templates.get(revision)) is None:
            from gateway.store import schema  # noqa: PLC0415 - who tests Redis needs none of it

            template = f"template_{revision}"
            self.execute(f"CREATE DATABASE {template}")
            apart(schema.upgrade(self.url(template), revision))
            self._templates[revision] = template
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database, cutting off whoever is connected."""
        name = url.rpartition("/")[2]
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _initialise(self) -> None:
        made = subprocess.run(
            [
                self._program.beside("initdb"),
                *("--pgdata", str(self.folder / "data"), "--username", USER, "--auth", "trust"),
                *("--encoding", "UTF8", "--no-locale", "--no-sync"),
            ],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            check=False,
            **self._identity(),
        )
        if made.returncode != 0:
            raise Unready(f"initdb: {made.stderr.decode(errors='replace')[-2000:]}")


def apart(work: Coroutine[Any, Any, Value]) -> Value:
    """Run to the end in a thread with a loop of its own: fixtures may be called beside a running one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _user() -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            known = pwd.getpwnam(name)
        except KeyError:
            continue
        return known.pw_uid, known.pw_gid
    raise Unready("PostgreSQL refuses to run as root, and there is no user `postgres` nor `nobody`")
