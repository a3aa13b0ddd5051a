"""The real vLLM, started once for all tests here."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from backends import Deadlines, HttpClient, Usage, open_backends
from tests.contract.adapters.upstream import Source
from tests.environments import Unbuilt
from tests.fakes.answers import Answer
from tests.vllm.environment import VLLM
from tests.vllm.stage_with_vllm import VllmStage
from tests.vllm.vllm_server import NAME

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
        environment = VLLM.built()
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


@pytest.fixture
async def upstream(the_stage: VllmStage, few_authorities: str | None) -> AsyncIterator[Source]:
    """The one with a prefix cache, as the contract of all kinds asks it: without the gateway."""
    client = HttpClient(clock=asyncio.get_running_loop().time, ca_file=few_authorities)
    yield Source(
        kind="vllm",
        backend=open_backends(client)["vllm"],
        base_url=the_stage.prefix.base_url,
        model=NAME,
        says=Answer(
            "Hello from a tiny random Kimi model on CPU.",
            "The user asks; I answer briefly",
            [],
            [("stop", "stop")],
            Usage(prompt=12, completion=7 + 1 + 10 + 1, reasoning=7),
        ),
        deadlines=Deadlines(first_byte=60, idle=60),
    )
    await client.aclose()
