"""Management keys: whose rights they have, who may make them, how they end."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select

from gateway.accounts import audit, keys, management_keys, members, teams
from gateway.accounts.management_callers import authenticate_management
from gateway.accounts.office import Office
from gateway.accounts.roles import SCOPES, Actor, allowed
from gateway.auth.keys import MANAGEMENT_PREFIX, check_form, check_management_form
from gateway.errors import Conflict, Forbidden, InvalidRequest, NotFound, Unauthenticated
from gateway.store.database import Database
from gateway.store.tables.accounts import management_keys as table
from gateway.store.tables.operations import audit_log
from tests.fakes.accounts import OPERATOR, World, acting, office_of, outcome, world
from tests.fakes.clock import HandClock

NARROW = frozenset({"teams:read"})


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def office(database_url: str, clock: HandClock) -> AsyncIterator[Office]:
    database = Database(database_url)
    yield office_of(database, clock)
    await database.aclose()


@pytest.fixture
async def there(office: Office) -> World:
    return await world(office)


async def _caller(office: Office, secret: str) -> Actor:
    return await authenticate_management(office, secret.encode(), source="192.0.2.7")


async def test_a_key_is_shown_once_and_only_its_hash_is_kept(office: Office, there: World) -> None:
    row, secret = await management_keys.create(
        office, OPERATOR, name="ci", scopes=NARROW, organisation=there.acme.id
    )
    assert secret.startswith(MANAGEMENT_PREFIX)
    assert check_management_form(secret.encode())
    assert not check_form(secret.encode()), "no API key"
    async with office.database.reading() as connection:
        kept = repr((await connection.execute(select(table))).all())
        told = repr((await connection.execute(select(audit_log))).all())
    assert secret not in kept + told
    assert secret[len(row.prefix) : -4] not in kept + told
    actor = await _caller(office, secret)
    assert (actor.id, actor.organisation_id, actor.scopes) == (row.id, there.acme.id, NARROW)
    assert (actor.via, actor.source) == ("api", "192.0.2.7")
    (line,) = (await audit.list_page(office, OPERATOR, target=row.id)).items
    assert (line.action, line.before) == ("management_key.create", None)


async def test_a_key_of_nobody_can_do_its_scopes_alone(office: Office, there: World) -> None:
    _, secret = await management_keys.create(
        office, OPERATOR, name="ci", scopes=NARROW, organisation=there.acme.id
    )
    actor = await _caller(office, secret)
    assert allowed(actor, there.acme.id) == NARROW
    assert allowed(actor, there.rival.id) == frozenset()
    with pytest.raises(Forbidden):
        await teams.create(office, actor, "more")
    with pytest.raises(NotFound):
        await teams.get(office, actor, there.foreign.id)


async def test_a_members_key_has_the_roles_that_the_member_has_now(
    office: Office, there: World
) -> None:
    admin = there.members["admin"]
    _, secret = await management_keys.create(
        office, acting(there.members["owner"]), name="own", scopes=SCOPES, member=admin.id
    )
    assert "teams:write" in allowed(await _caller(office, secret), there.acme.id)
    await members.set_role(office, OPERATOR, admin.id, "viewer")
    assert "teams:write" not in allowed(await _caller(office, secret), there.acme.id)
    await members.disable(office, OPERATOR, admin.id)
    with pytest.raises(Unauthenticated) as caught:
        await _caller(office, secret)
    assert caught.value.code == "member_disabled"


@pytest.mark.parametrize(
    ("who", "scopes", "expected"),
    [
        ("owner", SCOPES, "done"),
        ("admin", SCOPES, "scope_not_covered"),
        ("admin", SCOPES - {"organisations:write"}, "done"),
        ("member", NARROW, "permission_denied"),
        ("viewer", NARROW, "permission_denied"),
        ("billing", NARROW, "permission_denied"),
        ("team admin", NARROW, "permission_denied"),
        ("service", NARROW, "permission_denied"),
    ],
)
async def test_nobody_makes_a_key_that_may_do_more_than_he_may(
    office: Office, there: World, who: str, scopes: frozenset[str], expected: str
) -> None:
    made = management_keys.create(office, there.actor(who), name="x", scopes=scopes)
    assert await outcome(made) == expected


async def test_a_narrow_key_makes_none_that_is_wider(office: Office, there: World) -> None:
    own = frozenset({"management_keys:write", "teams:read"})
    narrow = acting(there.members["owner"], own)
    make = management_keys.create
    assert await outcome(make(office, narrow, name="x", scopes=NARROW)) == "done"
    wide = frozenset({"teams:write"})
    assert await outcome(make(office, narrow, name="x", scopes=wide)) == "scope_not_covered"


async def test_nobody_takes_the_roles_of_who_is_above_him(office: Office, there: World) -> None:
    owner = there.members["owner"].id
    make = management_keys.create
    of_owner = make(office, there.actor("admin"), name="x", scopes=NARROW, member=owner)
    assert await outcome(of_owner) == "role_not_covered"
    of_stranger = make(
        office, there.actor("owner"), name="x", scopes=NARROW, member=there.stranger.id
    )
    assert await outcome(of_stranger) == "member_not_found"


async def test_whoever_sees_a_new_secret_could_have_made_the_key(
    office: Office, there: World
) -> None:
    row, _ = await management_keys.create(
        office, acting(there.members["owner"]), name="all", scopes=SCOPES
    )
    admin = there.actor("admin")
    assert await outcome(management_keys.rotate(office, admin, row.id)) == "scope_not_covered"
    await management_keys.disable(office, admin, row.id)
    enabled = management_keys.update(office, admin, row.id, disabled=False)
    assert await outcome(enabled) == "scope_not_covered"


async def test_only_the_operator_makes_keys_for_the_whole_installation(
    office: Office, there: World
) -> None:
    row, secret = await management_keys.create(office, OPERATOR, name="root", scopes=SCOPES)
    assert row.organisation_id is None
    root = await _caller(office, secret)
    assert root.everywhere
    assert {one.name for one in await teams.list_all(office, root)} >= {"search"}
    owner = there.actor("owner")
    own, _ = await management_keys.create(office, owner, name="mine", scopes=NARROW)
    assert own.organisation_id == there.acme.id, "of its own organisation, unasked"
    assert await outcome(management_keys.get(office, owner, row.id)) == "management_key_not_found"
    listed = await management_keys.list_all(office, owner)
    assert [key.id for key in listed] == [own.id]
    with_member = management_keys.create(
        office, OPERATOR, name="x", scopes=NARROW, member=there.members["owner"].id
    )
    assert await outcome(with_member) == "invalid_member"


async def test_rotation_leaves_the_old_secret_its_time(
    office: Office, there: World, clock: HandClock
) -> None:
    row, first = await management_keys.create(
        office, OPERATOR, name="ci", scopes=NARROW, organisation=there.acme.id
    )
    new, second = await management_keys.rotate(office, OPERATOR, row.id, overlap=3600)
    assert (new.id, new.revision) == (row.id, row.revision + 1)
    for secret in (first, second):
        assert (await _caller(office, secret)).id == row.id
    clock.advance(3601)
    assert (await _caller(office, second)).id == row.id
    with pytest.raises(Unauthenticated) as caught:
        await _caller(office, first)
    assert caught.value.code == "key_expired"
    _, third = await management_keys.rotate(office, OPERATOR, row.id, overlap=0)
    with pytest.raises(Unauthenticated):
        await _caller(office, second)
    assert (await _caller(office, third)).id == row.id


async def test_a_key_rotates_itself_but_not_by_the_secret_that_it_had_before(
    office: Office, there: World
) -> None:
    row, first = await management_keys.create(
        office, OPERATOR, name="ci", scopes=NARROW, organisation=there.acme.id
    )
    _, second = await management_keys.rotate(office, await _caller(office, first), row.id)
    before = await _caller(office, first)
    assert await outcome(management_keys.rotate(office, before, row.id)) == "expiry_not_covered"
    now = await _caller(office, second)
    assert await outcome(management_keys.rotate(office, now, row.id)) == "done"


async def test_a_key_that_ends_makes_none_that_outlives_it(
    office: Office, there: World, clock: HandClock
) -> None:
    ends = int((clock.now() + 60) * 1000)
    _, secret = await management_keys.create(
        office,
        OPERATOR,
        name="short",
        scopes=SCOPES,
        organisation=there.acme.id,
        expires_ms=ends,
    )
    short = await _caller(office, secret)
    for expires in (None, ends + 1):
        made = management_keys.create(office, short, name="x", scopes=NARROW, expires_ms=expires)
        assert await outcome(made) == "expiry_not_covered"
    made = management_keys.create(office, short, name="x", scopes=NARROW, expires_ms=ends)
    assert await outcome(made) == "done"
    row, _ = await keys.create(office, short, team=there.search.id)
    assert row.expires_ms is None, "an inference key has no scopes, and is the team's"
    clock.advance(61)
    with pytest.raises(Unauthenticated) as caught:
        await _caller(office, secret)
    assert caught.value.code == "key_expired"


async def test_each_kind_of_key_is_refused_in_the_others_place(
    office: Office, there: World
) -> None:
    _, plain = await keys.create(office, OPERATOR, team=there.search.id)
    with pytest.raises(Forbidden) as caught:
        await _caller(office, plain)
    assert caught.value.code == "management_key_required"
    for junk in ("", "sk-tgm-", MANAGEMENT_PREFIX + "a" * 46, "Bearer"):
        with pytest.raises(Unauthenticated):
            await _caller(office, junk)


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"scopes": frozenset()}, InvalidRequest),
        ({"scopes": frozenset({"everything"})}, InvalidRequest),
        ({"expires_ms": 1}, InvalidRequest),
        ({"name": ""}, InvalidRequest),
    ],
)
async def test_what_cannot_be_is_refused(
    office: Office, there: World, more: dict[str, Any], fault: type[Exception]
) -> None:
    with pytest.raises(fault):
        await management_keys.create(
            office, there.actor("owner"), **{"name": "x", "scopes": NARROW, **more}
        )


async def test_a_disabled_key_is_refused_and_gets_no_new_secret(
    office: Office, there: World
) -> None:
    row, secret = await management_keys.create(
        office, OPERATOR, name="ci", scopes=NARROW, organisation=there.acme.id
    )
    await management_keys.disable(office, OPERATOR, row.id)
    with pytest.raises(Unauthenticated) as caught:
        await _caller(office, secret)
    assert caught.value.code == "key_disabled"
    with pytest.raises(Conflict):
        await management_keys.rotate(office, OPERATOR, row.id)
    actions = [line.action for line in (await audit.list_page(office, OPERATOR)).items[:2]]
    assert actions == ["management_key.disable", "management_key.create"]
