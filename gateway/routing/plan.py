"""Where a call may go, in which order, and why: a pure function of values."""

from collections.abc import Mapping

from msgspec import Raw, Struct

from backends import KINDS, UNASKED, Mode, unsupported
from backends.profiles import UNKNOWN
from gateway.values import (
    NO_PREFERENCES,
    Candidate,
    EndpointHealth,
    Exclusion,
    MaxPrice,
    Plan,
    PlanEntry,
    Preferences,
)
from gateway.wire.media import NO_MEDIA, REMOTE, Media

# No text packs more than this many bytes into a token on average: a prompt larger than the context
# by this measure cannot fit, whatever its text.
_MOST_BYTES_PER_TOKEN = 16


class Needs(Struct, frozen=True):
    """What a call asks of an endpoint.

    Attributes:
        prompt_bytes: size of the prompt's JSON.
        max_tokens: output cap per choice that the caller gave.
        choices: how many answers are wanted.
        currency: the one in which the caller's budgets count, if there are any.
        media: what is in the prompt besides text.
        parameters: what the endpoint must take in full; None: it need not.
        searches: whether the endpoint is to run web searches.
        mode: how much the model is to think: endpoints that can be told so come before those that cannot.
        preferences: which providers may be asked, at what price, and how many of them. What it says of
            parameters and privacy is for `parameters` and for `gateway.policies.data_policy`.
    """

    prompt_bytes: int
    max_tokens: int | None = None
    choices: int = 1
    currency: str | None = None
    media: Media = NO_MEDIA
    parameters: "Parameters | None" = None
    preferences: Preferences = NO_PREFERENCES
    searches: bool = False
    mode: Mode = UNASKED


class Parameters(Struct, frozen=True):
    """All that a request says besides its prompt: as in `backends.Call`."""

    fields: Mapping[str, Raw]
    mode: Mode = UNASKED
    zdr: bool = False


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
            excluded.append(why_not)
            continue
        known = health.get(candidate.endpoint.id) if health else None
        if known is not None and known.open_until > now:
            set_aside.append(PlanEntry(candidate, f"{known.reason}: tried last"))
        else:
            entries.append(PlanEntry(candidate, "cheapest first"))
    if needs.mode != UNASKED:
        entries = _by_mode(entries, needs.mode)
    entries += set_aside
    if not needs.preferences.fallbacks:
        excluded += [
            Exclusion(entry.candidate.endpoint.id, "allow_fallbacks") for entry in entries[1:]
        ]
        entries = entries[:1]
    excluded += [
        Exclusion(entry.candidate.endpoint.id, "max_attempts") for entry in entries[max_attempts:]
    ]
    return Plan(model, tuple(entries[:max_attempts]), tuple(excluded))


def _by_mode(entries: list[PlanEntry], mode: Mode) -> list[PlanEntry]:
    """The entries, those first at which least of a mode is lost; among equals the order stays."""
    lost = [len(unsupported(entry.candidate.endpoint, {}, mode)) for entry in entries]
    least = min(lost, default=0)
    return [
        entry if count == least else PlanEntry(entry.candidate, "cannot be told how much to think")
        for count, entry in sorted(zip(lost, entries, strict=True), key=lambda pair: pair[0])
    ]


def _unfit(candidate: Candidate, needs: Needs, *, roomy: bool) -> Exclusion | None:
    endpoint = candidate.endpoint
    reason = _reason(candidate, needs, roomy=roomy)
    if reason is not None:
        return Exclusion(endpoint.id, reason)
    if needs.parameters is not None:
        asked = needs.parameters
        lacking = unsupported(endpoint, asked.fields, asked.mode, zdr=asked.zdr)
        if lacking:
            return Exclusion(endpoint.id, "require_parameters", lacking)
    return None


def _reason(candidate: Candidate, needs: Needs, *, roomy: bool) -> str | None:
    wanted = needs.preferences
    if wanted is not NO_PREFERENCES and (reason := unwanted(candidate, wanted)) is not None:
        return reason
    if candidate.card is None:
        return "unpriced"
    if needs.currency is not None and candidate.card.currency != needs.currency:
        return "budget_currency"
    quirks = KINDS[candidate.endpoint.kind].quirks
    if needs.searches and (not quirks.web_search or candidate.card.per_search is None):
        return "web_search"
    if needs.choices > 1 and not quirks.multiple_choices:
        return "multiple_choices"
    too_long = needs.prompt_bytes > candidate.context_length * _MOST_BYTES_PER_TOKEN
    # Of media the bytes say nothing: whether they fit is for the provider to say.
    if too_long and not needs.media.kinds:
        return "context_length"
    if roomy and needs.max_tokens is not None and needs.max_tokens > candidate.max_output:
        return "max_output"
    media, profile = needs.media, candidate.endpoint.profile
    # What a model reads that nobody knows is for its provider to say.
    if profile is not UNKNOWN and not media.kinds <= profile.inputs:
        return "modality"
    if REMOTE in media.sources and not quirks.fetches_media:
        return "remote_media"
    return None


