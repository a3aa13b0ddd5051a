"""Members, service accounts and team memberships: nobody raises himself, and an owner always remains."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.accounts import bootstrap, members, memberships, organisations, teams
from gateway.accounts.office import Office
from gateway.accounts.roles import ROLES, SCOPES, TEAM_ROLES
from gateway.errors import Conflict, Forbidden, InvalidRequest, NotFound, RevisionConflict
from gateway.policies.levels import parse
from tests.fakes.accounts import (
    OPERATOR,
    PEPPER,
    World,
    acting,
    office_of,
    opened,
    outcome,
    world,
)
from tests.fakes.clock import HandClock

FEW = parse({"limits": [{"what": "requests", "amount": 5, "per": "minute"}]})


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with opened(database_url) as db:
        yield office_of(db)


@pytest.fixture
async def there(office: Office) -> World:
    return await world(office)


async def test_a_person_is_known_by_email_in_any_case(office: Office, there: World) -> None:
    owner = there.actor("owner")
    ada = await members.create(
        office, owner, name=" Ada ", role="member", email=" Ada@Example.COM ", settings=FEW
    )
    assert (ada.name, ada.email, ada.kind, ada.revision) == ("Ada", "ada@example.com", "person", 1)
    assert ada.organisation_id == there.acme.id
    assert await members.get(office, owner, "ADA@example.com") == ada
    assert await members.get(office, owner, ada.id) == ada
    with pytest.raises(Conflict) as caught:
        await members.create(office, owner, name="Other", role="viewer", email="ada@EXAMPLE.com")
    assert caught.value.code == "email_taken"
    elsewhere = acting(there.stranger)
    await members.create(office, elsewhere, name="Ada", role="viewer", email="ada@example.com")
    assert await outcome(members.get(office, OPERATOR, "ada@example.com")) == "member_ambiguous"
    moved = await members.update(office, owner, ada.id, email="ada@new.example", revision=1)
    assert (moved.email, moved.revision) == ("ada@new.example", 2)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"role": "root"}, "invalid_role"),
        ({"email": "nobody"}, "invalid_email"),
        ({"email": "a@" + "b" * 300}, "invalid_email"),
        ({"email": "a\x00@b"}, "invalid_email"),
        ({"name": "  "}, "invalid_name"),
        ({"kind": "robot"}, "invalid_kind"),
        ({"kind": "service", "email": "bot@example.com"}, "invalid_kind"),
        ({"organisation": "nowhere"}, "organisation_not_found"),
    ],
)
async def test_what_cannot_be_a_member_is_named(
    office: Office, there: World, wrong: dict[str, str], code: str
) -> None:
    fields = {"name": "Ada", "role": "member", **wrong}
    work = members.create(office, there.actor("owner"), **fields)  # type: ignore[arg-type] # wrong on purpose
    assert await outcome(work) == code


@pytest.mark.parametrize("who", [*ROLES, "team admin", "service"])
async def test_nobody_makes_a_member_above_himself(office: Office, there: World, who: str) -> None:
    made = set()
    for role in ROLES:
        work = members.create(office, there.actor(who), name=role, role=role)
        if await outcome(work) == "done":
            made.add(role)
    assert made == {
        "owner": set(ROLES),
        "admin": set(ROLES) - {"owner"},
    }.get(who, set())


@pytest.mark.parametrize("who", [*ROLES, "team admin", "service"])
async def test_nobody_raises_himself(office: Office, there: World, who: str) -> None:
    actor = there.actor(who)
    me = there.members[who]
    for role in ROLES:
        if role in {me.role, "owner" if who == "owner" else me.role}:
            continue
        if who == "owner" or (who == "admin" and role != "owner"):
            continue  # down, which is allowed
        expected = "role_not_covered" if who == "admin" else "permission_denied"
        assert await outcome(members.set_role(office, actor, me.id, role)) == expected
    assert (await members.get(office, OPERATOR, me.id)).role == me.role


async def test_only_an_owner_makes_unmakes_or_disables_owners(office: Office, there: World) -> None:
    admin, owner = there.actor("admin"), there.actor("owner")
    second = await members.create(office, owner, name="Second", role="owner")
    for work in (
        members.set_role(office, admin, second.id, "viewer"),
        members.disable(office, admin, second.id),
        members.update(office, admin, second.id, name="Gone"),
        members.update(office, admin, second.id, email="mine@example.com"),
        members.set_role(office, admin, there.members["viewer"].id, "owner"),
    ):
        assert await outcome(work) == "role_not_covered"
    raised = await members.set_role(office, owner, there.members["viewer"].id, "owner")
    assert raised.role == "owner"
    assert (await members.set_role(office, owner, second.id, "viewer")).role == "viewer"


async def test_a_narrow_key_of_an_owner_makes_no_owner(office: Office, there: World) -> None:
    """Or whoever holds it would get by way of the new member what the key itself may not."""
    narrow = there.actor("owner", frozenset({"members:write"}))
    assert await outcome(members.create(office, narrow, name="x", role="owner")) == (
        "role_not_covered"
    )
    work = members.set_role(office, narrow, there.members["viewer"].id, "admin")
    assert await outcome(work) == "role_not_covered"
    whole = there.actor("owner", SCOPES)
    assert await outcome(members.create(office, whole, name="x", role="owner")) == "done"
    reader = there.actor("owner", frozenset({"members:read"}))
    work = members.create(office, reader, name="x", role="viewer")
    assert await outcome(work) == "insufficient_scope"


@pytest.mark.parametrize("by", ["owner", "operator"])
async def test_the_last_owner_stays_whoever_asks(office: Office, there: World, by: str) -> None:
    actor = there.actor("owner") if by == "owner" else OPERATOR
    last = there.members["owner"]
    for work in (
        members.set_role(office, actor, last.id, "admin"),
        members.disable(office, actor, last.id),
        members.update(office, actor, last.id, role="viewer", disabled=True),
    ):
        with pytest.raises(Conflict) as caught:
            await work
        assert caught.value.code == "last_owner"
    second = await members.create(office, actor, name="Second", role="owner", organisation="acme")
    await members.disable(office, actor, second.id)
    assert await outcome(members.disable(office, actor, last.id)) == "last_owner"
    await members.enable(office, actor, second.id)
    assert (await members.set_role(office, actor, last.id, "admin")).role == "admin"


async def test_two_owners_cannot_unmake_each_other_at_once(office: Office, there: World) -> None:
    first = there.members["owner"]
    second = await members.create(
        office, OPERATOR, name="Second", role="owner", organisation="acme"
    )
    done = await asyncio.gather(
        outcome(members.set_role(office, acting(first), second.id, "viewer")),
        outcome(members.set_role(office, acting(second), first.id, "viewer")),
    )
    left = [
        one
        for one in await members.list_all(office, OPERATOR, organisation="acme")
        if one.role == "owner"
    ]
    assert len(left) == 1
    assert min(done) == "done"


async def test_a_disabled_member_s_rights_end_in_the_very_next_act(
    office: Office, there: World
) -> None:
    """Also where its key was looked at before: the act itself looks at the member again."""
    admin = there.actor("admin")
    await members.disable(office, OPERATOR, there.members["admin"].id)
    for work in (
        teams.create(office, admin, "late"),
        teams.list_page(office, admin),
        members.enable(office, admin, there.members["admin"].id),
    ):
        with pytest.raises(Forbidden) as caught:
            await work
        assert caught.value.code == "member_disabled"
    await members.enable(office, OPERATOR, there.members["admin"].id)
    assert (await teams.create(office, admin, "in time")).name == "in time"


async def test_a_role_that_was_taken_counts_no_more_in_the_very_next_act(
    office: Office, there: World
) -> None:
    admin = there.actor("admin")
    lead = there.actor("team admin")
    await members.set_role(office, OPERATOR, there.members["admin"].id, "viewer")
    assert await outcome(teams.create(office, admin, "late")) == "permission_denied"
    await memberships.remove(office, OPERATOR, there.search.id, there.members["team admin"].id)
    assert await outcome(teams.disable(office, lead, there.search.id)) == "permission_denied"


async def test_revisions_hold_for_members_and_their_memberships(
    office: Office, there: World
) -> None:
    owner, viewer = there.actor("owner"), there.members["viewer"]
    await members.set_role(office, owner, viewer.id, "member", revision=1)
    with pytest.raises(RevisionConflict) as caught:
        await members.set_role(office, owner, viewer.id, "admin", revision=1)
    assert "revision 2" in caught.value.message
    await memberships.put(office, owner, "search", viewer.id, "viewer", revision=2)
    with pytest.raises(RevisionConflict):
        await memberships.put(office, owner, "search", viewer.id, "admin", revision=2)
    with pytest.raises(RevisionConflict):
        await memberships.remove(office, owner, "search", viewer.id, revision=2)
    assert (await members.get(office, owner, viewer.id)).revision == 3
    await memberships.put(office, owner, "search", viewer.id, "viewer", revision=3)
    assert (await members.get(office, owner, viewer.id)).revision == 3, "nothing changed"


@pytest.mark.parametrize("role", TEAM_ROLES)
async def test_a_team_s_admin_looks_after_its_own_team_only(
    office: Office, there: World, role: str
) -> None:
    lead, viewer = there.actor("team admin"), there.members["viewer"].id
    put = await memberships.put(office, lead, "search", viewer, role)
    assert (put.team_name, put.member_name, put.role) == ("search", "Viewer", role)
    listed = await memberships.list_page(office, lead, "search")
    assert {(one.member_name, one.role) for one in listed.items} == {
        ("Lead", "admin"),
        ("bot", "member"),
        ("Viewer", role),
    }
    await memberships.remove(office, lead, "search", viewer)
    assert await outcome(memberships.put(office, lead, "ads", viewer, role)) == "permission_denied"
    assert await outcome(memberships.remove(office, lead, "search", viewer)) == (
        "membership_not_found"
    )
    work = memberships.put(office, lead, "foreign", viewer, role)
    assert await outcome(work) == "team_not_found"


async def test_whoever_has_no_right_in_a_team_takes_nobody_into_it(
    office: Office, there: World
) -> None:
    for who in ("member", "viewer", "billing", "service"):
        me = there.members[who]
        for role in TEAM_ROLES:
            work = memberships.put(office, there.actor(who), "ads", me.id, role)
            assert await outcome(work) == "permission_denied", (who, role)
    assert await outcome(memberships.put(office, OPERATOR, "ads", "Viewer", "owner")) == (
        "invalid_role"
    )


async def test_teams_and_members_of_two_organisations_never_meet(
    office: Office, there: World
) -> None:
    stranger = there.stranger
    for actor in (there.actor("owner"), OPERATOR):
        with pytest.raises(NotFound) as caught:
            await memberships.put(office, actor, there.ads.id, stranger.id, "viewer")
        assert caught.value.code == "member_not_found"
    for work in (
        members.get(office, there.actor("owner"), stranger.id),
        members.get(office, there.actor("owner"), "eve@rival.example"),
        members.set_role(office, there.actor("owner"), stranger.id, "viewer"),
        members.disable(office, there.actor("owner"), stranger.id, revision=99),
    ):
        with pytest.raises(NotFound) as caught:
            await work
        assert caught.value.code == "member_not_found"


async def test_lists_of_members_have_their_teams(office: Office, there: World) -> None:
    everyone = await members.list_all(office, there.actor("viewer"))
    assert {one.organisation_id for one in everyone} == {there.acme.id}
    assert len(everyone) == len(ROLES) + 2
    in_search = await members.list_all(office, there.actor("viewer"), team="search")

    found = {one.name: {team.team_name: team.role for team in one.teams} for one in in_search}
    assert found == {"Lead": {"search": "admin"}, "bot": {"search": "member"}}
    work = members.list_page(office, there.actor("billing"))
    assert await outcome(work) == "permission_denied"
    me = await members.get(office, there.actor("billing"), there.members["billing"].id)
    assert me.role == "billing", "everybody may read itself"
    assert await outcome(
        members.get(office, there.actor("billing"), there.members["owner"].id)
    ) == ("permission_denied")


async def test_a_service_account_has_no_email(office: Office, there: World) -> None:
    with pytest.raises(InvalidRequest):
        await members.update(office, OPERATOR, there.members["service"].id, email="bot@example.com")


async def test_a_database_from_before_there_were_members_gets_an_owner_at_the_next_start(
    office: Office,
) -> None:
    acme = await organisations.create(office, OPERATOR, "acme")
    first = await bootstrap.ensure_first(office.database, PEPPER, clock=HandClock(), with_key=False)
    assert first.organisation == acme
    assert (first.owner.role, first.owner.kind, first.owner.email) == ("owner", "person", None)
    again = await bootstrap.ensure_first(office.database, PEPPER, clock=HandClock(), with_key=False)
    assert again == first
    assert len(await members.list_all(office, OPERATOR)) == 1
