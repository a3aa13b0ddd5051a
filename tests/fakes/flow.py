"""Everything around the request path, in memory: what `ChatFlow` needs and nothing that does I/O.

Whatever happens is noted in one `log`, in order: `admit`, `settle`, `line:open`, `safe:close`,
`open:a`, `wait` (in a reply), `start:200`, `write`, `finish` …
"""

import asyncio
import json
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from typing_extensions import override

from backends import Backend, BackendError, Call, Endpoint, Event, Reply
from backends.base import Take
from gateway.clock import Clock
from gateway.errors import GatewayError, Unauthenticated
from gateway.exchange import Exchange, Head
from gateway.flow.dialects import OPENAI, Dialect
from gateway.flow.run import ChatFlow
from gateway.ids import IdSource
from gateway.services import Services
from gateway.settings import check
from gateway.store.state import Admitted, Decision
from gateway.store.state.memory import MemoryState
from gateway.telemetry.metrics import Metrics
from gateway.uptime.breaker import Breaker
from gateway.usage import lines
from gateway.usage.recent import Recent
from gateway.values import Candidate, Outcome, Principal, Reservation
from gateway.wire.tool_checks import ToolChecker
from tests import builders
from tests.fakes.clock import HandClock

if TYPE_CHECKING:
    from gateway.auth.directory import KeyDirectory
    from gateway.store.database import Database
    from gateway.usage.journal import Journal

# One step of a scripted reply: events that arrive, a failure, seconds that pass, or a wait.
Step = Sequence[Event] | BackendError | float | asyncio.Event


class Log(list[str]):
    """What happened, in order; tests can wait for an entry."""

    def __init__(self) -> None:
        super().__init__()
        self._grown = asyncio.Event()

    @override
    def append(self, entry: str, /) -> None:
        super().append(entry)
        self._grown.set()

    async def holds(self, entry: str, times: int = 1) -> None:
        """Return once `entry` is there so many times."""
        while self.count(entry) < times:
            self._grown.clear()
            await self._grown.wait()


class FakeHead(Head):
    """Headers by lower-case name."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = {name.encode(): value.encode() for name, value in headers.items()}

    @override
    def header(self, name: bytes) -> bytes | None:
        return self._headers.get(name)

    @override
    def first(self, name: bytes) -> bytes | None:
        return self._headers.get(name)


class FakeExchange(Exchange):
    """A caller who reads everything, until it leaves.

    Attributes:
        begun: set once the first byte of a body was written.
    """

    def __init__(self, body: bytes, log: Log, headers: Mapping[str, str]) -> None:
        self.head = FakeHead(headers)
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.length: int | None = None
        self.sent = b""
        self.complete = False
        self.full = False  # whether the caller reads no more for now
        self.begun = asyncio.Event()
        self._body = body
        self._gone = False
        self._log = log

    def leave(self) -> None:
        """The caller closes its connection. The test cancels the task, as the edge does."""
        self._gone = True

    @override
    async def body(self) -> bytes:
        return self._body

    @override
    def start(self, status: int, headers: bytes, length: int | None) -> None:
        assert self.status is None, "an answer has one head"
        self._log.append(f"start:{status}")
        self.status = status
        assert headers.endswith(b"\r\n")
        pairs = [line.partition(": ") for line in headers.decode().splitlines()]
        self.headers = {name: value for name, _, value in pairs}
        assert len(self.headers) == len(pairs), "a header is there twice"
        self.length = length

    @override
    def write(self, data: bytes) -> None:
        assert self.status is not None
        assert not self.complete
        self._log.append("write")
        self.sent += data
        self.begun.set()

    @override
    async def drain(self) -> None:
        self.full = False

    @override
    def finish(self, data: bytes = b"") -> None:
        assert not self.complete, "an answer ends once"
        self._log.append("finish")
        self.sent += data
        self.complete = True

    @property
    @override
    def congested(self) -> bool:
        return self.full

    @property
    @override
    def gone(self) -> bool:
        return self._gone

    # What the caller read

    @property
    def json(self) -> Any:
        """The whole answer."""
        return json.loads(self.sent)

    @property
    def error(self) -> Any:
        """The error object of a whole answer."""
        return self.json["error"]

    @property
    def events(self) -> list[Any]:
        """The JSON of each event of a stream, without comments and `[DONE]`."""
        blocks = [block for block in self.sent.decode().split("\n\n") if block]
        data = [block.removeprefix("data: ") for block in blocks if not block.startswith(":")]
        return [json.loads(block) for block in data if block != "[DONE]"]

    @property
    def done(self) -> bool:
        """Whether the stream said `[DONE]` at its end."""
        return self.sent.endswith(b"data: [DONE]\n\n")

    @property
    def content(self) -> str:
        """The text of a stream."""
        deltas = [e["choices"][0]["delta"] for e in self.events if e.get("choices")]
        return "".join(delta.get("content") or "" for delta in deltas)


class ScriptedReply:
    """A reply that goes as it was written."""

    def __init__(self, steps: Sequence[Step], clock: HandClock, log: Log) -> None:
        self.dropped: tuple[str, ...] = ()
        self.upstream_id: str | None = "chatcmpl-1"
        self.malformed = 0
        self.aborted = False
        self._steps = list(steps)
        self._clock = clock
        self._log = log

    async def next(self, take: Take | None = None) -> list[Event]:
        while self._steps:
            step = self._steps.pop(0)
            if isinstance(step, BackendError):
                raise step
            if isinstance(step, float):
                self._clock.advance(step)
            elif isinstance(step, asyncio.Event):
                self._log.append("wait")
                await step.wait()
            else:
                return list(step)
        return []

    def abort(self) -> None:
        self.aborted = True


class ScriptedBackend(Backend):
    """Endpoints by provider; each opening takes the next script, a failure or a reply's steps."""

    def __init__(self, clock: HandClock, log: Log) -> None:
        self.calls: list[tuple[Call, Endpoint, float]] = []
        self.replies: list[ScriptedReply] = []
        self.scripts: dict[str, list[BackendError | Sequence[Step]]] = {}
        self.dropped: tuple[str, ...] = ()  # what replies say was not sent
        self._clock = clock
        self._log = log

    @override
    async def open(self, call: Call, endpoint: Endpoint, *, timeout: float) -> Reply:
        self._log.append(f"open:{endpoint.provider}")
        self.calls.append((call, endpoint, timeout))
        script = self.scripts[endpoint.provider].pop(0)
        if isinstance(script, BackendError):
            raise script
        reply = ScriptedReply(script, self._clock, self._log)
        reply.dropped = self.dropped
        self.replies.append(reply)
        return reply


