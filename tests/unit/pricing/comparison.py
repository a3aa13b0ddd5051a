"""How prices of other people's packages are compared with ours: each difference has a listed reason.

A difference is of one row and one field; the file beside this one lists those that are known, each with why
and with where that is from. One that is not listed fails, and so does a listed one that has gone.
"""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import yaml
from msgspec import Struct, convert

from pricing import Quantities, RateCard, load_packaged, quote
from pricing.money import PICO_DECIMALS

# The newest day of the packaged prices: what holds today depends on when a test runs.
DAY = dt.date(2026, 11, 22)
MILLION = 1_000_000
FIELDS: Mapping[str, Quantities] = {
    "input": Quantities(fresh_input=MILLION),
    "cache_read": Quantities(cache_read=MILLION),
    "cache_write_5m": Quantities(cache_write_5m=MILLION),
    "output": Quantities(output=MILLION),
}
# Primes, so that no two mistakes cancel out.
MIXED = Quantities(
    fresh_input=7_919, cache_read=104_729, cache_write_5m=15_485_863, output=1_299_709
)
# Provider, model there, day, field, what we ask and what they ask.
Said = tuple[str, str, str, str, str, str]
_LISTED = Path(__file__).with_name("price_differences.yaml")


class Difference(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What we ask and what they ask, in USD per million tokens, on a day, and why that is."""

    provider: str
    model: str
    day: dt.date
    field: str
    ours: str
    theirs: str
    why: str
    source: str
    source_date: str

    @property
    def said(self) -> Said:
        """What differs, without the reason."""
        row = (self.provider, self.model, self.day.isoformat(), self.field)
        return (*row, _plain(Decimal(self.ours)), _plain(Decimal(self.theirs)))


class Compared(Struct, frozen=True):
    """A rate card on a day on which it holds."""

    card: RateCard
    day: dt.date

    def ours(self, quantities: Quantities) -> Decimal:
        """What they cost by our quote, in USD."""
        return Decimal(quote(quantities, self.card).total.pico).scaleb(-PICO_DECIMALS)

    def differs(self, field: str, theirs: Decimal) -> Said:
        """The difference of a field, as `listed` has it."""
        card = self.card
        row = (card.provider, card.provider_model_id, self.day.isoformat(), field)
        return (*row, _plain(self.ours(FIELDS[field])), _plain(theirs))


def listed(package: str) -> dict[Said, Difference]:
    """The known differences from a package, by what they say.

    Raises:
        AssertionError: a difference is listed twice.
    """
    whole = yaml.safe_load(_LISTED.read_text(encoding="utf-8"))
    found = convert(whole[package], tuple[Difference, ...])
    by_what = {difference.said: difference for difference in found}
    assert len(by_what) == len(found)
    return by_what


def rows() -> list[Compared]:
    """Every packaged card in dollars that a package could know, on the first and the last of its days.

    A service tier is left out where the model id is sold in the standard one too: these packages look a
    price up by the id alone. So is what is free: they know no price of 0.
    """
    cards = [card for card in load_packaged().cards if card.currency == "USD"]
    plain = {(card.provider, card.provider_model_id) for card in cards if card.tier == "standard"}
    found = []
    for card in cards:
        if card.tier == "free" or (
            card.tier != "standard" and (card.provider, card.provider_model_id) in plain
        ):
            continue
        first = dt.date.fromisoformat(card.valid_from) if card.valid_from else None
        last = dt.date.fromisoformat(card.valid_to) if card.valid_to else DAY
        last = max(min(last, DAY), first or last)
        found += [Compared(card, day) for day in sorted({first or last, last})]
    return found


def _plain(price: Decimal) -> str:
    return f"{price.normalize():f}"
