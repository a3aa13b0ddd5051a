"""The composition root: builds every part once, and is the only file that names concrete ones."""

import asyncio
import contextlib
import datetime as dt
import gc
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from typing_extensions import override

from backends import (
    ClientLimits,
    Dialer,
    Exemptions,
    HttpClient,
    LitellmWorker,
    Proxy,
    litellm_fault,
    open_backends,
    rotating,
)
from gateway.accounts import bootstrap, keys, pepper
from gateway.accounts.opening import database_url, make_folder
from gateway.api.edge import Edge, EdgeProtocol
from gateway.api.routes import BASES, CHAT, MESSAGES, Pages, application
from gateway.auth.directory import KeyDirectory
from gateway.clock import Clock, SystemClock
from gateway.errors import ConfigurationError
from gateway.flow.counters import Counters
from gateway.flow.dialects import ANTHROPIC, OPENAI, OPENROUTER
from gateway.flow.run import ChatFlow
from gateway.ids import IdSource
from gateway.jobs.balances import balance_watch
from gateway.jobs.evidence import EvidenceWatch
from gateway.jobs.shipper import Shipper, replay
from gateway.routing.accounts import accounts_from
from gateway.routing.candidates import Book
from gateway.routing.endpoints import candidates_from
from gateway.routing.litellm_endpoints import litellm_plan
from gateway.services import Services
from gateway.settings import ServerSettings, Settings
from gateway.store import owner, schema
from gateway.store.database import Database
from gateway.store.state.memory import MemoryState
from gateway.telemetry import metrics
from gateway.telemetry.logs import note_loop_fault
from gateway.telemetry.metrics import Metrics, Sample
from gateway.uptime.accounts import loads_of
from gateway.uptime.breaker import Breaker
from gateway.usage.journal import Journal
from gateway.usage.recent import Recent
from gateway.values import Principal
from gateway.wire.tool_checks import ToolChecker
from pricing import Catalogue, load_packaged

_log = logging.getLogger(__name__)
_DAY = 86_400
_LOAD = 10.0  # seconds to read a key, and to rebuild the counters of its budgets from the ledger
_SWEEP = 600.0  # seconds between looks for budget windows that are over
_SETTLE = 5.0  # seconds that cancelled requests have to settle in


class Books:
    """Today's candidates: prices have dates, so the book is made anew each day (UTC)."""

    def __init__(self, settings: Settings, catalogue: Catalogue, clock: Clock) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._clock = clock
        self._until = 0.0
        self._book = self._made(clock.now())

    def __call__(self) -> Book:
        """The book of now."""
        now = self._clock.now()
        if now >= self._until:
            self._book = self._made(now)
        return self._book

    def _made(self, now: float) -> Book:
        today = dt.datetime.fromtimestamp(now, dt.UTC).date()
        self._until = (now // _DAY + 1) * _DAY
        return Book(self._catalogue, candidates_from(self._settings, self._catalogue, today))


async def prepare(settings: Settings) -> None:
    """Do all that can be refused before requests are answered: folder, database, secret, endpoints.

    The data folder is this process's from here on, until it ends.

    Raises:
        ConfigurationError: with a line for each fault.
    """
    check(settings)
    plan = litellm_plan(settings)
    if plan is not None and (fault := await litellm_fault(plan)) is not None:
        raise ConfigurationError([f"litellm: {fault}"])
    make_folder(settings.data)
    owner.take(settings.data)
    await schema.upgrade(database_url(settings.data))
    await first_account(settings.data, with_key=False)


def check(settings: Settings) -> None:
    """Do all that can be refused without touching anything.

    Raises:
        ConfigurationError: with a line for each fault.
    """
    books = Books(settings, load_packaged(), SystemClock())
    unpriced = [
        f"endpoint {candidate.endpoint.id} has no price: give it one, nothing is free by default"
        for candidates in books().models.values()
        for candidate in candidates
        if candidate.card is None
    ]
    if unpriced:
        raise ConfigurationError(unpriced)


def build(settings: Settings) -> Starlette:
    """The ASGI application; its lifespan builds the parts and hands the edge its routes."""
    catalogue = load_packaged()
    running: list[Services] = []

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with _running(settings, catalogue) as services:
            running.append(services)
            routes = {}
            for base in BASES:
                # /api/v1 is OpenRouter's contract, in which every stream ends with usage.
                dialect = OPENROUTER if base.startswith("/api") else OPENAI
                routes[(base + CHAT).encode()] = ChatFlow(services, dialect)
                routes[(base + MESSAGES).encode()] = ChatFlow(services, ANTHROPIC)
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 100)
            edge = Edge(routes, settings.server, services.ids, set())
            yield {"edge": edge}
            if edge.tasks:  # cancelled for taking too long: let them settle
                await asyncio.wait(edge.tasks, timeout=_SETTLE)
            running.clear()

    app = application(Pages(lambda: running[0], catalogue.model).routes(), IdSource(SystemClock()))
    app.router.lifespan_context = lifespan
    return app


