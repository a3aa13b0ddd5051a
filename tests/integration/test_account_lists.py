"""Lists in pages: each item once, whatever comes in between, and cursors that nobody can bend."""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gateway.accounts import audit, budgets, members, memberships, organisations, pages, teams
from gateway.accounts.office import Office
from gateway.accounts.rows import Page
from gateway.errors import InvalidRequest
from tests.fakes.accounts import OPERATOR, World, office_of, opened, world
from tests.fakes.clock import HandClock

Lister = Callable[..., Awaitable[Page[Any]]]


async def _of_search(office: Office, actor: Any, **words: Any) -> Page[Any]:
    found = await teams.list_page(office, actor, organisation="acme")
    (search,) = [team for team in found.items if team.name == "search"]
    return await memberships.list_page(office, actor, search.id, **words)


LISTERS: dict[str, Lister] = {
    "organisations": organisations.list_page,
    "teams": teams.list_page,
    "members": members.list_page,
    "memberships": _of_search,
    "budgets": budgets.list_page,
    "audit": audit.list_page,
}


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def office(database_url: str, clock: HandClock) -> AsyncIterator[Office]:
    async with opened(database_url) as db:
        yield office_of(db, clock)


@pytest.fixture
async def there(office: Office) -> World:
    found = await world(office)
    for team in (found.search, found.ads, found.foreign):
        one = budgets.limit("1", "total")
        await budgets.set_budget(office, OPERATOR, "team", team.id, one)
    return found


async def _all_in_pages(office: Office, lister: Lister, limit: int) -> list[Any]:
    page = await lister(office, OPERATOR, limit=limit)
    found = list(page.items)
    while page.next_cursor is not None:
        assert len(page.items) == limit
        page = await lister(office, OPERATOR, limit=limit, cursor=page.next_cursor)
        assert page.items
        found += page.items
    return found


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("noun", LISTERS)
async def test_pages_of_any_size_come_to_the_same_list(office: Office, noun: str) -> None:
    """All were made in one millisecond: the order of what has the same time is settled by id."""
    lister = LISTERS[noun]
    everything = (await lister(office, OPERATOR)).items
    assert len(everything) >= 2
    for limit in (1, 2, 3, 1000):
        assert tuple(await _all_in_pages(office, lister, limit)) == everything
    assert (await lister(office, OPERATOR, limit=len(everything))).next_cursor is None


async def test_what_is_made_between_two_pages_moves_none_of_the_others(
    office: Office, there: World, clock: HandClock
) -> None:
    first = await teams.list_page(office, there.actor("owner"), limit=1)
    clock.advance(1)
    late = await teams.create(office, there.actor("owner"), "late")
    rest = await teams.list_page(office, there.actor("owner"), cursor=first.next_cursor)
    assert {team.id for team in first.items + rest.items} == {
        there.search.id,
        there.ads.id,
        late.id,
    }
    assert rest.items[-1] == late, "oldest first"


def _coded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


BENT = [
    "",
    "nonsense",
    "💥",
    "a" * 10_000,
    _coded("1"),
    _coded("1.org_1\x00"),
    _coded("-1.org_1"),
    _coded("1.' OR 1=1"),
    _coded("1e3.org_1"),
    _coded("9" * 30 + ".org_1"),
    _coded("1." + "a" * 61),
    _coded("\u0661.org_1"),
    _coded("1.org_1") + "\n",
    "é",
]


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("noun", LISTERS)
async def test_a_cursor_that_is_none_of_ours_is_refused(office: Office, noun: str) -> None:
    for cursor in BENT:
        with pytest.raises(InvalidRequest) as caught:
            await LISTERS[noun](office, OPERATOR, cursor=cursor)
        assert (caught.value.code, caught.value.param) == ("invalid_cursor", "cursor")


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("noun", LISTERS)
async def test_a_page_has_from_1_to_1000_items(office: Office, noun: str) -> None:
    for limit in (-1, 0, 1001, 10**30):
        with pytest.raises(InvalidRequest) as caught:
            await LISTERS[noun](office, OPERATOR, limit=limit)
        assert (caught.value.code, caught.value.param) == ("invalid_limit", "limit")


def test_a_cursor_says_what_it_was_made_of() -> None:
    cursor = pages.write_cursor(1_795_348_800_000, "team_4fX-_")
    assert pages.read_cursor(cursor) == (1_795_348_800_000, "team_4fX-_")
    assert cursor.isascii()
    assert "=" not in cursor
