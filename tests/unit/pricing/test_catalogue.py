"""Which price holds when, what a name means, and what a host offers."""

from datetime import UTC, date, datetime

import pytest

from pricing import Catalogue, Listing, ModelFacts, PriceDataError, RateCard, Unpriced
from tests.unit.pricing.cards import card

_DAY = date(2026, 11, 22)
_K3 = ModelFacts(
    slug="moonshotai/kimi-k3",
    name="Kimi K3",
    context_length=1_048_576,
    modalities=("text",),
    hf_id="moonshotai/Kimi-K3",
    default_output=131_072,
    aliases=("k3", "hosts/kimi-k3"),
)
_K2 = ModelFacts(
    slug="moonshotai/kimi-k2-0711",
    name="Kimi K2",
    context_length=131_072,
    modalities=("text",),
    hf_id="moonshotai/Kimi-K2-Instruct",
    aliases=("kimi-k2",),
)


def _catalogue(*cards: RateCard) -> Catalogue:
    return Catalogue(
        models=[_K3, _K2],
        listings=[Listing(card=each) for each in cards],
        unpriced={("moonshot", "k3-plan"): "sold by subscription"},
    )


_SPRING = card(input_price=1, valid_to="2026-10-18")
_AUTUMN = card(input_price=2, valid_from="2026-10-19", valid_to="2026-11-02")
_WINTER = card(input_price=3, valid_from="2026-11-05")


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2020, 1, 1), _SPRING),
        (date(2026, 10, 18), _SPRING),
        (date(2026, 10, 19), _AUTUMN),
        (date(2026, 11, 2), _AUTUMN),
        (date(2026, 11, 5), _WINTER),
        (date(2099, 1, 1), _WINTER),
        (datetime(2026, 11, 2, 23, 59, tzinfo=UTC), _AUTUMN),
    ],
)
def test_the_card_that_holds_on_the_day_is_chosen(day: date, expected: RateCard) -> None:
    catalogue = _catalogue(_WINTER, _SPRING, _AUTUMN)

    assert catalogue.card_for("moonshot", "kimi-k3", day) is expected


def test_a_tier_has_prices_of_its_own() -> None:
    standard, batch = card(), card(tier="batch", input_price=1)
    catalogue = _catalogue(standard, batch)

    assert catalogue.card_for("moonshot", "kimi-k3", _DAY) is standard
    assert catalogue.card_for("moonshot", "kimi-k3", _DAY, "batch") is batch


@pytest.mark.parametrize(
    ("model_id", "tier", "day", "why"),
    [
        ("kimi-k9", "standard", _DAY, "on 2026-11-22; correct"),
        ("k3-plan", "standard", _DAY, ": sold by subscription; correct"),
        ("kimi-k3", "batch", _DAY, ": it is priced in tier standard; correct"),
        (
            "kimi-k3",
            "standard",
            date(2026, 11, 3),
            ": known prices hold from … to 2026-10-18; 2026-10-19 to 2026-11-02; 2026-11-05 to …;",
        ),
    ],
)
def test_what_has_no_price_is_refused_and_the_message_says_what_to_do(
    model_id: str, tier: str, day: date, why: str
) -> None:
    with pytest.raises(Unpriced) as caught:
        _catalogue(_SPRING, _AUTUMN, _WINTER).card_for("moonshot", model_id, day, tier)

    message = str(caught.value)
    assert message.startswith(f"no price is known for moonshot '{model_id}' in tier {tier}")
    assert why in message
    assert message.endswith("state input and output prices for this endpoint in its settings")
    error = caught.value
    assert (error.provider, error.provider_model_id, error.tier, error.at) == (
        "moonshot",
        model_id,
        tier,
        day,
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (card(), card(input_price=1)),
        (card(valid_to="2026-10-15"), card(valid_from="2026-10-15")),
        (card(valid_from="2026-10-15"), card(valid_from="2026-10-16", valid_to="2026-10-17")),
        (card(valid_from="2026-10-15", valid_to="2026-10-15"), card()),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_two_prices_for_one_day_are_refused(
    first: RateCard, second: RateCard, *, swapped: bool
) -> None:
    cards = (second, first) if swapped else (first, second)

    with pytest.raises(PriceDataError, match=r"holds on the same days as|is there twice"):
        _catalogue(*cards)


def test_a_card_is_found_again_by_the_id_that_the_ledger_keeps() -> None:
    catalogue = _catalogue(_SPRING, _WINTER)

    assert catalogue.card(_SPRING.id) is _SPRING
    assert catalogue.card("moonshot/kimi-k3@2026-11-22#00000000") is None
    assert catalogue.cards == (_SPRING, _WINTER)


def test_a_card_of_an_unknown_model_is_refused() -> None:
    with pytest.raises(PriceDataError, match="model moonshotai/kimi-k9 is not in the catalogue"):
        _catalogue(card(model="moonshotai/kimi-k9"))


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("moonshotai/kimi-k3", "moonshotai/kimi-k3"),
        ("kimi-k3", "moonshotai/kimi-k3"),
        ("moonshotai/Kimi-K3", "moonshotai/kimi-k3"),
        ("Kimi-K3", "moonshotai/kimi-k3"),
        ("KIMI-K3", "moonshotai/kimi-k3"),
        ("k3", "moonshotai/kimi-k3"),
        ("moonshotai/k3", "moonshotai/kimi-k3"),
        ("hosts/kimi-k3", "moonshotai/kimi-k3"),
        ("moonshotai/hosts/kimi-k3", None),
        ("kimi-k2", "moonshotai/kimi-k2-0711"),
        ("kimi-k2-instruct", "moonshotai/kimi-k2-0711"),
        ("moonshotai/Kimi-K2-Instruct", "moonshotai/kimi-k2-0711"),
        ("", None),
        ("moonshotai/", None),
        ("kimi-k4", None),
        ("moonshotai/kimi-k3:free", None),
        ("moonshotai/moonshotai/kimi-k3", None),
    ],
)
def test_a_name_means_one_model_or_none(name: str, slug: str | None) -> None:
    assert _catalogue().resolve(name) == slug


