"""An installation with two organisations."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.administration import Populated, populated


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Populated]:
    async with populated(tmp_path) as made:
        yield made
