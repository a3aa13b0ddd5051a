"""What belongs to another organisation is not there: for no caller, on no route, in no answer."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select

from gateway.accounts.roles import allowed
from gateway.store.database import Database
from gateway.store.tables.metadata import metadata
from tests.contract.admin.operations import BODIES, OPERATIONS, Operation, request_of
from tests.fakes.accounts import keyed
from tests.fakes.administration import Answer, Populated, populated

RANDOM = {
    "organisation_id": "org_0000000000000000000000",
    "team_id": "team_0000000000000000000000",
    "member_id": "mem_0000000000000000000000",
    "key_id": "key_0000000000000000000000",
    "management_key_id": "mgt_0000000000000000000000",
}

# What each operation needs, and where: a scope in the `organisation` or in the `team`.
NEEDED: Mapping[str, tuple[str, str]] = {
    "list_organisations": ("organisations:read", "organisation"),
    "get_organisation": ("organisations:read", "organisation"),
    "update_organisation": ("organisations:write", "organisation"),
    "list_teams": ("teams:read", "team"),
    "create_team": ("teams:write", "organisation"),
    "get_team": ("teams:read", "team"),
    "update_team": ("teams:write", "team"),
    "list_members": ("members:read", "organisation"),
    "create_member": ("members:write", "organisation"),
    "create_service_account": ("members:write", "organisation"),
    "get_member": ("members:read", "organisation"),
    "update_member": ("members:write", "organisation"),
    "list_team_members": ("members:read", "team"),
    "list_keys": ("keys:read", "team"),
    "create_key": ("keys:write", "team"),
    "get_key": ("keys:read", "team"),
    "update_key": ("keys:write", "team"),
    "rotate_key": ("keys:write", "team"),
    "list_management_keys": ("management_keys:read", "organisation"),
    "create_management_key": ("management_keys:write", "organisation"),
    "get_management_key": ("management_keys:read", "organisation"),
    "update_management_key": ("management_keys:write", "organisation"),
    "rotate_management_key": ("management_keys:write", "organisation"),
    "list_budgets": ("budgets:read", "team"),
    "list_audit": ("audit:read", "organisation"),
    "list_whole_audit": ("audit:read", "organisation"),
    "get_usage_report": ("usage:read", "team"),
    **{
        f"{verb}_{level}_budget": (f"budgets:{right}", where)
        for verb, right in (("get", "read"), ("set", "write"), ("remove", "write"))
        for level, where in (
            ("organisation", "organisation"),
            ("team", "team"),
            ("member", "organisation"),
            ("key", "team"),
        )
    },
    **{
        f"{verb}_{level}_settings": (f"settings:{right}", where)
        for verb, right in (("get", "read"), ("replace", "write"), ("update", "write"))
        for level, where in (
            ("organisation", "organisation"),
            ("team", "team"),
            ("member", "organisation"),
            ("key", "team"),
        )
    },
    **{
        f"get_{level}_effective_settings": ("settings:read", where)
        for level, where in (
            ("organisation", "organisation"),
            ("team", "team"),
            ("member", "organisation"),
            ("key", "team"),
        )
    },
}
# Everybody may, or nobody who belongs to an organisation.
ANYBODY = {"whoami"}
INSTALLATION_ONLY = {"create_organisation", "get_status"}
# To give or take a role takes all the rights of the role: a matrix of its own, of the accounts.
BY_COVER = {"set_team_member", "remove_team_member"}


def test_every_operation_is_in_the_matrix() -> None:
    known = NEEDED.keys() | ANYBODY | INSTALLATION_ONLY | BY_COVER
    assert {operation.id for operation in OPERATIONS} == known
    assert {operation.id for operation in OPERATIONS if operation.takes_body} == BODIES.keys()


async def rows(database: Database, ids: Mapping[str, str]) -> dict[str, list[Any]]:
    """All that any table says of an organisation and what is in it."""
    found = {}
    async with database.reading() as connection:
        for table in metadata.sorted_tables:
            every = (await connection.execute(select(table))).all()
            found[table.name] = [row for row in every if set(ids.values()) & {*map(str, row)}]
    return found


def told(answer: Answer, things: Mapping[str, str]) -> tuple[int, str, frozenset[tuple[str, str]]]:
    """An answer without the ids that it was asked with, and without its own."""
    text = answer.body.decode()
    for name, value in things.items():
        text = text.replace(value, name)
    headers = {
        (name, value)
        for name, value in answer.headers.items()
        if name not in {"x-request-id", "content-length"}
    }
    return answer.status, text, frozenset(headers)


async def ask(
    on: Populated, caller: str, operation: Operation, things: Mapping[str, str]
) -> Answer:
    key = on.callers[caller]
    return await on.api.ask(operation.method, operation.at(things), key, **request_of(operation))


async def test_another_organisations_things_answer_as_things_that_are_not_there(
    tmp_path: Path,
) -> None:
    async with populated(tmp_path) as on:
        before = await rows(on.api.database, on.foreign)
        assert all(before[name] for name in ("organisations", "teams", "members", "budgets"))
        wrong = []
        for operation in OPERATIONS:
            if "{" not in operation.path:
                continue
            for caller in on.callers:
                foreign = await ask(on, caller, operation, on.foreign)
                random = await ask(on, caller, operation, RANDOM)
                same = told(foreign, on.foreign) == told(random, RANDOM)
                if not same or foreign.status not in {401, 403, 404}:
                    wrong.append((operation.id, caller, foreign.status, foreign.body))
        assert wrong == []
        assert await rows(on.api.database, on.foreign) == before


async def test_lists_and_things_of_ones_own_never_name_another_organisation(
    tmp_path: Path,
) -> None:
    async with populated(tmp_path) as on:
        secrets = [*on.foreign.values(), "rival", "Eve", "eve@"]
        leaks = []
        for operation in OPERATIONS:
            if operation.method != "GET":
                continue
            for caller in on.callers:
                answer = await ask(on, caller, operation, on.own)
                leaks += [
                    (operation.id, caller, secret)
                    for secret in secrets
                    if secret in answer.body.decode()
                ]
        assert leaks == []


async def test_a_thing_of_ones_own_under_a_thing_of_anothers_is_not_there(tmp_path: Path) -> None:
    async with populated(tmp_path) as on:
        before = await rows(on.api.database, on.foreign)
        for team, member in (
            (on.own["team_id"], on.foreign["member_id"]),
            (on.foreign["team_id"], on.own["member_id"]),
        ):
            for method in ("PUT", "DELETE"):
                more = {"json": {"role": "viewer"}} if method == "PUT" else {}
                answer = await on.api.ask(
                    method,
                    f"/teams/{team}/members/{member}",
                    on.callers["owner"],
                    revision="*",
                    **more,
                )
                assert answer.status == 404
        filtered = await on.api.ask(
            "GET",
            f"/organisations/{on.own['organisation_id']}/keys?team={on.foreign['team_id']}",
            on.callers["owner"],
        )
        assert filtered.status == 404
        owned = await on.api.ask(
            "POST",
            f"/teams/{on.own['team_id']}/keys",
            on.callers["owner"],
            json={"name": "x", "member_id": on.foreign["member_id"]},
        )
        assert owned.status in {400, 404}
        lent = await on.api.ask(
            "POST",
            f"/organisations/{on.own['organisation_id']}/management-keys",
            on.callers["owner"],
            json={"name": "x", "scopes": ["teams:read"], "member_id": on.foreign["member_id"]},
        )
        assert lent.status in {400, 404}
        assert await rows(on.api.database, on.foreign) == before


async def test_a_cursor_of_anothers_list_shows_nothing_of_it(tmp_path: Path) -> None:
    async with populated(tmp_path) as on:
        await on.key(on.foreign["team_id"], "second")
        path = "/organisations/{organisation_id}/{what}?limit=1"
        for what in ("keys", "teams", "budgets", "audit"):
            theirs = await on.api.ask("GET", path.format(what=what, **on.foreign), on.stranger)
            cursor = theirs.json["next_cursor"]
            assert cursor
            mine = await on.api.ask(
                "GET",
                path.format(what=what, **on.own) + f"&cursor={cursor}",
                on.callers["owner"],
            )
            assert mine.status == 200
            assert not [secret for secret in on.foreign.values() if secret in mine.body.decode()]


async def test_in_the_own_organisation_each_caller_can_do_what_its_role_says(
    tmp_path: Path,
) -> None:
    wrong = []
    async with populated(tmp_path) as on:
        acme, search = on.own["organisation_id"], on.own["team_id"]
        for caller, key in on.callers.items():
            if caller == "standing alone":
                continue  # its scopes alone count: see the accounts
            member = on.world.members.get(caller)
            rights = {"organisation": frozenset[str](), "team": frozenset[str]()}
            if member is not None:
                in_teams = {one.team_id: one.role for one in member.teams}
                actor = keyed(member.role, acme, team_roles=in_teams)
                rights = {
                    "organisation": allowed(actor, acme),
                    "team": allowed(actor, acme, search),
                }
            for operation in OPERATIONS:
                if operation.id in BY_COVER:
                    continue
                # A revision that nothing has: whoever may change it learns that, and changes nothing.
                asked = request_of(operation, revision='"999999"')
                answer = await on.api.ask(operation.method, operation.at(on.own), key, **asked)
                scope, where = NEEDED.get(operation.id, ("", "organisation"))
                may = scope in rights[where] or (operation.id in ANYBODY and member is not None)
                expected = {200, 201, 204, 409, 412} if may else {403}
                if caller == "nobody":
                    expected = {401}
                if caller in {"member", "service"} and operation.id in OWN.get(caller, ()):
                    expected = {200, 201, 412}
                if answer.status not in expected:
                    wrong.append((caller, operation.id, answer.status, expected, answer.body))
    assert wrong == []


# What members may besides, of themselves: read themselves, and make keys in teams that they are members of.
OWN: Mapping[str, frozenset[str]] = {
    "member": frozenset({"get_member"}),
    "service": frozenset({"create_key"}),  # in the team that it is a member of, for itself
}


def test_ids_of_the_matrix_have_the_form_of_ids() -> None:
    assert all(re.fullmatch(r"[a-z]+_[0-9]{22}", value) for value in RANDOM.values())
