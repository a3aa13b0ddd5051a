"""`tidegate ledger`: whether the books can be trusted."""

import json
import sys
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
