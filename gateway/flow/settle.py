"""The end of every request: counts to exact money, one line in the journal, the hold given back.

Three rules. Whatever reached the caller is charged, also where the answer broke off or the caller
left. An attempt that delivered nothing is never charged; where the provider may bill it, its cost is
booked as ours. Counts that the provider did not state are estimated and say so.
"""

from collections.abc import Callable, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from backends import BackendError, Finish, Usage
from gateway.flow.attempt import Chosen
from gateway.flow.failures import Attempt, Failure
from gateway.flow.terms import Terms
from gateway.services import Services
from gateway.telemetry import metrics
from gateway.usage import lines
from gateway.usage.quantify import InconsistentUsage, estimate, quantify
from gateway.usage.reported import reported_pico
from gateway.values import AttemptRecord, Basis, CostParts, Outcome, Plan, Principal, Result
from gateway.wire.request import ChatRequest
from pricing import Money, Quantities, RateCard, quote, total_pico

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


def counted(
    usage: Usage | None,
    prompt_bytes: int,
    context_length: int,
    written: Callable[[], int] | None = None,
    searches: int = 0,
) -> Counted:
    """Counts of an attempt: the provider's, if it stated any that can be, else an estimate.

    Args:
        usage: the provider's last statement.
        prompt_bytes: size of the request's JSON.
        context_length: most tokens that the endpoint can have read of it.
        written: estimates the answer's tokens, if there are any; asked only where that is needed.
        searches: web searches that it called: counted by this gateway, as no usage states them.
    """
    consumed = None if usage is None else _stated(usage)
    if consumed is None:
        output = written() if written is not None else 0
        guess = estimate(prompt_bytes, output, context_length=context_length)
        consumed = _as_told(guess, 0)
    if searches:
        quantities = replace(consumed.quantities, searches=searches)
        consumed = replace(consumed, quantities=quantities)
    return consumed


def _stated(usage: Usage) -> Counted | None:
    """The provider's counts, repaired where they can be; None if they are of no use."""
    try:
        return Counted(quantify(usage), usage.reasoning, Basis.REPORTED, usage)
    except InconsistentUsage as error:
        if error.repaired is None:
            return None
        reasoning = min(usage.reasoning, error.repaired.output)
        return _as_told(error.repaired, reasoning, usage.reported_cost)


def _as_told(quantities: Quantities, reasoning: int, cost: str | None = None) -> Counted:
    told = Usage(
        prompt=quantities.input_total,
        completion=quantities.output,
        cached=quantities.cache_read,
        cache_write=quantities.cache_write_5m,
        cache_write_1h=quantities.cache_write_1h,
        reasoning=max(reasoning, 0),
        reported_cost=cost,
    )
    return Counted(quantities, told.reasoning, Basis.ESTIMATED, told)


def parts_of(entry: AttemptRecord, card: RateCard | None) -> CostParts | None:
    """What a charge is made of, where there are searches in it; None where it has no such parts.

    It has none where it is the provider's own statement.
    """
    if not entry.quantities.searches or card is None:
        return None
    quoted = quote(entry.quantities, card)
    if quoted.total != entry.charge:
        return None
    pico = {line.kind: line.pico for line in quoted.lines}
    output, searches = pico.get("output", 0), pico["searches"]
    currency = card.currency
    return CostParts(
        Money(currency, quoted.total.pico - output - searches),
        Money(currency, output),
        Money(currency, searches),
    )


def failed_record(ticket: Ticket, failure: Failure) -> AttemptRecord:
    """The entry of an attempt that delivered nothing."""
    error = failure.error
    if failure.usage is not None or _may_be_billed(error):
        consumed = counted(
            failure.usage,
            ticket.request.prompt_bytes,
            failure.attempt.entry.candidate.context_length,
            lambda: failure.written,
            failure.searches,
        )
    else:
        consumed = Counted(_NOTHING, 0, Basis.MEASURED, Usage(prompt=0, completion=0))
    return record(
        ticket,
        failure.attempt,
        consumed,
        ended=failure.ended,
        result=Result.FAILED,
        charged=False,
        error=error,
    )


def _may_be_billed(error: BackendError) -> bool:
    if error.in_work:
        return True
    if error.status is not None and error.status != 200:  # noqa: PLR2004 - refused with a status
        return False
    phase = getattr(error, "phase", None)
    sent = getattr(error, "sent_in_full", True)
    return error.code not in _UNBILLED and phase not in _UNBILLED_PHASES and bool(sent)


