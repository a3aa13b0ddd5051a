"""PostgreSQL and Redis for the form of Tidegate that processes can share, as the tests start them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct

from tests.servers.postgres_server import PostgresServer
from tests.servers.redis_server import RedisServer


class Stores(Struct, frozen=True):
    """Servers that run. `pids` are those of the servers' first processes, by name."""

    database_url: str
    state_url: str
    pids: dict[str, int]


@contextmanager
def running(core: int) -> Iterator[Stores]:
    """Both servers, empty, pinned to `core`; they end, with what they hold, at the end of the block.

    Raises:
        Missing: PostgreSQL or Redis is not on this machine.
        Unready: one did not start.
    """
    with PostgresServer() as postgres, RedisServer() as redis:
        pids = {"PostgreSQL": postgres.pid, "Redis": redis.pid}
        for pid in pids.values():
            os.sched_setaffinity(pid, {core})  # sessions of PostgreSQL inherit it
        yield Stores(postgres.fresh(None), redis.url, pids)
