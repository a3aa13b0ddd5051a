"""`tidegate ledger`: whether the books can be trusted."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gateway.cli.administration import data_option, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.accounts.checking import Checked
    from gateway.accounts.opening import Installation
    from gateway.usage.audit_rules import Fault

FAULTS: Final = 2
"""Exit status where the books were read and are not right."""


@click.group()
def ledger() -> None:
    """The books: every amount, where it comes from, and whether it is right."""


@ledger.command("check")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, not lines.")
@data_option
def check(data: "Installation", *, as_json: bool) -> None:
    """Prove that counters, journal and ledger agree, and the ledger with itself. Only reads.

    Exit status 0: all is right; 2: there are faults, one line each on stdout; 1: it could not be checked.
    """
    from gateway.accounts.checking import check_books

    checked = run(check_books(data))
    if as_json:
        click.echo(json.dumps(_document(checked), indent=2))
    else:
        for fault in checked.faults:
            click.echo(fault.line)
        for line in _summary(checked):
            click.echo(line, err=True)
    if checked.count:
        sys.exit(FAULTS)


@ledger.command("reconcile")
@click.option(
    "--invoice",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The provider's bill: CSV with heads, a row for each day and model.",
)
@click.option("--provider", required=True, help="Whose bill it is, as in the settings.")
@click.option("--currency", help="What its amounts are in, if no column says it, as in USD.")
@click.option(
    "--tolerance",
    default="0",
    show_default=True,
    help="Percent by which a day and model may differ, beyond the rounding of the bill.",
)
@click.option("--date-column", help="The head of the column, if it is not found by itself.")
@click.option("--model-column", help="The same.")
@click.option("--amount-column", help="The same.")
@click.option("--currency-column", help="The same.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, not a table.")
@data_option
def reconcile(
    data: "Installation",
    *,
    invoice: Path,
    provider: str,
    currency: str | None,
    tolerance: str,
    as_json: bool,
    **heads: str | None,
) -> None:
    """Compare a provider's bill with what its answers cost by the ledger, by day and model.

    Exit status 0: they agree; 2: they do not; 1: they could not be compared.
    """
    from gateway.cli.reconciliation import compared, document, table

    found = compared(
        data,
        invoice,
        provider=provider,
        currency=currency.upper() if currency else None,
        tolerance=tolerance,
        columns={name.removesuffix("_column"): head for name, head in heads.items() if head},
    )
    click.echo(json.dumps(document(found), indent=2) if as_json else table(found))
    if not found.agrees:
        sys.exit(FAULTS)


def _document(checked: "Checked") -> dict[str, Any]:
    totals, journal = checked.totals, checked.journal
    return {
        "clean": not checked.count,
        "fault_count": checked.count,
        "faults": [_fault(fault) for fault in checked.faults],
        "checked": {
            "generations": totals.generations,
            "entries": totals.entries,
            "corrections": totals.corrections,
            "rate_cards": totals.rate_cards,
            "journal_files": journal.files,
            "journalled": journal.closed,
            "unshipped": journal.unshipped,
            "unsettled": journal.unsettled,
        },
        "cost": _amounts(totals.cost),
        "charge": _amounts(totals.charge),
        "notes": list(checked.notes),
    }


def _fault(fault: "Fault") -> dict[str, str]:
    return {name: getattr(fault, name) for name in fault.__struct_fields__}


def _amounts(sums: "Mapping[str, int]") -> dict[str, str]:
    from pricing import Money

    return {name: Money(name, pico).decimal_string() for name, pico in sorted(sums.items())}


def _summary(checked: "Checked") -> list[str]:
    totals, journal = checked.totals, checked.journal
    hidden = checked.count - len(checked.faults)
    lines = [f"and {hidden} faults more"] if hidden else []
    lines += [
        (
            f"checked {totals.generations} generations, {totals.entries} entries ({totals.corrections} of"
            f" them corrections) and {totals.rate_cards} rate cards"
        ),
        f"cost {_in_words(totals.cost)}; charge {_in_words(totals.charge)}",
        f"journal: {journal.files} files with {journal.closed} requests that ended",
    ]
    if journal.unshipped:
        lines.append(
            f"journal: {journal.unshipped} of them not in the ledger yet: a gateway that runs brings them"
            " there within a second, else the next start does"
        )
    if journal.unsettled:
        lines.append(
            f"journal: {journal.unsettled} requests without an end: under way, or left by a process that"
            " died, and settled when a gateway next starts on this data folder"
        )
    lines += checked.notes
    lines.append(f"{checked.count} faults" if checked.count else "clean")
    return lines


def _in_words(sums: "Mapping[str, int]") -> str:
    return " + ".join(f"{amount} {name}" for name, amount in _amounts(sums).items()) or "nothing"