class FakeJournal:
    """A journal whose lines are safe one tick after they were appended."""

    def __init__(self, log: Log) -> None:
        self.healthy = True
        self.lines: list[lines.Line] = []
        self._log = log
        self._known: set[str] = set()

    def append(self, line: bytes) -> Awaitable[None]:
        decoded = lines.decode(line)
        self.lines.append(decoded)
        kind = type(decoded).__name__.lower()
        self._log.append(f"line:{kind}")
        loop = asyncio.get_running_loop()
        safe = loop.create_future()

        def written() -> None:
            self._log.append(f"safe:{kind}")
            if not safe.done():
                safe.set_result(None)

        loop.call_soon(written)
        return safe

    def lacks_headers(self, group: str) -> bool:
        return True

    def lacks_header(self, key: str) -> bool:
        return key not in self._known

    def append_header(self, key: str, line: bytes) -> None:
        self._known.add(key)
        self.append(line)

    def require_healthy(self) -> None:
        if not self.healthy:
            raise GatewayError("the disk is full", code="journal_unavailable", status=503)

    @property
    def outcomes(self) -> list[Outcome]:
        """Of every close line."""
        return [line.outcome for line in self.lines if isinstance(line, lines.Close)]


class LoggedState(MemoryState):
    """Counters that note when they are moved."""

    def __init__(self, log: Log, clock: Clock) -> None:
        super().__init__(clock)
        self._log = log
        self.reservations: list[Reservation] = []
        self.charges: list[int] = []
        self.tokens: list[int | None] = []

    @override
    async def admit(self, reservation: Reservation) -> Decision:
        decision = await super().admit(reservation)
        self._log.append("admit" if isinstance(decision, Admitted) else "refuse")
        self.reservations.append(reservation)
        return decision

    @override
    async def settle(
        self, reservation_id: str, charge_nano: int, tokens: int | None = None
    ) -> None:
        self._log.append("settle")
        self.charges.append(charge_nano)
        self.tokens.append(tokens)
        await super().settle(reservation_id, charge_nano, tokens)

    def spent(self, bucket: str) -> tuple[int, int]:
        """Nano-units spent and held."""
        counter = self._buckets[bucket]
        return counter.spent, counter.held


class FakeKeys:
    """One caller, known by `Bearer good`."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    def lookup(self, header: bytes | None) -> Principal | None:
        return self._principal if header == b"Bearer good" else None

    async def authenticate(self, header: bytes | None) -> Principal:
        raise Unauthenticated("no such key")


class Rig:
    """A gateway's request path with scripted providers.

    Attributes:
        log: what happened, in order.
        backend: its `scripts` say how each provider behaves.
    """

    def __init__(
        self,
        *candidates: Candidate,
        principal: Principal | None = None,
        dialect: Dialect = OPENAI,
        **request: float,
    ) -> None:
        """`request` is the settings' section of that name."""
        self.log = Log()
        self.clock = HandClock()
        self.backend = ScriptedBackend(self.clock, self.log)
        self.journal = FakeJournal(self.log)
        self.state = LoggedState(self.log, self.clock)
        self.metrics = Metrics()
        self.breaker = Breaker(self.clock)
        self.recent = Recent()
        provider = {"kind": "moonshot", "api_key": "unused"}
        book = builders.book(*candidates)
        services = Services(
            settings=check({"providers": [provider], "request": request}),
            instance="here",
            clock=self.clock,
            ids=IdSource(self.clock),
            keys=cast("KeyDirectory", FakeKeys(principal or builders.principal())),
            book=lambda: book,
            backends={"openai_compat": self.backend, "moonshot": self.backend},
            tools=ToolChecker(),
            breaker=self.breaker,
            state=self.state,
            journal=cast("Journal", self.journal),
            recent=self.recent,
            metrics=self.metrics,
            database=cast("Database", None),
        )
        self.flow = ChatFlow(services, dialect)

    def script(self, provider: str, *scripts: BackendError | Sequence[Step]) -> None:
        """How a provider behaves, one script for each time that it is asked."""
        self.backend.scripts[provider] = list(scripts)

    def exchange(self, body: bytes, **headers: str) -> FakeExchange:
        """A request that is not served yet."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return FakeExchange(body, self.log, {"authorization": "Bearer good", **named})

    async def ask(self, body: bytes, **headers: str) -> FakeExchange:
        """Serve one request to its end."""
        exchange = self.exchange(body, **headers)
        await self.flow(exchange)
        return exchange

    @property
    def outcome(self) -> Outcome:
        """The one request that was settled."""
        (outcome,) = self.journal.outcomes
        return outcome

    @property
    def asked(self) -> list[str]:
        """The providers that were asked, in order."""
        return [entry.removeprefix("open:") for entry in self.log if entry.startswith("open:")]