def unwanted(candidate: Candidate, wanted: Preferences) -> str | None:
    """Why a caller would not have its request at an endpoint; by what OpenRouter calls the reasons."""
    endpoint = candidate.endpoint
    own = (endpoint.provider,)
    if wanted.only is not None and not (endpoint.id in wanted.only or _named(own, wanted.only)):
        return "allowed_providers"
    # A host that an aggregator is known to use counts as well: nobody can say that it will not be asked.
    if wanted.ignore and (
        endpoint.id in wanted.ignore or _named(own + endpoint.reaches, wanted.ignore)
    ):
        return "ignored_providers"
    if wanted.max_price is not None and _too_dear(candidate, wanted.max_price):
        return "max_price"
    return None


def _named(names: tuple[str, ...], slugs: tuple[str, ...]) -> bool:
    """Whether one of the names is among the slugs, or a variant (`slug/variant`) of one of them."""
    return any(name == slug or name.startswith(f"{slug}/") for slug in slugs for name in names)


def _too_dear(candidate: Candidate, most: MaxPrice) -> bool:
    """Whether an endpoint's prices are above the most, or cannot be held against it.

    They cannot where they are in another currency than dollars, as amounts are never converted; nor at
    an aggregator that passes the bill of whichever host it chose on, and cannot be told a limit.
    """
    card, endpoint = candidate.card, candidate.endpoint
    if card is None:
        return False  # which is a reason of its own
    quirks = KINDS[endpoint.kind].quirks
    if card.currency != "USD" or (quirks.aggregator and not quirks.takes_max_price):
        return True
    prices = (card.input, card.output, card.per_request)
    limits = (most.prompt, most.completion, most.request)
    return any(
        limit is not None and price > limit for price, limit in zip(prices, limits, strict=True)
    )


class UsualPlan:
    """The plan of a model for the calls that every candidate can serve while all are healthy.

    Nearly all calls are such, and their plan is the same: it is made once and then only looked up.
    `plan` remains the one definition of what a plan is.
    """

    __slots__ = ("_currency", "_fetches", "_most_bytes", "_most_tokens", "_reads", "plan")

    def __init__(
        self,
        model: str,
        candidates: tuple[Candidate, ...],
        *,
        max_attempts: int,
        excluded: tuple[Exclusion, ...] = (),
    ) -> None:
        """`excluded`: what was left out before, and why."""
        self.plan = plan(
            model, candidates, Needs(prompt_bytes=0), {}, now=0.0, max_attempts=max_attempts
        )
        if excluded:
            self.plan = Plan(model, self.plan.entries, (*excluded, *self.plan.excluded))
        currencies = {c.card.currency for c in candidates if c.card is not None}
        self._currency = currencies.pop() if len(currencies) == 1 else None
        self._most_tokens = min(c.max_output for c in candidates)
        self._most_bytes = _MOST_BYTES_PER_TOKEN * min(c.context_length for c in candidates)
        if not self.plan.entries:
            self._most_bytes = -1  # why there are none depends on the call: it fits no call
        profiles = [c.endpoint.profile for c in candidates if c.endpoint.profile is not UNKNOWN]
        # What all of them read, of whom that is known; None: it is of none.
        self._reads = frozenset.intersection(*[p.inputs for p in profiles]) if profiles else None
        self._fetches = all(KINDS[c.endpoint.kind].quirks.fetches_media for c in candidates)

    def fits(self, needs: Needs) -> bool:
        """Whether `plan` would give just this plan for `needs`, all endpoints being healthy."""
        return (
            needs.choices == 1
            and (needs.max_tokens is None or needs.max_tokens <= self._most_tokens)
            and needs.prompt_bytes <= self._most_bytes
            and (needs.currency is None or needs.currency == self._currency)
            and not needs.searches
            and needs.mode is UNASKED
            and needs.parameters is None
            and needs.preferences is NO_PREFERENCES
            and (needs.media is NO_MEDIA or self._takes(needs.media))
        )

    def _takes(self, media: Media) -> bool:
        read = self._reads is None or media.kinds <= self._reads
        return read and (self._fetches or REMOTE not in media.sources)


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
