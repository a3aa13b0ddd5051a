"""What a host charges for a model, over one interval of time."""

import hashlib

from msgspec import Struct

from pricing.errors import Unpriced
from pricing.money import checked_currency

_ID_DIGITS = 8


class RateCard(Struct, frozen=True, kw_only=True, gc=False):
    """The prices of one model at one host in one service tier. Make it with `rate_card`.

    All prices are picos of `currency` (10⁻¹²): per token, per request, per search. Days are UTC in
    ISO 8601, both inclusive; None leaves that end open.

    A cache price that the host does not state is None, and such tokens cost the input price: a
    discount that nobody stated is not assumed, so a bill is never lower than what is known. For the
    same reason a one-hour write without a price costs no less than a five-minute one. A search
    without a price is refused as `Unpriced`.
    """

    id: str
    provider: str
    provider_model_id: str
    model: str
    currency: str
    input: int
    output: int
    cache_read: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    per_request: int = 0
    per_search: int | None = None
    tier: str = "standard"
    valid_from: str | None = None
    valid_to: str | None = None
    source: str
    source_date: str | None = None

    @property
    def unit_cache_read(self) -> int:
        """Picos for a token read from the cache."""
        price = self.cache_read
        return self.input if price is None else price

    @property
    def unit_cache_write_5m(self) -> int:
        """Picos for a token written to the cache for five minutes, or the host's own lifetime."""
        price = self.cache_write_5m
        return self.input if price is None else price

    @property
    def unit_cache_write_1h(self) -> int:
        """Picos for a token written to the cache for an hour."""
        price = self.cache_write_1h
        return max(self.input, self.unit_cache_write_5m) if price is None else price

    @property
    def unit_search(self) -> int:
        """Picos for one search.

        Raises:
            Unpriced: this card has no price for searches.
        """
        price = self.per_search
        if price is None:
            raise Unpriced(
                f"{self.provider} {self.provider_model_id!r} has no price for searches (rate card "
                f"{self.id}): refuse search tools on this endpoint, or give it a price per search",
                provider=self.provider,
                provider_model_id=self.provider_model_id,
                tier=self.tier,
            )
        return price

    def valid_on(self, day: str) -> bool:
        """Whether the card holds on a day, given in ISO 8601."""
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_to is None or day <= self.valid_to
        )


def rate_card(
    *,
    provider: str,
    provider_model_id: str,
    model: str,
    currency: str,
    input: int,  # noqa: A002 -- the field's standard term, keyword only
    output: int,
    cache_read: int | None = None,
    cache_write_5m: int | None = None,
    cache_write_1h: int | None = None,
    per_request: int = 0,
    per_search: int | None = None,
    tier: str = "standard",
    valid_from: str | None = None,
    valid_to: str | None = None,
    source: str,
    source_date: str | None = None,
) -> RateCard:
    """A rate card with its id, which is derived from what the card says.

    The same prices from the same source always have the same id, and any other price another one.
    `valid_to` is left out of it: closing an interval must not rename a card that ledger entries
    name.

    Raises:
        ValueError: `currency` is not three capital letters.
    """
    checked_currency(currency)
    said = (
        provider,
        provider_model_id,
        model,
        currency,
        input,
        output,
        cache_read,
        cache_write_5m,
        cache_write_1h,
        per_request,
        per_search,
        tier,
        valid_from,
        source,
        source_date,
    )
    digest = hashlib.sha256(repr(said).encode()).hexdigest()[:_ID_DIGITS]
    return RateCard(
        id=f"{provider}/{provider_model_id}@{source_date or 'own'}#{digest}",
        provider=provider,
        provider_model_id=provider_model_id,
        model=model,
        currency=currency,
        input=input,
        output=output,
        cache_read=cache_read,
        cache_write_5m=cache_write_5m,
        cache_write_1h=cache_write_1h,
        per_request=per_request,
        per_search=per_search,
        tier=tier,
        valid_from=valid_from,
        valid_to=valid_to,
        source=source,
        source_date=source_date,
    )
