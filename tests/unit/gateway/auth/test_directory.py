import asyncio
import logging
from collections.abc import AsyncIterator

import msgspec
import pytest
from typing_extensions import override

from gateway.auth.directory import KeyDirectory
from gateway.auth.keys import key_hash, new_key
from gateway.clock import Clock
from gateway.errors import LedgerBehind, Unauthenticated, Unavailable
from gateway.values import Principal

PEPPER = bytes(range(32))
KEY = new_key().encode()
HEADER = b"Bearer " + KEY
CALLER = Principal(
    key_id="key_1", key_name="k", team_id="team_1", team_name="t", organisation_id="org_1"
)


class HandClock(Clock):
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    @override
    def now(self) -> float:
        return 1_800_000_000.0 + self.seconds

    @override
    def monotonic(self) -> float:
        return self.seconds


class Source:
    """A database of keys that counts, waits and fails as told."""

    def __init__(self) -> None:
        self.principals = {key_hash(PEPPER, KEY): CALLER}
        self.reads: list[bytes] = []
        self.fault: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.entered = asyncio.Event()

    async def load(self, digest: bytes) -> Principal | None:
        self.reads.append(digest)
        self.entered.set()
        await self.open.wait()
        if self.fault is not None:
            raise self.fault
        return self.principals.get(digest)

    def change(self, **fields: object) -> None:
        self.principals[key_hash(PEPPER, KEY)] = msgspec.structs.replace(CALLER, **fields)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
async def directory(source: Source, clock: HandClock) -> AsyncIterator[KeyDirectory]:
    directory = KeyDirectory(source.load, PEPPER, clock, max_entries=3)
    yield directory
    await directory.aclose()


async def _settled(directory: KeyDirectory) -> None:
    """Wait for reads in the background."""
    while directory._reads:
        await asyncio.wait(list(directory._reads.values()))
        await asyncio.sleep(0)  # lets the tasks' callbacks run


async def test_a_known_key_is_answered_without_a_read(
    directory: KeyDirectory, source: Source
) -> None:
    assert directory.lookup(HEADER) is None
    assert await directory.authenticate(HEADER) is CALLER
    assert directory.lookup(HEADER) is CALLER
    assert await directory.authenticate(b"bearer  " + KEY) is CALLER
    assert source.reads == [key_hash(PEPPER, KEY)]


async def test_junk_is_refused_without_a_read(directory: KeyDirectory, source: Source) -> None:
    mistyped = KEY[:-1] + (b"0" if KEY[-1:] != b"0" else b"1")
    for header in (None, b"", b"Bearer junk", b"Bearer " + mistyped, b"Basic " + KEY):
        assert directory.lookup(header) is None
        with pytest.raises(Unauthenticated):
            await directory.authenticate(header)
    assert source.reads == []


async def test_many_waiters_cost_one_read(directory: KeyDirectory, source: Source) -> None:
    source.open.clear()
    waiters = [asyncio.create_task(directory.authenticate(HEADER)) for _ in range(50)]
    await source.entered.wait()
    source.open.set()
    assert await asyncio.gather(*waiters) == [CALLER] * 50
    assert len(source.reads) == 1


async def test_a_waiter_who_leaves_takes_nothing_from_the_others(
    directory: KeyDirectory, source: Source
) -> None:
    source.open.clear()
    leaver = asyncio.create_task(directory.authenticate(HEADER))
    await source.entered.wait()
    stayer = asyncio.create_task(directory.authenticate(HEADER))
    leaver.cancel()
    await asyncio.wait([leaver])
    source.open.set()
    assert await stayer is CALLER
    assert len(source.reads) == 1


async def test_an_unknown_key_is_asked_for_once_in_five_seconds(
    directory: KeyDirectory, source: Source, clock: HandClock
) -> None:
    stranger = new_key().encode()
    for _ in range(3):
        with pytest.raises(Unauthenticated, match="not known here") as caught:
            await directory.authenticate(b"Bearer " + stranger)
        assert caught.value.code == "invalid_api_key"
        assert stranger.decode() not in caught.value.message
    assert len(source.reads) == 1
    source.principals[key_hash(PEPPER, stranger)] = CALLER
    clock.seconds += 5.1
    assert await directory.authenticate(b"Bearer " + stranger) is CALLER


async def test_memory_is_bounded_for_known_and_unknown_keys(
    directory: KeyDirectory, source: Source
) -> None:
    for known in (True, False):
        for _ in range(10):
            key = new_key().encode()
            if known:
                source.principals[key_hash(PEPPER, key)] = CALLER
                await directory.authenticate(b"Bearer " + key)
            else:
                with pytest.raises(Unauthenticated):
                    await directory.authenticate(b"Bearer " + key)
    assert len(directory._entries) == 3
    assert len(directory._unknown) == 3


async def test_a_key_in_use_is_read_again_ahead_of_time_and_nobody_waits(
    directory: KeyDirectory, source: Source, clock: HandClock
) -> None:
    await directory.authenticate(HEADER)
    clock.seconds += 11
    source.change(key_name="renamed")
    source.open.clear()
    for _ in range(5):
        assert directory.lookup(HEADER) is CALLER
    source.open.set()
    await _settled(directory)
    renewed = directory.lookup(HEADER)
    assert renewed is not None
    assert renewed.key_name == "renamed"
    assert len(source.reads) == 2


