"""Catalogues over one another: who holds on which day, and which ids stay."""

import datetime as dt

import pytest

from pricing import Listing, PriceDataError, RateCard, load_packaged
from pricing.layers import layered
from pricing.sources.price_file import PriceFile, read_own, read_taken, written
from tests.unit.pricing.cards import card

PACKAGED = load_packaged()
KEY = ("novita", "moonshotai/kimi-k3")


def over(*cards: RateCard) -> PriceFile:
    return PriceFile(listings=tuple(Listing(card=one) for one in cards))


def novita(price: int, **more: str) -> RateCard:
    return card(provider=KEY[0], provider_model_id=KEY[1], input_price=price, **more)  # type: ignore[arg-type]  # days only


def on(day: str, *layers: PriceFile) -> RateCard:
    return layered(PACKAGED, *layers).card_for(*KEY, dt.date.fromisoformat(day))


def test_a_taken_price_holds_from_its_day_on_and_days_before_keep_their_card_and_its_id() -> None:
    before = PACKAGED.card_for(*KEY, dt.date(2026, 11, 22))
    taken = over(novita(3_300_000, valid_from="2026-11-23"))

    assert on("2026-11-22", taken).id == before.id
    assert on("2026-11-22", taken).input == before.input
    assert on("2026-11-22", taken).valid_to == "2026-11-22"
    assert on("2026-11-23", taken).input == 3_300_000


def test_rows_that_nothing_touches_are_the_very_same() -> None:
    whole = layered(PACKAGED, over(novita(3_300_000, valid_from="2026-11-23")))

    def others(cards: tuple[RateCard, ...]) -> list[RateCard]:
        return [one for one in cards if (one.provider, one.provider_model_id) != KEY]

    assert others(whole.cards) == others(PACKAGED.cards)
    assert whole.unpriced == PACKAGED.unpriced


def test_a_row_goes_on_after_one_above_that_ends() -> None:
    before = PACKAGED.card_for(*KEY, dt.date(2026, 11, 22))
    contract = over(novita(1_000_000, valid_from="2026-11-23", valid_to="2026-12-31"))

    after = on("2027-01-01", contract)

    assert on("2026-12-31", contract).input == 1_000_000
    assert (after.input, after.valid_from) == (before.input, "2027-01-01")
    assert after.id != before.id


def test_a_higher_layer_counts_over_a_lower_one() -> None:
    taken = over(novita(3_300_000, valid_from="2026-11-23"))
    own = over(novita(2_000_000, valid_from="2026-11-25"))

    assert [on(f"2026-11-{day}", taken, own).input for day in (24, 25)] == [3_300_000, 2_000_000]
    assert on("2026-11-25", own, taken).input == 3_300_000


def test_two_rows_of_one_layer_on_one_day_are_refused() -> None:
    both = over(novita(1, valid_from="2026-11-23"), novita(2, valid_from="2026-11-24"))

    with pytest.raises(PriceDataError, match="holds on the same days"):
        layered(PACKAGED, both)


def test_a_file_that_was_written_reads_as_the_same_rows() -> None:
    listing = Listing(
        card=card(
            cache_read=300_000,
            cache_write_5m=1,
            cache_write_1h=0,
            per_request=7,
            per_search=5_000_000_000,
            tier="batch",
            valid_from="2026-11-23",
        ),
        variant="fast",
        context_length=1,
        max_output=2,
        offered=False,
    )

    again = read_taken(
        written([(listing, "why"), (Listing(card=card()), None)], "a test"), "x.json"
    )

    assert again.listings == (listing, Listing(card=card()))
    assert again.notes == ("why", None)


OWN = """\
schema: tidegate-prices/1
surcharges:
- {provider: acme, unit: search, item: "search", currency: EUR, price: "0.01", source: contract,
   source_date: "2026"}
models:
- {slug: acme/legal, name: Legal, context_length: 8192, modalities: [text], aliases: [legal]}
prices:
- {provider: acme, provider_model_id: legal, model: acme/legal, currency: EUR, input: "1", output: "2.5",
   source: contract, source_date: 2026-11-01}
"""


def test_a_teams_own_file_adds_models_and_their_prices() -> None:
    whole = layered(PACKAGED, read_own(OWN.encode(), "own.yaml", PACKAGED))

    own = whole.card_for("acme", "legal", dt.date(2026, 11, 23))
    assert (own.input, own.output, own.currency) == (1_000_000, 2_500_000, "EUR")
    assert own.per_search == 10_000_000_000
    assert whole.resolve("legal") == "acme/legal"


def test_a_teams_own_file_is_checked_and_each_error_has_its_line() -> None:
    wrong = OWN.replace('"2.5"', "-1").replace("EUR, input", "ERU, input")

    with pytest.raises(PriceDataError) as refused:
        read_own(wrong.encode(), "own.yaml", PACKAGED)

    lines = str(refused.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith("own.yaml:8: error: prices[0].") for line in lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not valid"),
        ('{"schema": "other/2", "prices": []}', 'schema is not "tidegate-prices/1"'),
        ('{"schema": "tidegate-prices/1", "prices": [{"provider": "a"}]}', "required"),
    ],
)
def test_a_damaged_file_is_refused_with_its_name(text: str, said: str) -> None:
    with pytest.raises(PriceDataError, match=said) as refused:
        read_taken(text.encode(), "accepted.json")

    assert str(refused.value).startswith("accepted.json")
