"""What dead processes left in their journals, on its way to the ledger.

Whatever is shipped twice changes nothing, so a replay may be cut off anywhere and done again: a file
is deleted only after everything in it is in the database for good.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from gateway.clock import Clock
from gateway.store import workers
from gateway.store.database import Database
from gateway.store.state import untold
from gateway.usage import journal_files, ledger, queries
from gateway.usage.aborted import aborted_outcome
from gateway.usage.delivery import deliver
from gateway.usage.journal_files import JournalFile
from gateway.usage.ledger import Shipped
from gateway.usage.lines import Card, Close, Open, Progress, decode

if TYPE_CHECKING:
    from gateway.values import Outcome
    from pricing import RateCard

DAMAGED_SUFFIX: Final = ".damaged"
_BATCH: Final = 500

log = logging.getLogger(__name__)


class Replayed(Struct, frozen=True):
    """What was found in the journals of dead processes.

    `shipped` counts the close lines that were not in the database yet, `aborted` the requests that
    had none and were settled, `torn` the files whose last line was cut off, `damaged` the lines that
    could not be read; files with any are kept under another name.
    """

    files: int = 0
    shipped: int = 0
    aborted: int = 0
    torn: int = 0
    damaged: int = 0

    def __add__(self, other: "Replayed") -> "Replayed":
        return Replayed(
            *(
                mine + theirs
                for mine, theirs in zip(
                    msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True
                )
            )
        )


async def replay(
    folder: Path, database: Database, *, clock: Clock, batch: int = _BATCH
) -> Replayed:
    """Ship the journals of dead processes, settle what they left open, and remove the files.

    Safe to repeat, and for several processes to do at once: each file is worked on under its lock.

    A process of which all is in the ledger then, and which spent of no lease, leaves the registry.

    Raises:
        Unavailable: the database is away; the files stay.
        sqlalchemy.exc.DBAPIError: it refuses everything; the files stay.
        OSError: a file cannot be read or removed.
    """
    total = Replayed()
    with journal_files.orphans(folder) as groups:
        for files in groups:
            found = await _Replay(folder, database, clock, batch).process(files)
            log.warning("journal of a dead process replayed: %s", found)
            total += found
    journal_files.remove_beside(folder, untold.SUFFIX)
    return total


class _Replay:
    """One dead process's journal on its way to the ledger."""

    def __init__(self, folder: Path, database: Database, clock: Clock, batch: int) -> None:
        self._folder = folder
        self._database = database
        self._clock = clock
        self._batch = batch
        self._open: dict[str, Open] = {}
        self._progress: dict[str, dict[int, Progress]] = {}
        self._cards: dict[str, RateCard] = {}
        self._outcomes: list[Outcome] = []
        self._new_cards: list[Card] = []

    async def process(self, files: list[JournalFile]) -> Replayed:
        shipped = await queries.shipped_offsets(self._database, [file.name for file in files])
        total = Replayed()
        ends: dict[str, Shipped] = {}
        damaged: set[str] = set()
        for file in files:
            found, end = await self._read(file, shipped.get(file.name, 0))
            ends[file.name] = Shipped(end, closed=True)
            total += found
            if found.damaged:
                damaged.add(file.name)
        total += Replayed(aborted=await self._settle())
        await deliver(self._database, self._folder, files=ends)
        if await ledger.make_durable(self._database):
            boot = files[0].boot
            told = not (self._folder / (boot + untold.SUFFIX)).exists()
            if told and not (total.damaged or total.torn):
                async with self._database.transaction() as connection:
                    await workers.remove(connection, boot)
            for file in files:
                if file.name in damaged:
                    file.set_aside(DAMAGED_SUFFIX)
                file.remove()
        return total

    async def _read(self, file: JournalFile, shipped: int) -> tuple[Replayed, int]:
        count = damaged = end = 0
        for line, after in journal_files.lines(file, 0):
            end = after
            try:
                self._take(line, new=after > shipped)
            except (msgspec.DecodeError, UnicodeDecodeError) as fault:
                damaged += 1
                log.error("%s: a line before byte %d cannot be read: %s", file.name, after, fault)  # noqa: TRY400 -- the trace says no more
            if len(self._outcomes) >= self._batch:
                count += await self._flush({file.name: Shipped(after)})
        count += await self._flush({file.name: Shipped(max(end, shipped))})
        torn = end < file.size
        if torn:
            log.warning("%s: the last line was cut off, %d bytes", file.name, file.size - end)
        return Replayed(files=1, shipped=count, torn=int(torn), damaged=damaged), end

    def _take(self, line: bytes, *, new: bool) -> None:
        match decode(line):
            case Close(outcome):
                self._open.pop(outcome.generation_id, None)
                self._progress.pop(outcome.generation_id, None)
                if new:
                    self._outcomes.append(outcome)
            case Open() as opened:
                self._open[opened.id] = opened
            case Progress() as progress:
                self._progress.setdefault(progress.id, {})[progress.ordinal] = progress
            case Card() as card:
                self._cards[card.card.id] = card.card
                if new:
                    self._new_cards.append(card)

    async def _flush(self, files: dict[str, Shipped]) -> int:
        outcomes, self._outcomes = self._outcomes, []
        cards, self._new_cards = self._new_cards, []
        if outcomes or cards:
            await deliver(self._database, self._folder, outcomes=outcomes, cards=cards, files=files)
        return len(outcomes)

    async def _settle(self) -> int:
        # An open line can occur again after its close (see the journal), and an earlier replay
        # may have been cut off after it settled.
        known = await queries.known_generations(self._database, self._open)
        now_ms = int(self._clock.now() * 1000)
        count = 0
        for opened in self._open.values():
            if opened.id in known:
                continue
            progress = self._progress.get(opened.id, {})
            self._outcomes.append(aborted_outcome(opened, progress, self._cards, now_ms))
            if len(self._outcomes) >= self._batch:
                count += await self._flush({})
        return count + await self._flush({})
