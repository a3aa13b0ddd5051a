"""Nothing is lost or counted twice when a database, a disk and the memory fail together."""

import asyncio
import errno
import os

import pytest

from gateway.clock import SystemClock
from gateway.errors import LedgerBehind, Unavailable
from gateway.flow.counters import Counters
from gateway.jobs.shipper import Shipper
from gateway.store.database import Inserts
from gateway.store.state.memory import MemoryState
from gateway.usage import queries
from gateway.usage.delivery import REJECTED_FILE
from gateway.usage.journal import Journal
from gateway.usage.lines import Close, begin, encode
from gateway.usage.recent import Recent
from gateway.values import BudgetRule, Outcome, Principal
from tests.unit.gateway.jobs.served import close, generations, serve
from tests.unit.gateway.usage.samples import (
    CARD,
    OTHER_CARD,
    MoodyDatabase,
    contents,
    opened,
    outcome,
)

BUDGET = BudgetRule("b", "team", 10**18, "USD", "total")


def named(count: int) -> list[str]:
    return [f"gen-{number}" for number in range(count)]


def unfit(generation_id: str) -> Outcome:
    """One whose row no database takes."""
    return outcome(generation_id, closed_ms=2**70)


def counters(database: MoodyDatabase, recent: Recent, shipper: Shipper) -> Counters:
    clock = SystemClock()
    return Counters(database, MemoryState(), recent, shipper.lock, clock, grace=1.0)


async def test_what_memory_let_go_outlives_an_outage_during_the_reading_of_it(
    database: MoodyDatabase, journal: Journal
) -> None:
    recent = Recent(limit=1)
    shipper = Shipper(database, journal, recent, clock=SystemClock(), batch=2)
    for name in named(6):
        await serve(journal, recent, name)
    await journal.sync()
    database.away = True
    with pytest.raises(Unavailable):
        await shipper.ship()
    database.away = False
    await shipper.ship()
    assert await generations(database) == named(6)


async def test_what_memory_lets_go_during_a_pass_is_not_passed_over(
    database: MoodyDatabase, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    recent = Recent(limit=2)
    shipper = Shipper(database, journal, recent, clock=SystemClock(), batch=1)
    for name in named(2):
        await serve(journal, recent, name)
    insert = database.insert
    later = iter(named(5)[2:])

    async def slow(inserts: Inserts) -> None:
        await insert(inserts)
        for name in later:  # all that come, during the first
            await serve(journal, recent, name)

    monkeypatch.setattr(database, "insert", slow)
    for _ in range(3):
        await shipper.ship()
    assert sorted(map(str, await generations(database))) == named(5)


async def test_what_memory_let_go_while_the_disk_was_full_is_shipped_once_it_is_written(
    database: MoodyDatabase, journal: Journal
) -> None:
    def full(fd: int, data: bytes | memoryview) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    recent = Recent(limit=1)
    shipper = Shipper(database, journal, recent, clock=SystemClock())
    journal._write = full
    for name in named(3):
        await serve(journal, recent, name)
    await shipper.ship()
    journal._write = os.write
    assert journal._retry is not None
    journal._retry.cancel()
    journal._try_again()
    await journal.sync()
    await serve(journal, recent, "gen-3")
    await shipper.ship()
    assert sorted(map(str, await generations(database))) == named(4)
    assert recent.forgotten == 0


async def test_a_rate_card_that_newer_files_do_without_still_arrives(
    database: MoodyDatabase, journal: Journal, recent: Recent, shipper: Shipper
) -> None:
    await begin(journal, opened("gen-0"), (CARD, OTHER_CARD))
    await close(journal, recent, "gen-0")
    number = 0
    while journal.files[-1].ordinal < 4:
        number += 1
        await begin(journal, opened(f"gen-{number}"), (CARD,))
        await close(journal, recent, f"gen-{number}")
    await shipper.ship()
    cards = {row[0] for row in (await contents(database))["rate_cards"]}
    assert cards == {CARD.id, OTHER_CARD.id}


async def test_a_counter_is_not_made_while_memory_lacks_what_the_ledger_lacks(
    database: MoodyDatabase, journal: Journal
) -> None:
    recent = Recent(limit=2)
    shipper = Shipper(database, journal, recent, clock=SystemClock())
    for name in named(6):
        await serve(journal, recent, name)
    ours = Principal(
        key_id="key-1",
        key_name="k",
        team_id="team-1",
        team_name="t",
        organisation_id="org-1",
        budgets=(BUDGET,),
    )
    counted = counters(database, recent, shipper)
    with pytest.raises(LedgerBehind):
        await counted.ensure(ours)
    await shipper.ship()
    await counted.ensure(ours)


async def test_a_row_that_went_alone_before_the_database_failed_is_counted_once(
    database: MoodyDatabase,
    journal: Journal,
    recent: Recent,
    shipper: Shipper,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in named(2):
        await serve(journal, recent, name)
    recent.put(unfit("unfit"))
    insert, calls = database.insert, 0

    async def failing(inserts: Inserts) -> None:
        nonlocal calls
        calls += 1
        if calls == 5:  # the batch and two cards went before, and one request alone
            raise Unavailable("away", code="database_unavailable")
        await insert(inserts)

    monkeypatch.setattr(database, "insert", failing)
    with pytest.raises(Unavailable):
        await shipper.ship()
    shipped = await queries.spent(database, "team", "team-1", 0, "USD")
    one = sum(attempt.charge.pico for attempt in outcome().attempts)
    assert shipped == one
    waiting = await counters(database, recent, shipper)._unshipped(BUDGET, "team-1", 0)
    assert shipped + waiting == 3 * one


async def test_a_request_that_the_database_will_not_have_does_not_keep_its_file(
    database: MoodyDatabase, journal: Journal, recent: Recent, shipper: Shipper
) -> None:
    await begin(journal, opened("unfit"), (CARD,))
    first = journal.files[0].name
    for name in named(4):
        await serve(journal, recent, name)
    written = journal.append(encode(Close(unfit("unfit"))))
    recent.put(unfit("unfit"))
    await written
    await journal.sync()
    await shipper.ship()
    assert await asyncio.to_thread((journal.folder / REJECTED_FILE).exists)
    assert first not in [file.name for file in journal.files]
