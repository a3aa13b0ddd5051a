"""Keys: who may make and change them, rotation, and the caller that a secret stands for."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from gateway.accounts import audit, budgets, keys, members, memberships, teams
from gateway.accounts.office import Office
from gateway.accounts.principals import find_principal
from gateway.accounts.privacy import Change
from gateway.auth.keys import key_hash
from gateway.policies.levels import parse
from gateway.values import Principal
from tests.fakes.accounts import OPERATOR, PEPPER, World, acting, office_of, opened, outcome, world
from tests.fakes.clock import NOON, HandClock

NOW_MS = int(NOON * 1000)
DAY_MS = 86_400_000


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def office(database_url: str, clock: HandClock) -> AsyncIterator[Office]:
    async with opened(database_url) as db:
        yield office_of(db, clock)


@pytest.fixture
async def there(office: Office) -> World:
    return await world(office)


async def _caller(office: Office, secret: str) -> Principal | None:
    return await find_principal(office.database, key_hash(PEPPER, secret.encode()))


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("owner", "done"),
        ("admin", "done"),
        ("team admin", "done"),
        ("service", "done"),
        ("member", "permission_denied"),
        ("viewer", "permission_denied"),
        ("billing", "permission_denied"),
    ],
)
async def test_who_makes_keys(office: Office, there: World, who: str, expected: str) -> None:
    work = keys.create(office, there.actor(who), team=there.search.id)
    assert await outcome(work) == expected
    foreign = keys.create(office, there.actor(who), team=there.foreign.id)
    assert await outcome(foreign) == "team_not_found"


async def test_a_plain_member_has_keys_of_its_own_and_cannot_loosen_them(
    office: Office, there: World
) -> None:
    plain = there.actor("service")
    row, _ = await keys.create(office, plain, team=there.search.id)
    assert row.member_id == there.members["service"].id
    assert (await keys.update(office, plain, row.id, name="mine")).name == "mine"
    await keys.rotate(office, plain, row.id)
    for refused in (
        keys.update(office, plain, row.id, expires_ms=NOW_MS + DAY_MS),
        keys.update(office, plain, row.id, privacy=Change(zdr=False)),
        keys.update(office, plain, row.id, settings=parse({"models": ["a/b"]})),
        keys.create(office, plain, team="search", member="lead@acme.example"),
    ):
        assert await outcome(refused) == "permission_denied"
    await keys.disable(office, plain, row.id)
    enabling = keys.update(office, plain, row.id, disabled=False)
    assert await outcome(enabling) == "permission_denied"
    others, _ = await keys.create(office, OPERATOR, team=there.search.id)
    assert await outcome(keys.disable(office, plain, others.id)) == "permission_denied"
    for work in (keys.get, keys.disable, keys.rotate):
        assert await outcome(work(office, acting(there.stranger), others.id)) == "key_not_found"


async def test_both_secrets_are_taken_during_the_overlap(
    office: Office, there: World, clock: HandClock
) -> None:
    row, first = await keys.create(
        office,
        OPERATOR,
        team=there.search.id,
        expires_ms=NOW_MS + 2 * DAY_MS,
        budget=budgets.limit("5", "total"),
    )
    new, second = await keys.rotate(office, OPERATOR, row.id)
    assert (new.id, new.last4) == (row.id, second[-4:])
    old_caller, new_caller = await _caller(office, first), await _caller(office, second)
    assert old_caller is not None
    assert new_caller is not None
    assert old_caller.expires_at == NOON + 86_400
    assert new_caller.expires_at == NOON + 2 * 86_400
    assert old_caller.key_id == new_caller.key_id == row.id
    assert old_caller.budgets == new_caller.budgets != ()
    clock.advance(60)
    _, third = await keys.rotate(office, OPERATOR, row.id, overlap=7 * 86_400)
    assert await _caller(office, first) is None, "the oldest one ends at once"
    middle = await _caller(office, second)
    assert middle is not None
    assert middle.expires_at == NOON + 2 * 86_400, "the overlap does not outlive the key"
    await keys.rotate(office, OPERATOR, row.id, overlap=0)
    assert await _caller(office, third) is None
    lines = (await audit.list_page(office, OPERATOR, target=row.id)).items
    assert [line.action for line in lines] == ["key.rotate"] * 3 + ["budget.set", "key.create"]
    told = repr(lines)
    for secret in (first, second, third):
        assert secret[10:40] not in told


async def test_a_key_made_with_a_budget_has_a_line_of_each_in_the_audit_log(
    office: Office, there: World
) -> None:
    row, _ = await keys.create(
        office, OPERATOR, team=there.search.id, budget=budgets.limit("5", "total")
    )
    lines = (await audit.list_page(office, OPERATOR, target=row.id)).items
    assert [line.action for line in lines] == ["budget.set", "key.create"]
    assert (lines[0].after or {})["limit"] == "5"
    assert lines[0].organisation_id == there.acme.id


async def test_what_a_caller_says_of_itself_cannot_stop_an_act(
    office: Office, there: World
) -> None:
    long = msgspec.structs.replace(OPERATOR, request_id="r" * 500, source="s" * 500)
    row, _ = await keys.create(office, long, team=there.search.id)
    (line,) = (await audit.list_page(office, OPERATOR, target=row.id)).items
    assert (line.request_id, line.source) == ("r" * 64, "s" * 64)


@pytest.mark.parametrize("overlap", [-1, 30 * 86_400 + 1])
async def test_an_overlap_has_bounds(office: Office, there: World, overlap: int) -> None:
    row, _ = await keys.create(office, OPERATOR, team=there.search.id)
    work = keys.rotate(office, OPERATOR, row.id, overlap=overlap)
    assert await outcome(work) == "invalid_overlap"


async def test_what_has_ended_is_not_rotated(
    office: Office, there: World, clock: HandClock
) -> None:
    row, _ = await keys.create(office, OPERATOR, team="ads", expires_ms=NOW_MS + 1000)
    clock.advance(1)
    assert await outcome(keys.rotate(office, OPERATOR, row.id)) == "key_ended"
    await keys.update(office, OPERATOR, row.id, expires_ms=None, disabled=True)
    assert await outcome(keys.rotate(office, OPERATOR, row.id)) == "key_ended"
    await teams.disable(office, OPERATOR, there.ads.id)
    assert await outcome(keys.create(office, OPERATOR, team="ads")) == "team_disabled"


async def test_a_revision_that_is_over_is_refused(office: Office, there: World) -> None:
    row, _ = await keys.create(office, OPERATOR, team=there.search.id)
    await keys.update(office, OPERATOR, row.id, name="a", revision=row.revision)
    for work in (
        keys.update(office, OPERATOR, row.id, name="b", revision=row.revision),
        keys.rotate(office, OPERATOR, row.id, revision=row.revision),
    ):
        assert await outcome(work) == "revision_conflict"


async def test_the_caller_has_the_budgets_of_four_levels_the_nearest_first(
    office: Office, there: World
) -> None:
    service = there.members["service"]
    row, secret = await keys.create(office, OPERATOR, team=there.search.id, member=service.id)
    await budgets.set_budget(
        office, OPERATOR, "organisation", there.acme.id, budgets.limit("1", "total")
    )
    await budgets.set_budget(office, OPERATOR, "team", there.search.id, budgets.limit("2", "total"))
    await budgets.set_budget(office, OPERATOR, "member", service.id, budgets.limit("3", "total"))
    await budgets.set_budget(office, OPERATOR, "key", row.id, budgets.limit("4", "total"))
    await budgets.set_budget(office, OPERATOR, "team", there.ads.id, budgets.limit("9", "total"))
    found = await _caller(office, secret)
    assert found is not None
    assert [rule.scope for rule in found.budgets] == ["key", "member", "team", "organisation"]
    await teams.disable(office, OPERATOR, there.search.id)
    found = await _caller(office, secret)
    assert found is not None
    assert found.disabled == "team_disabled"
    await members.disable(office, OPERATOR, service.id)
    found = await _caller(office, secret)
    assert found is not None
    assert found.disabled == "member_disabled"


async def test_a_key_of_a_member_who_left_the_team_stays_the_teams_and_bound_by_the_member(
    office: Office, there: World
) -> None:
    who = there.members["service"]
    row, secret = await keys.create(office, OPERATOR, team=there.search.id, member=who.id)
    await budgets.set_budget(office, OPERATOR, "member", who.id, budgets.limit("3", "daily"))
    before = await _caller(office, secret)
    await memberships.remove(office, OPERATOR, there.search.id, who.id)
    after = await _caller(office, secret)
    assert after is not None
    assert after == before
    assert (after.team_id, after.member_id, after.disabled) == (there.search.id, who.id, "")
    assert [budget.scope for budget in after.budgets] == ["member"]
    own = there.actor("service")
    assert await outcome(keys.rotate(office, own, row.id)) != "done", "it was its while in the team"
    await members.disable(office, OPERATOR, who.id)
    refused = await _caller(office, secret)
    assert refused is not None
    assert refused.disabled == "member_disabled"
