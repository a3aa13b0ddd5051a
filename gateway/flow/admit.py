"""Admission: what a request may cost is held before it is sent, and settled however it ends."""

from collections.abc import Awaitable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from backends import BackendError, BadToolCall, Finish
from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.flow.answer import Answer
from gateway.flow.attempt import Chosen, Walker
from gateway.flow.dialects import Encoder, StreamEncoder
from gateway.flow.failures import Attempt, note_failure
from gateway.flow.limit_headers import left_of
from gateway.flow.refusals import over_budget, over_limit
from gateway.flow.settle import (
    Counted,
    Ending,
    Ticket,
    counted,
    outcome_of,
    parts_of,
    record,
    settle,
)
from gateway.flow.tools import NO_TOOLS, tools_seen
from gateway.policies.budgets import holds
from gateway.policies.limits import takes
from gateway.routing.plan import output_cap
from gateway.services import Services
from gateway.store.state import ADMITTED, Admitted, Decision, Refusal
from gateway.telemetry import metrics
from gateway.usage import lines
from gateway.usage.quantify import estimate_output, estimate_prompt
from gateway.values import (
    AttemptRecord,
    BudgetHold,
    Reservation,
    Result,
    UsageView,
)
from gateway.wire.tool_checks import ToolFault, ToolFinding

_CLIENT_CLOSED = 499  # nginx's status for a caller who left; nobody reads it


