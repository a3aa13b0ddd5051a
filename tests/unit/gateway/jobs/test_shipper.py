"""The journal arrives in the ledger, whatever happens on the way."""

import asyncio
import contextlib
import errno
import os
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.errors import Unavailable
from gateway.jobs.shipper import Shipper, replay
from gateway.store.tables.usage import journal_files
from gateway.usage import queries
from gateway.usage.journal import Journal
from gateway.usage.journal_files import JournalFile
from gateway.usage.lines import begin, encode
from gateway.usage.recent import Recent
from gateway.values import Result
from tests.unit.gateway.jobs.served import close, generations, serve
from tests.unit.gateway.usage.samples import (
    CARD,
    OTHER_CARD,
    Cut,
    CutDatabase,
    MoodyDatabase,
    StoppedClock,
    contents,
    files_in,
    kill,
    new_database,
    opened,
    outcome,
    progress,
)


async def test_what_ended_is_in_the_ledger_after_a_pass_and_no_longer_recent(
    database: MoodyDatabase, journal: Journal, recent: Recent, shipper: Shipper
) -> None:
    await serve(journal, recent, "gen-1")
    assert recent.get("gen-1") is not None
    assert await shipper.ship() == 1
    assert recent.get("gen-1") is None
    assert await queries.generation(database, "gen-1", "team-1") == outcome("gen-1")
    assert sorted(row[0] for row in (await contents(database))["rate_cards"]) == sorted(  # type: ignore[type-var]  # ids are strings
        [CARD.id, OTHER_CARD.id]
    )
    assert await shipper.ship() == 0


async def test_a_pass_notes_how_far_it_came(
    database: MoodyDatabase, journal: Journal, recent: Recent, shipper: Shipper
) -> None:
    await serve(journal, recent, "gen-1")
    await shipper.ship()
    (file,) = journal.files
    assert await queries.shipped_offsets(database, [file.name]) == {file.name: file.size}


async def test_while_the_database_is_away_nothing_is_lost_or_forgotten(
    database: MoodyDatabase, journal: Journal, recent: Recent, shipper: Shipper
) -> None:
    database.away = True
    running = asyncio.create_task(shipper.run())
    await serve(journal, recent, "gen-1")
    for _ in range(2):  # it keeps trying
        database.asked.clear()
        await database.asked.wait()
    assert recent.get("gen-1") is not None
    await serve(journal, recent, "gen-2")
    database.wrote.clear()
    database.away = False
    async with asyncio.timeout(10):
        await database.wrote.wait()
    shipper.stop()
    await running
    assert len(recent) == 0
    assert await generations(database) == ["gen-1", "gen-2"]


async def test_a_finished_file_goes_when_all_in_it_is_shipped_and_closed(
    database: MoodyDatabase, journal: Journal, recent: Recent, shipper: Shipper
) -> None:
    await begin(journal, opened("slow"), (CARD,))
    first = journal.files[0].name
    for number in range(4):
        await serve(journal, recent, f"gen-{number}")
    await journal.sync()
    assert len(journal.files) > 2
    await shipper.ship()
    # The slow request is still open in the first file; those between are done.
    assert [file.name for file in journal.files] == [first, journal.files[-1].name]
    assert files_in(journal.folder) == sorted(file.name for file in journal.files)
    await close(journal, recent, "slow")
    await shipper.ship()
    assert first not in files_in(journal.folder)
    async with database.reading() as connection:
        rows = (await connection.execute(journal_files.select())).all()
    assert {row.name: row.closed for row in rows}[first] is True


async def test_what_memory_had_to_let_go_is_shipped_from_the_journal(
    database: MoodyDatabase, journal: Journal
) -> None:
    recent = Recent(limit=1)
    shipper = Shipper(database, journal, recent, clock=SystemClock(), batch=2)
    for number in range(6):
        await serve(journal, recent, f"gen-{number}")
    assert len(recent) == 1
    await journal.sync()
    await shipper.ship()
    assert await generations(database) == [f"gen-{number}" for number in range(6)]
    assert len(recent) == recent.forgotten == 0
    assert [file.name for file in journal.files] == files_in(journal.folder)
    assert len(journal.files) == 1
    await close(journal, recent, "gen-7")
    assert await shipper.ship() == 1


async def test_a_file_stays_while_a_request_that_it_opened_is_not_in_the_ledger(
    database: MoodyDatabase, journal: Journal, recent: Recent, shipper: Shipper
) -> None:
    await begin(journal, opened("slow"), (CARD,))
    first = journal.files[0].name
    for number in range(4):
        await serve(journal, recent, f"gen-{number}")
    await close(journal, recent, "slow")  # in a later file
    await journal.sync()
    database.away = True
    with pytest.raises(Unavailable):
        await shipper.ship()
    assert first in files_in(journal.folder)
    database.away = False
    await shipper.ship()
    assert first not in files_in(journal.folder)
    assert "slow" in await generations(database)


