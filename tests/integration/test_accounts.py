"""Organisations, teams, keys and budgets in a migrated database, and the commands that manage them."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from typing_extensions import override

from gateway.accounts import bootstrap, budgets, keys, opening, organisations, pepper, teams
from gateway.accounts.office import Office
from gateway.accounts.principals import find_principal
from gateway.auth.directory import KeyDirectory
from gateway.auth.keys import check_form, key_hash
from gateway.cli.budgets import budgets as budgets_command
from gateway.cli.keys import keys as keys_command
from gateway.cli.migrate import migrate as migrate_command
from gateway.cli.teams import teams as teams_command
from gateway.clock import Clock, SystemClock
from gateway.errors import ConfigurationError, Conflict, InvalidRequest, NotFound, Unauthenticated
from gateway.store import schema
from gateway.store.database import Database
from gateway.store.tables import accounts as tables
from gateway.values import BudgetRule, Principal
from tests.fakes.accounts import OPERATOR, PEPPER, office_of

NOW_MS = 1_795_000_000_000


class FixedClock(Clock):
    @override
    def now(self) -> float:
        return NOW_MS / 1000

    @override
    def monotonic(self) -> float:
        return 0.0


CLOCK = FixedClock()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def db(data: Path) -> AsyncIterator[Database]:
    opening.make_folder(data)
    await schema.upgrade(opening.database_url(data))
    db = Database(opening.database_url(data))
    yield db
    await db.aclose()


def _contents(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def _first_team(db: Database) -> str:
    return (await bootstrap.ensure_first(db, PEPPER, clock=CLOCK)).team.id


async def test_the_first_start_makes_one_of_each_and_the_next_none(db: Database) -> None:
    first = await bootstrap.ensure_first(db, PEPPER, clock=CLOCK)
    assert first.key_plaintext is not None
    assert check_form(first.key_plaintext.encode())
    again = await bootstrap.ensure_first(db, PEPPER, clock=CLOCK)
    assert again == msgspec.structs.replace(first, key_plaintext=None)
    assert len(await organisations.list_all(office_of(db), OPERATOR)) == 1
    assert len(await teams.list_all(office_of(db), OPERATOR)) == 1
    assert len(await keys.list_all(office_of(db), OPERATOR)) == 1


async def test_many_first_starts_at_once_make_one_key(db: Database) -> None:
    firsts = await asyncio.gather(
        *(bootstrap.ensure_first(db, PEPPER, clock=CLOCK) for _ in range(5))
    )
    assert len([first for first in firsts if first.key_plaintext is not None]) == 1
    assert len(await keys.list_all(office_of(db), OPERATOR)) == 1


async def test_a_disabled_first_key_is_not_replaced_by_a_restart(db: Database) -> None:
    await _first_team(db)
    (row,) = await keys.list_all(office_of(db), OPERATOR)
    await keys.disable(office_of(db, CLOCK), OPERATOR, row.id)
    assert (await bootstrap.ensure_first(db, PEPPER, clock=CLOCK)).key_plaintext is None


async def test_another_pepper_is_refused_before_keys_are_made_with_it(db: Database) -> None:
    team = await _first_team(db)
    with pytest.raises(ConfigurationError, match="restore it from the backup"):
        await bootstrap.ensure_first(db, bytes(32), clock=CLOCK)
    with pytest.raises(ConfigurationError, match="restore it from the backup"):
        await keys.create(Office(db, bytes(32), CLOCK), OPERATOR, team=team)
    assert len(await keys.list_all(office_of(db), OPERATOR)) == 1


async def test_a_key_is_found_by_its_hash_with_all_that_applies_to_it(db: Database) -> None:
    team = await _first_team(db)
    row, plaintext = await keys.create(
        office_of(db, CLOCK),
        OPERATOR,
        team="default",
        name="ci",
        expires_ms=NOW_MS + 60_000,
        budget=budgets.limit("5.00", "monthly"),
    )
    of_team = await budgets.set_budget(
        office_of(db, CLOCK), OPERATOR, "team", team, budgets.limit("100", "daily", "EUR")
    )
    of_key = await budgets.get_budget(office_of(db), OPERATOR, "key", row.id)
    assert of_key is not None
    (organisation,) = await organisations.list_all(office_of(db), OPERATOR)
    found = await find_principal(db, key_hash(PEPPER, plaintext.encode()))
    assert found == Principal(
        key_id=row.id,
        key_name="ci",
        team_id=team,
        team_name="default",
        organisation_id=organisation.id,
        budgets=(
            BudgetRule(of_key.id, "key", 5 * 10**12, "USD", "monthly"),
            BudgetRule(of_team.id, "team", 100 * 10**12, "EUR", "daily"),
        ),
        disabled="",
        expires_at=NOW_MS / 1000 + 60,
    )
    assert await find_principal(db, bytes(32)) is None


async def test_a_key_does_not_get_budgets_of_others(db: Database) -> None:
    await _first_team(db)
    other = await teams.create(office_of(db, CLOCK), OPERATOR, "other")
    neighbour, _ = await keys.create(
        office_of(db, CLOCK), OPERATOR, team="other", budget=budgets.limit("1", "total")
    )
    two = budgets.limit("2", "total")
    await budgets.set_budget(office_of(db, CLOCK), OPERATOR, "team", other.id, two)
    _, plaintext = await keys.create(office_of(db, CLOCK), OPERATOR, team="default")
    found = await find_principal(db, key_hash(PEPPER, plaintext.encode()))
    assert found is not None
    assert found.budgets == ()
    assert neighbour.team_id == other.id


async def test_the_database_never_holds_a_key(db: Database, data: Path) -> None:
    await _first_team(db)
    row, plaintext = await keys.create(office_of(db, CLOCK), OPERATOR, team="default")
    assert plaintext.startswith(row.prefix)
    assert plaintext.endswith(row.last4)
    assert len(row.prefix) + len(row.last4) == 14
    stored = _contents(data)
    assert key_hash(PEPPER, plaintext.encode()) in stored
    assert plaintext.encode() not in stored
    assert plaintext[10:40].encode() not in stored


async def test_disabling_a_key_keeps_the_time_at_which_it_was_first(db: Database) -> None:
    await _first_team(db)
    (row,) = await keys.list_all(office_of(db), OPERATOR)
    assert (await keys.disable(office_of(db, CLOCK), OPERATOR, row.id)).disabled_ms == NOW_MS
    assert (
        await keys.disable(office_of(db, SystemClock()), OPERATOR, row.id)
    ).disabled_ms == NOW_MS
    with pytest.raises(NotFound) as caught:
        await keys.disable(office_of(db, CLOCK), OPERATOR, "key_nowhere")
    assert caught.value.code == "key_not_found"


async def test_a_directory_over_the_database_tells_known_from_disabled(db: Database) -> None:
    first = await bootstrap.ensure_first(db, PEPPER, clock=CLOCK)
    assert first.key_plaintext is not None
    header = b"Bearer " + first.key_plaintext.encode()
    load = partial(find_principal, db)
    directory = KeyDirectory(load, PEPPER, CLOCK)
    principal = await directory.authenticate(header)
    assert principal.team_id == first.team.id
    assert directory.lookup(header) is principal
    await keys.disable(office_of(db, CLOCK), OPERATOR, principal.key_id)
    restarted = KeyDirectory(load, PEPPER, CLOCK)
    with pytest.raises(Unauthenticated) as caught:
        await restarted.authenticate(header)
    assert caught.value.code == "key_disabled"


async def test_names_are_unique_where_people_use_them(db: Database) -> None:
    await _first_team(db)
    office = office_of(db, CLOCK)
    with pytest.raises(Conflict) as taken:
        await teams.create(office, OPERATOR, " default ")
    assert taken.value.code == "name_taken"
    with pytest.raises(Conflict) as taken:
        await organisations.create(office, OPERATOR, "default")
    assert taken.value.code == "name_taken"
    second = await organisations.create(office, OPERATOR, "second")
    await teams.create(office, OPERATOR, "default", organisation=second.id)
    with pytest.raises(InvalidRequest) as caught:
        await keys.create(office_of(db, CLOCK), OPERATOR, team="default")
    assert caught.value.code == "team_ambiguous"


async def test_what_is_not_there_is_named_by_code(db: Database) -> None:
    office = office_of(db, CLOCK)
    with pytest.raises(NotFound) as caught:
        await teams.create(office, OPERATOR, "early")
    assert caught.value.code == "organisation_not_found"
    with pytest.raises(NotFound) as caught:
        await keys.create(office_of(db, CLOCK), OPERATOR, team="nobody")
    assert caught.value.code == "team_not_found"
    with pytest.raises(NotFound) as caught:
        await budgets.set_budget(office, OPERATOR, "key", "key_x", budgets.limit("1", "total"))
    assert caught.value.code == "key_not_found"
    with pytest.raises(NotFound) as caught:
        await budgets.remove(office, OPERATOR, "team", "team_x")
    assert caught.value.code == "team_not_found"
    await _first_team(db)
    with pytest.raises(NotFound) as caught:
        await budgets.remove(office, OPERATOR, "team", "default")
    assert caught.value.code == "budget_not_found"


async def test_a_key_cannot_be_made_expired(db: Database) -> None:
    await _first_team(db)
    with pytest.raises(InvalidRequest) as caught:
        await keys.create(office_of(db, CLOCK), OPERATOR, team="default", expires_ms=NOW_MS)
    assert caught.value.code == "invalid_expiry"


async def test_a_budget_keeps_its_id_unless_its_currency_changes(db: Database) -> None:
    """Its counters go by its id: an amount in another currency must not inherit them."""
    team = await _first_team(db)
    put = partial(budgets.set_budget, office_of(db, CLOCK), OPERATOR, "team", team)
    made = await put(budgets.limit("10", "monthly"))
    raised = await put(budgets.limit("20", "weekly"))
    assert raised.id == made.id
    assert (raised.limit.decimal_string(), raised.period) == ("20", "weekly")
    moved = await put(budgets.limit("20", "weekly", "EUR"))
    assert moved.id != made.id
    assert await budgets.list_all(office_of(db), OPERATOR) == [moved]
    await budgets.remove(office_of(db), OPERATOR, "team", team)
    assert await budgets.get_budget(office_of(db), OPERATOR, "team", team) is None


async def test_a_team_with_keys_cannot_be_deleted_from_under_them(db: Database) -> None:
    team = await _first_team(db)
    with pytest.raises(IntegrityError):
        async with db.transaction() as connection:
            await connection.execute(delete(tables.teams).where(tables.teams.c.id == team))


async def test_a_budget_goes_with_its_key(db: Database) -> None:
    await _first_team(db)
    row, _ = await keys.create(
        office_of(db, CLOCK), OPERATOR, team="default", budget=budgets.limit("1", "total")
    )
    async with db.transaction() as connection:
        await connection.execute(delete(tables.api_keys).where(tables.api_keys.c.id == row.id))
    assert await budgets.list_all(office_of(db), OPERATOR) == []


# The commands. They run their own event loops, so these tests are plain functions.


def _command(command: click.Command, *words: str | Path) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


@pytest.fixture
def installed(data: Path) -> Path:
    """A data folder as a first start leaves it."""
    assert _command(migrate_command, "--data", data).exit_code == 0

    async def first() -> None:
        async with opening.opened(data) as db:
            await bootstrap.ensure_first(db, pepper.ensure(data), clock=CLOCK)

    asyncio.run(first())
    return data


def test_migrate_makes_the_database_and_check_tells_before_and_after(data: Path) -> None:
    before = _command(migrate_command, "--check", "--data", data)
    assert before.exit_code == 1
    assert "revision none" in before.stderr
    assert "run `tidegate migrate`" in before.stderr
    assert not data.exists()
    made = _command(migrate_command, "--data", data)
    assert (made.exit_code, made.stdout) == (0, f"migrated from revision none to {schema.head()}\n")
    assert data.stat().st_mode & 0o777 == 0o700
    for words in ((), ("--check",)):
        after = _command(migrate_command, *words, "--data", data)
        assert (after.exit_code, after.stdout) == (0, f"up to date at revision {schema.head()}\n")


def test_a_verb_on_a_mistyped_folder_makes_nothing(data: Path) -> None:
    result = _command(teams_command, "list", "--data", data)
    assert result.exit_code == 1
    assert "make it with `tidegate migrate`" in result.stderr
    assert not data.exists()


def test_a_key_is_printed_once_alone_on_stdout(installed: Path) -> None:
    created = _command(
        keys_command, "create", "--team", "default", "--name", "ci", "--budget", "5.00",
        "--period", "monthly", "--expires", "30d", "--data", installed,
    )  # fmt: skip
    assert created.exit_code == 0, created.output
    plaintext = created.stdout.strip()
    assert check_form(plaintext.encode())
    assert "cannot be shown again" in created.stderr
    listed = _command(keys_command, "list", "--json", "--data", installed)
    (_, row) = json.loads(listed.stdout)
    assert (row["name"], row["team"], row["state"]) == ("ci", "default", "active")
    assert row["key"] == f"{plaintext[:10]}…{plaintext[-4:]}"
    assert plaintext not in listed.stdout
    (budget,) = json.loads(_command(budgets_command, "list", "--json", "--data", installed).stdout)
    assert budget["owner_id"] == row["id"]
    assert (budget["limit"], budget["currency"], budget["period"]) == ("5", "USD", "monthly")


def test_lists_are_tables_for_people(installed: Path) -> None:
    listed = _command(teams_command, "list", "--data", installed)
    head, row = listed.stdout.splitlines()
    assert head.split() == ["ID", "NAME", "CREATED", "DISABLED", "ZDR", "DATA", "COLLECTION"]
    _, name, created, disabled, *privacy = row.split()
    assert disabled == "-"
    assert name == "default"
    assert created.endswith("Z")
    assert privacy == ["no", "allow"]
    nothing = _command(budgets_command, "list", "--data", installed)
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "tidegate budgets set" in nothing.stderr
    assert _command(budgets_command, "list", "--json", "--data", installed).stdout == "[]\n"


def test_a_key_can_be_disabled(installed: Path) -> None:
    (row,) = json.loads(_command(keys_command, "list", "--json", "--data", installed).stdout)
    assert _command(keys_command, "disable", row["id"], "--data", installed).exit_code == 0
    (row,) = json.loads(_command(keys_command, "list", "--json", "--data", installed).stdout)
    assert row["state"] == "disabled"


def test_teams_and_their_budgets(installed: Path) -> None:
    made = _command(teams_command, "create", "research", "--data", installed)
    team = made.stdout.strip()
    put = _command(
        budgets_command, "set", "--team", "research", "12.50", "--period", "weekly",
        "--data", installed,
    )  # fmt: skip
    assert put.exit_code == 0, put.output
    assert put.stderr == "team research may spend 12.5 USD weekly\n"
    (row,) = json.loads(_command(budgets_command, "list", "--json", "--data", installed).stdout)
    assert (row["scope"], row["owner_id"], row["id"]) == ("team", team, put.stdout.strip())
    gone = _command(budgets_command, "remove", "--team", team, "--data", installed)
    assert gone.exit_code == 0, gone.output
    assert _command(budgets_command, "list", "--json", "--data", installed).stdout == "[]\n"


@pytest.mark.parametrize(
    ("command", "words", "hint"),
    [
        (keys_command, ("create", "--team", "nobody"), "`tidegate teams create`"),
        (keys_command, ("create", "--team", "default", "--expires", "soon"), "write 90m"),
        (keys_command, ("create", "--team", "default", "--period", "daily"), "need --budget"),
        (keys_command, ("create", "--team", "default", "--budget", "five"), "like 5.00"),
        (keys_command, ("disable", "key_x"), "`tidegate keys list`"),
        (teams_command, ("create", "default"), "choose another name"),
        (budgets_command, ("set", "5", "--period", "daily"), "one of --key ID, --team TEAM"),
        (budgets_command, ("set", "--key", "key_x", "5", "--period", "daily"), "keys list"),
        (budgets_command, ("remove", "--team", "default"), "`tidegate budgets list`"),
    ],
)
def test_a_refusal_says_on_stderr_what_to_do(
    installed: Path, command: click.Command, words: tuple[str, ...], hint: str
) -> None:
    result = _command(command, *words, "--data", installed)
    assert result.exit_code in {1, 2}
    assert result.stdout == ""
    assert hint in result.stderr
    assert "Traceback" not in result.stderr


def test_a_database_that_cannot_be_used_is_told_with_its_cause(installed: Path) -> None:
    for path in installed.glob("tidegate.db*"):
        path.unlink()
    (installed / "tidegate.db").write_bytes(b"rubbish, not a database at all" * 200)
    result = _command(teams_command, "list", "--data", installed)
    assert result.exit_code == 1
    assert "file is not a database" in result.stderr


def test_a_lost_pepper_is_noticed_before_a_dead_key_is_issued(installed: Path) -> None:
    (installed / "pepper").unlink()
    result = _command(keys_command, "create", "--team", "default", "--data", installed)
    assert result.exit_code == 1
    assert "restore it from the backup" in result.stderr
    with sqlite3.connect(installed / "tidegate.db") as raw:
        assert raw.execute("SELECT count(*) FROM api_keys").fetchone() == (1,)
    raw.close()
