"""What a dead process left is booked once, wherever the booking is cut off."""

from pathlib import Path

import msgspec
import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import DropTable

from gateway.errors import Unavailable
from gateway.store.database import Database
from gateway.store.state.untold import UntoldFile
from gateway.store.tables.usage import generations
from gateway.store.workers import Identity, WorkerRegistry
from gateway.usage import journal_files, queries
from gateway.usage.delivery import REJECTED_FILE
from gateway.usage.journal_files import JournalFile
from gateway.usage.lines import Card, Close, Line, decode, encode
from gateway.usage.replay import Replayed, replay
from gateway.values import Basis, Outcome, Result
from pricing import Money
from tests.unit.gateway.usage.samples import (
    CARD,
    NOW_MS,
    OTHER_CARD,
    Cut,
    CutDatabase,
    MoodyDatabase,
    StoppedClock,
    attempt,
    contents,
    files_in,
    new_database,
    opened,
    outcome,
    progress,
)

CLOCK = StoppedClock()


def leave(folder: Path, name: str, *lines: Line, tail: bytes = b"") -> Path:
    """A journal file as a dead process left it."""
    path = folder / name
    path.write_bytes(b"".join(encode(line) + b"\n" for line in lines) + tail)
    return path


async def booked(database: Database, generation_id: str) -> Outcome:
    found = await queries.generation(database, generation_id)
    assert found is not None
    return found


async def test_closed_requests_are_shipped_and_open_ones_settled_as_aborted(
    database: Database, folder: Path
) -> None:
    leave(
        folder,
        "ab-1.jsonl",
        Card(CARD, NOW_MS),
        opened("gen-1"),
        opened("gen-2"),
        progress("gen-2", tokens=10),
        Close(outcome("gen-1")),
        progress("gen-2", tokens=40),
    )
    found = await replay(folder, database, clock=CLOCK)
    assert found == Replayed(files=1, shipped=1, aborted=1)
    assert await booked(database, "gen-1") == outcome("gen-1")
    aborted = await booked(database, "gen-2")
    assert aborted.result is Result.ABORTED
    (entry,) = aborted.attempts
    assert entry.basis is Basis.ESTIMATED
    assert entry.charge == Money("USD", 100 * 600_000 + 40 * 2_500_000)
    assert files_in(folder) == []


async def test_a_request_opened_in_one_file_and_closed_in_the_next_is_not_aborted(
    database: Database, folder: Path
) -> None:
    leave(folder, "ab-9.jsonl", opened("gen-1"), opened("gen-2"))
    leave(folder, "ab-10.jsonl", Close(outcome("gen-1")), progress("gen-2"))
    found = await replay(folder, database, clock=CLOCK)
    assert found == Replayed(files=2, shipped=1, aborted=1)
    assert (await booked(database, "gen-1")).result is Result.SUCCESS
    assert (await booked(database, "gen-2")).attempts[0].quantities.output == 40


async def test_an_open_line_that_was_written_again_after_its_close_was_shipped_aborts_nothing(
    database: Database, folder: Path
) -> None:
    leave(folder, "ab-1.jsonl", opened("gen-1"), Close(outcome("gen-1")))
    await replay(folder, database, clock=CLOCK)
    leave(folder, "ab-2.jsonl", opened("gen-1"), progress("gen-1", ordinal=2))
    assert await replay(folder, database, clock=CLOCK) == Replayed(files=1)
    assert await booked(database, "gen-1") == outcome("gen-1")


async def test_a_torn_last_line_is_reported_and_its_request_settled(
    database: Database, folder: Path
) -> None:
    close = encode(Close(outcome("gen-1")))
    leave(folder, "ab-1.jsonl", Card(CARD, NOW_MS), opened("gen-1"), tail=close[:-20])
    found = await replay(folder, database, clock=CLOCK)
    assert found == Replayed(files=1, aborted=1, torn=1)
    assert (await booked(database, "gen-1")).result is Result.ABORTED
    assert files_in(folder) == []


