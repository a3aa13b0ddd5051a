"""The forms of a gateway: one process with a file and its memory, or several that share servers."""

import asyncio
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, TypeVar

from sqlalchemy import text
from typing_extensions import override

from gateway.accounts.opening import Installation
from tests.servers.postgres_server import PostgresServer
from tests.servers.redis_server import RedisServer

Result = TypeVar("Result")


class Form:
    """One process, a SQLite file in its data folder, counters in its memory.

    Attributes:
        shared: whether counters are kept outside, and budgets leased by `workers` processes.
    """

    name = "one"
    shared = False
    workers = 1

    def place(self) -> Mapping[str, Mapping[str, Any]]:
        """Sections of the settings that say where a new gateway keeps what it knows."""
        return {}


class Many(Form):
    """Several processes over PostgreSQL and Redis: each gateway has a database and a prefix of its own.

    Args:
        postgres, redis: running servers.
        workers: processes.
    """

    name = "many"
    shared = True

    def __init__(self, postgres: PostgresServer, redis: RedisServer, workers: int = 3) -> None:
        self._postgres = postgres
        self._redis = redis
        self.workers = workers
        self._numbers = count(1)

    @override
    def place(self) -> Mapping[str, Mapping[str, Any]]:
        return {
            "server": {"workers": self.workers},
            "database": {"url": self._postgres.fresh()},
            "state": {"url": self._redis.url, "prefix": f"gateway-{next(self._numbers)}"},
        }


ONE = Form()


def read(where: Installation, query: str, **values: object) -> list[dict[str, Any]]:
    """Rows of a database, read from outside; `:name` in the query stands for a value.

    Blocks; may be called beside a running event loop.
    """

    async def work() -> list[dict[str, Any]]:
        database = where.database()
        try:
            async with database.reading() as connection:
                found = await connection.execute(text(query), values)
                return [dict(row) for row in found.mappings()]
        finally:
            await database.aclose()

    return _apart(work())


def write(where: Installation, statement: str, **values: object) -> int:
    """Change a database from outside; how many rows changed. As `read`."""

    async def work() -> int:
        database = where.database()
        try:
            async with database.transaction() as connection:
                return (await connection.execute(text(statement), values)).rowcount
        finally:
            await database.aclose()

    return _apart(work())


def _apart(work: Coroutine[Any, Any, Result]) -> Result:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