class Admission:
    """A request that has been let in. Leaving the context settles it, exactly once.

    Attributes:
        walker: makes the attempts of this request, and remembers those that failed.
        chosen: the attempt that answers, once there is one.
        encoder: what turns its answer into bytes, and counts it.
        tools: the tools that it called, once they were looked at.
    """

    def __init__(
        self, services: Services, exchange: Exchange, ticket: Ticket, answer: Answer
    ) -> None:
        self.walker = Walker(services.backends, services.breaker, services.clock, services.tools)
        self.chosen: Chosen | None = None
        self.encoder: Encoder | None = None
        self.tools = NO_TOOLS
        self._services = services
        self._exchange = exchange
        self._answer = answer
        self._ticket = ticket
        self._settled = False

    async def __aenter__(self) -> Self:
        services, ticket = self._services, self._ticket
        services.journal.require_healthy()
        request, principal, terms = ticket.request, ticket.principal, ticket.terms
        prompt = estimate_prompt(request.prompt_bytes, terms.context_length)
        held: tuple[BudgetHold, ...] = ()
        if principal.budgets:
            worst = terms.worst_charge(request)
            held = holds(principal.budgets, worst, ticket.created_ms / 1000)
        reservation = (
            _limited(ticket, held, prompt)
            if principal.limits
            else Reservation(ticket.generation_id, held)
        )
        decision = await services.state.admit(reservation)
        if decision is not ADMITTED:
            self._look_at(decision, reservation)
        services.metrics.in_flight += 1
        # Not awaited: it is written at the end of this tick. A process that dies before has sent the
        # caller nothing, so at worst what a provider bills for those microseconds goes unseen.
        try:
            lines.begin(
                services.journal, _opened(ticket, held, prompt), terms.cards, terms.card_ids
            )
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise
        return self

    def _look_at(self, decision: Decision, reservation: Reservation) -> None:
        """Have the answer tell what is left of limits.

        Raises:
            GatewayError: the request is not admitted.
        """
        services = self._services
        now = services.clock.now()
        if isinstance(decision, Admitted):
            self._answer.note_limits(decision.rates, now)
            return
        if isinstance(decision, Refusal):
            raise over_budget(decision, now)
        if decision.period:
            self._answer.note_limits((left_of(decision),), now)
        labels = (("scope", decision.scope), ("what", decision.what))
        services.metrics.add(metrics.RATE_LIMITED, labels)
        raise over_limit(decision, reservation)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._services.metrics.in_flight -= 1
        self.walker.abort()
        if not self._settled:
            await self._settle(self._unfinished(error))

    def look_at_tools(self, encoder: StreamEncoder) -> tuple[ToolFinding, ...]:
        """What is wrong with the tool calls of a stream that has come to its end.

        It is too late for anything but to say so: the caller has them already.
        """
        tools = self._ticket.request.fields.get("tools")
        with suppress(ValueError):  # in no form that could be put together
            self.tools = tools_seen(
                self._services.tools, tools, encoder.tool_deltas, encoder.finishes
            )
        return self.tools.findings

    async def succeed(self) -> UsageView:
        """Settle a complete answer, before its last byte goes out; its line is safe on return."""
        chosen, encoder = self.chosen, self.encoder
        if chosen is None or encoder is None:
            raise ValueError("no answer was chosen")
        consumed = self._consumed(chosen.attempt)
        last = self._last(chosen, consumed, Result.SUCCESS, charged=True)
        await self._settle(
            Ending(
                result=Result.SUCCESS,
                status=200,
                finish=_first(encoder.finishes),
                last=last,
                chosen=chosen,
            )
        )
        parts = None
        if consumed.quantities.searches:
            parts = parts_of(last, chosen.attempt.entry.candidate.card)
        return UsageView(consumed.usage, consumed.quantities, last.charge, consumed.basis, parts)

    async def broke_off(self, error: BackendError, status: int) -> None:
        """Settle an answer that failed at the provider after it had begun; safe on return."""
        chosen = self.chosen
        if chosen is None:
            raise ValueError("no answer was chosen")
        note_failure(self._services.breaker, chosen.attempt, error)
        consumed, charged = self._consumed(chosen.attempt), self._reached_caller()
        last = self._last(chosen, consumed, Result.FAILED, charged=charged, error=error)
        await self._settle(
            Ending(
                result=Result.FAILED,
                status=status,
                error_code=error.code,
                last=last,
                chosen=chosen,
            )
        )

    def note_progress(self, *, sending: int = 0) -> Awaitable[None] | None:
        """Note in the journal how far a long answer has come, for the case that this process dies.

        Args:
            sending: pieces that go out once what this returns was awaited, if nothing has gone out yet.
        """
        chosen, encoder, services = self.chosen, self.encoder, self._services
        if chosen is None or encoder is None or self._settled:
            return None
        attempt = chosen.attempt
        return services.journal.append(
            lines.encode(
                lines.Progress(
                    id=self._ticket.generation_id,
                    ordinal=attempt.ordinal,
                    endpoint_id=attempt.entry.candidate.endpoint.id,
                    output_tokens=self._estimated(encoder) if self._reached_caller() else sending,
                    started_ms=attempt.started_ms,
                    at_ms=int(services.clock.now() * 1000),
                    ttft_ms=round((chosen.first_token - attempt.started) * 1000),
                    searches=self.walker.heard.searched,
                )
            )
        )

    def _reached_caller(self) -> bool:
        encoder = self._answer.encoder
        return self._answer.streaming and encoder is not None and encoder.told

    def _estimated(self, encoder: Encoder) -> int:
        """Output tokens so far, should the provider not say: never more than what was held for."""
        output = estimate_output(encoder.deltas, encoder.size)
        if self.chosen is None:
            return output
        request = self._ticket.request
        cap = output_cap(self.chosen.attempt.entry.candidate, request.max_tokens)
        return min(output, cap * request.choices)

    def _consumed(self, attempt: Attempt) -> Counted:
        encoder, heard = self.encoder, self.walker.heard
        size, context = self._ticket.request.prompt_bytes, attempt.entry.candidate.context_length
        if encoder is None:
            return counted(heard.usage, size, context, lambda: heard.written, heard.searched)
        return counted(
            encoder.usage, size, context, lambda: self._estimated(encoder), heard.searched
        )

    def _last(
        self,
        chosen: Chosen,
        consumed: Counted,
        result: Result,
        *,
        charged: bool,
        error: BackendError | None = None,
    ) -> AttemptRecord:
        return record(
            self._ticket,
            chosen.attempt,
            consumed,
            ended=self._services.clock.monotonic(),
            result=result,
            charged=charged,
            error=error,
            chosen=chosen,
        )

    def _unfinished(self, error: BaseException | None) -> Ending:
        """What it means that the request was left without an answer."""
        if self._exchange.gone:
            result, status, code = Result.CANCELLED, _CLIENT_CLOSED, "caller_gone"
        elif isinstance(error, GatewayError):
            result, status, code = Result.FAILED, error.status, error.code
        elif isinstance(error, Exception):
            result, status, code = Result.FAILED, 500, "internal_error"
        else:
            result, status, code = Result.ABORTED, 503, "shutting_down"
        chosen, current = self.chosen, self.walker.current
        last = None
        if chosen is not None:
            charged = self._reached_caller()
            consumed = self._consumed(chosen.attempt)
            last = self._last(chosen, consumed, result, charged=charged)
        elif current is not None:
            last = record(
                self._ticket,
                current,
                self._consumed(current),
                ended=self._services.clock.monotonic(),
                result=result,
                charged=False,
            )
        # What the caller saw: a stream's 200 may have gone out before it failed.
        seen = self._answer.status or status
        return Ending(result=result, status=seen, error_code=code, last=last, chosen=chosen)

    async def _settle(self, ending: Ending) -> None:
        services, ticket = self._services, self._ticket
        outcome = outcome_of(ticket, ending, self.walker.failures, services.clock.now())
        # Not before there is an outcome: what fails on the way to one is settled on leaving.
        self._settled = True
        for failure in self.walker.failures:
            if failure.malformed:
                self._count_malformed(failure.attempt, failure.malformed)
            if isinstance(failure.error, BadToolCall):
                self._count_tools(failure.attempt, 1, (_fault_of(failure.error),))
        chosen, encoder = ending.chosen, self.encoder
        if chosen is not None:
            if chosen.reply.malformed:
                self._count_malformed(chosen.attempt, chosen.reply.malformed)
            if seen := self.tools.calls:
                faults = [finding.fault for finding in self.tools.findings]
                self._count_tools(chosen.attempt, seen, faults)
            unstated = encoder is not None and encoder.usage is None
            if unstated and ending.result is Result.SUCCESS:
                services.metrics.add(metrics.NO_USAGE, self._where(chosen.attempt))
        tokens = _used(ending) if ticket.principal.limits else None
        await settle(services, outcome, ticket.arrived, tokens)

    def _count_malformed(self, attempt: Attempt, events: int) -> None:
        self._services.metrics.add(metrics.MALFORMED, self._where(attempt), events)

    def _count_tools(self, attempt: Attempt, calls: int, faults: Sequence[str]) -> None:
        counted, where = self._services.metrics, self._where(attempt)
        counted.add(metrics.TOOL_CALLS, where, calls)
        for fault in faults:
            counted.add(metrics.TOOL_FAULTS, (("fault", fault), *where))

    def _where(self, attempt: Attempt) -> metrics.Labels:
        provider = attempt.entry.candidate.endpoint.provider
        return (("model", self._ticket.plan.model), ("provider", provider))


