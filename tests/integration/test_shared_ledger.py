"""What shared counters ask the database: what budgets have spent, and which workers have flushed."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import insert

from gateway.flow.counters import SharedLedger
from gateway.store.database import Database
from gateway.store.tables import accounts
from gateway.store.workers import STALE, Behind, Identity, WorkerRegistry
from gateway.usage import ledger, queries
from gateway.values import Outcome
from tests.fakes.clock import HandClock
from tests.unit.gateway.usage.samples import NOW_MS, attempt, outcome

NANO = 1000


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    yield found
    await found.aclose()


def charged(name: str, nano: int, **who: str) -> Outcome:
    """A request that cost so many nano-units, of key-1 of team-1 of org-1 unless told otherwise."""
    entry = attempt(name, charge=nano * NANO)
    return outcome(name, created_ms=NOW_MS, attempts=(entry,), **who)


async def accounts_of(database: Database) -> None:
    """Two keys of one member in two teams of one organisation, a budget for each of them, and others."""
    made = {"created_ms": 0}
    async with database.transaction() as connection:

        async def add(table: object, **values: object) -> None:
            await connection.execute(insert(table).values(**values))  # type: ignore[arg-type] # a Table

        for org in ("org-1", "org-2"):
            await add(accounts.organisations, id=org, name=org, **made)
        for team, org in (("team-1", "org-1"), ("team-2", "org-1"), ("team-3", "org-2")):
            await add(accounts.teams, id=team, organisation_id=org, name=team, **made)
        member = {"organisation_id": "org-1", "kind": "person", "name": "m", "role": "member"}
        await add(accounts.members, id="mem-1", **member, **made)
        for n, (team, member_id) in enumerate(
            [("team-1", "mem-1"), ("team-2", "mem-1"), ("team-1", None), ("team-3", None)], 1
        ):
            key = {"name": f"k{n}", "key_hash": bytes([n]) * 32, "prefix": "p", "last4": "abcd"}
            await add(
                accounts.api_keys, id=f"key-{n}", team_id=team, member_id=member_id, **key, **made
            )
        for scope, owner in (
            ("key", "key-1"),
            ("team", "team-1"),
            ("member", "mem-1"),
            ("organisation", "org-1"),
        ):
            limit = {"limit_pico": 10**12, "currency": "USD", "period": "monthly"}
            owned = {f"{scope}_id": owner}
            await add(accounts.budgets, id=f"bud-{scope}", scope=scope, **owned, **limit, **made)


async def nothing() -> None:
    pass


@pytest.fixture
async def shared(database: Database) -> SharedLedger:
    await accounts_of(database)
    await ledger.write(
        database,
        outcomes=[
            charged("gen-1", 1),
            charged("gen-2", 10, key_id="key-2", team_id="team-2"),
            charged("gen-3", 100, key_id="key-3"),
            charged("gen-4", 1000, key_id="key-4", team_id="team-3", organisation_id="org-2"),
            charged("gen-5", 10_000),
        ],
    )
    return SharedLedger(database, nothing, nothing)


@pytest.mark.parametrize(
    ("scope", "spent"), [("key", 1), ("team", 101), ("member", 11), ("organisation", 111)]
)
async def test_a_bucket_is_summed_by_the_owner_of_its_budget_without_some_generations(
    shared: SharedLedger, scope: str, spent: int
) -> None:
    bucket = f"bud-{scope}:2026-11"
    assert await shared.spent_nano(bucket, ["gen-5", "gen-9"]) == spent
    assert await shared.spent_nano(bucket, ()) == spent + 10_000
    many = [f"other-{n}" for n in range(40_000)]  # more than drivers take as parameters
    assert await shared.spent_nano(bucket, [*many, "gen-5"]) == spent


@pytest.mark.parametrize(
    ("label", "spent"),
    [
        ("total", 10_001),
        ("2026-11", 10_001),
        ("2026-12", 0),
        ("week-2026-11-16", 10_001),
        ("week-2026-11-23", 0),
        ("2026-11-22", 10_001),
        ("2026-11-23", 0),
    ],
)
async def test_the_name_of_a_bucket_says_from_when_it_counts(
    shared: SharedLedger, label: str, spent: int
) -> None:
    assert await shared.spent_nano(f"bud-key:{label}", ()) == spent


async def test_a_budget_that_is_gone_has_spent_nothing(shared: SharedLedger) -> None:
    assert await shared.spent_nano("bud-gone:total", ()) == 0


async def test_charges_are_told_of_what_the_ledger_has(
    shared: SharedLedger, database: Database
) -> None:
    two = (attempt("gen-6", 1, charge=1), attempt("gen-6", 2, charge=1001))
    await ledger.write(
        database, outcomes=[outcome("gen-6", attempts=two), outcome("gen-7", attempts=())]
    )
    found = await shared.charges_nano(["gen-1", "gen-6", "gen-7", "lease-1"])
    assert found == {
        "gen-1": 1,
        "gen-6": 3,
        "gen-7": 0,
    }  # each attempt is rounded up, as when settled


async def test_members_have_keys(shared: SharedLedger, database: Database) -> None:
    assert await queries.keys_of_member(database, "mem-1") == {"key-1", "key-2"}


def registry(database: Database, name: str, clock: HandClock) -> WorkerRegistry:
    return WorkerRegistry(database, Identity(name, "host", 1, "1.0"), clock)


async def test_workers_are_behind_until_they_note_the_epoch(database: Database) -> None:
    clock = HandClock()
    one, other = registry(database, "one", clock), registry(database, "other", clock)
    fresh = [one.fresh]
    await one.beat()
    await other.beat()
    assert [*fresh, one.fresh] == [False, True]
    await one.note_flushed("e1")
    assert await one.behind("e1") == Behind(("other",))
    await other.note_flushed("e1")
    await other.beat()
    assert await one.behind("e1") == Behind()
    assert set((await one.behind("e2")).alive) == {"one", "other"}
    await other.remove()
    assert await one.behind("e2") == Behind(("one",))


async def stand_still(one: WorkerRegistry, clock: HandClock) -> None:
    """Look on while nobody writes."""
    await one.behind("e1")
    for _ in range(3):
        clock.advance(0.34 * STALE)
        await one.behind("e1")


async def test_a_worker_whose_row_stands_still_is_dead_whatever_its_clock_says(
    database: Database,
) -> None:
    clock, ahead = HandClock(), HandClock(2e9)
    one, other = registry(database, "one", clock), registry(database, "other", ahead)
    await other.beat()
    await one.beat()
    for _ in range(2):
        clock.advance(STALE / 2)
        await one.beat()
    assert await one.behind("e1") == Behind(("one",), ("other",))
    ahead.advance(1)
    await other.beat()
    assert set((await one.behind("e1")).alive) == {"one", "other"}
    await stand_still(one, clock)
    assert set((await one.behind("e1")).dead) == {"one", "other"}
    ahead.advance(1)
    await other.beat()
    await one.give_up(("other",), "e1")  # it has changed since: it is waited for
    assert "other" in (await one.behind("e1")).alive
    await stand_still(one, clock)
    assert not one.fresh
    await one.give_up(("other",), "e1")
    assert await one.behind("e1") == Behind((), ("one",))
    assert set(await one.rows()) == {"one", "other"}  # for what it may have had under way
    assert "other" in (await one.behind("e2")).dead


async def test_the_row_of_a_dead_worker_goes_within_the_hour_after(database: Database) -> None:
    clock = HandClock()
    one, other = registry(database, "one", clock), registry(database, "other", clock)
    await other.beat()
    for _ in range(3600 // 4):
        await one.beat()
        clock.advance(4)
    assert set(await one.rows()) == {"one", "other"}
    clock.advance(1)
    await one.beat()
    assert set(await one.rows()) == {"one"}


async def test_a_worker_whose_work_is_not_all_in_the_ledger_stays_when_it_stops(
    database: Database,
) -> None:
    one, other = (registry(database, name, HandClock()) for name in ("one", "other"))
    for each in (one, other):
        await each.beat()
    one.stay()
    await one.remove()
    await other.remove()
    assert set(await other.rows()) == {"one"}


async def test_after_a_database_that_hung_nobody_is_dead_at_once(database: Database) -> None:
    clock = HandClock()
    one, other = registry(database, "one", clock), registry(database, "other", clock)
    await other.beat()
    await one.beat()
    clock.advance(2 * STALE)  # and no beat of anybody came through
    assert set((await one.behind("e1")).alive) == {"one", "other"}


async def test_after_the_database_was_away_nobody_is_dead_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandClock()
    one, other = registry(database, "one", clock), registry(database, "other", clock)
    await other.beat()
    await one.beat()
    for _ in range(2):
        clock.advance(STALE / 2)
        await one.behind("e1")

    def away() -> None:
        raise OSError

    with monkeypatch.context() as broken:
        broken.setattr(database, "transaction", away)
        with pytest.raises(OSError):  # noqa: PT011 - the one above
            await one.beat()
    await one.beat()
    assert set((await one.behind("e1")).alive) == {"one", "other"}
