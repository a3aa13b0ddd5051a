"""How a request is settled that nobody ended, because its process died. Pure.

Nothing is known but what the journal says, so all of it is `estimated`:

- An attempt is known by its progress lines. Where there are none, the first endpoint of the plan is
  presumed to have been asked: requests go out as soon as their open line is written.
- Every attempt costs us at least the estimated prompt, plus the tokens that are known to have come.
- A web search is known by the progress line that is written before its call goes to the caller, and costs
  its fee. Of others nothing is known: none is due before an answer has ended with the call.
- The caller's team pays the same if anything was delivered to it, and nothing otherwise.
"""

from collections.abc import Mapping

from gateway.usage.lines import Open, PlannedEndpoint, Progress
from gateway.values import AttemptRecord, Basis, Outcome, Result
from pricing import Money, Quantities, RateCard, total_pico

ERROR_CODE = "process_died"
NO_STATUS = 0
"""The HTTP status of an answer that never began."""

_OK = 200


def aborted_outcome(
    opened: Open,
    progress: Mapping[int, Progress],
    cards: Mapping[str, RateCard],
    now_ms: int,
) -> Outcome:
    """The outcome of a request whose close line was never written.

    Args:
        opened: its open line.
        progress: the last progress line of each of its attempts, by ordinal.
        cards: rate cards by id. An endpoint whose card is not among them costs nothing, in the
            currency that the open line names: the journal writes cards before they are needed.
        now_ms: when it is settled.
    """
    planned = {endpoint.endpoint_id: endpoint for endpoint in opened.endpoints}
    known = [line for _, line in sorted(progress.items()) if line.endpoint_id in planned]
    if not known and opened.endpoints:
        known = [
            Progress(
                id=opened.id,
                ordinal=1,
                endpoint_id=opened.endpoints[0].endpoint_id,
                output_tokens=0,
                started_ms=opened.created_ms,
                at_ms=opened.created_ms,
            )
        ]
    attempts = tuple(
        _attempt(opened, line, planned[line.endpoint_id], cards, last=line is known[-1])
        for line in known
    )
    delivered = any(line.output_tokens for line in known)
    ttft_ms = next((line.ttft_ms for line in known if line.ttft_ms is not None), None)
    return Outcome(
        generation_id=opened.id,
        request_id=opened.request_id,
        created_ms=opened.created_ms,
        closed_ms=now_ms,
        organisation_id=opened.organisation_id,
        team_id=opened.team_id,
        key_id=opened.key_id,
        api=opened.api,
        model_requested=opened.model_requested,
        model=opened.model,
        streamed=opened.streamed,
        result=Result.ABORTED,
        status=_OK if delivered else NO_STATUS,
        error_code=ERROR_CODE,
        finish_reason=None,
        native_finish_reason=None,
        ttft_ms=ttft_ms,
        sandbox=opened.sandbox,
        attempts=attempts,
    )


def _attempt(
    opened: Open,
    line: Progress,
    endpoint: PlannedEndpoint,
    cards: Mapping[str, RateCard],
    *,
    last: bool,
) -> AttemptRecord:
    card = cards.get(endpoint.rate_card_id)
    quantities = Quantities(
        fresh_input=opened.est_prompt_tokens,
        output=line.output_tokens,
        requests=1,
        searches=line.searches,
    )
    cost = Money(endpoint.currency, total_pico(quantities, card) if card else 0)
    return AttemptRecord(
        id=f"{opened.id}-{line.ordinal}",
        ordinal=line.ordinal,
        endpoint_id=endpoint.endpoint_id,
        provider=endpoint.provider,
        upstream_model=endpoint.upstream_model,
        rate_card_id=endpoint.rate_card_id,
        result=Result.ABORTED if last else Result.FAILED,
        error_code=ERROR_CODE if last else None,
        upstream_status=None,
        upstream_id=None,
        started_ms=line.started_ms,
        ttft_ms=line.ttft_ms,
        duration_ms=max(line.at_ms - line.started_ms, 0),
        quantities=quantities,
        reasoning_tokens=0,
        basis=Basis.ESTIMATED,
        reported_cost=None,
        cost=cost,
        charge=cost if line.output_tokens else Money(endpoint.currency, 0),
        cost_basis="rate_card",
    )
