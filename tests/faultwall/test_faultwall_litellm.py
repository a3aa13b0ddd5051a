"""Every fault of a provider behind the real litellm, in its real worker, as on the other wall."""

from collections.abc import Iterator

import pytest

from tests.environments import Unbuilt
from tests.faultwall.cells import Cell
from tests.faultwall.expectations import HOWS, ROWS, How, Row
from tests.faultwall.recorded import recorded
from tests.faultwall.wall import Wall, columns_of
from tests.litellm.environment import LITELLM

pytestmark = pytest.mark.litellm


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wall]:
    try:
        python = LITELLM.built() / "bin/python"
    except Unbuilt as reason:
        pytest.fail(str(reason), pytrace=False)
    with Wall(tmp_path_factory.mktemp("wall"), "litellm", python) as wall:
        yield wall


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", columns_of("litellm"))
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_alone(wall: Wall, request: pytest.FixtureRequest, row: Row, kind: str, how: How) -> None:
    recorded(Cell(wall, row, kind, how, alone=True), request.node)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", columns_of("litellm"))
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_with_a_second_endpoint(
    wall: Wall, request: pytest.FixtureRequest, row: Row, kind: str, how: How
) -> None:
    recorded(Cell(wall, row, kind, how, alone=False), request.node)


def test_one_worker_served_the_whole_wall(wall: Wall) -> None:
    assert wall.worker.starts == 1
    assert wall.worker.away is None