@contextlib.asynccontextmanager
async def _running(settings: Settings, catalogue: Catalogue) -> AsyncIterator[Services]:
    asyncio.get_running_loop().set_exception_handler(note_loop_fault)
    clock = SystemClock()
    secret = pepper.ensure(settings.data)
    database = Database(database_url(settings.data))
    state, recent, counted = MemoryState(), Recent(), Metrics()
    journal_folder = settings.data / "journal"
    journal_folder.mkdir(mode=0o700, exist_ok=True)
    replayed = await replay(journal_folder, database, clock=clock)
    if replayed.aborted or replayed.damaged:
        _log.warning(
            "the last run did not end cleanly: %d requests settled as aborted, %d lines unreadable",
            replayed.aborted,
            replayed.damaged,
        )
    journal = Journal(journal_folder, loop=asyncio.get_running_loop(), sync=settings.journal.sync)
    shipper = Shipper(database, journal, recent, clock=clock)
    counters = Counters(
        database,
        state,
        recent,
        shipper.lock,
        clock,
        grace=settings.auth.max_staleness + settings.request.total_timeout,
    )

    async def load(digest: bytes) -> Principal | None:
        principal = await keys.find_principal(database, digest)
        if principal is not None:
            await counters.ensure(principal)
        return principal

    directory = KeyDirectory(
        load,
        secret,
        clock,
        max_age=settings.auth.max_age,
        max_staleness=settings.auth.max_staleness,
        load_timeout=_LOAD,
    )
    client = upstream_client(settings, clock)
    plan = litellm_plan(settings)
    litellm = None if plan is None else LitellmWorker(plan, clock=clock.monotonic)
    book = Books(settings, catalogue, clock)
    accounts = accounts_from(settings, book().all())
    loads = loads_of({account.name: account.limits for account in accounts})
    breaker = Breaker(clock, lambda account: book().endpoints_of(account), loads)
    watch = balance_watch(settings.upstream, accounts, client, breaker)
    services = Services(
        settings=settings,
        instance=pepper.derived(secret, "instance").hex()[:16],
        clock=clock,
        ids=IdSource(clock),
        keys=directory,
        book=book,
        backends=rotating(
            open_backends(client, pepper.derived(secret, "cache salts"), litellm), clock.monotonic
        ),
        tools=ToolChecker(),
        breaker=breaker,
        state=state,
        journal=journal,
        recent=recent,
        metrics=counted,
        database=database,
    )
    counted.collect(_gauges(client, breaker, journal, recent, state, clock=clock))
    counted.collect(watch.samples)
    watching = asyncio.create_task(watch.run())
    evidence = EvidenceWatch(book, clock)
    counted.collect(evidence.samples)
    looking = asyncio.create_task(evidence.run())
    if litellm is not None:
        litellm.start()
    shipping = asyncio.create_task(shipper.run())
    sweeping = asyncio.create_task(_sweep(state, clock, settings.request.total_timeout))
    try:
        yield services
    finally:
        sweeping.cancel()
        watching.cancel()
        looking.cancel()
        shipper.stop()
        await shipping
        if litellm is not None:
            await litellm.aclose()
        await client.aclose()
        await directory.aclose()
        await journal.close()
        await shipper.finish()
        journal.release()
        await database.aclose()


