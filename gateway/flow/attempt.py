"""Walking a plan: the only place that tries again.

An endpoint has been chosen for good when its first *meaningful* event arrives: content, reasoning or a
tool call that is not empty. Whatever fails before that is noted, and the next endpoint tried; nobody
but the ledger learns of it unless all fail.
"""

import asyncio
from collections.abc import Mapping, Sequence

from msgspec import Struct

from backends import (
    Backend,
    BackendError,
    BadReply,
    Call,
    EmptyReply,
    Event,
    Finish,
    Piece,
    Reply,
    Text,
    UpstreamTimeout,
    Usage,
)
from backends.errors import ContextLengthExceeded
from gateway.clock import Clock
from gateway.flow.failures import Attempt, Failure, hush, note_failure, verdict
from gateway.flow.tools import NO_TOOLS, ToolsSeen, tools_in
from gateway.routing.plan import output_cap
from gateway.uptime.accounts import AccountLoad
from gateway.uptime.breaker import Breaker
from gateway.usage.quantify import estimate_output, estimate_prompt
from gateway.values import Candidate, Plan, PlanEntry, Principal
from gateway.wire.request import ChatRequest
from gateway.wire.tool_checks import ToolChecker
from gateway.wire.web_search import SearchMeter

_ENDED_ON_PURPOSE = ("length", "content_filter", "tool_calls")
_SLACK = 64  # pieces that an answer may have beyond its cap in tokens
_EVENTS_PER_PIECE = 4  # usage and ends come once, or with each piece
MAX_WHOLE = 33_554_432  # bytes of any answer, as of one that comes whole


class Chosen(Struct, frozen=True):
    """The attempt that answers, with what has arrived of it so far.

    `tools` are the tools that it called, where it is complete already.
    """

    attempt: Attempt
    reply: Reply
    events: Sequence[Event]
    first_token: float
    tools: ToolsSeen = NO_TOOLS


class Heard:
    """What has come of the attempt under way: for its cost, should it come to nothing.

    It is counted when somebody asks, each event once: that is where an attempt fails, and with each piece
    where a provider sends much beside them.
    """

    __slots__ = ("_counted", "_pieces", "events", "searches")

    def __init__(self, most_searches: int = 0) -> None:
        """`most_searches`: so many are held for; 0 where the tool is not declared."""
        self.searches = SearchMeter(most_searches) if most_searches else None
        self.events: list[Event] = []
        self._counted = 0  # events looked at
        self._pieces = 0  # pieces among them

    @property
    def usage(self) -> Usage | None:
        """The provider's last statement."""
        return next((event for event in reversed(self.events) if type(event) is Usage), None)

    @property
    def pieces(self) -> int:
        """Pieces of answer."""
        new = self.events[self._counted :]
        self._counted += len(new)
        self._pieces += sum([type(e) is Text or (type(e) is Piece and e.meaningful) for e in new])
        return self._pieces

    @property
    def written(self) -> int:
        """Output tokens, estimated."""
        return estimate_output(self.pieces, _size(self.events))

    @property
    def searched(self) -> int:
        """Web searches that were called."""
        if self.searches is None:
            return 0
        self.searches.add(self.events)
        return self.searches.count

    def bound(self, most: int) -> None:
        """See that there are no more than `most` pieces, nor many times as many events of any kind.

        Raises:
            BadReply: there are.
        """
        count = len(self.events)
        if count > most and (count > most * _EVENTS_PER_PIECE or self.pieces > most):
            raise over_cap(most)


_NOTHING_HEARD = Heard()  # before the first attempt; each has one of its own


def _size(events: Sequence[Event]) -> int:
    """Bytes of answer in events."""
    size = 0
    for event in events:
        if type(event) is Text:
            size += len(event.text)
        elif type(event) is Piece:
            size += sum(map(len, event.delta.values()))
    return size


