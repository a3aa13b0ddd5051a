"""What a remembered key takes."""

import gc
import tracemalloc

import msgspec

from gateway.auth.directory import KeyDirectory
from gateway.auth.keys import key_hash, new_key
from gateway.values import BudgetRule, Principal
from tests.fakes.clock import HandClock

PEPPER = bytes(range(32))
KEYS = 20_000
_A_TEAM = 10  # keys of one


def _read(number: int) -> Principal:
    """As the database gives it: nothing is the same object as before."""
    team = number % (KEYS // _A_TEAM)
    made = Principal(
        key_id=f"key_{number:022d}",
        key_name=f"number {number} of its kind",
        team_id=f"team_{team:022d}",
        team_name=f"team number {team}",
        organisation_id=f"org_{0:022d}",
        budgets=(BudgetRule(f"bud_{team:022d}", "team", 10**13, "USD", "monthly"),),
        expires_at=1e10 + number,
    )
    return msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Principal)


async def test_a_remembered_key_takes_a_kilobyte_at_most() -> None:
    secrets = [new_key().encode() for _ in range(KEYS)]
    numbers = {key_hash(PEPPER, secret): number for number, secret in enumerate(secrets)}

    async def load(digest: bytes) -> Principal:
        return _read(numbers[digest])

    directory = KeyDirectory(load, PEPPER, HandClock(), max_entries=KEYS)
    await directory.authenticate(b"Bearer " + secrets[0])
    gc.collect()
    tracemalloc.start()
    try:
        for secret in secrets[1:]:
            await directory.identify(secret)
        gc.collect()
        used = tracemalloc.get_traced_memory()[0] / (KEYS - 1)
    finally:
        tracemalloc.stop()
    assert used < 1000, f"{used:.0f} bytes a key"
    assert all(directory.lookup(b"Bearer " + secret) for secret in secrets[::1000])
    await directory.aclose()
