"""The end of every request: counts to exact money, one line in the journal, the hold given back.

Three rules. Whatever reached the caller is charged, also where the answer broke off or the caller
left. An attempt that delivered nothing is never charged; where the provider may bill it, its cost is
booked as ours. Counts that the provider did not state are estimated and say so.
"""

from collections.abc import Sequence

from msgspec import Struct

from backends import BackendError, Finish, Usage
from gateway.flow.attempt import Attempt, Chosen, Failure
from gateway.flow.terms import Terms
from gateway.services import Services
from gateway.telemetry import metrics
from gateway.usage import lines
from gateway.usage.quantify import InconsistentUsage, estimate, quantify
from gateway.values import AttemptRecord, Basis, Candidate, Outcome, Plan, Principal, Result
from gateway.wire.openai_chat import ChatRequest
from pricing import Money, Quantities, total_pico

_NOTHING = Quantities()
# Failures after which a provider has nothing to bill: it never had the request, or refused it.
_UNBILLED = frozenset({"connect_failed"})
_UNBILLED_PHASES = frozenset({"connect", "pool", "write"})


class Ticket(Struct, frozen=True, kw_only=True):
    """What is known of a request once it has a plan."""

    generation_id: str
    request_id: str
    api: str
    principal: Principal
    request: ChatRequest
    plan: Plan
    arrived: float  # monotonic
    created_ms: int  # epoch
    terms: Terms


class Ending(Struct, frozen=True, kw_only=True):
    """How a request ended, and the entry of its last attempt where that did not simply fail."""

    result: Result
    status: int
    error_code: str | None = None
    finish: Finish | None = None
    last: AttemptRecord | None = None
    chosen: Chosen | None = None


class Counted(Struct, frozen=True):
    """What an attempt consumed, and how that is known."""

    quantities: Quantities
    reasoning: int
    basis: Basis
    usage: Usage  # the same, as it is told to the caller


def counted(usage: Usage | None, prompt_bytes: int, output_tokens: int) -> Counted:
    """Counts of an attempt: the provider's, if it stated any that can be, else an estimate.

    Args:
        usage: the provider's last statement.
        prompt_bytes: size of the request's JSON.
        output_tokens: the answer's, estimated.
    """
    if usage is not None:
        try:
            return Counted(quantify(usage), usage.reasoning, Basis.REPORTED, usage)
        except InconsistentUsage as error:
            if error.repaired is not None:
                return _as_told(error.repaired, min(usage.reasoning, error.repaired.output))
    return _as_told(estimate(prompt_bytes, output_tokens), 0)


def _as_told(quantities: Quantities, reasoning: int) -> Counted:
    told = Usage(
        prompt=quantities.input_total,
        completion=quantities.output,
        cached=quantities.cache_read,
        cache_write=quantities.cache_write_5m,
        cache_write_1h=quantities.cache_write_1h,
        reasoning=max(reasoning, 0),
    )
    return Counted(quantities, told.reasoning, Basis.ESTIMATED, told)


def priced(candidate: Candidate, quantities: Quantities) -> Money:
    """What `quantities` cost at a candidate."""
    card = candidate.card
    if card is None:  # the plan leaves such candidates out
        raise ValueError(f"{candidate.endpoint.id} has no price")
    return Money(card.currency, total_pico(quantities, card))


def failed_record(ticket: Ticket, failure: Failure) -> AttemptRecord:
    """The entry of an attempt that delivered nothing."""
    error = failure.error
    if failure.usage is not None or _may_be_billed(error):
        consumed = counted(failure.usage, ticket.request.prompt_bytes, 0)
    else:
        consumed = Counted(_NOTHING, 0, Basis.MEASURED, Usage(prompt=0, completion=0))
    return _record(
        ticket,
        failure.attempt,
        consumed,
        ended=failure.ended,
        result=Result.FAILED,
        error=error,
        charged=False,
    )


def _may_be_billed(error: BackendError) -> bool:
    if error.status is not None and error.status != 200:  # noqa: PLR2004 - refused with a status
        return False
    phase = getattr(error, "phase", None)
    sent = getattr(error, "sent_in_full", True)
    return error.code not in _UNBILLED and phase not in _UNBILLED_PHASES and bool(sent)


