"""What can go wrong with prices: a closed family.

PricingError
├── Unpriced          no price is known: the endpoint is refused, it is not free
├── CurrencyMismatch  an operation on amounts of two currencies
└── PriceDataError    a price, or a row of price data, that is not valid
"""

from datetime import date


class PricingError(Exception):
    """A price is missing or wrong."""


class Unpriced(PricingError, LookupError):
    """No price is known for what was asked; the message says what to do.

    Attributes:
        provider: slug of the host.
        provider_model_id: what the host calls the model.
        tier: service tier that was asked for.
        at: UTC day that was asked for, where the answer depended on it.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        provider_model_id: str,
        tier: str,
        at: date | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.provider_model_id = provider_model_id
        self.tier = tier
        self.at = at


class CurrencyMismatch(PricingError, ValueError):
    """Amounts of two currencies met; nothing is converted here."""


class PriceDataError(PricingError, ValueError):
    """A price, or a row of price data, breaks its rules; the message names row and field."""
