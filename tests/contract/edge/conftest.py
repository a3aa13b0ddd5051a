"""The edge on the event loop it is made for."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def nothing_logged(caplog: pytest.LogCaptureFixture) -> object:
    """No test here may leave a warning or a traceback in the log."""
    yield None
    assert [r.getMessage() for r in caplog.records if r.levelname not in {"DEBUG", "INFO"}] == []
