"""Prices: exact money, rate cards with dates, what a call cost and what it can cost at most.

Knows nothing of the gateway, of adapters or of the network.
"""

from pricing.catalogue import Catalogue, Listing, ModelFacts, Offer
from pricing.ceiling import ceiling, ceiling_pico
from pricing.errors import CurrencyMismatch, PriceDataError, PricingError, Unpriced
from pricing.money import Money
from pricing.own import own_card
from pricing.quantities import Quantities
from pricing.quote import Quote, QuoteLine, quote, total_pico
from pricing.rates import RateCard, rate_card
from pricing.sources.packaged import load_packaged

__all__ = [
    "Catalogue",
    "CurrencyMismatch",
    "Listing",
    "ModelFacts",
    "Money",
    "Offer",
    "PriceDataError",
    "PricingError",
    "Quantities",
    "Quote",
    "QuoteLine",
    "RateCard",
    "Unpriced",
    "ceiling",
    "ceiling_pico",
    "load_packaged",
    "own_card",
    "quote",
    "rate_card",
    "total_pico",
]
