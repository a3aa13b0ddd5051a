"""Every fault at every adapter, through the whole gateway: told, booked and remembered as promised.

But for kind `litellm`, which is in `test_faultwall_litellm.py`.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from msgspec.structs import replace

from backends import KINDS
from backends.sandbox.server import DIALECTS
from tests.faultwall import matrix, test_faultwall_litellm
from tests.faultwall.cells import Cell
from tests.faultwall.expectations import (
    GAPS,
    HOWS,
    ROWS,
    SAME_WIRE,
    How,
    Row,
    faults_without_a_row,
)
from tests.faultwall.matrix import picture
from tests.faultwall.recorded import recorded
from tests.faultwall.wall import COLUMNS, Wall, columns_of


@pytest.fixture(scope="session")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wall]:
    with Wall(tmp_path_factory.mktemp("wall")) as wall:
        yield wall


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", columns_of("main"))
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_alone(wall: Wall, request: pytest.FixtureRequest, row: Row, kind: str, how: How) -> None:
    recorded(Cell(wall, row, kind, how, alone=True), request.node)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", columns_of("main"))
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_with_a_second_endpoint(
    wall: Wall, request: pytest.FixtureRequest, row: Row, kind: str, how: How
) -> None:
    recorded(Cell(wall, row, kind, how, alone=False), request.node)


def test_every_fault_of_the_sandbox_has_a_row() -> None:
    assert list(faults_without_a_row()) == []
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names))


def test_every_kind_with_a_stand_in_has_a_column() -> None:
    told = {kind for kind in KINDS if kind.replace("_", "-") in DIALECTS}
    assert COLUMNS.keys() == told | {"openai_compat", "litellm"}
    for kind, other in SAME_WIRE.items():
        assert KINDS[kind].quirks is KINDS[other].quirks


def test_every_fault_has_each_cell_in_just_one_group_of_tests() -> None:
    here = (test_alone, test_with_a_second_endpoint)
    there = (test_faultwall_litellm.test_alone, test_faultwall_litellm.test_with_a_second_endpoint)
    for group in zip(here, there, strict=True):
        cells = Counter(cell for test in group for cell in cells_of(test))
        assert cells == Counter(product([row.name for row in ROWS], COLUMNS, HOWS))
    assert test_faultwall_litellm.pytestmark == pytest.mark.litellm


def cells_of(test: Any) -> Iterator[tuple[str, str, str]]:
    over = {mark.args[0]: mark.args[1] for mark in test.pytestmark if mark.name == "parametrize"}
    return product([row.name for row in over["row"]], over["kind"], over["how"])


def test_gaps_are_of_rows_that_there_are() -> None:
    assert {name for name, _ in GAPS} <= {row.name for row in ROWS}


def test_exceptions_are_for_columns_and_have_their_reasons() -> None:
    for row in ROWS:
        assert row.at.keys() <= COLUMNS.keys()
        for kind, other in row.at.items():
            assert other.reason
            assert any(
                row.outcome(kind, how) != replace(row, at={}).outcome(kind, how) for how in HOWS
            ), f"{row.name} at {kind} is no exception"


def test_the_picture_has_no_empty_cell() -> None:
    cells = [
        (row.name, kind, how, alone, "ok", True)
        for row in ROWS
        for kind in COLUMNS
        for how in HOWS
        for alone in (True, False)
    ]
    lines = picture(cells)
    assert len([line for line in lines if "ok/ok/ok" in line]) == len(ROWS)
    assert "?" not in "".join(lines)
    assert lines[-1] == f"{len(cells)} of {len(cells)} are as expected."
    assert "!" in picture([*cells[1:], (*cells[0][:5], False)])[1]
    assert "?" in picture(cells[2:])[1]
    assert picture([]) == []


def test_a_kind_without_a_column_is_named_below_the_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cells = [(ROWS[0].name, "vllm", "stream", True, "ok", True)]
    assert "No stand-in" not in "".join(picture(cells))
    monkeypatch.setattr(matrix, "KINDS", {**KINDS, "acme": KINDS["vllm"]})
    assert "No stand-in speaks the wire of: acme." in picture(cells)


def test_a_column_is_in_the_picture_of_its_group_alone() -> None:
    for group, other in (("main", "litellm"), ("litellm", "main")):
        cells = [
            (row.name, kind, how, True, "ok", True)
            for row in ROWS
            for kind in columns_of(group)
            for how in HOWS
        ]
        lines = picture(cells)
        assert lines[0].split() == list(columns_of(group))
        assert "?" not in "".join(lines)
        assert (
            lines[-2]
            == f"With a wall of its own, in group {other}: {', '.join(columns_of(other))}."
        )
