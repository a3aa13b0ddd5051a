"""Moving the journal to the ledger while the process runs.

Whatever is shipped twice changes nothing, so every step may be cut off anywhere and done again: a
file is deleted only after everything in it is in the database for good.
"""

import asyncio
import contextlib
import logging
from typing import Final

import msgspec
from msgspec import Struct
from sqlalchemy.exc import DBAPIError

from gateway.clock import Clock
from gateway.errors import Unavailable
from gateway.store.database import Database
from gateway.usage import journal_files, ledger
from gateway.usage.delivery import deliver
from gateway.usage.journal import Journal
from gateway.usage.journal_files import JournalFile
from gateway.usage.ledger import Shipped
from gateway.usage.lines import Card, Close, Closed, decode, decode_own
from gateway.usage.recent import Recent
from gateway.usage.replay import DAMAGED_SUFFIX, Replayed, replay
from gateway.values import Outcome

__all__ = ["Replayed", "Shipper", "replay"]

INTERVAL: Final = 0.5
BATCH: Final = 500
BACKOFF_MAX: Final = 5.0
ADOPT_INTERVAL: Final = 10.0
_LINES_PER_CLOSE: Final = 8  # long streams' progress lines must not make a batch endless
_LINES_AT_A_TIME: Final = 50  # then others may run

log = logging.getLogger(__name__)


class _Gathered(Struct):
    """Lines of one file that are to be shipped together; ends at `offset`."""

    offset: int
    outcomes: list[Outcome] = []
    cards: list[Card] = []
    opened: list[str] = []
    damaged: int = 0


class _Cursor:
    """How far one of our own files is shipped, and how many of its opens have no close yet."""

    __slots__ = ("damaged", "offset", "unclosed")

    def __init__(self) -> None:
        self.offset = 0
        self.unclosed = 0
        self.damaged = 0


