"""Moving what ended to the ledger while the process runs.

Outcomes are taken from memory, where they are remembered until they are in the database. The journal is
read only where memory had to let some go, and in the end, to see whether a file is still needed.
Whatever is shipped twice changes nothing, so every step may be cut off anywhere and done again: a file
is deleted only after everything in it is in the database for good.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from sqlalchemy.exc import DBAPIError

from gateway.clock import Clock
from gateway.errors import Unavailable
from gateway.store.database import Database
from gateway.usage import journal_files, ledger, lines, queries
from gateway.usage.delivery import deliver
from gateway.usage.journal import Journal
from gateway.usage.journal_files import JournalFile
from gateway.usage.ledger import Shipped
from gateway.usage.lines import Card, Close
from gateway.usage.recent import Recent
from gateway.usage.replay import DAMAGED_SUFFIX, Replayed, replay
from gateway.values import Outcome

__all__ = ["Replayed", "Shipper", "replay"]

INTERVAL: Final = 0.5
BATCH: Final = 512
BACKOFF_MAX: Final = 5.0
ADOPT_INTERVAL: Final = 10.0
_LINES_AT_A_TIME: Final = 50  # then others may run

log = logging.getLogger(__name__)


class _Cursor:
    """How far one of our own files is shipped, and what is known of the requests that it opened.

    `unsettled` are those whose outcome is not in the database; None as long as nobody has looked.
    """

    __slots__ = ("damaged", "offset", "unsettled")

    def __init__(self) -> None:
        self.offset = 0
        self.unsettled: set[str] | None = None
        self.damaged = 0


class Shipper:
    """Moves what this process did to the ledger, and adopts what dead processes left behind.

    Args:
        database: where the ledger is. While it is away nothing is lost: the journal grows.
        journal: this process's journal.
        recent: what has ended; told what is in the database, so that it can forget it.
        clock: says when abandoned requests are settled.
        interval: seconds between passes, and the first delay after a failure.
        batch: outcomes in one transaction.
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
        self._rejected: set[str] = set()  # generations that the database would not have
        self._cards: set[str] = set()  # ids that are in the database for certain
        self._stopping = asyncio.Event()
        self.lock = asyncio.Lock()
        self._passing = asyncio.Lock()

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

    async def finish(self) -> bool:
        """Ship the rest after the journal was closed; what cannot be shipped stays in its files.

        Returns:
            Whether all is shipped.
        """
        try:
            await self.ship()
        except (Unavailable, DBAPIError, OSError) as fault:
            log.warning("shipper: the journal is left for the next start: %s", fault)
            return False
        return True

    async def ship(self) -> int:
        """Ship everything that has ended by now, also what the disk refuses to have in the journal.

        Returns:
            How many outcomes were shipped.

        Raises:
            Unavailable: the database is away.
            sqlalchemy.exc.DBAPIError: it refuses everything.
            OSError: the journal cannot be read, or the file of rejected rows not be written.
        """
        async with self._passing:  # whoever rebuilds counters ships as well
            return await self._ship()

    async def _ship(self) -> int:
        count = 0
        if self._recent.forgotten:
            count += await self._reread()
        complete = False
        while not complete:
            outcomes = self._recent.oldest(self._batch)
            complete = len(outcomes) == len(self._recent)
            # Then every close line that is in the files by now is in the database, or among these;
            # unless memory let some go meanwhile, for the next pass to read again.
            whole = complete and not self._recent.forgotten
            reached = self._journal.reached() if whole else {}
            await self._commit(outcomes, self._new_cards(), reached)
            count += len(outcomes)
        await self._remove_finished()
        return count

    def _new_cards(self) -> list[Card]:
        """Rate cards of this process that may not be in the database."""
        return [
            decoded
            for key, line in self._journal.headers().items()
            if key not in self._cards and isinstance(decoded := lines.decode(line), Card)
        ]

    async def _commit(
        self, outcomes: Sequence[Outcome], cards: Sequence[Card], reached: Mapping[str, int]
    ) -> None:
        """Bring rows to the database, and note how far that brings the files named in `reached`."""
        moved = {
            name: offset
            for name, offset in reached.items()
            if self._cursors.setdefault(name, _Cursor()).offset < offset
        }
        if not (outcomes or cards or moved):
            return
        async with self.lock:
            self._rejected |= await deliver(
                self._database,
                self._journal.folder,
                outcomes=outcomes,
                cards=cards,
                files={name: Shipped(offset) for name, offset in moved.items()},
                # One by one too: whoever adds memory and ledger up must find each of them once.
                delivered=lambda outcome: self._recent.drop((outcome.generation_id,)),
            )
            # Only from here on does this object believe in it: a failure above repeats the batch.
            ids = [outcome.generation_id for outcome in outcomes]
            self._recent.drop(ids)
        self._cards.update(card.card.id for card in cards)
        for cursor in self._cursors.values():
            if cursor.unsettled:
                cursor.unsettled.difference_update(ids)
        for name, offset in moved.items():
            self._cursors[name].offset = offset

    async def _reread(self) -> int:
        """Ship from the files what memory no longer holds; lets others run every few lines."""
        forgotten = self._recent.forgotten
        count = 0
        for file in tuple(self._journal.files):
            cursor = self._cursors.setdefault(file.name, _Cursor())
            outcomes: list[Outcome] = []
            end = cursor.offset
            for number, (line, after) in enumerate(journal_files.lines(file, end), 1):
                try:
                    decoded = lines.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    log.exception("%s: a line before byte %d cannot be read", file.name, after)
                    cursor.damaged += 1
                else:
                    if isinstance(decoded, Close):
                        outcomes.append(decoded.outcome)
                end = after
                if len(outcomes) == self._batch:
                    await self._commit(outcomes, (), {file.name: end})
                    count += len(outcomes)
                    outcomes = []
                elif number % _LINES_AT_A_TIME == 0:
                    await asyncio.sleep(0)
            await self._commit(outcomes, (), {file.name: end})
            count += len(outcomes)
        # Only now, as a failure above leaves them to the next pass; so does a line that is not in its
        # file yet, because the disk refuses it.
        if not self._journal.unwritten():
            self._recent.forgotten -= forgotten
        return count

    async def _remove_finished(self) -> None:
        done = [
            (file, cursor)
            for file in tuple(self._journal.files)
            if file.finished
            and (cursor := self._cursors.setdefault(file.name, _Cursor())).offset == file.size
            and await self._all_settled(file, cursor)
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

    async def _all_settled(self, file: JournalFile, cursor: _Cursor) -> bool:
        """Whether the outcome of every request that a finished file opened is in the database."""
        if cursor.unsettled is None:
            unsettled: set[bytes] = set()
            for block, _ in journal_files.blocks(file, 0):
                opened, closed = lines.ids(block)
                unsettled.update(opened)
                unsettled.difference_update(closed)
                await asyncio.sleep(0)
            names = {generation_id.decode() for generation_id in unsettled}
            cursor.unsettled = names - await queries.known_generations(self._database, names)
        return cursor.unsettled <= self._rejected

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
