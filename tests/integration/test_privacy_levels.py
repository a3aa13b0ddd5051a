"""What organisation, team and key demand: kept, put together, shown, and in force for the caller."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from gateway.accounts import keys, opening, organisations, pepper, teams
from gateway.accounts.office import Office
from gateway.accounts.principals import find_principal
from gateway.accounts.privacy import Change, Privacy
from gateway.auth.keys import key_hash
from gateway.cli.keys import keys as keys_command
from gateway.cli.migrate import migrate as migrate_command
from gateway.cli.organisations import organisations as organisations_command
from gateway.cli.teams import teams as teams_command
from gateway.errors import InvalidRequest, NotFound
from gateway.store.database import Database
from gateway.values import Principal
from tests.fakes.accounts import OPERATOR, office_of
from tests.fakes.clock import HandClock

CLOCK = HandClock()
LEVELS = ("organisation", "team", "key")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder as `tidegate migrate` leaves it, with one key."""
    folder = tmp_path / "data"
    assert _command(migrate_command, "--data", folder).exit_code == 0

    async def first() -> None:
        async with opening.opened(folder) as db:
            office = office_of(db, CLOCK)
            await organisations.create(office, OPERATOR, "acme")
            await teams.create(office, OPERATOR, "search", organisation="acme")
            office = Office(db, pepper.ensure(folder), CLOCK)
            await keys.create(office, OPERATOR, team="search", name="web")

    asyncio.run(first())
    return folder


def _command(command: click.Command, *words: str | Path) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


def _row(data: Path, command: click.Command, name: str) -> dict[str, Any]:
    """The row of that name in a list."""
    listed = _command(command, "list", "--json", "--data", data)
    assert listed.exit_code == 0, listed.output
    (row,) = [row for row in json.loads(listed.stdout) if row["name"] == name]
    found: dict[str, Any] = row
    return found


async def _set(db: Database, level: str, key_id: str, change: Change) -> None:
    if level == "organisation":
        await organisations.set_privacy(office_of(db), OPERATOR, "acme", change)
    elif level == "team":
        await teams.set_privacy(office_of(db), OPERATOR, "search", change)
    else:
        await keys.set_privacy(office_of(db), OPERATOR, key_id, change)


def _in_force(data: Path, *changes: tuple[str, Change]) -> Principal:
    """The caller as the gateway sees it after changes of levels."""

    async def work() -> Principal:
        async with opening.opened(data) as db:
            row, plaintext = await keys.create(
                Office(db, pepper.ensure(data), CLOCK), OPERATOR, team="search", name="probe"
            )
            for level, change in changes:
                await _set(db, level, row.id, change)
            digest = key_hash(pepper.ensure(data), plaintext.encode())
            principal = await find_principal(db, digest)
            assert principal is not None
            return principal

    return asyncio.run(work())


def test_nobody_demands_anything_at_first(data: Path) -> None:
    principal = _in_force(data)
    assert (principal.zdr, principal.no_training) == (False, False)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("what", ["zdr", "no_training"])
def test_one_level_is_enough(data: Path, level: str, what: str) -> None:
    principal = _in_force(data, (level, Change(**{what: True})))
    assert (principal.zdr, principal.no_training) == (what == "zdr", what == "no_training")


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_cannot_loosen_what_another_demands(data: Path, level: str) -> None:
    others = [(other, Change(zdr=True, no_training=True)) for other in LEVELS if other != level]
    principal = _in_force(data, *others, (level, Change(zdr=False, no_training=False)))
    assert (principal.zdr, principal.no_training) == (True, True)


def test_what_was_demanded_can_be_given_up(data: Path) -> None:
    principal = _in_force(
        data, ("key", Change(zdr=True, no_training=True)), ("key", Change(zdr=False))
    )
    assert (principal.zdr, principal.no_training) == (False, True)


