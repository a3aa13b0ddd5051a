"""One gateway process for all tests here that do not need one of their own."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.environments import Unbuilt
from tests.fakes.forms import ONE, Many
from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.kinds import KindsStage
from tests.fakes.stage import GatewayStage, Stage
from tests.servers.postgres_server import PostgresServer
from tests.servers.redis_server import RedisServer


@pytest.fixture(scope="session", autouse=True)
def form(request: pytest.FixtureRequest) -> Iterator[str]:
    """The form in which the gateways of this run are: `--form one` or `--form many`."""
    name: str = request.config.getoption("--form")
    if name == ONE.name:
        yield name
        return
    with PostgresServer() as postgres, RedisServer() as redis:
        GatewayProcess.usual = Many(postgres, redis)
        yield name
        GatewayProcess.usual = ONE


@pytest.fixture(scope="session")
def the_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


def watched(stage: GatewayStage) -> Iterator[None]:
    """Whatever a test does on the stage, the gateway may have nothing to complain of."""
    seen = len(stage.gateway.log)
    yield
    new = stage.gateway.log[seen:]
    assert not [line for line in new if "Traceback" in line or " ERROR " in line], "\n".join(new)


@pytest.fixture
def stage(the_stage: Stage) -> Iterator[Stage]:
    """The stage."""
    with contextlib.contextmanager(watched)(the_stage):
        yield the_stage


@pytest.fixture(scope="session")
def plain_kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KindsStage]:
    with KindsStage(tmp_path_factory.mktemp("kinds")) as stage:
        yield stage


@pytest.fixture(scope="session")
def all_kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KindsStage]:
    try:
        stage = KindsStage(tmp_path_factory.mktemp("all-kinds"), litellm=True)
    except Unbuilt as reason:
        pytest.fail(str(reason), pytrace=False)
    with stage:
        stage.until_litellm_answers()
        yield stage


@pytest.fixture
def kinds(request: pytest.FixtureRequest) -> Iterator[KindsStage]:
    """Every kind of endpoint behind one gateway; with litellm for tests that are marked so."""
    has_litellm = request.node.get_closest_marker("litellm") is not None
    stage: KindsStage = request.getfixturevalue("all_kinds" if has_litellm else "plain_kinds")
    with contextlib.contextmanager(watched)(stage):
        yield stage
    for server in stage.servers.values():
        assert not server.faults.active(), "a fault that was asked for did not strike"
