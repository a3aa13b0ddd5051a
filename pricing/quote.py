"""What quantities cost by a rate card: the one place where they are multiplied."""

from msgspec import Struct

from pricing.money import Money
from pricing.quantities import Quantities
from pricing.rates import RateCard


class QuoteLine(Struct, frozen=True, gc=False):
    """One kind of quantity, a field of `Quantities`: `pico` is `count` times `unit_pico`."""

    kind: str
    count: int
    unit_pico: int
    pico: int


class Quote(Struct, frozen=True):
    """A cost and how it came about; kinds without a count have no line."""

    lines: tuple[QuoteLine, ...]
    total: Money


def total_pico(quantities: Quantities, card: RateCard) -> int:
    """The cost alone, in picos of the card's currency; for the request path.

    Raises:
        Unpriced: there are searches and the card has no price for them. A call that `ceiling_pico`
            admitted with as many searches cannot meet this.
    """
    # The card's unit prices for reads and five-minute writes are written out here, because calling
    # its properties costs more than the sums; a test holds the two forms equal.
    fresh = card.input
    pico = quantities.fresh_input * fresh + quantities.output * card.output
    if count := quantities.cache_read:
        price = card.cache_read
        pico += count * (fresh if price is None else price)
    if count := quantities.cache_write_5m:
        price = card.cache_write_5m
        pico += count * (fresh if price is None else price)
    if count := quantities.cache_write_1h:
        pico += count * card.unit_cache_write_1h
    if price := card.per_request:
        pico += quantities.requests * price
    if count := quantities.searches:
        pico += count * card.unit_search
    return pico


def quote(quantities: Quantities, card: RateCard) -> Quote:
    """The cost with its lines; `total_pico` is the cheap form.

    Raises:
        Unpriced: there are searches and the card has no price for them.
    """
    prices = (
        ("fresh_input", quantities.fresh_input, card.input),
        ("cache_read", quantities.cache_read, card.unit_cache_read),
        ("cache_write_5m", quantities.cache_write_5m, card.unit_cache_write_5m),
        ("cache_write_1h", quantities.cache_write_1h, card.unit_cache_write_1h),
        ("output", quantities.output, card.output),
        ("requests", quantities.requests, card.per_request),
        ("searches", quantities.searches, card.unit_search if quantities.searches else 0),
    )
    lines = tuple(
        QuoteLine(kind, count, unit, count * unit) for kind, count, unit in prices if count
    )
    return Quote(lines, Money(card.currency, sum(line.pico for line in lines)))