def test_budgets_and_demands_come_with_the_caller_together(data: Path) -> None:
    """The budgets make several rows of one key."""
    made = _command(keys_command, "create", "--team", "search", "--budget", "5", "--zdr",
                    "--data", data)  # fmt: skip
    team = _command(teams_command, "set", "search", "--data-collection", "deny", "--data", data)
    assert (made.exit_code, team.exit_code) == (0, 0), made.output

    async def work() -> Principal | None:
        async with opening.opened(data) as db:
            digest = key_hash(pepper.ensure(data), made.stdout.strip().encode())
            return await find_principal(db, digest)

    principal = asyncio.run(work())
    assert principal is not None
    assert len(principal.budgets) == 1
    assert (principal.zdr, principal.no_training) == (True, True)


def test_lists_say_what_is_in_force_and_where_it_comes_from(data: Path) -> None:
    key = _row(data, keys_command, "web")
    assert (key["zdr"], key["data_collection"]) == ("no", "allow")
    _command(teams_command, "set", "search", "--zdr", "--data", data)
    _command(keys_command, "set", key["id"], "--zdr", "--data", data)
    _command(organisations_command, "set", "acme", "--data-collection", "deny", "--data", data)
    key = _row(data, keys_command, "web")
    assert key["zdr"] == "yes (team, key)"
    assert key["data_collection"] == "deny (organisation)"
    team = _row(data, teams_command, "search")
    assert (team["zdr"], team["data_collection"]) == ("yes (team)", "deny (organisation)")
    organisation = _row(data, organisations_command, "acme")
    assert (organisation["zdr"], organisation["data_collection"]) == (
        "no",
        "deny (organisation)",
    )


def test_who_loosens_a_key_is_told_what_stays_in_force(data: Path) -> None:
    key = _row(data, keys_command, "web")
    _command(teams_command, "set", "search", "--zdr", "--data", data)
    _command(keys_command, "set", key["id"], "--zdr", "--data", data)
    done = _command(keys_command, "set", key["id"], "--no-zdr", "--data", data)
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "zdr yes (team), data collection allow" in done.stderr
    assert "auth.poll_interval" in done.stderr


def test_what_is_made_can_demand_it_from_the_beginning(data: Path) -> None:
    _command(teams_command, "create", "legal", "--zdr", "--data-collection", "deny",
             "--data", data)  # fmt: skip
    _command(keys_command, "create", "--team", "legal", "--zdr", "--data", data)
    team = _row(data, teams_command, "legal")
    key = _row(data, keys_command, "unnamed")
    assert (team["zdr"], team["data_collection"]) == ("yes (team)", "deny (team)")
    assert (key["zdr"], key["data_collection"]) == ("yes (team, key)", "deny (team)")


@pytest.mark.parametrize(
    ("command", "words", "hint"),
    [
        (keys_command, ("set", "key_x", "--zdr"), "`tidegate keys list`"),
        (teams_command, ("set", "nobody", "--zdr"), "`tidegate teams list`"),
        (organisations_command, ("set", "nobody", "--zdr"), "`tidegate organisations list`"),
        (teams_command, ("set", "search"), "say what to set"),
        (organisations_command, ("set", "acme"), "say what to set"),
        (keys_command, ("set", "key_x"), "say what to set"),
        (teams_command, ("set", "search", "--data-collection", "maybe"), "'allow', 'deny'"),
    ],
)
def test_a_refusal_says_what_to_do(
    data: Path, command: click.Command, words: tuple[str, ...], hint: str
) -> None:
    done = _command(command, *words, "--data", data)
    assert done.exit_code in {1, 2}
    assert hint in done.stderr


def test_refusals_have_codes(data: Path) -> None:
    async def work() -> None:
        async with opening.opened(data) as db:
            office = office_of(db)
            with pytest.raises(NotFound) as missing:
                await organisations.set_privacy(office, OPERATOR, "nobody", Change(zdr=True))
            assert missing.value.code == "organisation_not_found"
            with pytest.raises(InvalidRequest) as empty:
                await teams.set_privacy(office, OPERATOR, "search", Change())
            assert empty.value.code == "nothing_to_set"
            organisation = await organisations.set_privacy(
                office, OPERATOR, "acme", Change(zdr=True)
            )
            assert organisation.privacy == Privacy(zdr=True)
            team = await teams.get(office, OPERATOR, "search")
            assert (team.privacy, team.organisation_privacy) == (Privacy(), Privacy(zdr=True))

    asyncio.run(work())
