"""Which prices are plausible: by the prices that the packaged catalogue has, and by nothing else.

The packaged rows of 2026-11-22 have, in USD per million tokens, input from 0.10 to 31.46, output from
0.60 to 31.46 and reads from the cache from 0.045 to 0.95. A price is out of bounds beyond ten times
the highest, or below a tenth of the lowest, of its kind and currency: a wrong unit is off by a
thousand or a million, so the bounds catch it and leave room for hosts yet unknown. It is doubtful
beyond five times, or below a fifth, of the median of the same model; eight packaged rows are.
"""

from collections.abc import Iterable
from decimal import Decimal
from statistics import median
from typing import Literal

from msgspec import Struct

from pricing.money import PER_MILLION_DECIMALS
from pricing.rates import RateCard

_KINDS = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
_OUT_OF_BOUNDS = 10
_DOUBTFUL = 5
# A price a hundred times the median of its kind, or a hundredth, does not count for the bounds: a packaged
# row in a wrong unit would set those by which it is judged.
_ASTRAY = 100
# A price in the unit that was probably meant is not as far from what is known as that.
_LIKELY = 2
# With fewer rows than these, the data says nothing of a currency or of a model.
_ENOUGH_OF_CURRENCY = 20
_ENOUGH_OF_MODEL = 3
_CENTS = 100
# Powers of ten between a unit that was meant and the one that was typed, the likeliest first.
_UNITS = (
    (6, "per token"),
    (3, "per 1,000 tokens"),
    (-6, "in millionths"),
    (-3, "per billion tokens"),
    (-2, "in cents"),
)


class Doubt(Struct, frozen=True):
    """Why a price is not believed, and what was probably meant (per million tokens), if that shows."""

    size: Literal["low", "high", "odd-low", "odd-high"]
    wrong: str
    meant: str | None
    per_token: bool = False


class Plausible:
    """The bounds of prices, from rate cards."""

    def __init__(self, cards: Iterable[RateCard]) -> None:
        """Bounds from these cards; what is free says nothing."""
        by_currency: dict[tuple[str, str], list[int]] = {}
        by_model: dict[tuple[str, str, str], list[int]] = {}
        for card in cards:
            for kind in _KINDS:
                if pico := getattr(card, kind):
                    of = "cache_write" if kind.startswith("cache_write") else kind
                    by_currency.setdefault((of, card.currency), []).append(pico)
                    by_model.setdefault((of, card.currency, card.model), []).append(pico)
        self._bounds = {
            key: _bounds(picos)
            for key, picos in by_currency.items()
            if len(picos) >= _ENOUGH_OF_CURRENCY
        }
        self._usual = {
            key: _per_million(int(median(picos)))
            for key, picos in by_model.items()
            if len(picos) >= _ENOUGH_OF_MODEL
        }

    def knows(self, currency: str) -> bool:
        """Whether there are enough prices in a currency to judge others by."""
        return ("input", currency) in self._bounds

    def doubt(self, kind: str, price: Decimal, currency: str, model: str) -> Doubt | None:
        """What speaks against a price above zero, or None.

        Args:
            kind: a price field of `RateCard`, of those per token.
            price: per million tokens.
            currency: ISO 4217.
            model: canonical slug; one that is not known is judged by all others.
        """
        kind = "cache_write" if kind.startswith("cache_write") else kind
        bounds = self._bounds.get((kind, currency))
        if bounds is None:
            return None
        low, high = bounds[0] / _OUT_OF_BOUNDS, bounds[1] * _OUT_OF_BOUNDS
        usual = self._usual.get((kind, currency, model))
        name = kind.replace("_", " ")
        if low <= price <= high:
            return None if usual is None else _beside(price, usual, currency, name)
        size: Literal["low", "high"] = "low" if price < low else "high"
        known = f"known {name} prices are {_plain(bounds[0])} to {_plain(bounds[1])} {currency}"
        likely = [
            (meant, unit, power)
            for power, unit in _UNITS
            if (power > 0) == (size == "low")
            and bounds[0] / _LIKELY <= (meant := price.scaleb(power)) <= bounds[1] * _LIKELY
        ]
        if usual is not None:
            likely.sort(key=lambda one: max(one[0] / usual, usual / one[0]))
        if likely:
            meant, unit, power = likely[0]
            wrong = f"looks like a price {unit} ({known} per million tokens)"
            return Doubt(size, wrong, _plain(meant), per_token=power == PER_MILLION_DECIMALS)
        side = "below" if size == "low" else "above"
        return Doubt(
            size, f"is implausibly far {side} what is known: {known} per million tokens", None
        )


def _bounds(picos: list[int]) -> tuple[Decimal, Decimal]:
    """The lowest and the highest price per million, without those that would hide themselves."""
    middle = int(median(picos))
    sane = [pico for pico in picos if middle <= pico * _ASTRAY and pico <= middle * _ASTRAY]
    return _per_million(min(sane)), _per_million(max(sane))


def _beside(price: Decimal, usual: Decimal, currency: str, name: str) -> Doubt | None:
    said = (
        f"hosts of this model usually ask {_plain(usual)} {currency} per million tokens for {name}"
    )
    if price > usual * _DOUBTFUL:
        cents = price / _CENTS
        if usual / 2 <= cents <= usual * 2:
            return Doubt("odd-high", f"looks like a price in cents: {said}", _plain(cents))
        return Doubt(
            "odd-high", f"is {_plain(round(price / usual, 1))} times what is usual: {said}", None
        )
    if price < usual / _DOUBTFUL:
        return Doubt(
            "odd-low", f"is 1/{_plain(round(usual / price, 1))} of what is usual: {said}", None
        )
    return None


def _per_million(pico: int) -> Decimal:
    return Decimal(pico).scaleb(-PER_MILLION_DECIMALS)


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
