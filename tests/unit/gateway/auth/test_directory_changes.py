"""What a directory of keys forgets when it is told of changes."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from gateway.auth.directory import KeyDirectory
from gateway.auth.keys import key_hash, new_key
from gateway.errors import Unauthenticated, Unavailable
from gateway.values import BudgetRule, Principal
from tests.fakes.clock import HandClock

PEPPER = bytes(range(32))
KEY = new_key().encode()
HEADER = b"Bearer " + KEY
KEYS = [new_key().encode() for _ in range(2)]
CALLER = Principal(
    key_id="key_1",
    key_name="k",
    team_id="team_1",
    team_name="t",
    organisation_id="org_1",
    member_id="mem_1",
)
OFF = msgspec.structs.replace(CALLER, disabled="key_disabled")


class Source:
    """A database of one key that counts, waits and fails as told."""

    def __init__(self) -> None:
        self.found: Principal | None = CALLER
        self.reads = 0
        self.fault: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.entered = asyncio.Event()

    async def load(self, digest: bytes) -> Principal | None:
        assert digest == key_hash(PEPPER, KEY)
        self.reads += 1
        found, fault, gate = self.found, self.fault, self.open  # as it is when the read begins
        self.entered.set()
        await gate.wait()
        if fault is not None:
            raise fault
        return found


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def directory(source: Source, clock: HandClock) -> AsyncIterator[KeyDirectory]:
    directory = KeyDirectory(source.load, PEPPER, clock, max_age=60.0, max_staleness=600.0)
    yield directory
    await directory.aclose()


@pytest.mark.parametrize(
    "change",
    [("key", "key_1"), ("team", "team_1"), ("member", "mem_1"), ("organisation", "org_1")],
    ids=lambda change: change[0],
)
async def test_a_change_on_any_level_has_the_key_read_before_its_next_use(
    directory: KeyDirectory, source: Source, clock: HandClock, change: tuple[str, str]
) -> None:
    await directory.authenticate(HEADER)
    source.found = OFF
    clock.advance(0.001)
    assert directory.lookup(HEADER) is CALLER
    directory.invalidate([change])
    assert directory.lookup(HEADER) is None
    with pytest.raises(Unauthenticated) as caught:
        await directory.authenticate(HEADER)
    assert caught.value.code == "key_disabled"
    assert source.reads == 2


async def test_changes_elsewhere_cost_a_key_nothing(
    directory: KeyDirectory, source: Source, clock: HandClock
) -> None:
    await directory.authenticate(HEADER)
    clock.advance(0.001)
    directory.invalidate([("key", "key_2"), ("team", "team_2"), ("management_key", "key_1")])
    assert directory.lookup(HEADER) is CALLER
    assert source.reads == 1


async def test_what_is_read_after_a_change_is_remembered(
    directory: KeyDirectory, source: Source, clock: HandClock
) -> None:
    await directory.authenticate(HEADER)
    clock.advance(0.001)
    directory.invalidate([("team", "team_1")])
    for _ in range(3):
        clock.advance(0.001)
        assert await directory.authenticate(HEADER) is CALLER
    assert source.reads == 2


async def test_a_read_that_a_change_outran_is_not_remembered_as_fresh(
    directory: KeyDirectory, source: Source, clock: HandClock
) -> None:
    free, held = source.open, asyncio.Event()
    source.open = held
    before = asyncio.create_task(directory.authenticate(HEADER))
    await source.entered.wait()
    clock.advance(0.5)
    source.found, source.open = OFF, free
    directory.invalidate([("key", "key_1")])
    # Who comes after the change does not wait for the read from before it.
    with pytest.raises(Unauthenticated, match="key_1 is disabled"):
        await directory.authenticate(HEADER)
    held.set()
    assert await before == CALLER  # it came before
    assert directory.lookup(HEADER) is None
    with pytest.raises(Unauthenticated, match="key_1 is disabled"):
        await directory.authenticate(HEADER)


async def test_a_key_that_was_unknown_serves_once_it_is_made(
    directory: KeyDirectory, source: Source, clock: HandClock
) -> None:
    source.found = None
    with pytest.raises(Unauthenticated, match="not known here"):
        await directory.authenticate(HEADER)
    clock.advance(0.01)
    source.found = CALLER
    directory.invalidate([("key", "key_1")])
    assert await directory.authenticate(HEADER) is CALLER


async def test_a_read_that_found_no_key_is_not_remembered_if_one_was_made_meanwhile(
    directory: KeyDirectory, source: Source, clock: HandClock
) -> None:
    source.found = None
    source.open.clear()
    asked = asyncio.create_task(directory.authenticate(HEADER))
    await source.entered.wait()
    clock.advance(0.01)
    source.found = CALLER
    directory.invalidate([("key", "key_1")])
    source.open.set()
    with pytest.raises(Unauthenticated):
        await asked
    assert await directory.authenticate(HEADER) is CALLER


async def test_a_key_that_changed_is_refused_while_the_database_fails(
    directory: KeyDirectory, source: Source, clock: HandClock
) -> None:
    await directory.authenticate(HEADER)
    source.fault = OSError("gone")
    clock.advance(61)
    assert await directory.authenticate(HEADER) is CALLER  # of no change is known
    clock.advance(0.01)
    directory.invalidate([("member", "mem_1")])
    for _ in range(2):
        assert directory.lookup(HEADER) is None
        with pytest.raises(Unavailable) as caught:
            await directory.authenticate(HEADER)
        assert caught.value.code == "key_store_unavailable"
    source.fault = None
    assert await directory.authenticate(HEADER) is CALLER


async def test_changes_are_forgotten_only_when_nothing_read_before_them_can_serve(
    directory: KeyDirectory, source: Source, clock: HandClock
) -> None:
    await directory.authenticate(HEADER)
    clock.advance(1)
    directory.invalidate([("key", "key_1")])
    # Settings that are reloaded hold for what is read from then on.
    directory.change(max_age=5.0, max_staleness=10.0)
    clock.advance(20)
    directory.invalidate([("key", "key_2")])
    assert directory.lookup(HEADER) is None
    clock.advance(601)
    directory.invalidate([("key", "key_3")])
    assert set(directory._changed) == {"key_3"}  # memory is bounded


async def test_keys_of_a_team_share_what_they_have_in_common(clock: HandClock) -> None:
    def read(number: int) -> Principal:
        """As the database gives it: nothing is the same object as before."""
        rules = [("bud_t", "team", 10**13), (f"bud_{number}", "key", 10**12)]
        made = msgspec.structs.replace(
            CALLER,
            key_id=f"key_{number}",
            budgets=tuple([BudgetRule(*one, "USD", "monthly") for one in rules]),
        )
        return msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Principal)

    keys = {key_hash(PEPPER, key): number for number, key in enumerate(KEYS)}

    async def load(digest: bytes) -> Principal:
        return read(keys[digest])

    directory = KeyDirectory(load, PEPPER, clock)
    for key in KEYS:
        await directory.authenticate(b"Bearer " + key)
    first, second = (directory.lookup(b"Bearer " + key) for key in KEYS)
    assert (first, second) == (read(0), read(1))
    assert first is not None
    assert second is not None
    assert first.team_id is second.team_id
    assert first.team_name is second.team_name
    assert first.organisation_id is second.organisation_id
    assert first.budgets[0] is second.budgets[0]
    await directory.aclose()