async def test_a_file_with_a_line_that_cannot_be_read_is_worked_off_and_kept(
    database: Database, folder: Path
) -> None:
    close = encode(Close(outcome("gen-1")))
    leave(folder, "ab-1.jsonl", opened("gen-1"), tail=b"\0\0\0\n" + close + b"\n")
    assert await replay(folder, database, clock=CLOCK) == Replayed(files=1, shipped=1, damaged=1)
    assert await booked(database, "gen-1") == outcome("gen-1")
    assert files_in(folder) == ["ab-1.jsonl.damaged"]


async def test_a_process_of_which_all_is_known_leaves_the_registry(
    database: Database, folder: Path
) -> None:
    names = ("ab", "spent", "damaged", "torn", "alive")
    for name in names:
        identity = Identity(name, "host", 1, "1.0")
        await WorkerRegistry(database, identity, CLOCK).beat()
    leave(folder, "ab-1.jsonl", opened("gen-1"), Close(outcome("gen-1")))
    leave(folder, "ab-2.jsonl", opened("gen-2"))
    leave(folder, "spent-1.jsonl")
    mark = UntoldFile(folder, "spent")
    assert mark.mark()
    leave(folder, "damaged-1.jsonl", tail=b"\0\n")
    leave(folder, "torn-1.jsonl", tail=b"{")
    await replay(folder, database, clock=CLOCK)
    looking = WorkerRegistry(database, Identity("-", "host", 1, "1.0"), CLOCK)
    assert set(await looking.rows()) == {"spent", "damaged", "torn", "alive"}
    assert files_in(folder) == ["damaged-1.jsonl.damaged"]  # the mark went with the journal


async def test_the_mark_of_a_process_that_still_has_a_journal_stays(
    database: Database, folder: Path
) -> None:
    alive = journal_files.create(folder, "alive", 1)
    assert UntoldFile(folder, "alive").mark()
    await replay(folder, database, clock=CLOCK)
    assert files_in(folder) == ["alive-1.jsonl", "alive.leased"]
    alive.close()


async def test_an_empty_folder_and_empty_files_are_no_trouble(
    database: Database, folder: Path
) -> None:
    assert await replay(folder, database, clock=CLOCK) == Replayed()
    leave(folder, "ab-1.jsonl")
    leave(folder, "cd-1.jsonl")
    assert await replay(folder, database, clock=CLOCK) == Replayed(files=2)
    assert files_in(folder) == []


async def test_the_cards_that_lines_refer_to_are_kept_once(
    database: Database, folder: Path
) -> None:
    cards = [Card(CARD, NOW_MS), Card(OTHER_CARD, NOW_MS), Card(CARD, NOW_MS + 5)]
    leave(folder, "ab-1.jsonl", *cards)
    await replay(folder, database, clock=CLOCK)
    rows = (await contents(database))["rate_cards"]
    assert sorted((row[0], row[2]) for row in rows) == sorted(
        [(CARD.id, NOW_MS), (OTHER_CARD.id, NOW_MS)]
    )


async def test_more_than_a_batch_is_shipped_in_several(database: Database, folder: Path) -> None:
    lines: list[Line] = [Close(outcome(f"gen-{n}")) for n in range(7)]
    lines += [opened(f"lost-{n}") for n in range(5)]
    leave(folder, "ab-1.jsonl", *lines)
    found = await replay(folder, database, clock=CLOCK, batch=2)
    assert found == Replayed(files=1, shipped=7, aborted=5)
    assert len((await contents(database))["generations"]) == 12


async def test_while_the_database_is_away_the_files_stay(tmp_path: Path, folder: Path) -> None:
    leave(folder, "ab-1.jsonl", Close(outcome()))
    away = MoodyDatabase(tmp_path)
    away.away = True
    with pytest.raises(Unavailable):
        await replay(folder, away, clock=CLOCK)
    await away.aclose()
    assert files_in(folder) == ["ab-1.jsonl"]


