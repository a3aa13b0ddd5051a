"""All of the books of an installation, held against each other. Nothing is written."""

from typing import Final

from msgspec import Struct

from gateway.accounts.checking_counters import Counted, check_counters
from gateway.accounts.opening import Installation
from gateway.clock import SystemClock
from gateway.errors import ConfigurationError
from gateway.store import schema
from gateway.usage.audit import Totals, check_ledger
from gateway.usage.audit_journal import Journalled, check_journal
from gateway.usage.audit_rules import Fault

MOST: Final = 1000
"""Faults that are kept to be told; the others are counted."""

IN_MEMORY: Final = (
    "counters: in the memory of the gateway's process, which alone can be asked for them (`/v1/key`,"
    " `/admin/v1/budgets`); it makes them from this ledger and this journal when it starts"
)


class Checked(Struct, frozen=True):
    """What was checked, and what is wrong: `count` faults, of which the first `MOST` are in `faults`."""

    totals: Totals
    journal: Journalled
    faults: tuple[Fault, ...]
    count: int
    notes: tuple[str, ...]


class _Faults:
    def __init__(self) -> None:
        self.first: list[Fault] = []
        self.count = 0

    def __call__(self, fault: Fault) -> None:
        self.count += 1
        if len(self.first) < MOST:
            self.first.append(fault)


async def check_books(where: Installation) -> Checked:
    """Hold journal and counters of an installation against its ledger, and the ledger against itself.

    Raises:
        ConfigurationError: no database there, or one of another version; a journal that cannot be read.
        Unavailable: the database, or the store of the counters, cannot be used.
    """
    await schema.require_head(where.url)
    return await check_current_books(where, counters=True)


async def check_current_books(where: Installation, *, counters: bool) -> Checked:
    """As `check_books`, of a database that is known to be of this version; `counters`: them too.

    Raises:
        ConfigurationError: a journal cannot be read.
        Unavailable: as there.
    """
    faults = _Faults()
    # To sort millions of entries takes a server longer than a statement of a request may.
    database = where.database(command_timeout=None)
    try:
        journal = await check_journal(database, where.data / "journal", faults)
        totals = await check_ledger(database, faults)
        counted = Counted()
        if counters:
            counted = await check_counters(database, where.state, SystemClock().now(), faults)
    except OSError as fault:
        raise ConfigurationError(
            [f"{fault.filename}: {fault.strerror}; run it as the user of the gateway"]
        ) from fault
    finally:
        await database.aclose()
    return Checked(totals, journal, tuple(faults.first), faults.count, _notes(where, counted))


def _notes(where: Installation, counted: Counted) -> tuple[str, ...]:
    if where.state.url is None:
        return (IN_MEMORY,)
    above = [
        f"counters: {one}: what is not shipped yet, was settled by estimate, or rounded up explains it"
        for one in counted.above
    ]
    return (
        f"counters: {counted.counters} in Redis, of the budgets whose window of now is in use",
        *above,
    )
