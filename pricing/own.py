"""Prices that an operator states for endpoints of its own."""

from collections.abc import Mapping

from pricing.errors import PriceDataError
from pricing.money import PER_MILLION_DECIMALS, PICO_DECIMALS, scaled
from pricing.rates import RateCard, rate_card

_REQUIRED = ("input", "output")
_PER_MILLION = (*_REQUIRED, "cache_read", "cache_write_5m", "cache_write_1h")
_PER_UNIT = ("per_request", "per_search")


def own_card(
    *,
    provider: str,
    model: str,
    prices: Mapping[str, str],
    currency: str = "USD",
    provider_model_id: str | None = None,
) -> RateCard:
    """A rate card from an operator's own prices, always valid.

    Args:
        provider: slug of the host.
        model: canonical slug of the model.
        prices: decimal strings. Per million tokens: `input`, `output` (both required, so that "0"
            is always somebody's decision), `cache_read`, `cache_write_5m`, `cache_write_1h`. For
            one: `per_request`, `per_search`.
        currency: ISO 4217.
        provider_model_id: what the host calls the model; `model` if not given.

    Raises:
        PriceDataError: a price is missing, unknown, not a decimal string, below zero or too fine,
            or the currency is no currency code; the message names provider, model and field.
    """
    where = f"prices of {provider} {model!r}"
    for field in _REQUIRED:
        if field not in prices:
            raise PriceDataError(
                f'{where}: {field} is missing; write {field}: "0" if it shall cost nothing'
            )
    known: dict[str, int] = {}
    for field, text in prices.items():
        if field in _PER_MILLION:
            decimals = PER_MILLION_DECIMALS
        elif field in _PER_UNIT:
            decimals = PICO_DECIMALS
        else:
            known_fields = ", ".join(_PER_MILLION + _PER_UNIT)
            raise PriceDataError(f"{where}: {field} is not one of {known_fields}")
        try:
            known[field] = scaled(text, decimals)
        except (TypeError, ValueError) as error:
            raise PriceDataError(f"{where}: {field}: {error}") from None
    try:
        return rate_card(
            provider=provider,
            provider_model_id=provider_model_id or model,
            model=model,
            currency=currency,
            input=known["input"],
            output=known["output"],
            cache_read=known.get("cache_read"),
            cache_write_5m=known.get("cache_write_5m"),
            cache_write_1h=known.get("cache_write_1h"),
            per_request=known.get("per_request", 0),
            per_search=known.get("per_search"),
            source="operator",
        )
    except ValueError as error:
        raise PriceDataError(f"{where}: currency: {error}") from None
