"""What is taken at once, and what waits for somebody."""

import datetime as dt
from typing import Any

import pytest

from pricing import Catalogue, Listing, ModelFacts, RateCard, load_packaged
from pricing.changes import Change, Compared, compare
from pricing.plausible import Plausible
from pricing.sources import novita, openrouter
from pricing.sources.rows import Reading, SourceRow, UnreadRow
from tests.unit.pricing.cards import card
from tests.unit.pricing.source_bodies import novita as novita_body
from tests.unit.pricing.source_bodies import openrouter as openrouter_body

TODAY = dt.date(2026, 11, 23)
PACKAGED = load_packaged()
PLAUSIBLE = Plausible(PACKAGED.cards)
K3 = ModelFacts(
    slug="moonshotai/kimi-k3", name="K3", context_length=1_048_576, modalities=("text",)
)


def catalogue(*cards: RateCard, offered: bool = True) -> Catalogue:
    return Catalogue(models=[K3], listings=[Listing(card=one, offered=offered) for one in cards])


def reading(*cards: RateCard, source: str = "genai-prices", **more: Any) -> Reading:
    rows = tuple(SourceRow(card=one) for one in cards)
    return Reading(source=source, rows=rows, **more)


def found(current: Catalogue, *readings: Reading, **more: Any) -> Compared:
    return compare(
        current,
        readings,
        today=TODAY,
        providers=frozenset({"moonshot", "novita", "openrouter"}),
        plausible=PLAUSIBLE,
        **more,
    )


def one(current: Catalogue, *readings: Reading) -> Change:
    (change,) = found(current, *readings).changes
    return change


def test_lists_that_say_what_is_packaged_change_nothing() -> None:
    def resolve(_: str, name: str) -> str | None:
        return PACKAGED.resolve(name)

    readings = (
        openrouter.read(openrouter_body(), TODAY, resolve),
        novita.read(novita_body(), TODAY, resolve),
    )

    assert all(len(reading.rows) > 5 for reading in readings)
    assert found(PACKAGED, *readings) == Compared(changes=(), told=())


