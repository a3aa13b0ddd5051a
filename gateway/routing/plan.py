"""Where a call may go, in which order, and why: a pure function of values."""

from collections.abc import Mapping

from msgspec import Struct

from backends import KINDS
from gateway.values import Candidate, EndpointHealth, Exclusion, Plan, PlanEntry

# No prompt packs more than this many bytes into a token on average: a prompt larger than the context
# by this measure cannot fit, whatever its text.
_MOST_BYTES_PER_TOKEN = 16


class Needs(Struct, frozen=True):
    """What a call asks of an endpoint.

    `currency`: the one in which the caller's budgets count, if there are any.
    """

    prompt_bytes: int
    max_tokens: int | None = None
    choices: int = 1
    currency: str | None = None


def plan(
    model: str,
    candidates: tuple[Candidate, ...],
    needs: Needs,
    health: Mapping[str, EndpointHealth],
    *,
    now: float,
    max_attempts: int,
) -> Plan:
    """Order the candidates of a model for one call.

    Args:
        model: the canonical model.
        candidates: cheapest first.
        needs: what the call asks.
        health: endpoints that failed lately.
        now: the monotonic time.
        max_attempts: how many endpoints the plan may hold.
    """
    entries: list[PlanEntry] = []
    set_aside: list[PlanEntry] = []
    excluded: list[Exclusion] = []
    roomy = needs.max_tokens is None or any(
        c.max_output >= needs.max_tokens and _unfit(c, needs, roomy=False) is None
        for c in candidates
    )
    for candidate in candidates:
        why_not = _unfit(candidate, needs, roomy=roomy)
        if why_not is not None:
            excluded.append(Exclusion(candidate.endpoint.id, why_not))
            continue
        known = health.get(candidate.endpoint.id) if health else None
        if known is not None and known.open_until > now:
            set_aside.append(PlanEntry(candidate, "failed lately: tried last"))
        else:
            entries.append(PlanEntry(candidate, "cheapest first"))
    entries += set_aside
    excluded += [
        Exclusion(entry.candidate.endpoint.id, "max_attempts") for entry in entries[max_attempts:]
    ]
    return Plan(model, tuple(entries[:max_attempts]), tuple(excluded))


def _unfit(candidate: Candidate, needs: Needs, *, roomy: bool) -> str | None:
    if candidate.card is None:
        return "unpriced"
    if needs.currency is not None and candidate.card.currency != needs.currency:
        return "budget_currency"
    if needs.choices > 1 and not KINDS[candidate.endpoint.kind].quirks.multiple_choices:
        return "multiple_choices"
    if needs.prompt_bytes > candidate.context_length * _MOST_BYTES_PER_TOKEN:
        return "context_length"
    if roomy and needs.max_tokens is not None and needs.max_tokens > candidate.max_output:
        return "max_output"
    return None


class UsualPlan:
    """The plan of a model for the calls that every candidate can serve while all are healthy.

    Nearly all calls are such, and their plan is the same: it is made once and then only looked up.
    `plan` remains the one definition of what a plan is.
    """

    __slots__ = ("_currency", "_most_bytes", "_most_tokens", "plan")

    def __init__(self, model: str, candidates: tuple[Candidate, ...], *, max_attempts: int) -> None:
        self.plan = plan(
            model, candidates, Needs(prompt_bytes=0), {}, now=0.0, max_attempts=max_attempts
        )
        currencies = {c.card.currency for c in candidates if c.card is not None}
        self._currency = currencies.pop() if len(currencies) == 1 else None
        self._most_tokens = min(c.max_output for c in candidates)
        self._most_bytes = _MOST_BYTES_PER_TOKEN * min(c.context_length for c in candidates)

    def fits(self, needs: Needs) -> bool:
        """Whether `plan` would give just this plan for `needs`, all endpoints being healthy."""
        return (
            needs.choices == 1
            and (needs.max_tokens is None or needs.max_tokens <= self._most_tokens)
            and needs.prompt_bytes <= self._most_bytes
            and (needs.currency is None or needs.currency == self._currency)
        )


def output_cap(candidate: Candidate, max_tokens: int | None) -> int:
    """Tokens that one answer of this candidate may have: what is asked for, as far as it can go."""
    wanted = candidate.default_output if max_tokens is None else max_tokens
    return min(wanted, candidate.max_output)


def prompt_bound(candidate: Candidate, prompt_bytes: int, *, media: bool) -> int:
    """The most prompt tokens that a request can be billed for at this candidate.

    Kimi's tokenizers are byte-level: text has at most one token a byte, and a message's JSON has more
    bytes than its chat template adds tokens. Media named by reference have no such bound but the
    context.
    """
    return candidate.context_length if media else min(prompt_bytes, candidate.context_length)
