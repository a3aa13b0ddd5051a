"""What a source says that is not in force: which of it may be taken at once, and what waits for somebody.

A change of a price by at most 30 % that is plausible is taken. What waits: more than that, a price that
falls to zero, an implausible one, and a model that is new or gone.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import asdict, replace

from pricing.catalogue import Catalogue, Listing
from pricing.money import PER_MILLION_DECIMALS, unscaled
from pricing.plausible import Plausible
from pricing.rates import RateCard, rate_card
from pricing.sources.price_file import same_prices
from pricing.sources.rows import Reading, SourceRow

PERCENT = 30
_HUNDRED = 100
_FIELDS: Mapping[str, str] = {
    "input": "input",
    "output": "output",
    "cache_read": "unit_cache_read",
    "cache_write_5m": "unit_cache_write_5m",
    "cache_write_1h": "unit_cache_write_1h",
}
_ID_DIGITS = 8
_DAY = dt.timedelta(days=1)
# The less a source knows of a provider at first hand, the further down; it overrules none before it.
_RANKS = ("OpenRouter model list", "Novita model list", "genai-prices", "litellm")

# A row of a price file, with its note.
_Noted = tuple[Listing, str | None]
Kind = Literal["changed", "added", "removed"]


class Change(Struct, frozen=True, kw_only=True):
    """A row of a source beside the one in force.

    `new` is the row to be put in force, with its days; of a model that is gone it is the old one, not
    offered any more. `reasons` say why it waits; none if it need not.
    """

    kind: Kind
    old: Listing | None
    new: Listing
    reasons: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Its name, the same on whichever day it is found."""
        return change_id(self.new)

    @property
    def costs_nothing(self) -> bool:
        """Whether it would put a price of zero in force."""
        return costs_nothing(self.new)


def costs_nothing(new: Listing) -> bool:
    """Whether a row would put a price of zero in force, though its tier is not the free one."""
    card = new.card
    return new.offered and card.tier != "free" and not (card.input and card.output)


class Compared(Struct, frozen=True, kw_only=True):
    """All changes, and what was not taken over, a line for each."""

    changes: tuple[Change, ...]
    told: tuple[str, ...]


def compare(
    current: Catalogue,
    readings: Iterable[Reading],
    *,
    today: dt.date,
    providers: frozenset[str],
    plausible: Plausible,
    pinned: frozenset[tuple[str, str, str]] = frozenset(),
) -> Compared:
    """What sources say that is not in force.

    Args:
        current: what is in force.
        readings: of the sources.
        today: the UTC day from which on changes hold. Where a change of that day is in force already, they
            hold from the next one, so that no day has two prices.
        providers: those whose prices are wanted.
        plausible: what prices are judged by.
        pinned: provider, model id and tier of rows that somebody keeps by hand: they are left alone.
    """
    found: dict[tuple[str, str, str], Change] = {}
    told: list[str] = []
    for reading in sorted(readings, key=lambda one: rank(one.source)):
        told += [
            f"{reading.source}: {row.provider} {row.provider_model_id}: {row.why}"
            for row in reading.unread
            if row.provider in providers
        ]
        seen: dict[tuple[str, str, str], SourceRow] = {}
        for row in reading.rows:
            key = key_of(row.card)
            if row.card.provider not in providers or key in pinned:
                continue
            first = seen.setdefault(key, row)
            if first is not row and not same_prices(first.card, row.card):
                told.append(
                    f"{reading.source}: {' '.join(key)}: has two prices; the first is taken"
                )
        for key, row in seen.items():
            olds = _from(current, key, today)
            if key in found or any(rank(old.card.source) < rank(reading.source) for old in olds):
                continue  # a source that knows better has spoken
            retired = not olds and any(key_of(card) == key for card in current.cards)
            if (retired or (olds and not olds[-1].offered)) and key[0] not in reading.lists:
                continue  # of what a host offers no more, only its own list knows better
            change = _change(olds, row, today, plausible)
            if change is not None:
                found[key] = change
        for listing in _gone(current, reading, seen.keys() | pinned, today, providers):
            found.setdefault(key_of(listing.card), _removal(listing, reading, today))
    return Compared(changes=tuple(found.values()), told=tuple(told))


