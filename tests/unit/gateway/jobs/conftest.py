"""A ledger that can go away, a journal of small files, and what moves one to the other."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.jobs.shipper import Shipper
from gateway.usage.journal import Journal
from gateway.usage.recent import Recent
from tests.unit.gateway.usage.samples import MoodyDatabase, new_database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[MoodyDatabase]:
    await (await new_database(tmp_path)).aclose()
    database = MoodyDatabase(tmp_path)
    yield database
    await database.aclose()


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal(tmp_path / "journal", loop=asyncio.get_running_loop(), max_bytes=2500)
    yield journal
    await journal.close()
    journal.release()


@pytest.fixture
def recent() -> Recent:
    return Recent()


@pytest.fixture
def shipper(database: MoodyDatabase, journal: Journal, recent: Recent) -> Shipper:
    return Shipper(database, journal, recent, clock=SystemClock(), interval=0.001)
