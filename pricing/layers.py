"""Catalogues over one another: a row holds on the days on which no row above it does.

Rows are told apart by provider, model id and service tier. A row that nothing above touches stays as it
is, with its id; one that is ended earlier keeps its id too, for an id does not say when a card ends.
"""

import datetime as dt
from collections.abc import Iterable, Sequence

from msgspec.structs import asdict, replace

from pricing.catalogue import Catalogue, Listing
from pricing.rates import RateCard, rate_card
from pricing.sources.price_file import PriceFile

_Key = tuple[str, str, str]
_DAY = dt.timedelta(days=1)


def layered(base: Catalogue, *above: PriceFile) -> Catalogue:
    """One catalogue of several.

    Args:
        base: the lowest.
        above: the others, from low to high.

    Raises:
        PriceDataError: two rows of one layer hold on the same day, or a model has no facts; the message
            names the row.
    """
    listings: Sequence[Listing] = base.listings
    models = list(base.models())
    for layer in above:
        listings = _over(listings, layer.listings)
        known = {facts.slug for facts in models}
        models += [facts for facts in layer.models if facts.slug not in known]
    priced = {
        (one.card.provider, one.card.provider_model_id) for layer in above for one in layer.listings
    }
    unpriced = {key: why for key, why in base.unpriced.items() if key not in priced}
    return Catalogue(models=models, listings=listings, unpriced=unpriced)


def _over(lower: Sequence[Listing], upper: Iterable[Listing]) -> list[Listing]:
    """The rows of a layer above another, each beside those that it ends."""
    by_key: dict[_Key, list[Listing]] = {}
    for listing in upper:
        by_key.setdefault(_key(listing.card), []).append(listing)
    if not by_key:
        return list(lower)
    found: list[Listing] = []
    placed: set[_Key] = set()
    for listing in lower:
        key = _key(listing.card)
        covering = by_key.get(key)
        if covering is None:
            found.append(listing)
            continue
        found += _beside(listing, covering)
        if key not in placed:
            placed.add(key)
            found += covering
    return found + [one for key, rows in by_key.items() if key not in placed for one in rows]


def _key(card: RateCard) -> _Key:
    return card.provider, card.provider_model_id, card.tier


def _beside(listing: Listing, covering: Iterable[Listing]) -> list[Listing]:
    """What is left of a row on the days that others do not cover."""
    first = _day(listing.card.valid_from, dt.date.min)
    last = _day(listing.card.valid_to, dt.date.max)
    left = [(first, last)]
    for other in covering:
        start, end = (
            _day(other.card.valid_from, dt.date.min),
            _day(other.card.valid_to, dt.date.max),
        )
        cut: list[tuple[dt.date, dt.date]] = []
        for begin, stop in left:
            if end < begin or stop < start:
                cut.append((begin, stop))
                continue
            if begin < start:
                cut.append((begin, start - _DAY))
            if end < stop:
                cut.append((end + _DAY, stop))
        left = cut
    return [_within(listing, begin, stop) for begin, stop in left]


def _day(text: str | None, open_end: dt.date) -> dt.date:
    return open_end if text is None else dt.date.fromisoformat(text)


def _within(listing: Listing, begin: dt.date, stop: dt.date) -> Listing:
    card = listing.card
    valid_from = None if begin == dt.date.min else begin.isoformat()
    valid_to = None if stop == dt.date.max else stop.isoformat()
    if (valid_from, valid_to) == (card.valid_from, card.valid_to):
        return listing
    if valid_from == card.valid_from:
        return replace(listing, card=replace(card, valid_to=valid_to))
    said = {name: value for name, value in asdict(card).items() if name != "id"}
    return replace(
        listing, card=rate_card(**said | {"valid_from": valid_from, "valid_to": valid_to})
    )