def test_a_name_that_would_mean_two_models_is_refused() -> None:
    rival = ModelFacts(
        slug="moonshotai/rival",
        name="Rival",
        context_length=1,
        modalities=("text",),
        aliases=("K3",),
    )

    with pytest.raises(PriceDataError, match="name k3 already means moonshotai/kimi-k3"):
        Catalogue(models=[_K3, rival], listings=[])
    with pytest.raises(PriceDataError, match="moonshotai/kimi-k3: is there twice"):
        Catalogue(models=[_K3, _K3], listings=[])


def test_models_are_listed_and_found_by_slug() -> None:
    catalogue = _catalogue()

    assert catalogue.models() == (_K3, _K2)
    assert catalogue.model("moonshotai/kimi-k3") is _K3
    assert catalogue.model("kimi-k3") is None


def test_a_host_offers_what_is_in_force_and_not_withdrawn() -> None:
    live = card(provider_model_id="live")
    catalogue = Catalogue(
        models=[_K3],
        listings=[
            Listing(card=card(provider_model_id="past", valid_to="2026-11-21")),
            Listing(card=live, variant="fast"),
            Listing(card=card(provider_model_id="future", valid_from="2026-11-23")),
            Listing(card=card(provider_model_id="dropped"), offered=False),
            Listing(card=card(provider_model_id="live", tier="batch")),
            Listing(card=card(provider_model_id="live", provider="novita")),
        ],
    )

    (offer,) = catalogue.offers("moonshot", _DAY)

    assert offer.card is live
    assert (offer.model, offer.provider_model_id, offer.variant) == (
        "moonshotai/kimi-k3",
        "live",
        "fast",
    )
    ids = [each.provider_model_id for each in catalogue.offers("moonshot", date(2026, 11, 21))]
    assert ids == ["past", "live"]
    assert len(catalogue.offers("moonshot", _DAY, tier="batch")) == 1
    assert catalogue.offers("nobody", _DAY) == ()
    # no longer offered, yet what it bills has a price
    assert catalogue.card_for("moonshot", "dropped", _DAY).input == 3_000_000


@pytest.mark.parametrize(
    ("context", "max_output", "expected"),
    [
        (None, None, (1_048_576, 1_048_576, 131_072)),
        (200_000, None, (200_000, 200_000, 131_072)),
        (1_048_576, 300_000, (1_048_576, 300_000, 131_072)),
        (1_048_576, 100_000, (1_048_576, 100_000, 100_000)),
        (100_000, 300_000, (100_000, 100_000, 100_000)),
    ],
)
def test_lengths_come_from_the_host_then_the_model_and_never_pass_the_context(
    context: int | None, max_output: int | None, expected: tuple[int, int, int]
) -> None:
    catalogue = Catalogue(
        models=[_K3],
        listings=[Listing(card=card(), context_length=context, max_output=max_output)],
    )

    (offer,) = catalogue.offers("moonshot", _DAY)

    assert (offer.context_length, offer.max_output, offer.default_output) == expected


def test_a_model_without_a_documented_default_gets_the_smallest_documented_one() -> None:
    (offer,) = _catalogue(card(model="moonshotai/kimi-k2-0711")).offers("moonshot", _DAY)

    assert offer.default_output == 32_768
