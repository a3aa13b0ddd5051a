"""A report as JSON and as CSV: the same fields with the same names. Pure.

Amounts are decimals in strings, exact; times are milliseconds.
"""

import csv
import io
from collections.abc import Iterator
from typing import Any, Final

from gateway.reports.usage import Report, Row, Sums
from gateway.reports.windows import shown
from gateway.store.tables.roll_ups import COUNTS, TIMES

SHARES: Final = ((50, 0.5), (90, 0.9), (99, 0.99))


def body(report: Report) -> dict[str, Any]:
    """The whole of it, to be written as JSON."""
    question = report.question
    return {
        "from": shown(question.window.begin),
        "to": shown(question.window.end),
        "by": list(question.by),
        "sandbox": question.sandbox,
        "rows": [_row(report, row) for row in report.rows],
        "others": [_row(report, row) for row in report.others],
        "totals": [_row(report, row) for row in report.totals],
    }


def csv_text(report: Report) -> str:
    """Rows, others and totals, told apart by the first column, `kind`; lines end as RFC 4180 has it."""
    out = io.StringIO(newline="")
    head = ["kind", *_group_columns(report)]
    lines = [
        {"kind": kind, **row.group, **{f"{name}_name": text for name, text in row.names.items()}}
        | _flat(report, row)
        for kind, rows in (
            ("row", report.rows),
            ("others", report.others),
            ("total", report.totals),
        )
        for row in rows
    ]
    example = _flat_names(report)
    writer = csv.DictWriter(out, [*head, *example], restval="", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def _group_columns(report: Report) -> Iterator[str]:
    for name in report.question.by:
        yield name
        if name in {"team", "key", "member"}:
            yield f"{name}_name"


def _flat_names(report: Report) -> list[str]:
    own = [*_MONEY, *COUNTS]
    if report.question.times:
        own += [name for time in TIMES for name in _time_names(time)]
    before = [f"before_{name}" for name in own] if report.question.compare else []
    return ["groups", *own, *before]


_MONEY: Final = ("cost", "cost_currency", "charge", "charge_currency")


def _time_names(time: str) -> list[str]:
    return [
        f"{time}_count",
        f"{time}_mean_ms",
        *(f"{time}_p{name}_at_most_ms" for name, _ in SHARES),
    ]


def _flat(report: Report, row: Row) -> dict[str, Any]:
    made: dict[str, Any] = {"groups": row.merged, **_sums(report, row.sums)}
    if row.before is not None:
        made |= {f"before_{name}": one for name, one in _sums(report, row.before).items()}
    return made


def _row(report: Report, row: Row) -> dict[str, Any]:
    made: dict[str, Any] = {
        "group": dict(row.group),
        "names": dict(row.names),
        "groups": row.merged,
        **_sums(report, row.sums),
        "before": None if row.before is None else _sums(report, row.before),
    }
    return made


def _sums(report: Report, sums: Sums) -> dict[str, Any]:
    made: dict[str, Any] = {
        "cost": sums.cost.decimal_string(),
        "cost_currency": sums.cost.currency,
        "charge": sums.charge.decimal_string(),
        "charge_currency": sums.charge.currency,
        **{name: sums.counts[name] for name in COUNTS},
    }
    if report.question.times:
        for time in TIMES:
            count = sums.counts[f"{time}_count"]
            mean = sums.counts[f"{time}_ms"] // count if count else None
            made |= {f"{time}_count": count, f"{time}_mean_ms": mean}
            for name, share in SHARES:
                made[f"{time}_p{name}_at_most_ms"] = sums.quantile(time, share)
    return made
