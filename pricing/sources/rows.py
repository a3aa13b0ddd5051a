"""What all readers of other people's prices give: rows, and what could not be read."""

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from msgspec import Struct

from pricing.errors import PriceDataError
from pricing.money import PER_MILLION_DECIMALS
from pricing.rates import RateCard

MILLION = Decimal(1_000_000)
_FAMILY = "kimi"
_TIERS = {"free": "free", "batch": "batch"}
# Beyond this no number is a price, and scaling it would take long.
_MAGNITUDE = 30
_DIGITS = 20  # few enough for a product with a discount to be exact


class SourceRow(Struct, frozen=True, kw_only=True):
    """The prices of a model at a host as a source has them now; the card has no days yet.

    Lengths are tokens; None is not stated.
    """

    card: RateCard
    context_length: int | None = None
    max_output: int | None = None


class UnreadRow(Struct, frozen=True):
    """A row of our models that could not be taken, and why."""

    provider: str
    provider_model_id: str
    why: str


class Reading(Struct, frozen=True, kw_only=True):
    """What a source says.

    `lists` are providers of which the source has every model: what it lacks of them is offered no more.
    """

    source: str
    rows: tuple[SourceRow, ...]
    unread: tuple[UnreadRow, ...] = ()
    lists: frozenset[str] = frozenset()


# The canonical slug of what a provider calls so, or None.
Resolve = Callable[[str, str], str | None]


class Unread(Exception):
    """One row cannot be taken; the message says why."""


def json_of(data: bytes, source: str) -> Any:
    """A source's JSON; numbers are decimals, as they are written.

    Raises:
        PriceDataError: it is not JSON.
    """
    try:
        return json.loads(data, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError) as error:
        raise PriceDataError(f"{source}: what it sent is not JSON: {error}") from None


def is_ours(name: str) -> bool:
    """Whether a name looks like one of the family that is served here."""
    return _FAMILY in name.lower()


def tier_of(model_id: str) -> tuple[str, str]:
    """A model id without what chooses a service tier, and that tier, in OpenRouter's notation."""
    bare, _, suffix = model_id.rpartition(":")
    if bare and suffix in _TIERS:
        return bare, _TIERS[suffix]
    return model_id, "standard"


def amount(row: Mapping[str, Any], field: str) -> Decimal | None:
    """A number of a row, whatever its unit; None where it is not stated.

    Raises:
        Unread: it is no number, or below zero.
    """
    value = row.get(field)
    if value is None:
        return None
    try:
        number = Decimal(value) if isinstance(value, (str, Decimal)) else None
    except InvalidOperation:
        number = None
    if (
        number is None
        or not number.is_finite()
        or abs(number.adjusted()) > _MAGNITUDE
        or len(number.as_tuple().digits) > _DIGITS
    ):
        raise Unread(f"{field} is {str(value)[:40]!r}, not a number")
    if number < 0:
        raise Unread(f"{field} is {number}, below zero")
    return number


def picos(price: Decimal | None, field: str, *, floats: bool = False) -> int | None:
    """A price per million tokens as picos per token, exactly.

    Args:
        price: in the currency's unit per million tokens.
        field: what it is the price of.
        floats: whether the source computes with floats: what only their noise adds is left out.

    Raises:
        Unread: it has more decimals than can be counted; it is not rounded.
    """
    if price is None:
        return None
    scaled = price.scaleb(PER_MILLION_DECIMALS)
    whole = scaled.to_integral_value()
    if whole != scaled and not (floats and abs(scaled - whole) <= scaled.scaleb(-12)):
        raise Unread(f"{field} is {price.normalize():f} per million, with more than six decimals")
    return int(whole)


def stated(price: int | None) -> int | None:
    """A price of cached tokens; sources write 0 where they do not know it, and none is not free."""
    return price or None


def tokens(value: Any) -> int | None:
    """A number of tokens, or None for what is none."""
    if isinstance(value, Decimal) and value > 0 and value == value.to_integral_value():
        return int(value) if value.adjusted() < 12 else None  # noqa: PLR2004 - digits of a length
    return None


def mappings(rows: Any, source: str, where: str) -> Iterator[Mapping[str, Any]]:
    """Each mapping of a list; what else it holds says nothing of ours.

    Raises:
        PriceDataError: it is no list.
    """
    if not isinstance(rows, list):
        raise PriceDataError(f"{source}: {where} is not a list: its form is not the one known here")
    return (row for row in rows if isinstance(row, dict))


def day_text(day: dt.date) -> str:
    """A day as rate cards have it."""
    return day.isoformat()[:10]
