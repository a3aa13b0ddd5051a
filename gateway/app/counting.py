"""Where one process counts limits and budgets: in its own memory, or in a store that all of them share."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from importlib.metadata import version
from pathlib import Path

from msgspec import Struct

from gateway.clock import Clock
from gateway.errors import ConfigurationError, Unavailable
from gateway.flow.counters import Counters, SharedLedger
from gateway.jobs.leader import lead
from gateway.jobs.shipper import Shipper
from gateway.settings import Settings
from gateway.settings_state import StateSettings
from gateway.store.database import Database
from gateway.store.state import State
from gateway.store.state.memory import MemoryState
from gateway.store.state.redis import RedisCounters
from gateway.store.state.shared import SharedState
from gateway.store.state.untold import UntoldFile
from gateway.store.workers import BEAT, Identity, WorkerRegistry
from gateway.telemetry.metrics import Sample
from gateway.usage.recent import Recent
from gateway.values import Principal

_log = logging.getLogger(__name__)
_SWEEP = 600.0  # seconds between looks for budget windows that are over
_SWEEP_SHARED = 2.0  # seconds between looks for what dead processes held


class Counting(Struct, frozen=True):
    """What counts.

    Attributes:
        state: as the flow sees it.
        ensure: sees that a principal's budgets have their counters. Raises Unavailable.
        samples: gauges.
        why_not: why requests should not come yet; None: they may.
    """

    state: State
    ensure: Callable[[Principal], Awaitable[None]]
    samples: Callable[[], Iterable[Sample]]
    why_not: Callable[[], str | None]


@contextlib.asynccontextmanager
async def counting(
    settings: Settings,
    database: Database,
    recent: Recent,
    shipper: Shipper,
    clock: Clock,
    *,
    registry: WorkerRegistry,
    journals: Path,
    adopt: Callable[[], Awaitable[object]],
) -> AsyncIterator[Counting]:
    """What counts, as the settings say; closed at the end, which must come before the shipper's.

    Args:
        settings: the settings.
        database: where the ledger is.
        recent: what is settled and not in the ledger yet.
        shipper: what brings it there.
        clock: the time.
        registry: of processes; this one is in it already.
        journals: the folder of this process's journal.
        adopt: brings to the ledger what dead processes left in their journals.
    """
    async with contextlib.AsyncExitStack() as stack:
        if settings.state.url is None:
            memory = MemoryState(clock)
            counters = Counters(
                database,
                memory,
                recent,
                shipper.lock,
                clock,
                grace=settings.auth.max_staleness + settings.request.total_timeout,
            )
            sweeping = _expiring(memory, clock, settings.request.total_timeout)
            await stack.enter_async_context(_beside(sweeping))
            yield Counting(memory, counters.ensure, lambda: (), lambda: None)
            return
        shared = SharedState(
            redis_counters(settings.state),
            SharedLedger(database, shipper.ship, adopt),
            registry,
            UntoldFile(journals, registry.identity.id),
            clock,
            worker=registry.identity.id,
            hold_ttl=settings.state.hold_ttl,
            lease_share=settings.state.lease_share,
        )
        reached = await shared.start()

        async def close() -> None:
            await shared.aclose()
            if shared.owing:
                registry.stay()

        stack.push_async_callback(close)
        sweeping = lead(
            database,
            "sweep",
            registry.identity.id,
            shared.sweep,
            interval=_SWEEP_SHARED,
            clock=clock,
        )
        await stack.enter_async_context(_beside(sweeping))

        def why_not() -> str | None:
            nonlocal reached
            reached = reached or shared.reachable
            return None if reached else "the shared counters have not been reached yet"

        yield Counting(shared, _nothing, shared.samples, why_not)


def redis_counters(state: StateSettings) -> RedisCounters:
    """The store that `state.url` names.

    Raises:
        ConfigurationError: it names none.
    """
    assert state.url is not None  # noqa: S101 - for the type checker
    try:
        return RedisCounters(
            state.url.get_secret_value(), prefix=state.prefix, timeout=state.timeout
        )
    except ValueError as fault:
        raise ConfigurationError([f"state.url: {fault}"]) from None


def identity(worker: str) -> Identity:
    """Who this process is, to the others."""
    return Identity(worker, socket.gethostname(), os.getpid(), version("tidegate"))


async def _nothing(_: Principal) -> None:
    """Shared counters say themselves what they do not know."""


@contextlib.asynccontextmanager
async def registered(
    settings: Settings, database: Database, clock: Clock, worker: str
) -> AsyncIterator[WorkerRegistry]:
    """The registry of processes, with this one in it until all that it did is in the ledger.

    A process that can only be alone, on a SQLite file and with counters in memory, is not noted there.

    Args:
        settings: the settings.
        database: where the registry is.
        clock: the time.
        worker: the id of this process.
    """
    registry = WorkerRegistry(database, identity(worker), clock)
    if settings.state.url is None and settings.database.url is None:
        yield registry
        return

    async def beat() -> None:
        while True:
            await asyncio.sleep(BEAT)
            try:
                await registry.beat()
            except Unavailable:
                _log.warning("the database is away: other processes do not see this one")
            except Exception:  # noqa: BLE001 - it must go on
                _log.exception("this process could not be noted in the database")

    try:
        await registry.beat()
    except Unavailable:
        _log.warning("the database is away: other processes do not see this one")
    async with _beside(beat()):
        yield registry
    with contextlib.suppress(Unavailable):
        await registry.remove()


@contextlib.asynccontextmanager
async def _beside(work: Awaitable[None]) -> AsyncIterator[None]:
    """Have something run meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _expiring(state: State, clock: Clock, longest_request: float) -> None:
    """Forget the counters of windows that are over."""
    while True:
        await asyncio.sleep(_SWEEP)
        # Requests that arrived in an old window may still be admitted against it.
        await state.expire(clock.now() - longest_request - _SWEEP)
