"""Jobs that one process does for all: whoever holds the lease, until it ends or lets go."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from gateway.clock import Clock
from gateway.errors import Unavailable
from gateway.store.database import Database
from gateway.store.leases import LeaderLock

_log = logging.getLogger(__name__)
LEASE = 10.0
"""Seconds after which another process may take over from one that died."""


async def lead(
    database: Database,
    name: str,
    holder: str,
    job: Callable[[], Awaitable[object]],
    *,
    interval: float,
    clock: Clock,
    lease: float = LEASE,
) -> None:
    """Do `job` every `interval` seconds while this process holds the lease; until cancelled.

    A job that fails is logged and done again the next time.

    Args:
        database: where the leases are. While it is away nobody takes over, and the job rests.
        name: of the job.
        holder: the id of this process.
        job: one pass of it; it should take less than the lease.
        interval: seconds between passes.
        clock: of which the monotonic time counts.
        lease: seconds that a lease lasts; it is renewed each third of that.
    """
    lock = LeaderLock(database, name, holder, ttl=lease, clock=clock)
    renew_at = float("-inf")
    resting = False
    try:
        while True:
            now = clock.monotonic()
            if now >= renew_at:
                renew_at = now + lease / 3
                with contextlib.suppress(Unavailable):
                    await lock.renew()
            if lock.held:
                try:
                    await job()
                    resting = False
                except Unavailable as fault:
                    if not resting:
                        _log.warning("job %s rests: %s", name, fault)
                    resting = True
                except Exception:  # noqa: BLE001 - the next pass may go better
                    _log.exception("job %s failed; it is tried again", name)
            await asyncio.sleep(min(interval, lease / 3))
    finally:
        with contextlib.suppress(Unavailable):
            await lock.release()
