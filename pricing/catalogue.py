"""The models and their prices at each host, by day."""

from collections.abc import Iterable, Mapping
from datetime import date
from types import MappingProxyType
from typing import Annotated, Literal

from msgspec import Meta, Struct

from pricing.errors import PriceDataError, Unpriced
from pricing.rates import RateCard

_AUTHOR = "moonshotai/"
# The smallest default that Moonshot documents for a model that thinks (stored copy of 2026-09-03):
# enough for an answer, and a hold that a small budget can bear.
_DEFAULT_OUTPUT = 32_768


class ModelFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model, whoever serves it. What is None, or empty, is not known.

    `default_output` is Moonshot's cap for requests that name none, in tokens. `aliases` are further
    names that mean this model, without the author's prefix.
    """

    slug: Annotated[str, Meta(min_length=1)]
    name: Annotated[str, Meta(min_length=1)]
    context_length: Annotated[int, Meta(ge=1)]
    modalities: Annotated[tuple[Literal["text", "image", "video"], ...], Meta(min_length=1)]
    license: str | None = None
    hf_id: str | None = None
    thinking: Literal["none", "toggle", "always"] | None = None
    default_output: Annotated[int, Meta(ge=1)] | None = None
    aliases: tuple[str, ...] = ()


class Listing(Struct, frozen=True, kw_only=True):
    """A priced row of the catalogue.

    `variant` names another way of serving the same model (fast, us, tee …), with prices of its own.
    `offered` is False where the host no longer lists the model but may still bill it.
    """

    card: RateCard
    variant: str | None = None
    context_length: int | None = None
    max_output: int | None = None
    offered: bool = True


class Offer(Struct, frozen=True, kw_only=True):
    """What an endpoint needs to know of a model at a host on a day. Lengths are tokens.

    `max_output` is the most that the host writes; where it states nothing, the whole context, which
    no answer can pass. `default_output` is the cap for requests that name none.
    """

    model: str
    provider_model_id: str
    variant: str | None
    context_length: int
    max_output: int
    default_output: int
    card: RateCard


class Catalogue:
    """Models and rate cards; does not change once made."""

    def __init__(
        self,
        *,
        models: Iterable[ModelFacts],
        listings: Iterable[Listing],
        unpriced: Mapping[tuple[str, str], str] | None = None,
    ) -> None:
        """Index models and prices.

        Args:
            models: each with its own slug.
            listings: in the order in which `offers` shall return them.
            unpriced: why there is no price, by provider and the provider's model id.

        Raises:
            PriceDataError: two models share a slug or an alias, a card's model is not among the
                models, or two cards of a provider, model id and tier hold on the same day.
        """
        self._models: dict[str, ModelFacts] = {}
        self._names: dict[str, str] = {}
        for facts in models:
            self._add_model(facts)
        self._by_provider: dict[str, list[Listing]] = {}
        self._cards: dict[tuple[str, str, str], list[RateCard]] = {}
        self._by_id: dict[str, RateCard] = {}
        self._unpriced = dict(unpriced or {})
        for listing in listings:
            self._add_listing(listing)

    def _add_model(self, facts: ModelFacts) -> None:
        if facts.slug in self._models:
            raise PriceDataError(f"model {facts.slug}: is there twice")
        self._models[facts.slug] = facts
        for name in (facts.slug, *facts.aliases, *filter(None, (facts.hf_id,))):
            for spelling in spellings(name):
                other = self._names.setdefault(spelling, facts.slug)
                if other != facts.slug:
                    raise PriceDataError(
                        f"model {facts.slug}: the name {spelling} already means {other}"
                    )

    def _add_listing(self, listing: Listing) -> None:
        card = listing.card
        if card.model not in self._models:
            raise PriceDataError(f"{card.id}: model {card.model} is not in the catalogue")
        if card.id in self._by_id:
            raise PriceDataError(f"{card.id}: is there twice")
        cards = self._cards.setdefault((card.provider, card.provider_model_id, card.tier), [])
        for other in cards:
            if (card.valid_to is None or (other.valid_from or "") <= card.valid_to) and (
                other.valid_to is None or (card.valid_from or "") <= other.valid_to
            ):
                raise PriceDataError(
                    f"{card.id}: holds on the same days as {other.id}; close the older interval"
                )
        cards.append(card)
        self._by_id[card.id] = card
        self._by_provider.setdefault(card.provider, []).append(listing)

    @property
    def cards(self) -> tuple[RateCard, ...]:
        """Every rate card, past ones too."""
        return tuple(self._by_id.values())

    @property
    def listings(self) -> tuple[Listing, ...]:
        """Every priced row, past ones too, those of a provider together."""
        return tuple(listing for rows in self._by_provider.values() for listing in rows)

    @property
    def unpriced(self) -> Mapping[tuple[str, str], str]:
        """Why there is no price, by provider and the provider's model id."""
        return MappingProxyType(self._unpriced)

    def card(self, card_id: str) -> RateCard | None:
        """The rate card that a ledger entry names, if it came from this catalogue."""
        return self._by_id.get(card_id)

    def models(self) -> tuple[ModelFacts, ...]:
        """Every known model."""
        return tuple(self._models.values())

    def model(self, slug: str) -> ModelFacts | None:
        """The facts of a model by its canonical slug."""
        return self._models.get(slug)

    def default_output(self, slug: str, max_output: int) -> int:
        """The output cap for requests that name none, of a model that may write `max_output` tokens."""
        facts = self._models.get(slug)
        return min((facts and facts.default_output) or _DEFAULT_OUTPUT, max_output)

    def resolve(self, name: str) -> str | None:
        """The canonical slug that a name means, or None.

        Takes canonical slugs, Hugging Face ids and the spellings of Moonshot, Novita and other
        hosts, with or without "moonshotai/", in any case. Names that also choose a price or a place
        (":free", "-fast", a region) are not resolved: the model alone would lose that choice.
        """
        slug = self._names.get(name)
        return slug if slug is not None else self._names.get(name.lower())

    def card_for(
        self,
        provider: str,
        provider_model_id: str,
        at: date,
        tier: str = "standard",
    ) -> RateCard:
        """The rate card that holds on a day (UTC).

        Raises:
            Unpriced: there is none; the message says what to do.
        """
        day = _iso(at)
        cards = self._cards.get((provider, provider_model_id, tier), ())
        for card in cards:
            if card.valid_on(day):
                return card
        raise Unpriced(
            f"no price is known for {provider} {provider_model_id!r} in tier {tier} on {day}"
            f"{self._why(provider, provider_model_id, tier)}; correct the model id, or state input "
            f"and output prices for this endpoint in its settings",
            provider=provider,
            provider_model_id=provider_model_id,
            tier=tier,
            at=at,
        )

    def _why(self, provider: str, provider_model_id: str, tier: str) -> str:
        reason = self._unpriced.get((provider, provider_model_id))
        if reason is not None:
            return f": {reason}"
        cards = self._cards.get((provider, provider_model_id, tier))
        if cards:
            spans = "; ".join(f"{c.valid_from or '…'} to {c.valid_to or '…'}" for c in cards)
            return f": known prices hold from {spans}"
        tiers = sorted(
            known_tier
            for known_provider, known_id, known_tier in self._cards
            if (known_provider, known_id) == (provider, provider_model_id)
        )
        if tiers:
            return f": it is priced in tier {', '.join(tiers)}"
        return ""

    def offers(self, provider: str, at: date, tier: str = "standard") -> tuple[Offer, ...]:
        """What a host offers on a day (UTC): rows in force, without what it no longer lists."""
        day = _iso(at)
        return tuple(
            self._offer(listing)
            for listing in self._by_provider.get(provider, ())
            if listing.offered and listing.card.tier == tier and listing.card.valid_on(day)
        )

    def _offer(self, listing: Listing) -> Offer:
        card = listing.card
        facts = self._models[card.model]
        context = listing.context_length or facts.context_length
        max_output = min(listing.max_output or context, context)
        return Offer(
            model=card.model,
            provider_model_id=card.provider_model_id,
            variant=listing.variant,
            context_length=context,
            max_output=max_output,
            default_output=self.default_output(card.model, max_output),
            card=card,
        )


def spellings(name: str) -> tuple[str, ...]:
    """What is taken for a name of a model: in lower case, with and without the author before it."""
    bare = name.lower().removeprefix(_AUTHOR)
    # A path is a host's own spelling and takes no author before it.
    return (bare,) if "/" in bare else (bare, _AUTHOR + bare)


def _iso(at: date) -> str:
    # A datetime is a date too, and its own notation goes on after the day.
    return at.isoformat()[:10]
