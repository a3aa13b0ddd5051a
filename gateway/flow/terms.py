"""What follows from a plan alone: made once for plans that come again and again."""

from msgspec import Struct

from gateway.routing.plan import output_cap, prompt_bound
from gateway.usage.lines import PlannedEndpoint
from gateway.values import Candidate, Plan
from gateway.wire.request import ChatRequest
from pricing import Money, RateCard, ceiling_pico

_REMEMBERED = 512


class Ceiling(Struct, frozen=True, gc=False):
    """What a call can cost at one endpoint: linear in tokens and searches. Picos of the plan's currency."""

    candidate: Candidate
    fixed: int
    per_prompt_token: int
    per_output_token: int
    per_search: int = 0


class Terms(Struct, frozen=True):
    """Prices and names of a plan's endpoints.

    `currency` is None where they are priced in several: then no budget can hold such a plan.
    `context_length` is that of the endpoint with the largest.
    """

    currency: str | None
    ceilings: tuple[Ceiling, ...]
    endpoints: tuple[PlannedEndpoint, ...]
    cards: tuple[RateCard, ...]
    card_ids: str
    sandbox: bool
    context_length: int

    def worst_charge(self, request: ChatRequest) -> Money:
        """The most that the plan can charge: one endpoint delivers, so the dearest one's ceiling.

        Raises:
            ValueError: the endpoints are priced in several currencies.
        """
        if self.currency is None:
            raise ValueError("a plan in several currencies has no single worst charge")
        worst = 0
        prompt_bytes, max_tokens = request.prompt_bytes, request.max_tokens
        choices, searches = request.choices, request.searches
        media: bool | None = None
        for ceiling in self.ceilings:
            candidate = ceiling.candidate
            bound = candidate.context_length
            if prompt_bytes < bound:
                if media is None:
                    media = request.refers_to_media
                unbounded = media or (ceiling.per_search > 0 and request.may_refer_to_searches)
                bound = prompt_bound(candidate, prompt_bytes, media=unbounded)
            written = output_cap(candidate, max_tokens) * choices
            pico = (
                ceiling.fixed
                + bound * ceiling.per_prompt_token
                + written * ceiling.per_output_token
            )
            if searches:
                pico += searches * choices * ceiling.per_search
            worst = max(worst, pico)
        return Money(self.currency, worst)


def terms(plan: Plan) -> Terms:
    """The terms of a plan, whose candidates all have prices.

    Raises:
        ValueError: one has none.
    """
    candidates = [entry.candidate for entry in plan.entries]
    cards = tuple([_card(candidate) for candidate in candidates])
    currencies = {card.currency for card in cards}
    # Endpoints with the same prices and limits have the same ceiling: ask once.
    alike: dict[tuple[int, ...], Ceiling] = {}
    for candidate, card in zip(candidates, cards, strict=True):
        one = _ceiling(candidate, card)
        limits = (candidate.context_length, candidate.max_output, candidate.default_output)
        prices = (one.fixed, one.per_prompt_token, one.per_output_token, one.per_search)
        alike.setdefault(limits + prices, one)
    return Terms(
        currency=currencies.pop() if len(currencies) == 1 else None,
        ceilings=tuple(alike.values()),
        endpoints=tuple(
            [
                PlannedEndpoint(
                    c.endpoint.id, c.endpoint.provider, c.endpoint.model, card.id, card.currency
                )
                for c, card in zip(candidates, cards, strict=True)
            ]
        ),
        cards=tuple({card.id: card for card in cards}.values()),
        card_ids="\n".join(dict.fromkeys(card.id for card in cards)),
        sandbox=any(c.endpoint.sandbox for c in candidates),
        context_length=max((c.context_length for c in candidates), default=0),
    )


def _card(candidate: Candidate) -> RateCard:
    if candidate.card is None:  # plans leave such candidates out
        raise ValueError(f"{candidate.endpoint.id} has no price")
    return candidate.card


def _ceiling(candidate: Candidate, card: RateCard) -> Ceiling:
    fixed = ceiling_pico(card, prompt_tokens=0, output_tokens=0)
    return Ceiling(
        candidate,
        fixed,
        ceiling_pico(card, prompt_tokens=1, output_tokens=0) - fixed,
        ceiling_pico(card, prompt_tokens=0, output_tokens=1) - fixed,
        # Without a price none is run there: a plan with searches leaves such an endpoint out.
        card.per_search or 0,
    )


class TermsOfPlans:
    """Remembers the terms of plans by identity: the usual plan of a model is one object for a day."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Plan, Terms]] = {}

    def of(self, plan: Plan) -> Terms:
        """The terms of `plan`."""
        known = self._known.get(id(plan))
        if known is not None and known[0] is plan:
            return known[1]
        found = terms(plan)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[id(plan)] = (plan, found)  # keeps the plan alive, so that its id stays its own
        return found