class Walker:
    """Tries the endpoints of one plan in turn.

    Attributes:
        current: the attempt under way, if any.
        heard: what has come of it.
        failures: the attempts that failed, in order.
        reply: the reply under way, if any.
    """

    __slots__ = (
        "_backends",
        "_breaker",
        "_clock",
        "_load",
        "_silent",
        "_tools",
        "_waits",
        "current",
        "failures",
        "heard",
        "reply",
    )

    def __init__(
        self,
        backends: Mapping[str, Backend],
        breaker: Breaker,
        clock: Clock,
        tools: ToolChecker,
    ) -> None:
        self._backends = backends
        self._breaker = breaker
        self._clock = clock
        self._load: AccountLoad | None = None  # that the attempt under way counts in
        self._waits: list[tuple[PlanEntry, float]] = []  # passed over: at a limit of our account
        self._silent = False  # whether what providers say of the request is kept from everybody
        self._tools = tools
        self.current: Attempt | None = None
        self.heard = _NOTHING_HEARD
        self.failures: list[Failure] = []
        self.reply: Reply | None = None

    async def walk(
        self,
        request: ChatRequest,
        plan: Plan,
        *,
        principal: Principal,
        request_id: str,
        deadline: float,
        via: str = "",
    ) -> Chosen:
        """The first endpoint that answers.

        Args:
            request: what was asked.
            plan: where it may go.
            principal: whose request it is.
            request_id: the generation id.
            deadline: when all attempts together must be over, on the monotonic clock.
            via: the gateways that it came through, this one last.

        Raises:
            InvalidRequest: a provider found the caller at fault, or no context was large enough.
            AllAttemptsFailed: none answered.
        """
        self._silent = principal.zdr or request.preferences.zdr
        loads = self._breaker.loads
        too_long_for = 0  # tokens of the largest context that did not do
        too_short: list[PlanEntry] = []
        entries: Sequence[PlanEntry] = plan.entries
        while entries:
            entry, *entries = entries
            started = self._clock.monotonic()
            left = deadline - started
            if left <= 0:
                break
            if entry.candidate.context_length <= too_long_for:
                too_short.append(entry)
                continue
            if loads and self._at_limit(loads, entry, request, started):
                continue
            ordinal = len(self.failures) + 1
            self.current = Attempt(ordinal, entry, int(self._clock.now() * 1000), started)
            self.heard = Heard(request.searches * request.choices)
            try:
                return await self._try(
                    self.current, request, request_id, left, principal=principal, via=via
                )
            except BackendError as error:
                self._failed(error)
                if not error.try_next:
                    break
                if error.sets_aside == "account":
                    entries = _others_first(entries, entry.candidate.endpoint.account)
                if isinstance(error, ContextLengthExceeded):
                    too_long_for = max(too_long_for, entry.candidate.context_length)
        raise verdict(plan.model, self.failures, waits=self._waits, too_short=too_short)

    def _at_limit(
        self,
        loads: Mapping[str, AccountLoad],
        entry: PlanEntry,
        request: ChatRequest,
        now: float,
    ) -> bool:
        """Whether an endpoint's account is at a limit; if not, the attempt counts in it from here on."""
        candidate = entry.candidate
        load = loads.get(candidate.endpoint.account)
        if load is None:
            return False
        cap = output_cap(candidate, request.max_tokens)
        prompt = estimate_prompt(request.prompt_bytes, candidate.context_length)
        tokens = prompt + cap * request.choices
        if wait := load.take(now, tokens):
            self._waits.append((entry, wait))
            return True
        self._load = load
        return False

    async def _try(
        self,
        attempt: Attempt,
        request: ChatRequest,
        request_id: str,
        left: float,
        *,
        principal: Principal,
        via: str,
    ) -> Chosen:
        candidate = attempt.entry.candidate
        endpoint = candidate.endpoint
        call = Call(
            fields=request.fields,
            stream=request.stream,
            output_cap=output_cap(candidate, request.max_tokens),
            request_id=request_id,
            tenant=principal.team_id,
            organisation=principal.organisation_id,
            mode=request.mode,
            zdr=principal.zdr or request.preferences.zdr,
            no_training=principal.no_training or request.preferences.no_training,
            via=via,
        )
        reply = await self._backends[endpoint.kind].open(call, endpoint, timeout=left)
        self.reply = reply
        if endpoint.native_non_stream and not request.stream:  # it is all here already
            chosen = await self._rest(await self._first(attempt, reply), request)
            self._breaker.succeeded(endpoint.id, endpoint.account)
            return chosen
        late = _FirstToken(reply, attempt.started + endpoint.deadlines.first_byte, self._clock)
        try:
            chosen = await self._first(attempt, reply)
        except BackendError:
            if late.passed:
                raise UpstreamTimeout("first_token", endpoint.deadlines.first_byte) from None
            raise
        finally:
            late.close()
        chosen = chosen if request.stream else await self._rest(chosen, request)
        self._breaker.succeeded(endpoint.id, endpoint.account)
        return chosen

    async def _first(self, attempt: Attempt, reply: Reply) -> Chosen:
        """The reply up to its first meaningful event."""
        events = self.heard.events
        while batch := await reply.next():
            events += batch
            for event in batch:
                if _meaningful(event):
                    return Chosen(attempt, reply, events, self._clock.monotonic())
        raise EmptyReply

    async def _rest(self, chosen: Chosen, request: ChatRequest) -> Chosen:
        """The whole reply: the caller has nothing of it yet, so that another endpoint may still do better.

        Raises:
            BadReply: it is too long, calls too many searches, or one of its tool calls is of no use.
        """
        heard, reply, events = self.heard, chosen.reply, self.heard.events
        most = most_pieces(chosen.attempt.entry.candidate, request)
        size = 0  # of what came after the first events: those were bounded as one reply, or as one line
        while batch := await reply.next():
            events += batch
            size += _size(batch)
            if size > MAX_WHOLE:
                raise BadReply(f"an answer of more than {MAX_WHOLE} bytes")
            heard.bound(most)
        heard.bound(most)
        if heard.searches is not None:
            heard.searches.add(events)
            heard.searches.check()
        tools = tools_in(self._tools, request.fields.get("tools"), events)
        return Chosen(chosen.attempt, reply, events, chosen.first_token, tools)

    def hush(self, error: BackendError) -> None:
        """Where nothing of the request may be kept, leave nothing of what the provider said of it."""
        if self._silent:
            hush(error)

    def _failed(self, error: BackendError) -> None:
        attempt = self.current
        if attempt is None:
            return
        self.hush(error)
        malformed = 0 if self.reply is None else self.reply.malformed
        self.abort()
        heard, ended = self.heard, self._clock.monotonic()
        self.failures.append(
            Failure(attempt, error, ended, heard.usage, malformed, heard.written, heard.searched)
        )
        self.current = None
        note_failure(self._breaker, attempt, error)

    def abort(self) -> None:
        """End the reply under way, if there is one."""
        if self._load is not None:
            self._load.end()
            self._load = None
        if self.reply is not None:
            self.reply.abort()
            self.reply = None


