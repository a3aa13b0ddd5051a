"""What lives as long as the process, built once by `gateway.app` and handed to whoever needs it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from backends import Backend
from gateway.auth.directory import KeyDirectory
from gateway.clock import Clock
from gateway.ids import IdSource
from gateway.routing.candidates import Book
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.store.state import State
from gateway.telemetry.metrics import Metrics
from gateway.uptime.breaker import Breaker
from gateway.uptime.standing import Standing
from gateway.usage.journal import Journal
from gateway.usage.recent import Recent
from gateway.wire.tool_checks import ToolChecker


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a running gateway.

    `instance` is the id by which this gateway knows requests that it has passed on: see
    `gateway.flow.hops`. Replicas share it.
    `standing` says whether this process should be sent requests. `scrape` gives the metrics of all
    processes of this gateway; None: there is no other.
    `book` is a function because prices have dates: the book of today may not be that of the start.
    """

    settings: Settings
    instance: str
    clock: Clock
    ids: IdSource
    keys: KeyDirectory
    book: Callable[[], Book]
    backends: Mapping[str, Backend]
    tools: ToolChecker
    breaker: Breaker
    state: State
    journal: Journal
    recent: Recent
    metrics: Metrics
    database: Database
    standing: Standing = field(default_factory=Standing)
    scrape: Callable[[], Awaitable[str]] | None = None
