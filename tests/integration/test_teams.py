"""Organisations and teams: made, read, changed and disabled, by whom, and by two at once."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from gateway.accounts import organisations, teams
from gateway.accounts.office import Change as Changed
from gateway.accounts.office import Office
from gateway.accounts.privacy import Change, Privacy
from gateway.accounts.roles import Actor
from gateway.accounts.rows import Team
from gateway.errors import Conflict, Forbidden, NotFound, RevisionConflict
from gateway.policies.levels import parse
from tests.fakes.accounts import (
    OPERATOR,
    World,
    acting,
    keyed,
    office_of,
    opened,
    outcome,
    world,
)

CHEAP = parse({"provider": {"max_price": {"prompt": 1}}})


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with opened(database_url) as db:
        yield office_of(db)


@pytest.fixture
async def there(office: Office) -> World:
    return await world(office)


async def test_a_change_raises_the_revision_by_one_and_a_change_of_nothing_does_not(
    office: Office, there: World
) -> None:
    owner = there.actor("owner")
    assert there.search.revision == 1
    renamed = await teams.rename(office, owner, there.search.id, "find", revision=1)
    assert (renamed.name, renamed.revision) == ("find", 2)
    same = await teams.rename(office, owner, there.search.id, " find ", revision=2)
    assert same.revision == 2
    stricter = await teams.set_privacy(office, owner, "find", Change(zdr=True))
    assert (stricter.privacy, stricter.revision) == (Privacy(zdr=True), 3)
    settled = await teams.update(office, owner, "find", settings=CHEAP, revision=3)
    assert (settled.settings, settled.revision) == (CHEAP, 4)
    assert await teams.get(office, owner, there.search.id) == settled


async def test_of_two_who_read_the_same_revision_the_second_is_told(
    office: Office, there: World
) -> None:
    owner, admin = there.actor("owner"), there.actor("admin")
    await teams.rename(office, owner, there.search.id, "first", revision=1)
    with pytest.raises(RevisionConflict) as caught:
        await teams.rename(office, admin, there.search.id, "second", revision=1)
    assert "revision 2" in caught.value.message
    assert "revision 1" in caught.value.message
    assert (await teams.get(office, owner, there.search.id)).name == "first"


async def test_of_many_writers_at_once_with_one_revision_one_wins(
    office: Office, there: World
) -> None:
    owner = there.actor("owner")

    async def attempt(number: int) -> Team | RevisionConflict:
        try:
            return await teams.rename(office, owner, there.search.id, f"n{number}", revision=1)
        except RevisionConflict as fault:
            return fault

    done = await asyncio.gather(*(attempt(number) for number in range(5)))
    (winner,) = [one for one in done if isinstance(one, Team)]
    assert await teams.get(office, owner, there.search.id) == winner
    assert winner.revision == 2


async def test_without_a_revision_the_last_writer_wins(office: Office, there: World) -> None:
    for name in ("one", "two"):
        await teams.rename(office, OPERATOR, there.search.id, name)
    assert (await teams.get(office, OPERATOR, there.search.id)).revision == 3


async def test_a_team_is_disabled_and_enabled_and_keeps_the_time(
    office: Office, there: World
) -> None:
    gone = await teams.disable(office, OPERATOR, there.ads.id)
    assert gone.disabled_ms is not None
    assert await teams.disable(office, OPERATOR, there.ads.id) == gone
    back = await teams.enable(office, OPERATOR, there.ads.id)
    assert (back.disabled_ms, back.revision) == (None, 3)


async def test_what_changed_is_announced_after_it_is_committed(database_url: str) -> None:
    heard: list[Changed] = []
    async with opened(database_url) as db:

        async def announce(changes: Sequence[Changed]) -> None:
            async with (
                db.reading()
            ):  # not inside the transaction: SQLite's one writer is free again
                heard.extend(changes)

        office = office_of(db, announce=announce)
        there = await world(office)
        heard.clear()
        await teams.disable(office, OPERATOR, there.ads.id)
        await teams.disable(office, OPERATOR, there.ads.id)
        assert heard == [Changed("team", there.ads.id)]
        with pytest.raises(NotFound):
            await teams.disable(office, OPERATOR, "nobody")
        await organisations.set_privacy(office, OPERATOR, "acme", Change(zdr=True))
        assert heard[1:] == [Changed("organisation", there.acme.id)]


@pytest.mark.parametrize(
    ("who", "search", "ads"),
    [
        ("owner", "done", "done"),
        ("admin", "done", "done"),
        ("member", "permission_denied", "permission_denied"),
        ("viewer", "permission_denied", "permission_denied"),
        ("billing", "permission_denied", "permission_denied"),
        ("team admin", "done", "permission_denied"),
        ("service", "permission_denied", "permission_denied"),
    ],
)
async def test_who_changes_which_team(
    office: Office, there: World, who: str, search: str, ads: str
) -> None:
    actor = there.actor(who)
    for team, expected in ((there.search, search), (there.ads, ads)):
        assert await outcome(teams.rename(office, actor, team.id, team.name + "!")) == expected
        assert await outcome(teams.disable(office, actor, team.id)) == expected
        changed = teams.set_privacy(office, actor, team.id, Change(zdr=True))
        assert await outcome(changed) == expected
        assert await outcome(teams.update(office, actor, team.id, settings=CHEAP)) == expected
        assert await outcome(teams.get(office, actor, team.id)) == "done"
    made = await outcome(teams.create(office, actor, "another"))
    assert made == ("done" if who in {"owner", "admin"} else "permission_denied")


@pytest.mark.parametrize("who", ["owner", "admin", "member", "team admin"])
async def test_what_belongs_to_another_organisation_is_not_there(
    office: Office, there: World, who: str
) -> None:
    """The same answer as of what does not exist at all: nobody can feel out what others have."""
    actor = there.actor(who)
    for ref in (there.foreign.id, "foreign", "team_that_is_not"):
        for work in (
            teams.get(office, actor, ref),
            teams.rename(office, actor, ref, "mine"),
            teams.disable(office, actor, ref),
            teams.update(office, actor, ref, settings=CHEAP, revision=77),
        ):
            with pytest.raises(NotFound) as caught:
                await work
            assert caught.value.code == "team_not_found"
            assert caught.value.message.startswith(f"no team {ref!r};")
    for ref in (there.rival.id, "rival", "org_that_is_not"):
        for other in (
            organisations.get(office, actor, ref),
            organisations.rename(office, actor, ref, "mine"),
            teams.create(office, actor, "mine", organisation=ref),
            teams.list_page(office, actor, organisation=ref),
        ):
            with pytest.raises(NotFound) as caught:
                await other
            assert caught.value.code == "organisation_not_found"


async def test_a_name_means_the_team_of_ones_own_organisation(office: Office, there: World) -> None:
    found = await teams.get(office, there.actor("viewer"), "search")
    assert found.organisation_id == there.acme.id
    found = await teams.get(office, acting(there.stranger), "search")
    assert found.organisation_id == there.rival.id
    assert await outcome(teams.get(office, OPERATOR, "search")) == "team_ambiguous"


async def test_lists_show_what_somebody_may_see(office: Office, there: World) -> None:
    async def seen(actor: Actor) -> set[str]:
        return {team.id for team in await teams.list_all(office, actor)}

    assert await seen(there.actor("viewer")) == {there.search.id, there.ads.id}
    assert there.search.id not in await seen(acting(there.stranger))
    assert len(await seen(OPERATOR)) == 4
    nowhere = keyed(None, there.acme.id, team_roles={there.ads.id: "viewer"})
    assert await seen(nowhere) == {there.ads.id}
    assert [one.name for one in await organisations.list_all(office, there.actor("member"))] == [
        "acme"
    ]
    assert len(await organisations.list_all(office, OPERATOR)) == 2


async def test_only_the_installation_makes_organisations(office: Office, there: World) -> None:
    for who in ("owner", "admin"):
        with pytest.raises(Forbidden):
            await organisations.create(office, there.actor(who), "mine")
    narrow = keyed("owner", None, scopes=frozenset({"teams:write"}))
    with pytest.raises(Forbidden) as caught:
        await organisations.create(office, narrow, "mine")
    assert caught.value.code == "insufficient_scope"
    wide = keyed("owner", None, scopes=frozenset({"organisations:write"}))
    assert (await organisations.create(office, wide, "mine")).revision == 1


async def test_an_organisation_is_renamed_by_owners_and_settled_by_admins(
    office: Office, there: World
) -> None:
    admin, owner = there.actor("admin"), there.actor("owner")
    with pytest.raises(Forbidden):
        await organisations.rename(office, admin, "acme", "mine")
    with pytest.raises(Forbidden):
        await organisations.update(office, admin, "acme", name="mine", settings=CHEAP)
    settled = await organisations.update(office, admin, "acme", settings=CHEAP, revision=1)
    assert (settled.settings, settled.revision) == (CHEAP, 2)
    with pytest.raises(RevisionConflict):
        await organisations.rename(office, owner, "acme", "acme & co", revision=1)
    renamed = await organisations.rename(office, owner, "acme", "acme & co", revision=2)
    assert renamed.revision == 3
    with pytest.raises(Conflict) as caught:
        await organisations.rename(office, owner, there.acme.id, "rival")
    assert caught.value.code == "name_taken"


async def test_a_name_that_nothing_can_have_is_asked_no_database_for(
    office: Office, there: World
) -> None:
    for ref in ("", "\x00", "a" * 1000, "team_\ud800"):
        assert await outcome(teams.get(office, there.actor("owner"), ref)) == "team_not_found"
        found = organisations.get(office, there.actor("owner"), ref)
        assert await outcome(found) == "organisation_not_found"
