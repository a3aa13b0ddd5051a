"""Seeing that a gateway that counts in memory is the only one on its database.

Counters in memory know nothing of what another process spends: two gateways that count so would each spend
every budget. On a SQLite file the lock of the data folder keeps the second one away. On a shared database a
lease does, which is taken before anything is served and renewed until the end:

    another gateway starts      it sees the lease renewed, and is refused
    this one crashed and comes  on its own data folder, whose lock proves that nobody else has it: the lease
      again                     is its own; elsewhere: once the lease has ended, ten seconds after the crash
    this one cannot renew it    it goes on, as it does without the database; if another has taken the lease
                                meanwhile, it stops as soon as it sees that
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from gateway.clock import Clock
from gateway.errors import ConfigurationError, Unavailable
from gateway.settings import Settings
from gateway.store import leases, owner
from gateway.store.database import Database
from gateway.store.workers import BEAT, Identity, WorkerRegistry

_log = logging.getLogger(__name__)
LEASE: Final = "counters in memory"
TTL: Final = 10.0
"""Seconds after which another may count in memory in the place of one that crashed."""
_LOOK = 0.5  # seconds between looks at somebody else's lease
_MISSED_BEATS = 1.5  # beats after which a row that did not change is not of a process that is alive


async def claim(settings: Settings, database: Database, clock: Clock) -> None:
    """See that nobody else counts in memory on this database, and if this gateway does, nobody else at all.

    What is waited for, at most `TTL` and a few seconds, is logged.

    Args:
        settings: whose data folder is this process's already.
        database: with the newest schema.
        clock: the time.

    Raises:
        ConfigurationError: somebody does.
        Unavailable: the database cannot be read.
    """
    if settings.database.url is None:
        return  # a SQLite file is in a folder, which has one owner
    holder = _holder(settings)
    if settings.state.url is not None:

        async def nobody() -> bool:
            found = await leases.standing(database, LEASE)
            return found is None or found.holder == holder

        await _until(nobody, database, clock, "state.url", "would not see what is spent here")
        return

    async def taken() -> bool:
        return await leases.take(database, LEASE, holder, ttl=TTL)

    await _until(taken, database, clock, "database.url", "counters in memory cannot be shared")
    try:
        await _see_none_alive(database, clock)
    except BaseException:
        await leases.release(database, LEASE, holder)
        raise


async def _until(
    free: Callable[[], Awaitable[bool]], database: Database, clock: Clock, setting: str, why: str
) -> None:
    """Return once it is free; refuse once whoever has the lease renews it, and so is alive."""
    first: leases.Lease | None = None
    give_up = clock.monotonic() + 2 * TTL
    while True:
        try:
            if await free():
                return
        except Unavailable as fault:
            # Who hangs within a transaction holds the row of the lease.
            if clock.monotonic() > give_up:
                raise ConfigurationError(
                    [
                        (
                            "database.url: it cannot be seen whether another gateway serves from this"
                            f" database: {fault.message}; if one hangs, end it"
                        )
                    ]
                ) from fault
            await asyncio.sleep(_LOOK)
            continue
        found = await leases.standing(database, LEASE)
        if found is None:
            continue
        _, _, host = found.holder.partition("@")
        if first is None:
            first = found
            _log.warning(
                "a gateway on %s counts in memory on this database, or did until it ended without"
                " notice: looking for up to %.0f s which of the two",
                host,
                TTL,
            )
        elif found != first:
            raise ConfigurationError(
                [
                    (
                        f"{setting}: another gateway, on {host}, serves from this database and counts"
                        f" limits and budgets in memory; {why}: set 'state.url' to one Redis or Valkey"
                        " server for all of them, or stop the other"
                    )
                ]
            )
        await asyncio.sleep(_LOOK)


async def _see_none_alive(database: Database, clock: Clock) -> None:
    registry = WorkerRegistry(database, Identity("-", "", 0, ""), clock)
    before = await registry.rows()
    if not before:
        return
    wait = BEAT * _MISSED_BEATS
    _log.warning(
        "%d process(es) of a gateway are noted in this database: looking for %.0f s whether they live",
        len(before),
        wait,
    )
    await asyncio.sleep(wait)
    after = await registry.rows()
    if alive := sorted(name for name, seen in after.items() if before.get(name) != seen):
        raise ConfigurationError(
            [
                (
                    f"database.url: {len(alive)} other gateway process(es) serve from this database"
                    f" ({', '.join(alive)}), and counters in memory cannot be shared: set 'state.url' to a"
                    " Redis or Valkey server for all of them, or stop the others"
                )
            ]
        )


@contextlib.asynccontextmanager
async def claimed(
    settings: Settings, database: Database, lost: Callable[[], None]
) -> AsyncIterator[None]:
    """Keep what was claimed until the end.

    Args:
        settings: as `claim` had them.
        database: the same.
        lost: called once, when another has taken this gateway's place.
    """
    if settings.database.url is None or settings.state.url is not None:
        yield
        return
    holder = _holder(settings)
    keeping = asyncio.create_task(_keep(database, holder, lost))
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        with contextlib.suppress(Unavailable):
            await leases.release(database, LEASE, holder)


async def _keep(database: Database, holder: str, lost: Callable[[], None]) -> None:
    while True:
        try:
            if not await leases.take(database, LEASE, holder, ttl=TTL):
                break
        except Unavailable:
            pass  # others tell of it
        except Exception:  # noqa: BLE001 - it must go on
            _log.exception("this gateway could not be noted as the only one on its database")
        await asyncio.sleep(TTL / 3)
    _log.error(
        "while this gateway hung or could not reach the database, another one took its place; both count in"
        " memory, so this one stops: set 'state.url' for gateways that serve together"
    )
    lost()


def _holder(settings: Settings) -> str:
    """The data folder on this machine: a machine may have several, and of a folder there may be copies."""
    return f"{owner.mark(settings.data)}@{socket.gethostname()[:23]}"
