"""What is written down: the lines of journals, and the rows of a ledger, read from outside."""

import sqlite3
from pathlib import Path

from msgspec import Struct

from gateway.accounts.opening import Installation
from gateway.usage.lines import Close, Open, Progress, decode
from gateway.values import Outcome
from tests.fakes import forms


class Entry(Struct, frozen=True):
    """One ledger entry."""

    id: str
    generation_id: str
    ordinal: int
    result: str
    basis: str
    error_code: str | None
    charge_pico: int
    cost_pico: int
    key_id: str


class Generation(Struct, frozen=True):
    """One request as it ended."""

    id: str
    result: str
    status: int
    error_code: str | None


class Ledger(Struct, frozen=True):
    """All rows; entries by generation."""

    generations: dict[str, Generation]
    entries: dict[str, list[Entry]]

    def charged(self, generation: str) -> int:
        """Picos that a generation was charged."""
        return sum(entry.charge_pico for entry in self.entries.get(generation, ()))

    def spent(self) -> int:
        """Picos that all generations were charged."""
        return sum(self.charged(generation) for generation in self.generations)


def read_ledger(where: Path | Installation) -> Ledger:
    """Everything that is in the ledger of a data folder, or of an installation, now.

    Raises:
        AssertionError: an attempt is booked twice.
    """
    installation = where if isinstance(where, Installation) else Installation.in_folder(where)
    found = forms.read(installation, "SELECT id, result, status, error_code FROM generations")
    generations = {row["id"]: Generation(**row) for row in found}
    columns = (
        "id, generation_id, ordinal, result, basis, error_code, charge_pico, cost_pico, key_id"
    )
    found = forms.read(installation, f"SELECT {columns} FROM ledger_entries")  # noqa: S608 - names above
    entries: dict[str, list[Entry]] = {}
    places: set[tuple[str, int]] = set()
    for row in found:
        row |= {name: int(row[name]) for name in ("charge_pico", "cost_pico")}
        entry = Entry(**row)
        place = entry.generation_id, entry.ordinal
        assert place not in places, f"{entry.id} is booked twice"
        assert entry.id == f"{entry.generation_id}-{entry.ordinal}"
        places.add(place)
        entries.setdefault(entry.generation_id, []).append(entry)
    return Ledger(generations, entries)


class Journalled(Struct, frozen=True):
    """What journals say of generations, by id."""

    opened: dict[str, Open]
    closed: dict[str, Outcome]
    delivered: set[str]  # a progress line says that something had been sent

    def add(self, folder: Path) -> None:
        """Take in every journal in a folder; a last line without its end counts as not written."""
        for path in journals(folder):
            *whole, _ = path.read_bytes().split(b"\n")
            for line in whole:
                match decode(line):
                    case Open() as opened:
                        self.opened[opened.id] = opened
                    case Close(outcome):
                        self.closed[outcome.generation_id] = outcome
                    case Progress() as progress if progress.output_tokens:
                        self.delivered.add(progress.id)


def journals(folder: Path) -> list[Path]:
    """Everything in a journal folder."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def booked(data: Path) -> int:
    """How many generations are in the ledger now."""
    connection = sqlite3.connect(data / "tidegate.db", timeout=30)
    try:
        return int(connection.execute("SELECT count(*) FROM generations").fetchone()[0])
    finally:
        connection.close()