async def test_the_file_that_is_being_written_stays(
    journal: Journal, recent: Recent, shipper: Shipper
) -> None:
    await serve(journal, recent, "gen-1")
    await shipper.ship()
    assert files_in(journal.folder) == [journal.files[0].name]


async def test_a_clean_stop_leaves_an_empty_folder(
    database: MoodyDatabase, journal: Journal, recent: Recent, shipper: Shipper
) -> None:
    await serve(journal, recent, "gen-1")
    await journal.close()
    await shipper.finish()
    assert files_in(journal.folder) == []
    assert await generations(database) == ["gen-1"]


async def test_a_stop_without_a_database_leaves_the_journal_for_the_next_start(
    database: MoodyDatabase, journal: Journal, recent: Recent, shipper: Shipper
) -> None:
    await serve(journal, recent, "gen-1")
    database.away = True
    await journal.close()
    await shipper.finish()
    journal.release()
    database.away = False
    found = await replay(journal.folder, database, clock=SystemClock())
    assert (found.shipped, found.aborted) == (1, 0)
    assert await generations(database) == ["gen-1"]
    assert files_in(journal.folder) == []


async def test_what_a_full_disk_refuses_is_shipped_from_memory_once(
    database: MoodyDatabase, journal: Journal, recent: Recent, shipper: Shipper
) -> None:
    def full(fd: int, data: bytes | memoryview) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    journal._write = full
    await serve(journal, recent, "gen-1")
    assert not journal.healthy
    assert await shipper.ship() == 1
    assert await shipper.ship() == 0
    assert recent.get("gen-1") is None
    assert await generations(database) == ["gen-1"]
    journal._write = os.write
    await journal.close()
    await shipper.finish()
    assert await generations(database) == ["gen-1"]
    assert files_in(journal.folder) == []


async def test_a_running_shipper_adopts_what_another_process_left(
    database: MoodyDatabase, journal: Journal, recent: Recent
) -> None:
    dead = Journal(journal.folder, loop=asyncio.get_running_loop())
    await begin(dead, opened("lost"), (CARD,))
    kill(dead)
    shipper = Shipper(
        database, journal, recent, clock=SystemClock(), interval=0.001, adopt_interval=0
    )
    running = asyncio.create_task(shipper.run())
    async with asyncio.timeout(10):
        database.wrote.clear()  # before each look, so that no write after it is missed
        while await queries.generation(database, "lost") is None:
            await database.wrote.wait()
            database.wrote.clear()
    shipper.stop()
    await running
    found = await queries.generation(database, "lost")
    assert found is not None
    assert found.result is Result.ABORTED


async def _live_and_die(
    base: Path, cut_at: int | None, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, list[tuple[object, ...]]], int]:
    """Serve and ship, die at one step, start again. Returns the ledger and the steps of the life."""
    await (await new_database(base)).aclose()
    database = CutDatabase(base, cut_at)
    journal = Journal(base / "journal", loop=asyncio.get_running_loop(), max_bytes=2500)
    recent = Recent()
    clock = StoppedClock()
    shipper = Shipper(database, journal, recent, clock=clock, batch=2)
    remove = JournalFile.remove

    def remove_or_die(file: JournalFile) -> None:
        database.step()
        remove(file)
        database.step()

    with monkeypatch.context() as patch:
        patch.setattr(JournalFile, "remove", remove_or_die)
        await begin(journal, opened("lost"), (CARD,))
        await journal.append(encode(progress("lost")))
        for number in range(5):
            await serve(journal, recent, f"gen-{number}")
        await journal.sync()
        with contextlib.suppress(Cut):
            await shipper.ship()
        steps, database.cut_at = database.steps, None
    kill(journal)
    await replay(journal.folder, database, clock=clock)
    assert files_in(journal.folder) == []
    found = await contents(database)
    await database.aclose()
    return found, steps


async def test_a_process_that_dies_at_any_step_of_shipping_books_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, steps = await _live_and_die(tmp_path / "whole", None, monkeypatch)
    assert [row[0] for row in whole["generations"]] == [*(f"gen-{n}" for n in range(5)), "lost"]
    assert steps > 10
    for cut_at in range(1, steps + 1):
        found, _ = await _live_and_die(tmp_path / f"cut-{cut_at}", cut_at, monkeypatch)
        assert found == whole, cut_at