def upstream_dialer(settings: Settings) -> Dialer:
    """What opens connections to upstreams, as the settings say."""
    upstream = settings.upstream
    proxy = upstream.proxy
    return Dialer(
        tls=upstream.tls.files(),
        tls_of={origin: tls.files() for origin, tls in settings.tls_by_origin().items()},
        proxy=None if proxy is None else Proxy.of(proxy.get_secret_value()),
        exemptions=Exemptions(upstream.no_proxy),
    )


def upstream_client(settings: Settings, clock: Clock, dialer: Dialer | None = None) -> HttpClient:
    """The client that requests go upstream with, as the settings say.

    Args:
        settings: the settings.
        clock: of which the monotonic time counts.
        dialer: that of `upstream_dialer`, if it is there already.
    """
    upstream = settings.upstream
    dialer = dialer or upstream_dialer(settings)
    limits = ClientLimits(
        max_age=upstream.max_connection_age,
        max_waiting=upstream.max_waiting,
        max_waiting_per_tenant=upstream.max_waiting_per_team,
    )
    return HttpClient(clock=clock.monotonic, dialer=dialer, limits=limits)


async def _sweep(state: MemoryState, clock: Clock, longest_request: float) -> None:
    """Forget the counters of windows that are over."""
    while True:
        await asyncio.sleep(_SWEEP)
        # Requests that arrived in an old window may still be admitted against it.
        await state.expire(clock.now() - longest_request - _SWEEP)


def _gauges(
    client: HttpClient,
    breaker: Breaker,
    journal: Journal,
    recent: Recent,
    state: MemoryState,
    *,
    clock: Clock,
) -> Callable[[], Iterable[Sample]]:
    def read() -> Iterable[Sample]:
        connections: Counter[tuple[str, str]] = (
            Counter()
        )  # local ones and others are pools of their own
        for origin, stats in client.stats().items():
            where = f"{origin.scheme}://{origin.authority}"
            connections[where, "used"] += stats.open - stats.idle
            connections[where, "idle"] += stats.idle
            connections[where, "waiting"] += stats.waiting
        for (where, kind), count in connections.items():
            yield metrics.UPSTREAM_CONNECTIONS, (("origin", where), ("state", kind)), count
        yield metrics.JOURNAL_HEALTHY, (), float(journal.healthy)
        yield metrics.LEDGER_QUEUE, (), len(recent)
        yield metrics.HOLDS, (), state.held_count
        now = clock.monotonic()
        aside = sum(health.open_until > now for health in breaker.snapshot().values())
        yield metrics.ENDPOINT_SET_ASIDE, (), aside

    return read


async def first_account(data: Path, *, with_key: bool) -> bootstrap.First:
    """Organisation, team and, if wanted, key, made if there are none."""
    secret = pepper.ensure(data)
    database = Database(database_url(data))
    try:
        return await bootstrap.ensure_first(
            database, secret, clock=SystemClock(), with_key=with_key
        )
    finally:
        await database.aclose()


class _Server(uvicorn.Server):
    """A server that says when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def bind(server: ServerSettings) -> socket.socket:
    """The socket to listen on.

    Raises:
        ConfigurationError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((server.host, server.port))
    except OSError as fault:
        listener.close()
        raise ConfigurationError(
            [
                (
                    f"server: cannot listen on {server.host} port {server.port}: {fault.strerror};"
                    " choose another with --port or 'server.port'"
                )
            ]
        ) from fault
    return listener


async def serve(settings: Settings, listener: socket.socket, ready: Callable[[], None]) -> bool:
    """Serve until a signal ends it.

    Args:
        settings: already through `prepare`.
        listener: from `bind`.
        ready: called once the gateway answers.

    Returns:
        Whether it ever did.
    """
    server = settings.server
    config = uvicorn.Config(
        build(settings),
        http=EdgeProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=server.keep_alive,  # type: ignore[arg-type] # it takes fractions too
        timeout_graceful_shutdown=server.drain_timeout,  # type: ignore[arg-type] # as above
        backlog=2048,
    )
    running = _Server(config, ready)
    await running.serve(sockets=[listener])
    return running.started
