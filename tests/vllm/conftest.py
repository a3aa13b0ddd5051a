"""The real vLLM, started once for all tests here."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vllm.environment import Unbuilt, built
from tests.vllm.stage_with_vllm import VllmStage

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here, and put last what leaves a server dead."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.vllm)
            # The first one waits for the servers to start.
            item.add_marker(pytest.mark.timeout(420))
    items.sort(key=lambda item: item.path == HERE / "test_vllm_last.py")


@pytest.fixture(scope="session")
def the_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmStage]:
    try:
        environment = built()
    except Unbuilt as reason:
        pytest.fail(str(reason), pytrace=False)
    with VllmStage(tmp_path_factory.mktemp("vllm"), environment) as stage:
        stage.ready()
        yield stage


@pytest.fixture
def stage(the_stage: VllmStage) -> Iterator[VllmStage]:
    """The stage; whatever a test does on it, the gateway may have nothing to complain of."""
    seen = len(the_stage.gateway.log)
    yield the_stage
    new = the_stage.gateway.log[seen:]
    assert not [line for line in new if "Traceback" in line or " ERROR " in line], "\n".join(new)
