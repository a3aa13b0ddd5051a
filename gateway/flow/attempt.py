"""Walking a plan: the only place that tries again.

An endpoint has been chosen for good when its first *meaningful* event arrives: content, reasoning or a
tool call that is not empty. Whatever fails before that is noted, and the next endpoint tried; nobody
but the ledger learns of it unless all fail.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from backends import (
    Backend,
    BackendError,
    Call,
    ConnectFailed,
    ConnectionLost,
    EmptyReply,
    Event,
    Finish,
    Piece,
    Reply,
    Text,
    UpstreamTimeout,
    Usage,
)
from gateway.clock import Clock
from gateway.errors import AllAttemptsFailed, InvalidRequest
from gateway.routing.plan import output_cap
from gateway.uptime.breaker import Breaker
from gateway.values import Plan, PlanEntry, Principal
from gateway.wire.request import ChatRequest

_log = logging.getLogger(__name__)

# HTTP status for the caller when the last failure was of this kind; 502 otherwise.
_STATUS = {"timeout": 504, "overloaded": 503, "rate_limited": 429, "connect_failed": 503}
_OURS = (ConnectFailed, ConnectionLost, UpstreamTimeout)
_ENDED_ON_PURPOSE = ("length", "content_filter", "tool_calls")


class Attempt(Struct, frozen=True):
    """One attempt under way or over. Times are on the monotonic clock."""

    ordinal: int
    entry: PlanEntry
    started_ms: int  # epoch
    started: float


class Failure(Struct, frozen=True):
    """An attempt that failed before it was chosen, with the usage it stated, if any.

    `malformed` counts the events of it that could not be read.
    """

    attempt: Attempt
    error: BackendError
    ended: float
    usage: Usage | None = None
    malformed: int = 0


class Chosen(Struct, frozen=True):
    """The attempt that answers, with what has arrived of it so far."""

    attempt: Attempt
    reply: Reply
    events: Sequence[Event]
    first_token: float


class Walker:
    """Tries the endpoints of one plan in turn.

    Attributes:
        current: the attempt under way, if any.
        failures: the attempts that failed, in order.
        reply: the reply under way, if any.
    """

    __slots__ = ("_backends", "_breaker", "_clock", "current", "failures", "reply")

    def __init__(self, backends: Mapping[str, Backend], breaker: Breaker, clock: Clock) -> None:
        self._backends = backends
        self._breaker = breaker
        self._clock = clock
        self.current: Attempt | None = None
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
    ) -> Chosen:
        """The first endpoint that answers.

        Args:
            request: what was asked.
            plan: where it may go.
            principal: whose request it is.
            request_id: the generation id.
            deadline: when all attempts together must be over, on the monotonic clock.

        Raises:
            InvalidRequest: a provider found the caller at fault.
            AllAttemptsFailed: none answered.
        """
        for ordinal, entry in enumerate(plan.entries, 1):
            started = self._clock.monotonic()
            left = deadline - started
            if left <= 0:
                break
            self.current = Attempt(ordinal, entry, int(self._clock.now() * 1000), started)
            usage: list[Usage] = []
            try:
                return await self._try(
                    self.current, request, request_id, left, usage, principal=principal
                )
            except BackendError as error:
                self._failed(error, usage[-1] if usage else None)
                if not error.try_next:
                    break
        raise _verdict(self.failures, plan)

    async def _try(
        self,
        attempt: Attempt,
        request: ChatRequest,
        request_id: str,
        left: float,
        usage: list[Usage],
        *,
        principal: Principal,
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
        )
        reply = await self._backends[endpoint.kind].open(call, endpoint, timeout=left)
        self.reply = reply
        if endpoint.native_non_stream and not request.stream:
            return await self._first(attempt, reply, usage)  # it is all here already
        late = _FirstToken(reply, attempt.started + endpoint.deadlines.first_byte, self._clock)
        try:
            return await self._first(attempt, reply, usage)
        except BackendError:
            if late.passed:
                raise UpstreamTimeout("first_token", endpoint.deadlines.first_byte) from None
            raise
        finally:
            late.close()

    async def _first(self, attempt: Attempt, reply: Reply, usage: list[Usage]) -> Chosen:
        endpoint = attempt.entry.candidate.endpoint
        events: list[Event] = []
        while batch := await reply.next():
            events += batch
            for event in batch:
                if isinstance(event, Usage):
                    usage.append(event)
                elif _meaningful(event):
                    self._breaker.succeeded(endpoint.id)
                    return Chosen(attempt, reply, events, self._clock.monotonic())
        raise EmptyReply

    def _failed(self, error: BackendError, usage: Usage | None) -> None:
        attempt = self.current
        if attempt is None:
            return
        malformed = 0 if self.reply is None else self.reply.malformed
        self.abort()
        self.failures.append(Failure(attempt, error, self._clock.monotonic(), usage, malformed))
        self.current = None
        note_failure(self._breaker, attempt, error)

    def abort(self) -> None:
        """End the reply under way, if there is one."""
        if self.reply is not None:
            self.reply.abort()
            self.reply = None


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


def note_failure(breaker: Breaker, attempt: Attempt, error: BackendError) -> None:
    """Count a failure against its endpoint, and log it if that is news.

    The provider's own words stay out of the log: they may quote the prompt. Those of our own client,
    on connections and deadlines, are in it.
    """
    endpoint = attempt.entry.candidate.endpoint
    if breaker.failed(endpoint.id, error):
        told = str(error) if isinstance(error, _OURS) else error.native_code
        _log.warning(
            "endpoint %s fails: %s, HTTP status %s, %s",
            endpoint.id,
            error.code,
            error.status or "-",
            told or type(error.__cause__).__name__,
        )


def _meaningful(event: Event) -> bool:
    if isinstance(event, Text):
        return True
    if isinstance(event, Piece):
        return event.meaningful
    # An answer that was cut at its cap, or by a filter, before any text is an answer all the same:
    # another endpoint would do no better.
    return isinstance(event, Finish) and event.reason in _ENDED_ON_PURPOSE


def describe(failure: Failure) -> dict[str, Any]:
    """A failed attempt as a caller may read of it."""
    candidate, error = failure.attempt.entry.candidate, failure.error
    seen: dict[str, Any] = {
        "provider": candidate.endpoint.provider,
        "endpoint": candidate.endpoint.id,
        "code": error.code,
        "message": error.public,
    }
    if error.status is not None:
        seen["status"] = error.status
    return seen


def _verdict(failures: Sequence[Failure], plan: Plan) -> Exception:
    metadata: dict[str, Any] = {"attempts": [describe(failure) for failure in failures]}
    if not failures:
        return AllAttemptsFailed(
            "the request's total time was used up before any endpoint could be tried",
            status=504,
            code="timeout",
            metadata=metadata,
        )
    last = failures[-1]
    error = last.error
    provider = last.attempt.entry.candidate.endpoint.provider
    if not error.try_next:
        status = 400 if error.status not in {413, 422} else error.status
        return InvalidRequest(
            f"{provider} refused the request: {error.public}",
            code=error.code,
            status=status,
            metadata=metadata,
        )
    tried = len(failures)
    more = f" (all {tried} endpoints tried; the last was {provider})" if tried > 1 else ""
    waits = [f.error.retry_after for f in failures if f.error.retry_after is not None]
    return AllAttemptsFailed(
        f"no endpoint could answer for {plan.model}: {error.public}{more}",
        code=error.code,
        status=_STATUS.get(error.code, 502),
        retry_after=min(waits) if waits else None,
        metadata=metadata,
    )