def rank(source: str) -> int:
    """How much a source is believed, the lowest most; what is packaged from others comes last."""
    at = (place for place, name in enumerate(_RANKS) if source.startswith(name))
    return next(at, len(_RANKS))


def key_of(card: RateCard) -> tuple[str, str, str]:
    """What tells the rows of a catalogue apart: provider, model id and tier."""
    return card.provider, card.provider_model_id, card.tier


def _from(current: Catalogue, key: tuple[str, str, str], today: dt.date) -> list[Listing]:
    """The row of today and those that are to come, in the order of their days."""
    day = today.isoformat()
    rows = [
        listing
        for listing in current.listings
        if key_of(listing.card) == key and (listing.card.valid_to or "9999") >= day
    ]
    return sorted(rows, key=lambda one: one.card.valid_from or "")


def _gone(
    current: Catalogue,
    reading: Reading,
    seen: Iterable[tuple[str, str, str]],
    today: dt.date,
    providers: frozenset[str],
) -> list[Listing]:
    """Rows in force of a provider whose own list has them no more."""
    there, day = set(seen), today.isoformat()
    # A row that is there and could not be read is not gone.
    unread = {(row.provider, row.provider_model_id) for row in reading.unread}
    return [
        listing
        for listing in current.listings
        if listing.card.provider in reading.lists & providers
        and listing.offered
        and listing.card.valid_on(day)
        and key_of(listing.card) not in there
        and key_of(listing.card)[:2] not in unread
    ]


def _change(
    olds: Sequence[Listing], row: SourceRow, today: dt.date, plausible: Plausible
) -> Change | None:
    old = olds[-1] if olds else None
    new = _starting(row, old, today)
    if old is None:
        reasons = (
            "is a model that this provider did not have",
            *_doubts(new.card, None, plausible),
        )
        return _made("added", None, new, reasons)
    again: tuple[str, ...] = ()
    if not old.offered:
        again = ("is a model that was not offered any more",)
    elif any(same_prices(one.card, row.card) for one in olds):
        return None
    leaps, doubts = _leaps(old.card, new.card), _doubts(new.card, old.card, plausible)
    return _made("changed", old, new, (*again, *leaps, *doubts))


def _starting(row: SourceRow, old: Listing | None, today: dt.date) -> Listing:
    """The row as it would be in force."""
    if old is None:
        new = Listing(card=row.card, context_length=row.context_length, max_output=row.max_output)
    else:  # of searches no source has a price
        card = _restated(row.card, per_search=old.card.per_search)
        new = replace(old, card=card, offered=True)
    return begun(new, old, today)


def begun(new: Listing, old: Listing | None, today: dt.date) -> Listing:
    """A row that holds from today on.

    Args:
        new: the row, of whatever days.
        old: the last row of the same model, if there is one. Where it begins today the new one begins
            tomorrow, so that no day has two prices; where it has not begun, the new one takes its place.
        today: the UTC day.
    """
    begins = today.isoformat()
    if old is not None and (old.card.valid_from or "") == begins:
        begins = (today + _DAY).isoformat()
    elif old is not None and (old.card.valid_from or "") > begins:
        begins = str(old.card.valid_from)
    return replace(new, card=_restated(new.card, valid_from=begins, valid_to=None))


def _restated(card: RateCard, **fields: Any) -> RateCard:
    """A card with other fields, and the id that goes with them."""
    said = {name: value for name, value in asdict(card).items() if name != "id"}
    return rate_card(**said | fields)