async def test_a_row_that_the_database_refuses_is_set_aside_and_the_others_arrive(
    database: Database, folder: Path
) -> None:
    impossible = outcome("gen-2", attempts=(attempt("gen-2", charge=2**63),))
    leave(folder, "ab-1.jsonl", *(Close(row) for row in (outcome("gen-1"), impossible)))
    await replay(folder, database, clock=CLOCK)
    assert await booked(database, "gen-1") == outcome("gen-1")
    assert await queries.generation(database, "gen-2") is None
    kept = (folder / REJECTED_FILE).read_bytes().splitlines()
    assert [decode(line) for line in kept] == [Close(impossible)]
    assert files_in(folder) == [REJECTED_FILE]


async def test_a_database_without_its_tables_rejects_no_rows(
    database: Database, folder: Path
) -> None:
    leave(folder, "ab-1.jsonl", Close(outcome("gen-1")), Close(outcome("gen-2")))
    async with database.transaction() as connection:
        await connection.execute(DropTable(generations))
    with pytest.raises(DBAPIError, match="no such table"):
        await replay(folder, database, clock=CLOCK)
    assert files_in(folder) == ["ab-1.jsonl"]


def _leave_everything(folder: Path) -> None:
    folder.mkdir(parents=True)
    leave(
        folder,
        "ab-1.jsonl",
        Card(CARD, NOW_MS),
        opened("gen-1"),
        opened("gen-2"),
        opened("gen-3"),
        Close(outcome("gen-1")),
        progress("gen-2"),
        tail=b'{"type":"clo',
    )
    leave(folder, "ab-2.jsonl", Close(outcome("gen-3")), Close(outcome("gen-4", attempts=())))
    leave(folder, "cd-1.jsonl", Card(OTHER_CARD, NOW_MS), opened("gen-5"))


async def _replay_cut_at(
    base: Path, cut_at: int | None, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, list[tuple[object, ...]]], int]:
    """Replay with a death at one step, then again in full. Returns the ledger and the steps."""
    folder = base / "journal"
    _leave_everything(folder)
    await (await new_database(base)).aclose()
    database = CutDatabase(base, cut_at)
    remove = JournalFile.remove

    def remove_or_die(file: JournalFile) -> None:
        database.step()
        remove(file)
        database.step()

    with monkeypatch.context() as patch:
        patch.setattr(JournalFile, "remove", remove_or_die)
        try:
            await replay(folder, database, clock=CLOCK, batch=1)
        except Cut:
            # A later start, at another time.
            await replay(folder, database, clock=StoppedClock(CLOCK.now() + 60), batch=1)
    assert files_in(folder) == []
    steps, database.cut_at = database.steps, None
    found = await contents(database)
    await database.aclose()
    return found, steps


def _without_times_of_settling(
    found: dict[str, list[tuple[object, ...]]],
) -> dict[str, list[tuple[object, ...]]]:
    return found | {"generations": [row[:3] + row[4:] for row in found["generations"]]}


async def test_a_replay_that_dies_at_any_step_and_runs_again_books_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, steps = await _replay_cut_at(tmp_path / "whole", None, monkeypatch)
    assert len(whole["generations"]) == 5
    assert len(whole["ledger_entries"]) == 4
    assert steps > 20
    for cut_at in range(1, steps + 1):
        found, _ = await _replay_cut_at(tmp_path / f"cut-{cut_at}", cut_at, monkeypatch)
        assert _without_times_of_settling(found) == _without_times_of_settling(whole), cut_at


def test_reports_add_up() -> None:
    one = Replayed(files=1, shipped=2, aborted=3, torn=4, damaged=5)
    assert msgspec.structs.astuple(one + one) == (2, 4, 6, 8, 10)