class Shipper:
    """Moves this process's journal to the ledger, and adopts what dead processes left behind.

    Args:
        database: where the ledger is. While it is away nothing is lost: the journal grows.
        journal: this process's journal.
        recent: told what is in the database, so that it can forget it.
        clock: says when abandoned requests are settled.
        interval: seconds between passes, and the first delay after a failure.
        batch: close lines in one transaction.
        adopt_interval: seconds between looks for abandoned journals.

    Attributes:
        lock: held while outcomes move from `recent` to the ledger. Whoever adds the two up holds
            it, so as to count none twice.
    """

    def __init__(
        self,
        database: Database,
        journal: Journal,
        recent: Recent,
        *,
        clock: Clock,
        interval: float = INTERVAL,
        batch: int = BATCH,
        adopt_interval: float = ADOPT_INTERVAL,
    ) -> None:
        self._database = database
        self._journal = journal
        self._recent = recent
        self._clock = clock
        self._interval = interval
        self._batch = batch
        self._adopt_interval = adopt_interval
        self._cursors: dict[str, _Cursor] = {}
        self._unclosed: dict[str, _Cursor] = {}  # generation id: where its open line is
        self._shipped_unwritten: set[str] = set()
        self._cards: set[str] = set()  # ids that are in the database for certain
        self._stopping = asyncio.Event()
        self.lock = asyncio.Lock()

    async def run(self) -> None:
        """Ship until `stop`. Failures are logged and tried again, ever more slowly."""
        delay = self._interval
        adopt_at = self._clock.monotonic() + self._adopt_interval
        while not self._stopping.is_set():
            try:
                await self.ship()
                if self._clock.monotonic() >= adopt_at:
                    adopt_at = self._clock.monotonic() + self._adopt_interval
                    await replay(self._journal.folder, self._database, clock=self._clock)
                delay = self._interval
            except Unavailable:
                delay = min(delay * 2, BACKOFF_MAX)
                log.warning("shipper: the database is away, next try in %.1f s", delay)
            except Exception:
                # Whatever it is, accounting goes on: the next pass begins where this one did.
                delay = min(delay * 2, BACKOFF_MAX)
                log.exception("shipper: a pass failed, next try in %.1f s", delay)
            await self._pause(delay)

    def stop(self) -> None:
        """Let `run` end after its current pass."""
        self._stopping.set()

    async def finish(self) -> None:
        """Ship the rest after the journal was closed; what cannot be shipped stays in its files."""
        try:
            await self.ship()
        except (Unavailable, DBAPIError, OSError) as fault:
            log.warning("shipper: the journal is left for the next start: %s", fault)

    async def ship(self) -> int:
        """Ship everything that is written now.

        Returns:
            How many outcomes were shipped.

        Raises:
            Unavailable: the database is away.
            sqlalchemy.exc.DBAPIError: it refuses everything.
            OSError: the journal cannot be read, or the file of rejected rows not be written.
        """
        count = 0
        for file in tuple(self._journal.files):
            cursor = self._cursors.setdefault(file.name, _Cursor())
            while cursor.offset < file.size:
                gathered = await self._gather(file, cursor.offset)
                if gathered.offset == cursor.offset:
                    break  # the end of the last line is yet to be written
                async with self.lock:
                    await self._commit(file, cursor, gathered)
                count += len(gathered.outcomes)
        async with self.lock:
            count += await self._ship_unwritten()
        await self._remove_finished()
        return count

    async def _gather(self, file: JournalFile, offset: int) -> _Gathered:
        """The next lines to be shipped together; lets others run every few of them."""
        gathered = _Gathered(offset)
        for count, (line, end) in enumerate(journal_files.lines(file, offset), 1):
            try:
                decoded = decode_own(line)
                if isinstance(decoded, str):
                    gathered.opened.append(decoded)
                elif isinstance(decoded, Closed):
                    gathered.outcomes.append(self._outcome(decoded.id, line))
                elif decoded is not None:
                    gathered.cards.append(decoded)
            except (msgspec.DecodeError, UnicodeDecodeError):
                log.exception("%s: a line before byte %d cannot be read", file.name, end)
                gathered.damaged += 1
            gathered.offset = end
            if count == _LINES_PER_CLOSE * self._batch or len(gathered.outcomes) == self._batch:
                break
            if count % _LINES_AT_A_TIME == 0:
                await asyncio.sleep(0)
        return gathered

    def _outcome(self, generation_id: str, line: bytes) -> Outcome:
        """The outcome of a close line: the one in memory if it is there still."""
        recent = self._recent.get(generation_id)
        if recent is not None:
            return recent
        decoded = decode(line)
        if not isinstance(decoded, Close):
            raise msgspec.ValidationError("a close line without an outcome")
        return decoded.outcome

    async def _commit(self, file: JournalFile, cursor: _Cursor, gathered: _Gathered) -> None:
        outcomes = gathered.outcomes
        cards = [card for card in gathered.cards if card.card.id not in self._cards]
        if outcomes or cards:
            await deliver(
                self._database,
                self._journal.folder,
                outcomes=outcomes,
                cards=cards,
                files={file.name: Shipped(gathered.offset)},
            )
        # Only from here on does this object believe in it: a failure above repeats the batch.
        self._cards.update(card.card.id for card in cards)
        self._recent.drop(outcome.generation_id for outcome in outcomes)
        for generation_id in gathered.opened:
            self._close(generation_id)  # a line that was written again moves to the newer file
            self._unclosed[generation_id] = cursor
            cursor.unclosed += 1
        for outcome in outcomes:
            self._close(outcome.generation_id)
        cursor.offset = gathered.offset
        cursor.damaged += gathered.damaged

    def _close(self, generation_id: str) -> None:
        cursor = self._unclosed.pop(generation_id, None)
        if cursor is not None:
            cursor.unclosed -= 1

    async def _ship_unwritten(self) -> int:
        """Ship what the disk refuses straight from memory: the ledger is as safe a place."""
        lines = self._journal.unwritten()
        if not lines:
            self._shipped_unwritten.clear()
            return 0
        decoded = [decode(line) for line in lines]
        cards = [line for line in decoded if isinstance(line, Card)]
        outcomes = [
            line.outcome
            for line in decoded
            if isinstance(line, Close) and line.outcome.generation_id not in self._shipped_unwritten
        ]
        if outcomes:
            await deliver(
                self._database, self._journal.folder, outcomes=outcomes, cards=cards, files={}
            )
            ids = [outcome.generation_id for outcome in outcomes]
            self._shipped_unwritten.update(ids)
            self._recent.drop(ids)
        return len(outcomes)

    async def _remove_finished(self) -> None:
        done = [
            (file, cursor)
            for file in self._journal.files
            if file.finished
            and (cursor := self._cursors.setdefault(file.name, _Cursor())).unclosed == 0
            and next(journal_files.lines(file, cursor.offset), None) is None
        ]
        if not done:
            return
        closed = {file.name: Shipped(cursor.offset, closed=True) for file, cursor in done}
        await deliver(self._database, self._journal.folder, files=closed)
        if await ledger.make_durable(self._database):
            for file, cursor in done:
                if cursor.damaged:
                    file.set_aside(DAMAGED_SUFFIX)
                self._journal.remove(file)
                del self._cursors[file.name]

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
