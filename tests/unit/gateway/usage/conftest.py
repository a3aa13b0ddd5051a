from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.store.database import Database
from tests.unit.gateway.usage.samples import new_database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An empty ledger in a file of its own."""
    database = await new_database(tmp_path)
    yield database
    await database.aclose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where journals live."""
    folder = tmp_path / "journal"
    folder.mkdir()
    return folder