def record(
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
    """The entry of an attempt.

    Args:
        ticket: the request that it belongs to.
        attempt: which one.
        consumed: what it used.
        ended: when it ended, on the monotonic clock.
        result: how it ended.
        charged: whether any of its answer was sent to the caller.
        error: what it failed with.
        chosen: its reply, if it was the attempt that answered.
    """
    candidate = attempt.entry.candidate
    card = candidate.card
    if card is None:  # the plan leaves such candidates out
        raise ValueError(f"{candidate.endpoint.id} has no price")
    endpoint, started, quantities = candidate.endpoint, attempt.started, consumed.quantities
    pico = None
    if candidate.cost_basis == "provider_reported":
        pico = reported_pico(consumed.usage.reported_cost, quantities, card)
    if pico is None:
        cost_basis, pico = "rate_card", total_pico(quantities, card)
    else:
        cost_basis = "provider_reported"
    cost = Money(card.currency, pico)
    status = upstream_id = ttft_ms = code = None
    if chosen is not None:
        status = 200
        upstream_id = chosen.reply.upstream_id
        ttft_ms = int((chosen.first_token - started) * 1000 + 0.5)
    if error is not None:
        status, code = error.status, error.code
    # CPython passes more than 15 arguments by name through a dict, at twice the cost.
    return AttemptRecord(
        f"{ticket.generation_id}-{attempt.ordinal}",
        attempt.ordinal,
        endpoint.id,
        endpoint.provider,
        endpoint.model,
        card.id,
        result,
        code,
        upstream_status=status,
        upstream_id=upstream_id,
        started_ms=attempt.started_ms,
        ttft_ms=ttft_ms,
        duration_ms=int((ended - started) * 1000 + 0.5),
        reasoning_tokens=consumed.reasoning,
        basis=consumed.basis,
        reported_cost=consumed.usage.reported_cost,
        quantities=quantities,
        cost=cost,
        charge=cost if charged else Money(card.currency, 0),
        cost_basis=cost_basis,
    )


def outcome_of(ticket: Ticket, ending: Ending, failures: Sequence[Failure], now: float) -> Outcome:
    """The whole request as it ended. `now` is in epoch seconds."""
    last, chosen, finish = ending.last, ending.chosen, ending.finish
    principal = ticket.principal
    attempts = () if last is None else (last,)
    if failures:
        attempts = (*map(partial(failed_record, ticket), failures), *attempts)
    ttft_ms = reason = native_reason = None
    if chosen is not None:
        ttft_ms = int((chosen.first_token - ticket.arrived) * 1000 + 0.5)
    if finish is not None:
        reason, native_reason = finish.reason, finish.native_reason
    return Outcome(  # not all by name: see `record`
        ticket.generation_id,
        ticket.request_id,
        ticket.created_ms,
        int(now * 1000),
        principal.organisation_id,
        principal.team_id,
        principal.key_id,
        ticket.api,
        model_requested=ticket.request.model,
        model=ticket.plan.model,
        streamed=ticket.request.stream,
        result=ending.result,
        status=ending.status,
        error_code=ending.error_code,
        finish_reason=reason,
        native_finish_reason=native_reason,
        ttft_ms=ttft_ms,
        sandbox=ticket.terms.sandbox,
        attempts=attempts,
    )


async def settle(
    services: Services, outcome: Outcome, arrived: float, tokens: int | None = None
) -> None:
    """Write the close line and give the hold back. Returns when the line is safe.

    `tokens`: those that count against limits, in place of their estimate; None: it stays.

    All that must not be lost is done before the first wait, so that a cancelled task settles too.
    """
    written = services.journal.append(lines.encode(lines.Close(outcome)))
    services.recent.put(outcome)
    charge = 0
    for attempt in outcome.attempts:
        charge += attempt.charge.nano_up()
    await services.state.settle(outcome.generation_id, charge, tokens)
    _count(services, outcome, services.clock.monotonic() - arrived)
    await written


def _count(services: Services, outcome: Outcome, seconds: float) -> None:
    counted = services.metrics
    result = outcome.result._value_
    counted.request(outcome.api, outcome.status, result, seconds, outcome.ttft_ms)
    failed: str | None = None
    for attempt in outcome.attempts:
        ended = attempt.error_code or attempt.result._value_
        cost, quantities = attempt.cost, attempt.quantities
        series = counted.attempts(outcome.model, attempt.provider, ended, cost.currency)
        series.count += 1
        series.fresh_input += quantities.fresh_input
        series.cache_read += quantities.cache_read
        series.cache_write += quantities.cache_write_5m + quantities.cache_write_1h
        series.output += quantities.output
        series.cost_pico += cost.pico
        series.charge_pico += attempt.charge.pico
        if failed is not None:
            counted.add(metrics.FAILOVERS, (("reason", failed),))
        failed = ended