def last_row(current: Catalogue, card: RateCard, today: dt.date) -> Listing | None:
    """The row of a card's model, provider and tier that is in force, or the last that is to come."""
    rows = _from(current, key_of(card), today)
    return rows[-1] if rows else None


def taken(rows: Iterable[_Noted], new: Listing, note: str) -> tuple[_Noted, ...]:
    """Rows that were taken over, with one more.

    The row before it ends on the day before; what has not begun by then never will.
    """
    begins = str(new.card.valid_from)
    kept: list[_Noted] = []
    for listing, old_note in rows:
        card = listing.card
        if key_of(card) == key_of(new.card):
            if (card.valid_from or "") >= begins:
                continue
            if card.valid_to is None or card.valid_to >= begins:
                ends = (dt.date.fromisoformat(begins) - _DAY).isoformat()
                kept.append((replace(listing, card=replace(card, valid_to=ends)), old_note))
                continue
        kept.append((listing, old_note))
    return (*kept, (new, note))


def _made(kind: Kind, old: Listing | None, new: Listing, reasons: tuple[str, ...]) -> Change:
    return Change(kind=kind, old=old, new=new, reasons=reasons)


def change_id(new: Listing) -> str:
    """A name for a row that may be put in force, the same on whichever day it is found."""
    card = new.card
    prices = (card.currency, *(getattr(card, name) for name in _FIELDS))
    said = (*key_of(card), card.source, new.offered, *prices)
    return hashlib.sha256(repr(said).encode()).hexdigest()[:_ID_DIGITS]


def _removal(listing: Listing, reading: Reading, today: dt.date) -> Change:
    """That a model is not offered any more; its price goes on, for what may still be billed."""
    card = _restated(listing.card, source=reading.source, source_date=today.isoformat())
    new = begun(replace(listing, card=card, offered=False), listing, today)
    return _made("removed", listing, new, ("is a model that this provider lists no more",))


def _leaps(old: RateCard, new: RateCard) -> tuple[str, ...]:
    """What changes by more than may be taken unseen, in words."""
    if old.currency != new.currency:
        return (f"is in {new.currency}, and was in {old.currency}",)
    found = []
    for field, unit in _FIELDS.items():
        if field.startswith("cache") and getattr(old, field) is getattr(new, field) is None:
            continue  # it costs what input costs, of which enough is said
        before, after = getattr(old, unit), getattr(new, unit)
        name = field.replace("_", " ")
        if after == 0 and before:
            found.append(f"{name} falls to zero, from {_plain(before)}")
        elif abs(after - before) * _HUNDRED > before * PERCENT:
            by = "from zero" if not before else f"{_percent(before, after)} from {_plain(before)}"
            found.append(f"{name} {'rises' if after > before else 'falls'} {by} to {_plain(after)}")
    return tuple(found)


def _doubts(card: RateCard, old: RateCard | None, plausible: Plausible) -> tuple[str, ...]:
    """Why its prices are not believed, of those that are new."""
    found = []
    if not plausible.knows(card.currency):
        found.append(f"too few prices are known in {card.currency} to judge it by")
    for field in _FIELDS:
        price = getattr(card, field)
        if price is None or (old is not None and getattr(old, field) == price):
            continue
        if price == 0:
            if old is None and card.tier != "free":
                found.append(f"{field.replace('_', ' ')} is zero")
            continue
        million = Decimal(price).scaleb(-PER_MILLION_DECIMALS)
        doubt = plausible.doubt(field, million, card.currency, card.model)
        if doubt is not None:
            found.append(f"{field.replace('_', ' ')} {_plain(price)} {doubt.wrong}")
    if card.cache_read is not None and card.cache_read > card.input:
        found.append("reads from the cache are dearer than input")
    return tuple(found)


def _plain(pico: int) -> str:
    return unscaled(pico, PER_MILLION_DECIMALS)


def _percent(before: int, after: int) -> str:
    return f"by {round(Decimal(abs(after - before) * _HUNDRED) / before, 1).normalize():f} %"
