"""All parts of one process that serves, and how a reload exchanges some of them."""

import asyncio
import contextlib
import functools
import gc
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any

from starlette.applications import Starlette

from gateway.accounts import pepper
from gateway.accounts.announcing import announcements, announcer
from gateway.accounts.office import Office
from gateway.accounts.opening import Installation
from gateway.accounts.principals import find_principal
from gateway.api.admin.edge import routes as admin_routes
from gateway.api.edge import Edge
from gateway.api.routes import BASES, CHAT, MESSAGES, Pages, application
from gateway.app import alone
from gateway.app.counting import counting, registered
from gateway.app.upstream import Upstream
from gateway.auth.directory import KeyDirectory
from gateway.clock import Clock, SystemClock
from gateway.flow.dialects import ANTHROPIC, OPENAI, OPENROUTER
from gateway.flow.run import ChatFlow
from gateway.ids import IdSource
from gateway.jobs.changes import ChangeWatch, prune
from gateway.jobs.evidence import EvidenceWatch
from gateway.jobs.leader import lead
from gateway.jobs.roll_ups import PACE, RollUps
from gateway.jobs.shipper import Shipper, replay
from gateway.routing.candidates import Book
from gateway.services import Services
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.store.prices import PriceFolder
from gateway.store.state import State
from gateway.telemetry import metrics
from gateway.telemetry.logs import note_loop_fault
from gateway.telemetry.metrics import Metrics, Sample
from gateway.uptime.accounts import loads_of
from gateway.uptime.breaker import Breaker
from gateway.uptime.standing import Standing
from gateway.usage.journal import Journal
from gateway.usage.recent import Recent
from gateway.values import Principal
from gateway.wire.tool_checks import ToolChecker
from pricing import ModelFacts

_log = logging.getLogger(__name__)
_LOAD = 10.0  # seconds to read a key, and to rebuild the counters of its budgets from the ledger
_SETTLE = 5.0  # seconds that cancelled requests have to settle in

Scrape = Callable[[], Awaitable[str]]


