"""What a reload exchanges: the settings, the endpoints that they name, and the connections to those."""

import asyncio
import contextlib
import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping

from backends import (
    Backend,
    ClientLimits,
    Dialer,
    Exemptions,
    HttpClient,
    LitellmPlan,
    LitellmWorker,
    Proxy,
    open_backends,
    rotating,
)
from gateway.clock import Clock
from gateway.errors import ConfigurationError
from gateway.jobs.balances import BalanceWatch, balance_watch
from gateway.routing.accounts import accounts_from
from gateway.routing.candidates import Book
from gateway.routing.endpoints import candidates_from
from gateway.routing.litellm_endpoints import litellm_plan
from gateway.settings import Settings
from gateway.telemetry import metrics
from gateway.telemetry.metrics import Sample
from gateway.uptime.breaker import Breaker
from pricing import Catalogue

_DAY = 86_400
_LITELLM_START = 60.0  # seconds; it takes 5 where nothing else runs (measured 2026-11)


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


class Litellm:
    """The litellm worker and what it was started with."""

    def __init__(self, plan: LitellmPlan, clock: Clock) -> None:
        self.plan = plan
        self.worker = LitellmWorker(plan, clock=clock.monotonic)

    async def ready(self) -> None:
        """Return once it answers.

        Raises:
            ConfigurationError: it does not come to.
        """
        try:
            async with asyncio.timeout(_LITELLM_START):
                await self.worker.ready()
        except TimeoutError:
            raise ConfigurationError(
                [f"litellm: the worker does not start: {self.worker.away}"]
            ) from None


class Upstream:
    """Everything between a request and its providers, as one version of the settings has it.

    Args:
        settings: that version.
        catalogue: the prices and facts in force.
        clock: the time.
        salts: the secret behind cache salts.
        earlier: what served until now: its litellm worker goes on if nothing of it changed.

    Attributes:
        settings: as given.
        limits: of the accounts that these settings know.
    """

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        clock: Clock,
        salts: bytes,
        earlier: "Upstream | None" = None,
    ) -> None:
        self.settings = settings
        self.book = Books(settings, catalogue, clock)
        self.accounts = accounts_from(settings, self.book().all())
        self.limits = {account.name: account.limits for account in self.accounts}
        self._clock = clock
        self._salts = salts
        plan = litellm_plan(settings)
        self.litellm: Litellm | None = None
        self.new_litellm = False
        if plan is not None:
            if earlier is not None and earlier.litellm and earlier.litellm.plan == plan:
                self.litellm = earlier.litellm
            else:
                self.litellm = Litellm(plan, clock)
                self.new_litellm = True
        self.client = upstream_client(settings, clock)
        worker = None if self.litellm is None else self.litellm.worker
        self.backends: Mapping[str, Backend] = rotating(
            open_backends(self.client, salts, worker), clock.monotonic
        )
        self._watch: BalanceWatch | None = None
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start a litellm worker, if these settings want another than before."""
        if self.new_litellm and self.litellm is not None:
            self.litellm.worker.start()

    def serve(self, breaker: Breaker) -> None:
        """Requests come from now on: look at the balances."""
        self._watch = balance_watch(self.settings.upstream, self.accounts, self.client, breaker)
        self._watching = asyncio.create_task(self._watch.run())

    async def rest(self) -> None:
        """No new request comes any more; those that run go on."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None

    async def aclose(self, successor: "Upstream | None" = None) -> None:
        """Close every connection, and end the litellm worker unless `successor` goes on with it."""
        await self.rest()
        if self.litellm and (successor is None or successor.litellm is not self.litellm):
            await self.litellm.worker.aclose()
        await self.client.aclose()

    def samples(self) -> Iterable[Sample]:
        """Gauges of connections and balances."""
        connections: Counter[tuple[str, str]] = (
            Counter()
        )  # local ones and others are pools of their own
        for origin, stats in self.client.stats().items():
            where = f"{origin.scheme}://{origin.authority}"
            connections[where, "used"] += stats.open - stats.idle
            connections[where, "idle"] += stats.idle
            connections[where, "waiting"] += stats.waiting
        for (where, kind), count in connections.items():
            yield metrics.UPSTREAM_CONNECTIONS, (("origin", where), ("state", kind)), count
        if self._watch is not None:
            yield from self._watch.samples()


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