def _used(ending: Ending) -> int:
    """Tokens that count against limits: of attempts that came to nothing, none.

    But what a caller left before it answered counts as it is booked.
    """
    if ending.last is None:
        return 0
    quantities = ending.last.quantities
    return quantities.input_total + quantities.output


def _fault_of(error: BadToolCall) -> ToolFault:
    """What was wrong with a call; an adapter finds only those that are no JSON, and says no more."""
    try:
        return ToolFault(error.native_code or "")
    except ValueError:
        return ToolFault.INVALID_JSON


def _first(finishes: Sequence[Finish]) -> Finish | None:
    """The end of the first choice."""
    if len(finishes) > 1:
        return min(finishes, key=lambda finish: finish.index)
    return finishes[0] if finishes else None


def _limited(ticket: Ticket, held: tuple[BudgetHold, ...], prompt: int) -> Reservation:
    """What there is to take of a caller who has limits; `prompt` is in tokens, estimated."""
    request, plan = ticket.request, ticket.plan
    written = output_cap(plan.entries[0].candidate, request.max_tokens) * request.choices
    rates, slots = takes(ticket.principal, request, plan.model, prompt + written)
    return Reservation(ticket.generation_id, held, rates, slots)


def _opened(ticket: Ticket, held: tuple[BudgetHold, ...], prompt: int) -> lines.Open:
    request, principal, terms = ticket.request, ticket.principal, ticket.terms
    return lines.Open(
        id=ticket.generation_id,
        request_id=ticket.request_id,
        created_ms=ticket.created_ms,
        organisation_id=principal.organisation_id,
        team_id=principal.team_id,
        key_id=principal.key_id,
        api=ticket.api,
        model_requested=request.model,
        model=ticket.plan.model,
        endpoints=terms.endpoints,
        holds=tuple([lines.Held(hold.bucket, hold.amount_nano) for hold in held]),
        est_prompt_tokens=prompt,
        streamed=request.stream,
        sandbox=terms.sandbox,
    )
