"""The audit log: one line of every act, saying what it changed and by whom; read by who may."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from gateway.accounts import (
    audit,
    bootstrap,
    budgets,
    keys,
    management_keys,
    members,
    memberships,
    organisations,
    settings,
    teams,
)
from gateway.accounts.office import Office
from gateway.accounts.privacy import Change, Privacy
from gateway.accounts.roles import Actor
from gateway.accounts.rows import AuditLine
from gateway.errors import GatewayError
from gateway.store.tables.operations import account_changes, audit_log
from tests.fakes.accounts import (
    OPERATOR,
    PEPPER,
    World,
    acting,
    keyed,
    office_of,
    opened,
    outcome,
    world,
)
from tests.fakes.clock import NOON, HandClock

FEW = {"limits": [{"what": "requests", "amount": 5, "per": "minute"}]}
FEW_ALL = [{"what": "requests", "amount": 5, "per": "minute"}]

_READING = {"get", "get_budget", "list_page", "list_all", "effective", "own"}


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with opened(database_url) as db:
        yield office_of(db)


@pytest.fixture
async def there(office: Office) -> World:
    return await world(office)


async def _count(office: Office, table: Any = audit_log) -> int:
    async with office.database.reading() as connection:
        return int(await connection.scalar(select(func.count()).select_from(table)) or 0)


Act = Callable[[Office, World], Awaitable[object]]
Told = tuple[str, str, Any, Any]  # action, kind of target, before, after


def _limit(amount: str) -> budgets.Limit:
    return budgets.limit(amount, "monthly")


async def _key(office: Office) -> str:
    """The id of the one key that there is."""
    (row,) = await keys.list_all(office, OPERATOR)
    return row.id


async def _management_key(office: Office) -> str:
    (row,) = await management_keys.list_all(office, OPERATOR)
    return row.id


async def _on_key(office: Office, work: Callable[[str], Awaitable[object]]) -> object:
    return await work(await _key(office))


async def _on_management_key(office: Office, work: Callable[[str], Awaitable[object]]) -> object:
    return await work(await _management_key(office))


NOON_MS = int(NOON * 1000)
SCOPES = frozenset({"teams:read"})

# Every operation that changes something, in an order in which each finds what it needs.
_ACTS: list[tuple[Callable[..., Any], Act, Told]] = [
    (
        organisations.create,
        lambda o, _: organisations.create(o, OPERATOR, "new", privacy=Privacy(zdr=True)),
        ("organisation.create", "organisation", None,
         {"name": "new", "zdr": True, "data_collection": "allow"}),
    ),
    (
        organisations.rename,
        lambda o, w: organisations.rename(o, w.actor("owner"), "acme", "acme 2"),
        ("organisation.update", "organisation", {"name": "acme"}, {"name": "acme 2"}),
    ),
    (
        organisations.set_privacy,
        lambda o, w: organisations.set_privacy(o, w.actor("owner"), w.acme.id, Change(zdr=True)),
        ("organisation.update", "organisation", {"zdr": False}, {"zdr": True}),
    ),
    (
        organisations.update,
        lambda o, w: organisations.update(
            o, w.actor("owner"), w.acme.id, name="acme", privacy=Change(no_training=True)
        ),
        ("organisation.update", "organisation",
         {"name": "acme 2", "data_collection": "allow"},
         {"name": "acme", "data_collection": "deny"}),
    ),
    (
        teams.create,
        lambda o, w: teams.create(o, w.actor("admin"), "new"),
        ("team.create", "team", None,
         {"name": "new", "disabled_ms": None, "zdr": False, "data_collection": "allow"}),
    ),
    (
        teams.rename,
        lambda o, w: teams.rename(o, w.actor("team admin"), w.search.id, "find"),
        ("team.update", "team", {"name": "search"}, {"name": "find"}),
    ),
    (
        teams.set_privacy,
        lambda o, w: teams.set_privacy(o, w.actor("admin"), w.ads.id, Change(no_training=True)),
        ("team.update", "team", {"data_collection": "allow"}, {"data_collection": "deny"}),
    ),
    (
        teams.update,
        lambda o, w: teams.update(o, w.actor("admin"), w.ads.id, name="adverts", disabled=True),
        ("team.update", "team", {"name": "ads", "disabled_ms": None},
         {"name": "adverts", "disabled_ms": int(NOON * 1000)}),
    ),
    (
        teams.enable,
        lambda o, w: teams.enable(o, w.actor("admin"), w.ads.id),
        ("team.enable", "team", {"disabled_ms": int(NOON * 1000)}, {"disabled_ms": None}),
    ),
    (
        teams.disable,
        lambda o, w: teams.disable(o, w.actor("admin"), w.ads.id),
        ("team.disable", "team", {"disabled_ms": None}, {"disabled_ms": int(NOON * 1000)}),
    ),
    (
        members.create,
        lambda o, w: members.create(
            o, w.actor("admin"), name="Ada", role="viewer", email="ada@acme.example"
        ),
        ("member.create", "member", None,
         {"kind": "person", "name": "Ada", "email": "ada@acme.example", "role": "viewer",
          "disabled_ms": None}),
    ),
    (
        members.set_role,
        lambda o, w: members.set_role(o, w.actor("admin"), "ada@acme.example", "member"),
        ("member.update", "member", {"role": "viewer"}, {"role": "member"}),
    ),
    (
        members.update,
        lambda o, w: members.update(o, w.actor("admin"), "ada@acme.example", name="Ada L."),
        ("member.update", "member", {"name": "Ada"}, {"name": "Ada L."}),
    ),
    (
        members.disable,
        lambda o, w: members.disable(o, w.actor("admin"), "ada@acme.example"),
        ("member.disable", "member", {"disabled_ms": None}, {"disabled_ms": int(NOON * 1000)}),
    ),
    (
        members.enable,
        lambda o, w: members.enable(o, w.actor("admin"), "ada@acme.example"),
        ("member.enable", "member", {"disabled_ms": int(NOON * 1000)}, {"disabled_ms": None}),
    ),
    (
        memberships.put,
        lambda o, w: memberships.put(o, w.actor("admin"), w.ads.id, "ada@acme.example", "member"),
        ("membership.add", "member", {"teams": {}}, {"teams": {"{ads}": "member"}}),
    ),
    (
        memberships.put,
        lambda o, w: memberships.put(o, w.actor("admin"), w.ads.id, "ada@acme.example", "admin"),
        ("membership.set_role", "member", {"teams": {"{ads}": "member"}},
         {"teams": {"{ads}": "admin"}}),
    ),
    (
        memberships.remove,
        lambda o, w: memberships.remove(o, w.actor("admin"), w.ads.id, "ada@acme.example"),
        ("membership.remove", "member", {"teams": {"{ads}": "admin"}}, {"teams": {}}),
    ),
    (
        settings.replace,
        lambda o, w: settings.replace(o, w.actor("admin"), "team", w.ads.id, FEW),
        ("settings.set", "team", {}, {"settings.limits": FEW_ALL}),
    ),
    (
        settings.patch,
        lambda o, w: settings.patch(
            o, w.actor("admin"), "team", w.ads.id, {"limits": None, "default_model": "a/b"}
        ),
        ("settings.set", "team", {"settings.limits": FEW_ALL}, {"settings.default_model": "a/b"}),
    ),
    (
        budgets.set_budget,
        lambda o, w: budgets.set_budget(o, w.actor("billing"), "team", w.ads.id, _limit("5")),
        ("budget.set", "team", None,
         {"budget_id": "{any}", "limit": "5", "currency": "USD", "period": "monthly",
          "on_state_loss": "lease"}),
    ),
    (
        budgets.set_budget,
        lambda o, w: budgets.set_budget(o, w.actor("billing"), "team", w.ads.id, _limit("6.5")),
        ("budget.set", "team", {"limit": "5"}, {"limit": "6.5"}),
    ),
    (
        budgets.remove,
        lambda o, w: budgets.remove(o, w.actor("billing"), "team", w.ads.id),
        ("budget.remove", "team",
         {"budget_id": "{any}", "limit": "6.5", "currency": "USD", "period": "monthly",
          "on_state_loss": "lease"}, None),
    ),
    (
        keys.create,
        lambda o, w: keys.create(o, w.actor("admin"), team=w.search.id, name="web"),
        ("key.create", "key", None,
         {"name": "web", "team_id": "{any}", "member_id": None, "expires_ms": None,
          "disabled_ms": None, "last4": "{any}", "old_expires_ms": None, "zdr": False,
          "data_collection": "allow"}),
    ),
    (
        keys.update,
        lambda o, w: _on_key(o, lambda key: keys.update(o, w.actor("admin"), key, name="site")),
        ("key.update", "key", {"name": "web"}, {"name": "site"}),
    ),
    (
        keys.set_privacy,
        lambda o, w: _on_key(
            o, lambda key: keys.set_privacy(o, w.actor("admin"), key, Change(zdr=True))
        ),
        ("key.update", "key", {"zdr": False}, {"zdr": True}),
    ),
    (
        keys.rotate,
        lambda o, w: _on_key(o, lambda key: keys.rotate(o, w.actor("admin"), key, overlap=60)),
        ("key.rotate", "key", {"last4": "{any}", "old_expires_ms": None},
         {"last4": "{any}", "old_expires_ms": NOON_MS + 60_000}),
    ),
    (
        keys.disable,
        lambda o, w: _on_key(o, lambda key: keys.disable(o, w.actor("admin"), key)),
        ("key.disable", "key", {"disabled_ms": None}, {"disabled_ms": NOON_MS}),
    ),
    (
        management_keys.create,
        lambda o, w: management_keys.create(o, w.actor("owner"), name="ci", scopes=SCOPES),
        ("management_key.create", "management_key", None,
         {"name": "ci", "member_id": None, "scopes": ["teams:read"], "expires_ms": None,
          "disabled_ms": None, "last4": "{any}", "old_expires_ms": None}),
    ),
    (
        management_keys.update,
        lambda o, w: _on_management_key(
            o, lambda key: management_keys.update(o, w.actor("owner"), key, name="cd")
        ),
        ("management_key.update", "management_key", {"name": "ci"}, {"name": "cd"}),
    ),
    (
        management_keys.rotate,
        lambda o, w: _on_management_key(
            o, lambda key: management_keys.rotate(o, w.actor("owner"), key, overlap=60)
        ),
        ("management_key.rotate", "management_key", {"last4": "{any}", "old_expires_ms": None},
         {"last4": "{any}", "old_expires_ms": NOON_MS + 60_000}),
    ),
    (
        management_keys.disable,
        lambda o, w: _on_management_key(
            o, lambda key: management_keys.disable(o, w.actor("owner"), key)
        ),
        ("management_key.disable", "management_key", {"disabled_ms": None},
         {"disabled_ms": NOON_MS}),
    ),
]  # fmt: skip


def _named(value: Any, there: World) -> Any:
    """What is expected, with the ids of this world."""
    if isinstance(value, dict):
        return {_named(key, there): _named(one, there) for key, one in value.items()}
    return value.replace("{ads}", there.ads.id) if isinstance(value, str) else value


def _same(found: dict[str, Any] | None, expected: dict[str, Any] | None) -> bool:
    if found is None or expected is None:
        return found is expected
    return found.keys() == expected.keys() and all(
        expected[key] in ("{any}", value) for key, value in found.items()
    )


async def test_every_operation_writes_one_line_that_says_what_it_changed(
    office: Office, there: World
) -> None:
    for _, act, (action, kind, before, after) in _ACTS:
        lines, notes = await _count(office), await _count(office, account_changes)
        await act(office, there)
        assert await _count(office) == lines + 1, action
        (line,) = (await audit.list_page(office, OPERATOR, limit=1)).items
        assert (line.action, line.target_kind) == (action, kind)
        assert _same(line.before, _named(before, there)), line.before
        assert _same(line.after, _named(after, there)), line.after
        assert line.at_ms == int(NOON * 1000)
        assert line.organisation_id is not None
        if not action.endswith(".create"):
            assert line.organisation_id == there.acme.id
            # Management keys are read at each use: of these there is nobody to tell.
            told = notes + (kind != "management_key")
            assert await _count(office, account_changes) == told, "processes are told"
        if action != "organisation.create":
            assert (line.via, line.source, line.request_id) == ("api", "192.0.2.1", "req_1")


def test_no_operation_is_missing_from_the_list_above() -> None:
    there_are = {
        f"{module.__name__}.{name}"
        for module in (
            organisations,
            teams,
            members,
            memberships,
            settings,
            budgets,
            keys,
            management_keys,
        )
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction)
        if function.__module__ == module.__name__
        and list(inspect.signature(function).parameters)[:2] == ["office", "actor"]
        and not name.startswith("_")
        and name not in _READING
    }
    assert there_are == {f"{one.__module__}.{one.__name__}" for one, *_ in _ACTS}


async def test_what_changes_nothing_or_is_refused_writes_no_line(
    office: Office, there: World
) -> None:
    lines, notes = await _count(office), await _count(office, account_changes)
    owner = there.actor("owner")
    await teams.rename(office, owner, there.search.id, "search")
    await settings.patch(office, owner, "team", there.search.id, {})
    await memberships.put(office, owner, "search", "lead@acme.example", "admin")
    for work in (
        teams.rename(office, owner, there.search.id, "ads"),
        teams.rename(office, owner, there.search.id, "new", revision=9),
        teams.rename(office, there.actor("viewer"), there.search.id, "new"),
        members.disable(office, owner, there.members["owner"].id),
        budgets.remove(office, owner, "team", "ads"),
    ):
        with pytest.raises(GatewayError):
            await work
    assert (await _count(office), await _count(office, account_changes)) == (lines, notes)


async def test_the_first_start_is_in_the_log_and_no_secret_ever(database_url: str) -> None:
    async with opened(database_url) as db:
        first = await bootstrap.ensure_first(db, PEPPER, clock=HandClock())
        office = office_of(db)
        lines = (await audit.list_page(office, OPERATOR)).items
        assert {line.action for line in lines} == {
            "organisation.create",
            "team.create",
            "member.create",
            "key.create",
        }
        assert {(line.actor_kind, line.via) for line in lines} == {("system", "start")}
        again = await bootstrap.ensure_first(db, PEPPER, clock=HandClock())
        assert again.owner == first.owner
        assert len((await audit.list_page(office, OPERATOR)).items) == len(lines)
        assert first.key_plaintext is not None
        async with db.reading() as connection:
            rows = (await connection.execute(select(audit_log))).all()
        told = repr(rows)
        assert first.key_plaintext not in told
        assert first.key_plaintext[10:30] not in told
        assert PEPPER.hex() not in told


async def _seen(office: Office, actor: Actor, **filters: Any) -> list[AuditLine]:
    return list((await audit.list_page(office, actor, limit=1000, **filters)).items)


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("owner", "done"),
        ("admin", "done"),
        ("member", "permission_denied"),
        ("viewer", "permission_denied"),
        ("billing", "permission_denied"),
        ("team admin", "permission_denied"),
        ("service", "permission_denied"),
    ],
)
async def test_who_reads_the_log(office: Office, there: World, who: str, expected: str) -> None:
    assert await outcome(audit.list_page(office, there.actor(who))) == expected


async def test_an_organisation_sees_its_own_lines_only(office: Office, there: World) -> None:
    async with office.act(OPERATOR) as act:
        act.record("management_key.create", "management_key", "mk_1", organisation_id=None)
    mine = await _seen(office, there.actor("owner"))
    assert {line.organisation_id for line in mine} == {there.acme.id}
    assert {line.actor_kind for line in mine} == {"operator"}, "also what others did to it"
    theirs = await _seen(office, acting(there.stranger))
    assert {line.organisation_id for line in theirs} == {there.rival.id}
    everything = await _seen(office, OPERATOR)
    assert len(everything) == len(mine) + len(theirs) + 1
    assert await _seen(office, OPERATOR, organisation="rival") == theirs
    (own,) = await _seen(office, OPERATOR, organisation=audit.INSTALLATION)
    assert (own.target_id, own.organisation_id) == ("mk_1", None)
    for ref in ("rival", there.rival.id, audit.INSTALLATION):
        work = audit.list_page(office, there.actor("owner"), organisation=ref)
        assert await outcome(work) == "organisation_not_found"
    narrow = keyed("owner", None, scopes=frozenset({"teams:read"}))
    assert await outcome(audit.list_page(office, narrow)) == "insufficient_scope"


async def test_filters_all_hold_together(database_url: str) -> None:
    clock = HandClock()
    async with opened(database_url) as db:
        office = office_of(db, clock)
        there = await world(office)
        clock.advance(10)
        admin = there.actor("admin")
        await teams.rename(office, admin, there.ads.id, "adverts")
        clock.advance(10)
        await teams.disable(office, admin, there.ads.id)
        await teams.disable(office, OPERATOR, there.search.id)
        at = int(NOON * 1000)
        by_admin = await _seen(office, OPERATOR, by=admin.id)
        assert [line.action for line in by_admin] == ["team.disable", "team.update"]
        assert [line.action for line in await _seen(office, OPERATOR, target=there.ads.id)] == [
            "team.disable",
            "team.update",
            "team.create",
        ]
        assert len(await _seen(office, OPERATOR, action="team.")) == 7
        assert len(await _seen(office, OPERATOR, action="team.disable")) == 2
        assert await _seen(office, OPERATOR, action="team_") == []
        since = await _seen(office, OPERATOR, since_ms=at + 10_000, until_ms=at + 20_000)
        assert [line.action for line in since] == ["team.update"]
        assert await _seen(office, OPERATOR, by=admin.id, target=there.search.id) == []


async def test_pages_of_the_log_are_whole_while_it_grows(office: Office, there: World) -> None:
    everything = await _seen(office, OPERATOR)
    found: list[AuditLine] = []
    cursor = None
    while True:
        page = await audit.list_page(office, OPERATOR, limit=4, cursor=cursor)
        found += page.items
        await teams.create(office, OPERATOR, f"grows {len(found)}", organisation="acme")
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == everything


async def test_acts_that_are_done_together_have_the_rights_of_when_they_began(
    office: Office, there: World
) -> None:
    admin = there.actor("admin")
    await members.set_role(office, OPERATOR, there.members["admin"].id, "viewer")
    lines = await _count(office)
    with pytest.raises(GatewayError) as caught:
        async with office.together(admin) as both:
            await teams.rename(both, admin, there.ads.id, "adverts")
    assert caught.value.code == "permission_denied"
    assert await _count(office) == lines