def last_record(
    ticket: Ticket,
    attempt: Attempt,
    consumed: Counted,
    *,
    ended: float,
    result: Result,
    charged: bool,
    error: BackendError | None = None,
    chosen: Chosen | None = None,
) -> AttemptRecord:
    """The entry of the attempt that was chosen, or was under way when the request ended.

    `charged` says whether any of its answer was sent to the caller.
    """
    return _record(
        ticket,
        attempt,
        consumed,
        ended=ended,
        result=result,
        error=error,
        charged=charged,
        chosen=chosen,
    )


def _record(
    ticket: Ticket,
    attempt: Attempt,
    consumed: Counted,
    *,
    ended: float,
    result: Result,
    error: BackendError | None,
    charged: bool,
    chosen: Chosen | None = None,
) -> AttemptRecord:
    candidate = attempt.entry.candidate
    endpoint = candidate.endpoint
    started = attempt.started
    cost = priced(candidate, consumed.quantities)
    return AttemptRecord(
        id=f"{ticket.generation_id}-{attempt.ordinal}",
        ordinal=attempt.ordinal,
        endpoint_id=endpoint.id,
        provider=endpoint.provider,
        upstream_model=endpoint.model,
        rate_card_id="" if candidate.card is None else candidate.card.id,
        result=result,
        error_code=None if error is None else error.code,
        upstream_status=(200 if chosen is not None else None) if error is None else error.status,
        upstream_id=None if chosen is None else chosen.reply.upstream_id,
        started_ms=attempt.started_ms,
        ttft_ms=None if chosen is None else round((chosen.first_token - started) * 1000),
        duration_ms=round((ended - started) * 1000),
        quantities=consumed.quantities,
        reasoning_tokens=consumed.reasoning,
        basis=consumed.basis,
        cost=cost,
        charge=cost if charged else Money.zero(cost.currency),
        reported_cost=consumed.usage.reported_cost,
    )


def outcome_of(ticket: Ticket, ending: Ending, failures: Sequence[Failure], now: float) -> Outcome:
    """The whole request as it ended. `now` is in epoch seconds."""
    last, chosen = ending.last, ending.chosen
    records = tuple([failed_record(ticket, failure) for failure in failures])
    ttft = None
    if chosen is not None:
        ttft = round((chosen.first_token - ticket.arrived) * 1000)
    return Outcome(
        generation_id=ticket.generation_id,
        request_id=ticket.request_id,
        created_ms=ticket.created_ms,
        closed_ms=int(now * 1000),
        organisation_id=ticket.principal.organisation_id,
        team_id=ticket.principal.team_id,
        key_id=ticket.principal.key_id,
        api=ticket.api,
        model_requested=ticket.request.model,
        model=ticket.plan.model,
        streamed=ticket.request.stream,
        result=ending.result,
        status=ending.status,
        error_code=ending.error_code,
        finish_reason=None if ending.finish is None else ending.finish.reason,
        native_finish_reason=None if ending.finish is None else ending.finish.native_reason,
        ttft_ms=ttft,
        sandbox=ticket.terms.sandbox,
        attempts=records if last is None else (*records, last),
    )


async def settle(services: Services, outcome: Outcome, arrived: float) -> None:
    """Write the close line and give the hold back. Returns when the line is safe.

    All that must not be lost is done before the first wait, so that a cancelled task settles too.
    """
    written = services.journal.append(lines.encode(lines.Close(outcome)))
    services.recent.put(outcome)
    charge = 0
    for attempt in outcome.attempts:
        charge += attempt.charge.nano_up()
    await services.state.settle(outcome.generation_id, charge)
    _count(services, outcome, services.clock.monotonic() - arrived)
    await written


def _count(services: Services, outcome: Outcome, seconds: float) -> None:
    counted = services.metrics
    counted.request(outcome.api, outcome.status, outcome.result.value, seconds)
    if outcome.ttft_ms is not None:
        counted.first_token(outcome.ttft_ms)
    failed: str | None = None
    for attempt in outcome.attempts:
        ended = attempt.error_code or attempt.result.value
        series = counted.attempts(outcome.model, attempt.provider, ended, attempt.cost.currency)
        series.count += 1
        series.input += attempt.quantities.input_total
        series.cache_read += attempt.quantities.cache_read
        series.output += attempt.quantities.output
        series.cost_pico += attempt.cost.pico
        series.charge_pico += attempt.charge.pico
        if failed is not None:
            counted.add(metrics.FAILOVERS, (("reason", failed),))
        failed = ended
