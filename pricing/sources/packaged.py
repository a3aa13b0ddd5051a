"""The price file that comes with the package.

`pricing/data/kimi-prices.json` says itself what it is and when it was made. Every row is checked;
one bad row stops the load: a gateway with a wrong price is worse than one that does not start.
"""

from collections.abc import Iterable, Iterator
from datetime import date
from importlib import resources
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from pricing.catalogue import Catalogue, Listing, ModelFacts
from pricing.errors import PriceDataError
from pricing.money import PER_MILLION_DECIMALS, PICO_DECIMALS, scaled
from pricing.rates import RateCard, rate_card

SCHEMA = "tidegate-prices/1"
PACKAGED = "data/kimi-prices.json"
_Kind = TypeVar("_Kind")

Text = Annotated[str, Meta(min_length=1)]
Tokens = Annotated[int, Meta(ge=1)]
Tier = Literal["standard", "batch", "flex", "priority", "free"]
Status = Literal["listed", "superseded", "deprecated", "retiring", "discontinued", "alpha"]
# Some sources give no more than a month, or a year.
SourceDate = Annotated[str, Meta(pattern=r"^20[0-9]{2}(-[0-9]{2}(-[0-9]{2})?)?$")]


class _Row(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    provider: Text
    provider_model_id: Text
    model: Text
    variant: Text | None = None
    tier: Tier
    currency: Literal["USD", "CNY"]
    context_length: Tokens | None = None
    max_output: Tokens | None = None
    input: str
    output: str
    cache_read: str | None = None
    cache_write_5m: str | None = None
    cache_write_1h: str | None = None
    valid_from: date | None = None
    valid_to: date | None = None
    status: Status
    source: Text
    source_date: SourceDate
    note: Text | None = None


class _Surcharge(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    provider: Text
    unit: Literal["search"]
    item: Text
    currency: Literal["USD", "CNY"]
    price: str
    source: Text
    source_date: SourceDate
    note: Text | None = None


class _Unpriced(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    provider: Text
    provider_model_id: Text
    reason: Text
    source: Text
    source_date: SourceDate


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    about: Text
    schema: str
    generated: date
    unit: Text
    notes: tuple[Text, ...]
    models: tuple[Raw, ...]
    surcharges: tuple[Raw, ...]
    unpriced: tuple[Raw, ...]
    prices: tuple[Raw, ...]
    conflicts: Raw  # for people: what each source says where they disagree


def load_packaged() -> Catalogue:
    """The catalogue that comes with the package.

    Raises:
        PriceDataError: the file is damaged; the message names the row and the field.
    """
    return read(packaged_bytes())


def packaged_bytes() -> bytes:
    """The text of the price file that comes with the package."""
    return resources.files("pricing").joinpath(PACKAGED).read_bytes()


def read(data: bytes) -> Catalogue:
    """A catalogue from the text of a price file.

    Raises:
        PriceDataError: the file breaks its rules; the message names the row and the field.
    """
    try:
        file = msgspec.json.decode(data, type=_File)
    except msgspec.DecodeError as error:
        raise PriceDataError(f"price file: {error}") from None
    if file.schema != SCHEMA:
        raise PriceDataError(f"price file: schema is {file.schema!r}, expected {SCHEMA!r}")
    searches = _searches(file.surcharges)
    return Catalogue(
        models=[facts for _, facts in _rows("models", file.models, ModelFacts)],
        listings=_listings(file.prices, searches),
        unpriced={
            (row.provider, row.provider_model_id): row.reason
            for _, row in _rows("unpriced", file.unpriced, _Unpriced)
        },
    )


def _rows(section: str, raws: Iterable[Raw], kind: type[_Kind]) -> Iterator[tuple[str, _Kind]]:
    """Each row, decoded, with words that say where it stands."""
    decoder = msgspec.json.Decoder(kind)
    for index, raw in enumerate(raws):
        try:
            row = decoder.decode(raw)
        except msgspec.DecodeError as error:
            raise PriceDataError(f"{section}[{index}]{_named(raw)}: {error}") from None
        yield f"{section}[{index}]", row


def _named(raw: Raw) -> str:
    """What a row that could not be decoded says of itself."""
    row = msgspec.json.decode(raw)
    if not isinstance(row, dict):
        return ""
    names = [str(row[key]) for key in ("provider", "provider_model_id", "slug") if row.get(key)]
    return f" ({' '.join(names)})" if names else ""


def _searches(raws: Iterable[Raw]) -> dict[tuple[str, str], int]:
    """Picos per search by provider and currency."""
    searches: dict[tuple[str, str], int] = {}
    for where, row in _rows("surcharges", raws, _Surcharge):
        key = (row.provider, row.currency)
        if key in searches:
            raise PriceDataError(f"{where} ({row.provider}): unit: a second price per search")
        searches[key] = _price(f"{where} ({row.provider})", "price", row.price, PICO_DECIMALS)
    return searches


def _listings(raws: Iterable[Raw], searches: dict[tuple[str, str], int]) -> Iterator[Listing]:
    for index, row in _rows("prices", raws, _Row):
        where = f"{index} ({row.provider} {row.provider_model_id}, {row.tier})"
        yield Listing(
            card=_card(where, row, searches.get((row.provider, row.currency))),
            variant=row.variant,
            context_length=row.context_length,
            max_output=row.max_output,
            offered=row.status != "deprecated",
        )


def _card(where: str, row: _Row, per_search: int | None) -> RateCard:
    valid_from, valid_to = row.valid_from, row.valid_to
    if valid_from is not None and valid_to is not None and valid_to < valid_from:
        raise PriceDataError(f"{where}: valid_to: {valid_to} is before valid_from {valid_from}")
    free = row.tier == "free"

    def token(field: str, text: str) -> int:
        pico = _price(where, field, text, PER_MILLION_DECIMALS)
        if pico == 0 and not free:
            # Sources write 0 for "unknown" and "in a subscription"; both would be gifts.
            raise PriceDataError(f"{where}: {field}: a price of 0 is for tier free only")
        return pico

    def cache(field: str, text: str | None) -> int | None:
        return None if text is None else token(field, text)

    return rate_card(
        provider=row.provider,
        provider_model_id=row.provider_model_id,
        model=row.model,
        currency=row.currency,
        input=token("input", row.input),
        output=token("output", row.output),
        cache_read=cache("cache_read", row.cache_read),
        cache_write_5m=cache("cache_write_5m", row.cache_write_5m),
        cache_write_1h=cache("cache_write_1h", row.cache_write_1h),
        per_search=per_search,
        tier=row.tier,
        valid_from=None if valid_from is None else valid_from.isoformat(),
        valid_to=None if valid_to is None else valid_to.isoformat(),
        source=row.source,
        source_date=row.source_date,
    )


def _price(where: str, field: str, text: str, decimals: int) -> int:
    try:
        return scaled(text, decimals)
    except ValueError as error:
        raise PriceDataError(f"{where}: {field}: {error}") from None
