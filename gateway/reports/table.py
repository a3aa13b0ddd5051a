"""A report as a table for a terminal: aligned, exact, with shares and the course over the window. Pure."""

from collections.abc import Callable, Sequence
from typing import Final

from gateway.reports.export import SHARES
from gateway.reports.usage import Report, Row, Sums
from gateway.reports.windows import shown
from pricing import Money

KINDS: Final = ("spend", "tokens", "requests", "latency")
"""What a table is of; each with what its rows are sorted by, their shares and their course."""

SORT_OF: Final = {
    "spend": "charge",
    "tokens": "tokens",
    "requests": "requests",
    "latency": "requests",
}
_BARS: Final = "▁▂▃▄▅▆▇█"
_LONG_GROUP: Final = 48

Style = Callable[[str], str]


def table(report: Report, kind: str, *, plain: bool, strong: Style = str) -> str:
    """The lines of a table, without a last line feed; one table for each pair of currencies.

    Args:
        report: what was found; `question.sort` is that of the kind.
        kind: of `KINDS`.
        plain: no courses, for files and programs that read columns.
        strong: makes heads and totals stand out.
    """
    parts = []
    for total in report.totals:
        pair = _pair(total)
        rows = [row for row in report.rows if _pair(row) == pair]
        others = [row for row in report.others if _pair(row) == pair]
        parts.append(_part(report, kind, [*rows, *others, total], plain=plain, strong=strong))
    window = report.question.window
    lead = f"{kind}, {shown(window.begin)} to {shown(window.end)}"
    if report.question.sandbox:
        lead += ", sandbox"
    return "\n\n".join([lead, *parts])


def course(series: Sequence[int]) -> str:
    """A series as a row of bars: nothing is blank, and the least of anything is the lowest bar."""
    most = max(series, default=0)
    if most <= 0:
        return " " * len(series)
    top = len(_BARS) - 1
    return "".join(_BARS[max(0, one) * top // most] if one > 0 else " " for one in series)


def _pair(row: Row) -> tuple[str, str]:
    return row.sums.cost.currency, row.sums.charge.currency


def _part(report: Report, kind: str, rows: Sequence[Row], *, plain: bool, strong: Style) -> str:
    question, total = report.question, rows[-1]
    sort = question.sort or SORT_OF[kind]
    # What names a group stands left, numbers right; money is padded to the same decimals.
    left = [*question.by] or [""]
    columns: list[tuple[str, bool, list[str]]] = []
    for place, name in enumerate(left):
        columns.append((name.upper(), False, [_called(row, name, place, total) for row in rows]))
    for head, cells in _numbers(kind, [row.sums for row in rows]):
        columns.append((head, True, cells))
    whole = total.sums.count(sort)
    columns.append(("SHARE", True, [_share(row.sums.count(sort), whole) for row in rows]))
    if question.compare:
        before = [0 if row.before is None else row.before.count(sort) for row in rows]
        changes = [
            _change(row.sums.count(sort), old) for row, old in zip(rows, before, strict=True)
        ]
        columns.append(("CHANGE", True, changes))
    if question.slots and not plain:
        columns.append(("COURSE", False, [course(row.series) for row in rows]))
    widths = [max(len(head), *map(len, cells)) for head, _, cells in columns]
    lines = []
    for number in range(-1, len(rows)):
        cells = [head if number < 0 else column[number] for head, _, column in columns]
        line = "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, (_, right, _) in zip(cells, widths, columns, strict=True)
        ).rstrip()
        lines.append(strong(line) if number in {-1, len(rows) - 1} else line)
    return "\n".join(lines)


def _called(row: Row, name: str, place: int, total: Row) -> str:
    if row.group:
        text = row.names.get(name, row.group[name])
        text = "".join(letter if letter.isprintable() else "?" for letter in text)
        return text if len(text) <= _LONG_GROUP else text[: _LONG_GROUP - 1] + "…"
    if place:
        return ""
    return "total" if row is total else f"({row.merged:,} others)"


def _numbers(kind: str, sums: Sequence[Sums]) -> list[tuple[str, list[str]]]:
    if kind == "spend":
        return [
            ("REQUESTS", _counts(sums, "requests")),
            ("TOKENS", _counts(sums, "tokens")),
            (f"COST {sums[0].cost.currency}", amounts([one.cost for one in sums])),
            (f"CHARGE {sums[0].charge.currency}", amounts([one.charge for one in sums])),
        ]
    if kind == "tokens":
        writes = [one.counts["cache_write_5m"] + one.counts["cache_write_1h"] for one in sums]
        return [
            ("FRESH INPUT", _counts(sums, "fresh_input")),
            ("CACHE READ", _counts(sums, "cache_read")),
            ("CACHE WRITE", [f"{one:,}" for one in writes]),
            ("OUTPUT", _counts(sums, "output")),
            ("OF IT REASONING", _counts(sums, "reasoning")),
            ("TOKENS", _counts(sums, "tokens")),
        ]
    if kind == "requests":
        return [
            (name.upper(), _counts(sums, name))
            for name in ("requests", "attempts", "failures", "searches")
        ]
    found = []
    for time, head in (("ttft", "TTFT"), ("duration", "DURATION")):
        found.append((f"{head} N", _counts(sums, f"{time}_count")))
        for name, share in SHARES:
            cells = [_bound(one, time, share) for one in sums]
            found.append((f"P{name} MS", cells))
    return found


def _bound(sums: Sums, time: str, share: float) -> str:
    if not sums.counts[f"{time}_count"]:
        return "-"
    bound = sums.quantile(time, share)
    return ">60,000" if bound is None else f"≤{bound:,}"


def _counts(sums: Sequence[Sums], name: str) -> list[str]:
    return [f"{one.count(name):,}" for one in sums]


def amounts(column: Sequence[Money]) -> list[str]:
    """Amounts of one column, exact: thousands apart, and all with as many decimals as the longest."""
    split = [money.decimal_string().partition(".") for money in column]
    digits = max(2, *(len(fraction) for _, _, fraction in split))
    found = []
    for whole, _, fraction in split:
        sign, number = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
        found.append(f"{sign}{int(number):,}.{fraction.ljust(digits, '0')}")
    return found


def _share(part: int, whole: int) -> str:
    return f"{_tenths(part, whole)}%" if whole > 0 else "-"


def _change(now: int, before: int) -> str:
    if before <= 0:
        return "new" if now else "-"
    return f"{'+' if now >= before else ''}{_tenths(now - before, before)}%"


def _tenths(part: int, whole: int) -> str:
    """A percentage with one decimal, half up, in whole numbers."""
    thousandths = (abs(part) * 2000 + whole) // (2 * whole)
    sign = "-" if part < 0 and thousandths else ""
    return f"{sign}{thousandths // 10:,}.{thousandths % 10}"