async def test_an_idle_key_is_read_again_before_it_is_served(
    directory: KeyDirectory, source: Source, clock: HandClock
) -> None:
    await directory.authenticate(HEADER)
    source.change(disabled="key_disabled")
    clock.seconds += 15
    assert directory.lookup(HEADER) is None
    with pytest.raises(Unauthenticated) as caught:
        await directory.authenticate(HEADER)
    assert caught.value.code == "key_disabled"
    assert len(source.reads) == 2


async def test_a_disabled_key_is_remembered_as_such(
    directory: KeyDirectory, source: Source
) -> None:
    source.change(disabled="key_disabled")
    for _ in range(3):
        assert directory.lookup(HEADER) is None
        with pytest.raises(Unauthenticated, match="key_1 is disabled"):
            await directory.authenticate(HEADER)
    assert len(source.reads) == 1


async def test_a_key_expires_while_it_is_remembered(
    directory: KeyDirectory, source: Source, clock: HandClock
) -> None:
    source.change(expires_at=clock.now() + 3)
    await directory.authenticate(HEADER)
    clock.seconds += 2.9
    assert directory.lookup(HEADER) is not None
    clock.seconds += 0.2
    assert directory.lookup(HEADER) is None
    with pytest.raises(Unauthenticated) as caught:
        await directory.authenticate(HEADER)
    assert caught.value.code == "key_expired"
    assert len(source.reads) == 1


async def test_a_key_whose_budget_is_not_counted_yet_is_told_so(
    directory: KeyDirectory, source: Source
) -> None:
    source.fault = LedgerBehind("the ledger is behind", retry_after=5.0)
    with pytest.raises(LedgerBehind) as caught:
        await directory.authenticate(HEADER)
    assert (caught.value.code, caught.value.retry_after) == ("ledger_behind", 5.0)
    source.fault = None
    assert await directory.authenticate(HEADER) is CALLER


async def test_a_failing_database_leaves_known_keys_served_until_max_staleness(
    directory: KeyDirectory,
    source: Source,
    clock: HandClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await directory.authenticate(HEADER)
    source.fault = OSError("gone")
    with caplog.at_level(logging.ERROR):
        for _ in range(60):
            clock.seconds += 9.9
            assert await directory.authenticate(HEADER) is CALLER
            await _settled(directory)
    assert len(caplog.records) == 1  # once an outage, not once a read
    clock.seconds += 6.1  # 600.1 s after the last good answer
    with pytest.raises(Unavailable) as caught:
        await directory.authenticate(HEADER)
    assert caught.value.code == "key_store_unavailable"
    assert caught.value.status == 503
    source.fault = None
    assert await directory.authenticate(HEADER) is CALLER


async def test_while_the_database_fails_known_keys_wait_once_not_every_time(
    directory: KeyDirectory, source: Source, clock: HandClock
) -> None:
    await directory.authenticate(HEADER)
    source.fault = OSError("gone")
    clock.seconds += 20
    assert await directory.authenticate(HEADER) is CALLER
    source.open.clear()
    for seconds in (0.0, 0.9, 0.2, 30.0):
        clock.seconds += seconds
        assert directory.lookup(HEADER) is CALLER
    await asyncio.sleep(0)  # lets the read in the background begin
    assert len(source.reads) == 3
    source.open.set()
    await _settled(directory)


async def test_an_unknown_key_is_not_called_wrong_while_the_database_fails(
    directory: KeyDirectory, source: Source
) -> None:
    source.fault = OSError("gone")
    with pytest.raises(Unavailable) as caught:
        await directory.authenticate(HEADER)
    assert caught.value.retry_after == 1.0
    source.fault = None
    assert await directory.authenticate(HEADER) is CALLER


async def test_a_read_that_hangs_counts_as_failed(source: Source, clock: HandClock) -> None:
    directory = KeyDirectory(source.load, PEPPER, clock, load_timeout=0.01)
    source.open.clear()
    with pytest.raises(Unavailable):
        await directory.authenticate(HEADER)
    await directory.aclose()


async def test_closing_ends_reads_under_way(source: Source, clock: HandClock) -> None:
    directory = KeyDirectory(source.load, PEPPER, clock)
    source.open.clear()
    waiter = asyncio.create_task(directory.authenticate(HEADER))
    await source.entered.wait()
    await directory.aclose()
    await asyncio.wait([waiter])
    assert waiter.cancelled()
    assert directory._reads == {}


@pytest.mark.parametrize(
    ("fault", "traced"),
    [(Unavailable("the database is away"), False), (TimeoutError(), False), (OSError("?"), True)],
)
async def test_an_outage_is_told_in_one_line_and_a_surprise_with_its_trace(
    directory: KeyDirectory,
    source: Source,
    caplog: pytest.LogCaptureFixture,
    *,
    fault: Exception,
    traced: bool,
) -> None:
    source.fault = fault
    with caplog.at_level(logging.ERROR), pytest.raises(Unavailable):
        await directory.authenticate(HEADER)
    (record,) = caplog.records
    assert (record.exc_info is not None) is traced
    assert record.getMessage().startswith("API keys cannot be read (")
    assert "()" not in record.getMessage()
