"""Whether what is in the files of a journal folder is in the ledger. Nothing is written, nothing is locked.

A gateway may go on meanwhile. So first it is read how far each file is shipped, then the files, then the
ledger: whatever was shipped at the beginning must be there at the end.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from sqlalchemy import select

from gateway.store.database import Database
from gateway.store.tables.usage import journal_files, ledger_entries, rate_cards
from gateway.usage import journal_files as files_on_disk
from gateway.usage import queries
from gateway.usage.audit import Note
from gateway.usage.audit_rules import Fault
from gateway.usage.delivery import REJECTED_FILE
from gateway.usage.journal_files import JournalFile
from gateway.usage.lines import Card, Close, Open, decode
from gateway.usage.replay import DAMAGED_SUFFIX
from gateway.values import Outcome

_AT_ONCE: Final = 500
_JOURNAL: Final = ".jsonl"
REPLAY = "stop the gateway, and look into the file; docs/runbooks/budget-disputed.md says how"


class Journalled(Struct):
    """What was found.

    Attributes:
        files: how many were read.
        closed: requests that ended, by their lines.
        unshipped: of those, the ones that are not in the ledger yet.
        unsettled: requests that began, of which no end is known yet: under way, or left by a process that
            died, and settled by the next start of a gateway.
    """

    files: int = 0
    closed: int = 0
    unshipped: int = 0
    unsettled: int = 0


async def check_journal(database: Database, folder: Path, note: Note) -> Journalled:
    """Hold the journals in a folder against the ledger.

    Args:
        database: where the ledger is.
        folder: of the journals; it may not be there.
        note: told of each fault.

    Raises:
        Unavailable: the database cannot be read.
        OSError: a file cannot be read.
    """
    if not await asyncio.to_thread(folder.is_dir):
        return Journalled()
    return await _Check(database, note).check(folder)


class _Check:
    def __init__(self, database: Database, note: Note) -> None:
        self._database = database
        self._note = note
        self._found = Journalled()
        self._opened: dict[str, str] = {}  # and in which file
        self._ended: set[str] = set()
        self._finished: set[str] = set()  # files of which nothing is needed any more

    async def check(self, folder: Path) -> Journalled:
        names = await asyncio.to_thread(lambda: sorted(path.name for path in folder.iterdir()))
        shipped = await self._shipped([name for name in names if name.endswith(_JOURNAL)])
        for name in names:
            # First those, for a file may go meanwhile.
            if name.endswith(_JOURNAL):
                await self._file(folder / name, shipped.get(name, 0), must=False)
            elif name == REJECTED_FILE or name.endswith(DAMAGED_SUFFIX):
                await self._file(folder / name, 0, must=True)
        await self._left_open()
        return self._found

    async def _shipped(self, names: list[str]) -> dict[str, int]:
        """How far each file is shipped, in bytes."""
        found: dict[str, int] = {}
        columns = journal_files.c
        async with self._database.reading() as connection:
            for first in range(0, len(names), _AT_ONCE):
                query = select(journal_files).where(
                    columns.name.in_(names[first : first + _AT_ONCE])
                )
                for name, offset, closed in await connection.execute(query):
                    found[name] = offset
                    if closed:
                        self._finished.add(name)
        return found

    async def _file(self, path: Path, shipped: int, *, must: bool) -> None:
        """Read one file.

        Args:
            path: of the file.
            shipped: up to which byte it is in the ledger.
            must: whether all of it must be, as no gateway looks at it any more.
        """
        with _opened(path) as file:
            if file is None:
                return
            self._found.files += 1
            outcomes: list[tuple[Outcome, bool]] = []
            cards: list[Card] = []
            start = 0
            for line, after in files_on_disk.lines(file, 0):
                try:
                    decoded = decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
                    self._unreadable(path.name, start, after, wrong)
                    start = after
                    continue
                start = after
                match decoded:
                    case Close(outcome):
                        outcomes.append((outcome, must or after <= shipped))
                    case Open(id=name):
                        self._opened[name] = path.name
                    case Card() if must:
                        cards.append(decoded)
                    case _:
                        pass
                if len(outcomes) >= _AT_ONCE:
                    await self._compare(path.name, outcomes)
                    outcomes = []
            await self._compare(path.name, outcomes)
            await self._known_cards(path.name, cards)

    def _unreadable(self, name: str, start: int, end: int, wrong: Exception) -> None:
        self._note(
            Fault(
                "journal",
                name,
                f"bytes {start} to {end} cannot be read ({wrong})",
                "each line is one JSON document",
                REPLAY,
            )
        )

    async def _compare(self, name: str, outcomes: list[tuple[Outcome, bool]]) -> None:
        self._found.closed += len(outcomes)
        ids = [outcome.generation_id for outcome, _ in outcomes]
        self._ended.update(ids)
        known = await queries.known_generations(self._database, ids)
        await self._same_amounts(name, [one for one, _ in outcomes if one.generation_id in known])
        for outcome, must in outcomes:
            if outcome.generation_id in known:
                continue
            if must:
                charged = [str(entry.charge) for entry in outcome.attempts if entry.charge.pico]
                self._note(
                    Fault(
                        "journal",
                        outcome.generation_id,
                        f"{name} has its end (charged {' + '.join(charged) or 'nothing'}), the ledger not",
                        "whatever ended is in the ledger",
                        REPLAY,
                    )
                )
            else:
                self._found.unshipped += 1

    async def _same_amounts(self, name: str, outcomes: list[Outcome]) -> None:
        attempts = {entry.id: entry for outcome in outcomes for entry in outcome.attempts}
        columns = ledger_entries.c
        query = select(
            *(columns.id, columns.cost_currency, columns.cost_pico),
            *(columns.charge_currency, columns.charge_pico),
        )
        booked = {}
        ids = list(attempts)
        async with self._database.reading() as connection:
            for first in range(0, len(ids), _AT_ONCE):
                rows = await connection.execute(
                    query.where(columns.id.in_(ids[first : first + _AT_ONCE]))
                )
                booked.update({row[0]: tuple(row)[1:] for row in rows})
        for entry in attempts.values():
            cost, charge = entry.cost, entry.charge
            own = (cost.currency, cost.pico, charge.currency, charge.pico)
            row = booked.get(entry.id)
            if row is None or row != own:
                says = "no such entry" if row is None else f"cost and charge {row} in picos"
                self._note(
                    Fault(
                        "journal",
                        entry.id,
                        f"the ledger has {says}",
                        f"{name} has cost {cost} and charge {charge}",
                    )
                )

    async def _known_cards(self, name: str, cards: list[Card]) -> None:
        ids = [card.card.id for card in cards]
        if not ids:
            return
        async with self._database.reading() as connection:
            query = select(rate_cards.c.id).where(rate_cards.c.id.in_(ids))
            known = set((await connection.execute(query)).scalars())
        for missing in sorted(set(ids) - known):
            self._note(
                Fault(
                    "journal",
                    missing,
                    f"{name} has this rate card, the ledger has not",
                    "the prices of each entry are kept beside it",
                    REPLAY,
                )
            )

    async def _left_open(self) -> None:
        left = {name: file for name, file in self._opened.items() if name not in self._ended}
        for name in await queries.known_generations(self._database, left):
            del left[name]
        for name, file in left.items():
            if file in self._finished or file.endswith(DAMAGED_SUFFIX):
                self._note(
                    Fault(
                        "journal",
                        name,
                        f"{file} has its beginning, and neither it nor the ledger has an end",
                        "whatever began is settled before its journal is done with",
                        REPLAY,
                    )
                )
            else:
                self._found.unsettled += 1


@contextmanager
def _opened(path: Path) -> Iterator[JournalFile | None]:
    """The file, as it is now; None if it has gone. It is not locked: its owner must not be disturbed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    file = JournalFile(path, descriptor, os.fstat(descriptor).st_size, 0)
    try:
        yield file
    finally:
        file.close()
