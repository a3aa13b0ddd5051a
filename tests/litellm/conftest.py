"""One real litellm in its real worker, for all tests here."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from msgspec import structs
from typing_extensions import override

from backends import Endpoint, HttpClient, LitellmRow, Secret, open_backends
from tests.contract.adapters.upstream import K26, Source, says
from tests.environments import Unbuilt
from tests.litellm.anthropic_stand_in import AnthropicStandIn
from tests.litellm.desk import MODELS, Desk
from tests.litellm.environment import LITELLM

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.litellm)


@pytest.fixture(scope="session")
def litellm_python() -> Path:
    """The interpreter that has litellm."""
    try:
        return LITELLM.built() / "bin/python"
    except Unbuilt as reason:
        pytest.fail(str(reason), pytrace=False)


@pytest.fixture(scope="session")
def desk(litellm_python: Path) -> Iterator[Desk]:
    with AnthropicStandIn() as anthropic:
        rows = {
            "anthropic": LitellmRow(model="anthropic/claude-test", base_url=anthropic.base_url),
            "bedrock": LitellmRow(
                model="bedrock/moonshot.kimi-k2-thinking",
                params={"aws_region_name": Secret("us-east-1")},
            ),
            "nonsense": LitellmRow(model="nonsense/kimi"),
            "effort": LitellmRow(
                model="moonshot/kimi-k3",
                base_url="http://127.0.0.1:9/v1",
                allowed=("reasoning_effort", "top_k"),
            ),
        }
        with Desk(litellm_python, rows) as desk:
            yield desk


class Row(Source, kw_only=True):
    """An endpoint of the worker, which knows it by its id."""

    row: Endpoint

    @override
    def endpoint(self, how: str) -> Endpoint:
        return structs.replace(self.row, native_non_stream=how == "whole")

    @override
    def k26(self, how: str) -> Endpoint:
        return structs.replace(self.endpoint(how), profile=K26)


@pytest.fixture(params=MODELS)
async def upstream(
    request: pytest.FixtureRequest, desk: Desk, few_authorities: str | None
) -> AsyncIterator[Source]:
    """Each of litellm's providers, as the contract of all kinds asks it."""
    name: str = request.param
    client = HttpClient(clock=asyncio.get_running_loop().time, ca_file=few_authorities)
    row = desk.endpoint(name)
    silent = {"openai", "novita"}  # their wire has no count of reasoning tokens
    yield Row(
        kind="litellm",
        backend=open_backends(client, litellm=desk.worker)["litellm"],
        base_url=row.base_url,
        model=row.model,
        says=says(desk.servers[name], counts_reasoning=name not in silent),
        row=row,
    )
    await client.aclose()
