"""Values of the journal and the ledger, for tests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import override

from gateway.clock import Clock
from gateway.errors import Unavailable
from gateway.store.database import Database, Inserts, sqlite_url
from gateway.store.tables import usage
from gateway.store.tables.metadata import metadata
from gateway.usage.journal import Journal
from gateway.usage.lines import Held, Open, PlannedEndpoint, Progress
from gateway.values import AttemptRecord, Basis, Outcome, Result
from pricing import Money, Quantities, RateCard, own_card

NOW = 1_795_345_200.0  # 2026-11-22 11:00 UTC
NOW_MS = int(NOW * 1000)
CARD: RateCard = own_card(
    provider="novita",
    model="moonshotai/kimi-k2.6",
    prices={"input": "0.60", "output": "2.50", "cache_read": "0.15"},
)
OTHER_CARD: RateCard = own_card(
    provider="moonshot",
    model="moonshotai/kimi-k2.6",
    prices={"input": "0.95", "output": "4", "per_request": "0.001"},
)


class StoppedClock(Clock):
    """A clock that a test moves."""

    def __init__(self, now: float = NOW) -> None:
        self.time = now

    @override
    def now(self) -> float:
        return self.time

    @override
    def monotonic(self) -> float:
        return self.time


def attempt(generation_id: str, ordinal: int = 1, *, charge: int = 34_000_000) -> AttemptRecord:
    return AttemptRecord(
        id=f"{generation_id}-{ordinal}",
        ordinal=ordinal,
        endpoint_id="novita/moonshotai/kimi-k2.6",
        provider="novita",
        upstream_model="moonshotai/kimi-k2.6",
        rate_card_id=CARD.id,
        result=Result.SUCCESS,
        error_code=None,
        upstream_status=200,
        upstream_id="chatcmpl-1",
        started_ms=NOW_MS + 2,
        ttft_ms=310,
        duration_ms=900,
        quantities=Quantities(
            fresh_input=11,
            cache_read=12,
            cache_write_5m=13,
            cache_write_1h=14,
            output=15,
            requests=1,
        ),
        reasoning_tokens=7,
        basis=Basis.REPORTED,
        cost=Money("USD", 34_000_000),
        charge=Money("USD", charge),
        reported_cost="0.000034",
        cost_basis="provider_reported",
    )


def outcome(generation_id: str = "gen-1", **changes: object) -> Outcome:
    whole = Outcome(
        generation_id=generation_id,
        request_id="req-1",
        created_ms=NOW_MS,
        closed_ms=NOW_MS + 1000,
        organisation_id="org-1",
        team_id="team-1",
        key_id="key-1",
        api="chat.completions",
        model_requested="kimi-k2.6",
        model="moonshotai/kimi-k2.6",
        streamed=True,
        result=Result.SUCCESS,
        status=200,
        error_code=None,
        finish_reason="stop",
        native_finish_reason="end_turn",
        ttft_ms=312,
        sandbox=False,
        attempts=(attempt(generation_id),),
    )
    return msgspec.structs.replace(whole, **changes)


def opened(generation_id: str = "gen-1", **changes: object) -> Open:
    whole = Open(
        id=generation_id,
        request_id="req-1",
        created_ms=NOW_MS,
        organisation_id="org-1",
        team_id="team-1",
        key_id="key-1",
        api="chat.completions",
        model_requested="kimi-k2.6",
        model="moonshotai/kimi-k2.6",
        endpoints=(
            PlannedEndpoint("novita/k2.6", "novita", "moonshotai/kimi-k2.6", CARD.id, "USD"),
            PlannedEndpoint("moonshot/k2.6", "moonshot", "kimi-k2.6", OTHER_CARD.id, "USD"),
        ),
        holds=(Held("bud-1:2026-11", 5_000_000),),
        est_prompt_tokens=100,
        streamed=True,
        sandbox=False,
    )
    return msgspec.structs.replace(whole, **changes)


def progress(generation_id: str = "gen-1", ordinal: int = 1, tokens: int = 40) -> Progress:
    return Progress(
        id=generation_id,
        ordinal=ordinal,
        endpoint_id="novita/k2.6" if ordinal == 1 else "moonshot/k2.6",
        output_tokens=tokens,
        started_ms=NOW_MS + 5,
        at_ms=NOW_MS + 2005,
        ttft_ms=250 if tokens else None,
    )


def kill(journal: Journal) -> None:
    """End a journal as a SIGKILL would: locks gone, nothing more written, nothing tidied up."""
    for timer in (journal._sync_timer, journal._retry):
        if timer is not None:
            timer.cancel()
    journal._closed = True
    journal._unwritten.clear()
    journal._unsynced.clear()
    journal._syncer.shutdown()
    journal.release()


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def new_database(folder: Path) -> Database:
    """An empty ledger in `folder`, which is made if missing."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    database = Database(sqlite_url(folder / "ledger.db"))
    async with database.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    return database


class Cut(BaseException):
    """Stands for the death of the process: nothing may catch it."""


class CutDatabase(Database):
    """A database whose process dies at the `cut_at`-th step: before, inside or after a use of it."""

    def __init__(self, folder: Path, cut_at: int | None = None) -> None:
        super().__init__(sqlite_url(folder / "ledger.db"))
        self.cut_at = cut_at
        self.steps = 0

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.cut_at:
            raise Cut

    @override
    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        self.step()
        async with super().transaction() as connection:
            yield connection
            self.step()
        self.step()

    @override
    async def insert(self, inserts: Inserts) -> None:
        self.step()
        for cut_at in range(len(inserts)):
            self.steps += 1
            if self.steps == self.cut_at:  # in the middle: what came before is undone with it
                with contextlib.suppress(DBAPIError):
                    await super().insert([*inserts[:cut_at], ("no statement", [()])])
                raise Cut
        await super().insert(inserts)
        self.step()

    @override
    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        self.step()
        async with super().reading() as connection:
            yield connection


class MoodyDatabase(Database):
    """A database that goes away and comes back.

    `asked` is set whenever it is asked in vain, `wrote` at each commit.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(sqlite_url(folder / "ledger.db"))
        self.away = False
        self.asked = asyncio.Event()
        self.wrote = asyncio.Event()

    def _answer(self) -> None:
        if self.away:
            self.asked.set()
            raise Unavailable("away", code="database_unavailable")

    @override
    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        self._answer()
        async with super().transaction() as connection:
            yield connection
        self.wrote.set()

    @override
    async def insert(self, inserts: Inserts) -> None:
        self._answer()
        await super().insert(inserts)
        self.wrote.set()

    @override
    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        self._answer()
        async with super().reading() as connection:
            yield connection


async def contents(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """Every row of the ledger, for comparison."""
    found = {}
    async with database.reading() as connection:
        for table in (usage.generations, usage.ledger_entries, usage.rate_cards):
            rows = await connection.execute(select(table).order_by(table.c.id))
            found[table.name] = [tuple(row) for row in rows]
    return found
