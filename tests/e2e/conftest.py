"""One gateway process for all tests here that do not need one of their own."""

from collections.abc import Iterator

import pytest

from tests.fakes.stage import Stage


@pytest.fixture(scope="session")
def the_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@pytest.fixture
def stage(the_stage: Stage) -> Iterator[Stage]:
    """The stage; whatever a test does on it, the gateway may have nothing to complain of."""
    seen = len(the_stage.gateway.log)
    yield the_stage
    new = the_stage.gateway.log[seen:]
    assert not [line for line in new if "Traceback" in line or " ERROR " in line], "\n".join(new)