class Worker:
    """The parts of one process, while it serves.

    Args:
        settings: already through `prepare`.
        standing: whether this process should be sent requests.
        scrape: the metrics of all processes of this gateway; without it there is no other.
    """

    def __init__(
        self, settings: Settings, standing: Standing, scrape: Scrape | None = None
    ) -> None:
        self.metrics = Metrics()
        self._settings = settings
        self._standing = standing
        self._scrape = scrape
        self._catalogue = PriceFolder(settings.data, settings.prices.file).catalogue()
        self._clock = SystemClock()
        self._retiring: set[asyncio.Task[None]] = set()
        self._edge: Edge | None = None
        self._upstream: Upstream
        self._office: Office
        self.services: Services

    def application(self) -> Starlette:
        """The ASGI application; its lifespan builds the parts and hands the edge its routes."""

        @contextlib.asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
            async with self._running():
                edge = self._edge = Edge(
                    dict(self._routes()), self._settings.server, self.services.ids, set()
                )
                gc.collect()
                gc.freeze()
                gc.set_threshold(50_000, 20, 100)
                yield {"edge": edge}
                if edge.tasks:  # cancelled for taking too long: let them settle
                    await asyncio.wait(edge.tasks, timeout=_SETTLE)

        pages = Pages(lambda: self.services, self._model)
        routes = [*pages.routes(), *admin_routes(lambda: self.services, lambda: self._office)]
        app = application(routes, IdSource(SystemClock()))
        app.router.lifespan_context = lifespan
        return app

    async def reload(self, settings: Settings) -> None:
        """Serve new requests as other settings say; those that run end as they began.

        What cannot change while the process lives is as before already: see `gateway.processes.reload`.

        Raises:
            ConfigurationError: that cannot be; nothing changed.
        """
        earlier = self._upstream
        # Read beside the event loop: a large file of one's own takes a moment.
        catalogue = await asyncio.to_thread(
            PriceFolder(settings.data, settings.prices.file).catalogue
        )
        new = Upstream(settings, catalogue, self._clock, self._salts, earlier)
        new.start()
        try:
            if new.new_litellm and new.litellm is not None:
                await new.litellm.ready()
        except BaseException:
            await new.aclose(earlier)
            raise
        services, edge = self.services, self._edge
        services.breaker.change(
            new.limits, {candidate.endpoint.id for candidate in new.book().all()}
        )
        services.keys.change(
            max_age=settings.auth.max_age, max_staleness=settings.auth.max_staleness
        )
        self._upstream, self._catalogue = new, catalogue
        self.services = replace(services, settings=settings, book=new.book, backends=new.backends)
        new.serve(services.breaker)
        await earlier.rest()
        under_way: set[asyncio.Task[None]] = set()
        if edge is not None:
            under_way |= edge.tasks
            edge.routes.update(self._routes())
            edge.limits = settings.server
        retiring = asyncio.create_task(_retire(earlier, new, under_way))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    def _routes(self) -> Iterable[tuple[bytes, ChatFlow]]:
        services = self.services
        for base in BASES:
            # /api/v1 is OpenRouter's contract, in which every stream ends with usage.
            dialect = OPENROUTER if base.startswith("/api") else OPENAI
            yield (base + CHAT).encode(), ChatFlow(services, dialect)
            yield (base + MESSAGES).encode(), ChatFlow(services, ANTHROPIC)

    # What is asked of the version of the settings that serves now.

    def _model(self, slug: str) -> ModelFacts | None:
        return self._catalogue.model(slug)

    def _book(self) -> Book:
        return self._upstream.book()

    def _samples(self) -> Iterable[Sample]:
        return self._upstream.samples()

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_exception_handler(note_loop_fault)
        settings, clock = self._settings, self._clock
        installation = Installation.of(settings)
        secret = installation.pepper()
        self._salts = pepper.derived(secret, "cache salts")
        database = installation.database()
        noted, stack = contextlib.AsyncExitStack(), contextlib.AsyncExitStack()
        await noted.enter_async_context(alone.claimed(settings, database, _leave))
        recent, counted = Recent(), self.metrics
        journal_folder = settings.data / "journal"
        journal_folder.mkdir(mode=0o700, exist_ok=True)
        replayed = await replay(journal_folder, database, clock=clock)
        ids = IdSource(clock)
        if replayed.aborted or replayed.damaged:
            _log.warning(
                "the last run did not end cleanly: %d requests settled as aborted, %d lines unreadable",
                replayed.aborted,
                replayed.damaged,
            )
        journal = Journal(
            journal_folder,
            loop=asyncio.get_running_loop(),
            boot=ids.boot,
            sync=settings.journal.sync,
        )
        shipper = Shipper(database, journal, recent, clock=clock)
        registry = await noted.enter_async_context(registered(settings, database, clock, ids.boot))
        counts = await stack.enter_async_context(
            counting(
                settings,
                database,
                recent,
                shipper,
                clock,
                registry=registry,
                journals=journal_folder,
                adopt=functools.partial(replay, journal_folder, database, clock=clock),
            )
        )
        state = counts.state

        async def load(digest: bytes) -> Principal | None:
            principal = await find_principal(database, digest)
            if principal is not None:
                await counts.ensure(principal)
            return principal

        directory = KeyDirectory(
            load,
            secret,
            clock,
            max_age=settings.auth.max_age,
            max_staleness=settings.auth.max_staleness,
            max_entries=settings.auth.max_entries,
            load_timeout=_LOAD,
        )
        announced = await stack.enter_async_context(announcements(settings.state))
        watch = ChangeWatch(
            database,
            directory.invalidate,
            clock,
            interval=settings.auth.poll_interval,
            listen=None if announced is None else announced.listen,
        )
        self._office = Office(database, secret, clock, announcer(directory.invalidate, announced))
        upstream = self._upstream = Upstream(settings, self._catalogue, clock, self._salts)
        breaker = Breaker(
            clock,
            lambda account: self._upstream.book().endpoints_of(account),
            loads_of(upstream.limits),
        )
        self._standing.add(lambda: None if journal.healthy else "the journal cannot be written")
        self.services = Services(
            settings=settings,
            instance=pepper.derived(secret, "instance").hex()[:16],
            clock=clock,
            ids=ids,
            keys=directory,
            book=upstream.book,
            backends=upstream.backends,
            tools=ToolChecker(),
            breaker=breaker,
            state=state,
            journal=journal,
            recent=recent,
            metrics=counted,
            database=database,
            standing=self._standing,
            scrape=self._scrape,
        )
        evidence = EvidenceWatch(self._book, clock)
        counted.collect(_gauges(breaker, journal, recent, state, clock=clock))
        counted.collect(self._samples)
        counted.collect(evidence.samples)
        counted.collect(counts.samples)
        self._standing.add(counts.why_not)
        upstream.start()
        upstream.serve(breaker)
        shipping = asyncio.create_task(shipper.run())
        jobs = (evidence.run(), watch.run(), *_housekeeping(database, clock, ids.boot))
        beside = [asyncio.create_task(job) for job in jobs]
        try:
            yield
        finally:
            for task in (*beside, *self._retiring):
                task.cancel()
            await asyncio.gather(*self._retiring, return_exceptions=True)
            await stack.aclose()  # while what it must know can still be shipped
            shipper.stop()
            await shipping
            await self._upstream.aclose()
            await directory.aclose()
            await journal.close()
            if not await shipper.finish():
                registry.stay()
            journal.release()
            await noted.aclose()
            await database.aclose()


def _housekeeping(
    database: Database, clock: Clock, boot: str
) -> Iterable[Coroutine[Any, Any, None]]:
    """What one process does for all."""
    yield prune(database, clock, boot)
    sums = RollUps(database, clock).look
    yield lead(database, "roll-ups", boot, sums, interval=PACE, clock=clock)


def _leave() -> None:
    """Have this process stop, as whoever started it can."""
    signal.raise_signal(signal.SIGTERM)


def build(settings: Settings) -> Starlette:
    """The ASGI application of a process that is alone."""
    return Worker(settings, Standing()).application()


async def _retire(old: Upstream, new: Upstream, under_way: set[asyncio.Task[None]]) -> None:
    """Close what no request uses any more."""
    try:
        if under_way:
            await asyncio.wait(under_way)
    finally:
        await old.aclose(new)


def _gauges(
    breaker: Breaker, journal: Journal, recent: Recent, state: State, *, clock: Clock
) -> Callable[[], Iterable[Sample]]:
    def read() -> Iterable[Sample]:
        yield metrics.JOURNAL_HEALTHY, (), float(journal.healthy)
        yield metrics.LEDGER_QUEUE, (), len(recent)
        yield metrics.HOLDS, (), state.held_count
        now = clock.monotonic()
        aside = sum(health.open_until > now for health in breaker.snapshot().values())
        yield metrics.ENDPOINT_SET_ASIDE, (), aside

    return read
