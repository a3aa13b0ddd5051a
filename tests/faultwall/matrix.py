"""The wall in one picture, at the end of a run."""

from collections.abc import Iterable, Mapping

from backends import KINDS
from tests.faultwall.expectations import HOWS, ROWS
from tests.faultwall.wall import COLUMNS, columns_of

PROPERTY = "fault wall"
_LEGEND = (
    "Each cell: streamed / collected from a stream / whole from the endpoint, of one endpoint alone.",
    "ok good answer, ok~ with estimated counts, a number the error's status, cut told in the stream.",
    "+ a second endpoint makes it good, and the caller is none the wiser. ! not as it should be.",
)


def picture(cells: Iterable[tuple[str, str, str, bool, str, bool]]) -> list[str]:
    """The lines of the matrix.

    Args:
        cells: fault, kind of endpoint, sort of caller, whether alone, what was seen, whether that was
            as expected.
    """
    found = {cell[:4]: cell[4:] for cell in cells}
    if not found:
        return []
    groups = {COLUMNS[kind].group for _, kind, *_ in found}
    kinds = [kind for kind, column in COLUMNS.items() if column.group in groups]
    table = [[row.name, *[_cell(found, row.name, kind) for kind in kinds]] for row in ROWS]
    table.insert(0, ["", *kinds])
    widths = [max(len(line[at]) for line in table) for at in range(len(table[0]))]
    lines = [
        "  ".join(text.ljust(size) for text, size in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]
    good = sum(as_expected for _, as_expected in found.values())
    cells_of_all = len(ROWS) * len(kinds) * len(HOWS) * 2
    elsewhere = [
        f"With a wall of its own, in group {group}: {', '.join(columns_of(group))}."
        for group in dict.fromkeys(column.group for column in COLUMNS.values())
        if group not in groups
    ]
    if blind := [kind for kind in KINDS if kind not in COLUMNS]:
        elsewhere.append(f"No stand-in speaks the wire of: {', '.join(blind)}.")
    return [*lines, "", *_LEGEND, *elsewhere, f"{good} of {cells_of_all} are as expected."]


def _cell(found: Mapping[tuple[str, str, str, bool], tuple[str, bool]], row: str, kind: str) -> str:
    parts = []
    for how in HOWS:
        alone, alone_good = found.get((row, kind, how, True), ("?", True))
        pair, pair_good = found.get((row, kind, how, False), ("", True))
        plus = "+" if pair.endswith("+") else ""
        parts.append(f"{alone}{plus}{'' if alone_good and pair_good else '!'}")
    return "/".join(parts)
