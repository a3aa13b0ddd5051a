"""Fixtures: one server of each kind for a test run (of each worker of it), and fresh databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.postgres_server import PostgresServer
from tests.servers.redis_server import RedisServer


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The PostgreSQL of this run. Who stops, kills or pauses one starts one of their own."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh database with the newest schema."""
    url = postgres_server.fresh()
    yield url
    postgres_server.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def blank_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh database with nothing in it, of either kind."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path}/tidegate.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.fresh(None)
    yield url
    server.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database with the newest schema, of either kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    from gateway.store import schema  # noqa: PLC0415 - who tests Redis needs none of it

    url = f"sqlite+aiosqlite:///{tmp_path}/tidegate.db"
    await schema.upgrade(url)
    return url


@pytest.fixture(scope="session")
def shared_redis_server() -> Iterator[RedisServer]:
    """The Redis of this run."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_server(shared_redis_server: RedisServer) -> RedisServer:
    """The Redis of this run, empty. Who stops, kills or pauses one starts one of their own."""
    shared_redis_server.empty()
    return shared_redis_server