@pytest.mark.parametrize("field", ["input", "output", "cache_read"])
@pytest.mark.parametrize(
    ("percent", "waits"),
    [(100, True), (31, True), (30, False), (1, False), (-30, False), (-31, True)],
)
def test_a_change_of_more_than_thirty_percent_waits(field: str, percent: int, waits: bool) -> None:  # noqa: FBT001 - of a table
    prices = {"input": 3_000_000, "output": 15_000_000, "cache_read": 300_000}
    changed = prices | {field: prices[field] * (100 + percent) // 100}

    def made(of: dict[str, int]) -> RateCard:
        return card(input_price=of["input"], output_price=of["output"], cache_read=of["cache_read"])

    change = one(catalogue(made(prices)), reading(made(changed)))

    assert bool(change.reasons) is waits
    assert change.kind == "changed"
    assert change.new.card.valid_from == "2026-11-23"


def test_one_pico_beyond_thirty_percent_waits() -> None:
    at_the_edge, beyond = (
        one(catalogue(card()), reading(card(input_price=price))) for price in (3_900_000, 3_900_001)
    )

    assert at_the_edge.reasons == ()
    assert beyond.reasons == ("input rises by 30 % from 3 to 3.900001",)


def test_a_price_that_falls_to_zero_waits_and_says_so() -> None:
    change = one(catalogue(card()), reading(card(input_price=0)))

    assert change.reasons == ("input falls to zero, from 3",)
    assert change.costs_nothing


def test_a_price_per_token_is_told_as_one() -> None:
    change = one(catalogue(card()), reading(card(input_price=3, output_price=15)))

    assert any("looks like a price per token" in reason for reason in change.reasons)


def test_another_currency_waits() -> None:
    change = one(catalogue(card()), reading(card(currency="CNY", input_price=3_100_000)))

    assert change.reasons[0] == "is in CNY, and was in USD"


def test_a_currency_of_which_too_little_is_known_waits() -> None:
    change = one(catalogue(), reading(card(currency="SEK")))

    assert "too few prices are known in SEK to judge it by" in change.reasons


def test_a_discount_for_cached_tokens_that_is_not_stated_any_more_is_a_rise() -> None:
    change = one(catalogue(card(cache_read=300_000)), reading(card()))

    assert change.reasons == ("cache read rises by 900 % from 0.3 to 3",)


def test_a_new_model_waits_and_starts_today() -> None:
    change = one(catalogue(), reading(card()))

    assert (change.kind, change.old) == ("added", None)
    assert change.reasons == ("is a model that this provider did not have",)
    assert change.new.card.valid_from == "2026-11-23"


def test_a_model_that_its_providers_own_list_lacks_waits_to_be_taken_out() -> None:
    change = one(
        catalogue(card()), reading(source="Novita model list", lists=frozenset({"moonshot"}))
    )

    assert change.kind == "removed"
    assert change.reasons
    assert not change.new.offered
    assert change.new.card.input == 3_000_000  # what may still be billed has its price


def test_a_row_that_could_not_be_read_is_told_and_not_gone() -> None:
    unread = UnreadRow("moonshot", "kimi-k3", "has no pricing")
    result = found(
        catalogue(card()),
        reading(source="Novita model list", unread=(unread,), lists=frozenset({"moonshot"})),
    )

    assert result.changes == ()
    assert result.told == ("Novita model list: moonshot kimi-k3: has no pricing",)


def test_a_source_that_is_no_list_of_a_provider_takes_nothing_out_and_brings_nothing_back() -> None:
    retired = card(valid_to="2026-05-31")

    assert found(catalogue(card()), reading()).changes == ()
    assert found(catalogue(retired), reading(card())).changes == ()
    assert (
        found(catalogue(card(), offered=False), reading(card(input_price=1_000_000))).changes == ()
    )


def test_what_is_offered_again_waits() -> None:
    there = reading(card(), source="Novita model list", lists=frozenset({"moonshot"}))
    change = one(catalogue(card(), offered=False), there)

    assert change.reasons == ("is a model that was not offered any more",)
    assert change.new.offered


def test_a_second_change_of_a_day_holds_from_the_next_so_that_no_day_has_two_prices() -> None:
    today = card(valid_from="2026-11-23")
    change = one(catalogue(today), reading(card(input_price=3_100_000)))

    assert change.new.card.valid_from == "2026-11-24"


def test_a_price_that_was_announced_is_not_a_change_back() -> None:
    now, then = card(valid_to="2026-11-30"), card(input_price=3_500_000, valid_from="2026-12-01")

    assert found(catalogue(now, then), reading(card())).changes == ()
    assert found(catalogue(now, then), reading(card(input_price=3_500_000))).changes == ()


def test_a_source_does_not_overrule_one_that_knows_better() -> None:
    first_hand = reading(card(input_price=3_100_000), source="Novita model list")
    second_hand = reading(card(input_price=3_200_000), source="litellm price map")

    assert one(catalogue(card()), second_hand, first_hand).new.card.input == 3_100_000
    current = catalogue(card(input_price=3_100_000, source="Novita model list"))
    assert found(current, second_hand).changes == ()


def test_what_somebody_keeps_by_hand_and_other_providers_are_left_alone() -> None:
    pinned = frozenset({("moonshot", "kimi-k3", "standard")})

    assert found(catalogue(card()), reading(card(input_price=1)), pinned=pinned).changes == ()
    assert found(catalogue(card()), reading(card(provider="acme"))).changes == ()


def test_two_prices_of_one_model_in_a_source_are_told() -> None:
    result = found(catalogue(card()), reading(card(), card(input_price=3_100_000)))

    assert result.changes == ()
    assert result.told == (
        "genai-prices: moonshot kimi-k3 standard: has two prices; the first is taken",
    )


def test_a_change_has_the_same_name_on_another_day_and_another_one_for_another_price() -> None:
    def named(price: int, day: dt.date) -> str:
        changes = compare(
            catalogue(card()),
            [reading(card(input_price=price))],
            today=day,
            providers=frozenset({"moonshot"}),
            plausible=PLAUSIBLE,
        ).changes
        return changes[0].id

    assert named(9_000_000, TODAY) == named(9_000_000, TODAY + dt.timedelta(days=1))
    assert named(9_000_000, TODAY) != named(9_100_000, TODAY)
