"""`tidegate ledger check` over journals: what is in their files is in the ledger, or is on its way."""

import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from gateway.cli import main
from gateway.store import schema
from gateway.store.database import Database, sqlite_url
from gateway.usage import ledger
from gateway.usage.audit_journal import Journalled, check_journal
from gateway.usage.audit_rules import Fault
from gateway.usage.ledger import Shipped
from gateway.usage.lines import Card, Close, Line, encode
from pricing import Money
from tests.unit.gateway.usage.samples import CARD, NOW_MS, attempt, opened, outcome, progress

FILE = "boot-1.jsonl"
WHOLE: list[Line] = [Card(CARD, NOW_MS), opened(), progress(), Close(outcome())]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url)
    yield made
    await made.aclose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data" / "journal"
    made.mkdir(parents=True)
    return made


def write(folder: Path, *lines: Line, name: str = FILE, more: bytes = b"") -> int:
    """A file of these lines; its size."""
    data = b"".join(encode(line) + b"\n" for line in lines) + more
    (folder / name).write_bytes(data)
    return len(data)


async def ship(database: Database, *files: tuple[str, Shipped]) -> None:
    await ledger.write(
        database, outcomes=[outcome()], cards=[Card(CARD, NOW_MS)], files=dict(files)
    )


async def checked(database: Database, folder: Path) -> tuple[list[Fault], Journalled]:
    faults: list[Fault] = []
    found = await check_journal(database, folder, faults.append)
    return faults, found


async def test_without_a_journal_there_is_nothing_to_say(
    database: Database, tmp_path: Path
) -> None:
    assert await checked(database, tmp_path / "none") == ([], Journalled())


async def test_what_is_shipped_is_clean(database: Database, folder: Path) -> None:
    size = write(folder, *WHOLE)
    await ship(database, (FILE, Shipped(size)))
    assert await checked(database, folder) == ([], Journalled(files=1, closed=1))


async def test_what_is_on_its_way_is_counted_and_no_fault(database: Database, folder: Path) -> None:
    write(folder, *WHOLE, opened("gen-2"), more=b'{"type":"cl')
    found = Journalled(files=1, closed=1, unshipped=1, unsettled=1)
    assert await checked(database, folder) == ([], found)


async def test_an_end_in_a_later_file_is_an_end(database: Database, folder: Path) -> None:
    write(folder, opened())
    write(folder, Close(outcome()), name="boot-2.jsonl")
    assert await checked(database, folder) == ([], Journalled(files=2, closed=1, unshipped=1))


async def test_what_is_said_to_be_shipped_must_be_there(database: Database, folder: Path) -> None:
    size = write(folder, *WHOLE)
    await ledger.write(database, files={FILE: Shipped(size)})
    ((fault,), _) = await checked(database, folder)
    assert (fault.rule, fault.about) == ("journal", "gen-1")
    assert "(charged 0.000034 USD)" in fault.says


async def test_amounts_must_be_those_of_the_journal(database: Database, folder: Path) -> None:
    entry = replace(attempt("gen-1"), charge=Money("USD", 7))
    write(folder, Close(outcome(attempts=(entry,))))
    await ship(database)
    ((fault,), _) = await checked(database, folder)
    assert (fault.rule, fault.about) == ("journal", "gen-1-1")
    assert "charge 0.000000000007 USD" in fault.should


async def test_an_entry_that_only_the_journal_has_is_missed(
    database: Database, folder: Path
) -> None:
    two = (attempt("gen-1", charge=0), attempt("gen-1", 2))
    write(folder, Close(outcome(attempts=two)))
    await ship(database)
    faults, _ = await checked(database, folder)
    assert "gen-1-2" in {fault.about for fault in faults}


async def test_lines_that_cannot_be_read_are_faults_with_their_place(
    database: Database, folder: Path
) -> None:
    size = write(folder, *WHOLE, more=b"\0\0\0\n")
    await ship(database)
    ((fault,), _) = await checked(database, folder)
    assert (fault.about, fault.says.partition(" cannot")[0]) == (
        FILE,
        f"bytes {size - 4} to {size}",
    )


@pytest.mark.parametrize("name", ["rejected.ndjson", "boot-1.jsonl.damaged"])
async def test_what_was_set_aside_is_a_fault_until_the_ledger_has_it(
    database: Database, folder: Path, name: str
) -> None:
    write(folder, Close(outcome()), name=name)
    ((fault,), _) = await checked(database, folder)
    assert (fault.about, fault.rule) == ("gen-1", "journal")
    assert name in fault.says
    await ship(database)
    assert (await checked(database, folder))[0] == []


async def test_a_rejected_rate_card_is_a_fault(database: Database, folder: Path) -> None:
    write(folder, Card(CARD, NOW_MS), name="rejected.ndjson")
    ((fault,), _) = await checked(database, folder)
    assert fault.about == CARD.id


async def test_what_a_finished_journal_began_must_have_an_end(
    database: Database, folder: Path
) -> None:
    size = write(folder, opened())
    await ledger.write(database, files={FILE: Shipped(size, closed=True)})
    ((fault,), _) = await checked(database, folder)
    assert (fault.about, fault.rule) == ("gen-1", "journal")


async def test_the_command_tells_faults_and_ends_with_2(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "journal").mkdir(parents=True)
    url = sqlite_url(data / "tidegate.db")
    await schema.upgrade(url)
    database = Database(url)
    await ship(database)
    await database.aclose()

    clean = _run(data)
    assert (clean.exit_code, clean.stdout) == (0, "")
    assert "1 generations, 1 entries" in clean.stderr
    assert "cost 0.000034 USD; charge 0.000034 USD" in clean.stderr
    assert clean.stderr.endswith("clean\n")

    write(data / "journal", Close(outcome("gen-2")), name="rejected.ndjson")
    faulty = _run(data)
    assert faulty.exit_code == 2
    assert faulty.stdout.startswith("gen-2: journal: rejected.ndjson has its end")
    assert "1 faults" in faulty.stderr

    told = _run(data, "--json")
    assert told.exit_code == 2
    document = json.loads(told.stdout)
    assert (document["clean"], document["fault_count"]) == (False, 1)
    assert document["faults"][0]["about"] == "gen-2"
    assert document["charge"] == {"USD": "0.000034"}
    assert document["checked"]["unshipped"] == 0


def _run(data: Path, *more: str) -> Result:
    with ThreadPoolExecutor(1) as beside:  # the command has a loop of its own
        words = ["ledger", "check", "--data", str(data), *more]
        return beside.submit(CliRunner().invoke, main, words).result()


def test_without_a_database_the_command_says_so_and_ends_with_1(tmp_path: Path) -> None:
    result = _run(tmp_path)
    assert result.exit_code == 1
    assert "no database" in result.stderr
