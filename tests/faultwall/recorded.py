"""A cell as a test: run, and put into the picture."""

import pytest

from tests.faultwall.cells import Cell
from tests.faultwall.expectations import GAPS
from tests.faultwall.matrix import PROPERTY


def recorded(cell: Cell, test: pytest.Function) -> None:
    """Run a cell, and note for the picture what was seen.

    Raises:
        AssertionError: it is not as it should be.
    """
    if (reason := GAPS.get((cell.row.name, cell.how))) is not None:
        test.add_marker(pytest.mark.xfail(reason=reason, strict=True, raises=AssertionError))
    good = False
    try:
        cell.run()
        good = True
    finally:
        told = (cell.row.name, cell.kind, cell.how, cell.alone, cell.shown, good)
        test.user_properties.append((PROPERTY, told))