def most_pieces(candidate: Candidate, request: ChatRequest) -> int:
    """Pieces that an answer may have: what was held for it covers no more.

    A piece is a token or more, but for the ends of reasoning, tool calls and the like.
    """
    return output_cap(candidate, request.max_tokens) * request.choices + _SLACK


def over_cap(most: int) -> BadReply:
    """What an answer with more than `most` pieces is."""
    return BadReply(
        f"more than {most} pieces: the output cap was ignored",
        public="the provider wrote more than it was asked for",
    )


class _FirstToken:
    """Gives a reply up that says nothing meaningful in time, however busily it says so."""

    __slots__ = ("_reply", "_timer", "passed")

    def __init__(self, reply: Reply, due: float, clock: Clock) -> None:
        """`due` is on the monotonic clock."""
        self.passed = False
        self._reply = reply
        wait = max(0.0, due - clock.monotonic())
        self._timer = asyncio.get_running_loop().call_later(wait, self._give_up)

    def _give_up(self) -> None:
        self.passed = True
        self._reply.abort()

    def close(self) -> None:
        self._timer.cancel()


def _others_first(entries: Sequence[PlanEntry], account: str) -> Sequence[PlanEntry]:
    """The same, with those of one account last: what it was refused for holds for all of them."""
    return sorted(entries, key=lambda entry: entry.candidate.endpoint.account == account)


def _meaningful(event: Event) -> bool:
    if isinstance(event, Text):
        return True
    if isinstance(event, Piece):
        return event.meaningful
    # An answer that was cut at its cap, or by a filter, before any text is an answer all the same:
    # another endpoint would do no better.
    return isinstance(event, Finish) and event.reason in _ENDED_ON_PURPOSE
