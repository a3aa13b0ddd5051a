"""A provider's bill, as it exports it: rows of day, model and amount. Pure."""

import csv
import datetime as dt
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final

from msgspec import Struct

from pricing.money import PICO_DECIMALS, scaled

HEADS: Final[Mapping[str, Sequence[str]]] = {
    "date": ("date", "day", "usage_date", "billing_date", "usage_day", "time", "timestamp"),
    "model": ("model", "model_name", "model_id", "product", "item"),
    "amount": ("amount", "cost", "total", "total_cost", "charge", "spend", "fee"),
    "currency": ("currency",),
}
"""What columns of a bill are called, if nobody says it; letter case, spaces and hyphens do not count."""

_MOST_DIGITS: Final = 20  # before the point
_MOST_FAULTS: Final = 20
_SYMBOLS: Final = {"US$": "USD", "$": "USD", "CN¥": "CNY", "¥": "CNY", "€": "EUR", "£": "GBP"}
_WRITTEN = re.compile(
    r"(?P<symbol>US\$|CN¥|[$¥€£])?\s*(?P<number>.*?)\s*(?P<code>[A-Z]{3})?", re.DOTALL
)
_THOUSANDS = re.compile(r"-?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?")


class BadBill(ValueError):
    """A bill that cannot be read; the message has the lines and what to do."""


class Billed(Struct, frozen=True):
    """What a bill asks for a model on a day, of one row or of several.

    `rounding_pico` is by how much its amount may differ from the true one because it was rounded to the
    decimals in which it is written.
    """

    pico: int
    rounding_pico: int


class Bill(Struct, frozen=True):
    """A whole bill: by day (ISO 8601, UTC) and the model as the provider calls it, in lower case."""

    currency: str
    billed: Mapping[tuple[str, str], Billed]
    rows: int


def read(
    text: str, *, currency: str | None = None, columns: Mapping[str, str] | None = None
) -> Bill:
    """A bill from CSV with a line of heads.

    Args:
        text: the file.
        currency: what the amounts are in, where the file has no column for it.
        columns: heads by `date`, `model`, `amount` or `currency`; others are found by `HEADS`.

    Raises:
        BadBill: a column or the currency is not known, or rows cannot be read.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as fault:
        raise BadBill(f"line {reader.line_num}: it is not CSV: {fault}") from fault
    if not rows:
        raise BadBill("it is empty: it needs a line of heads, and a row for each day and model")
    (_, heads), *lines = rows
    places = _places(heads, columns or {})
    found: dict[tuple[str, str], Billed] = {}
    faults: list[str] = []
    currencies = set[str]()
    for number, row in lines:
        try:
            key, billed, stated = _row(row, len(heads), places, currency)
        except ValueError as fault:
            faults.append(f"line {number}: {fault}")
            continue
        currencies.add(stated or "")
        before = found.get(key, Billed(0, 0))
        found[key] = Billed(before.pico + billed.pico, before.rounding_pico + billed.rounding_pico)
    if faults:
        more = len(faults) - _MOST_FAULTS
        told = faults[:_MOST_FAULTS] + ([f"and {more} lines more"] if more > 0 else [])
        raise BadBill("\n".join(told))
    if "" in currencies:
        raise BadBill("nothing says which currency it is in: name it with --currency")
    if len(currencies) > 1:
        several = ", ".join(sorted(currencies))
        raise BadBill(f"its amounts are in {several}: give each currency a file of its own")
    return Bill(currencies.pop() if currencies else currency or "", found, len(lines))


def _places(heads: Sequence[str], columns: Mapping[str, str]) -> dict[str, int]:
    plain = [_plain(head) for head in heads]
    places: dict[str, int] = {}
    for name, known in HEADS.items():
        wanted: Iterable[str] = [_plain(columns[name])] if name in columns else known
        place = next((plain.index(head) for head in wanted if head in plain), None)
        if place is not None:
            places[name] = place
        elif name in columns or name != "currency":
            asked = columns.get(name) or " or ".join(known)
            raise BadBill(
                f"line 1: no column is called {asked}; there are {', '.join(heads)}: say which has the"
                f" {name} with --{name}-column"
            )
    return places


def _plain(head: str) -> str:
    return re.sub(r"[\s\-]+", "_", head.strip().lower())


def _row(
    row: Sequence[str], width: int, places: Mapping[str, int], currency: str | None
) -> tuple[tuple[str, str], Billed, str | None]:
    """What a row bills, and in which currency, if the row or `currency` says it.

    Raises:
        ValueError: what is wrong.
    """
    if len(row) != width:
        raise ValueError(f"it has {len(row)} cells, the heads are {width}")
    model = row[places["model"]].strip().lower()
    if not model:
        raise ValueError("it names no model")
    said = [currency]
    if "currency" in places:
        said.append(row[places["currency"]].strip().upper())
        if not re.fullmatch("[A-Z]{3}", said[-1] or ""):
            raise ValueError(f"{said[-1]!r} is not a currency code of three letters")
    billed, *written = _amount(row[places["amount"]])
    several = list(dict.fromkeys(filter(None, (*said, *written))))
    if len(several) > 1:
        raise ValueError(f"it is in {several[-1]}, and should be in {several[0]}")
    return (_day(row[places["date"]]), model), billed, several[0] if several else None


def _day(cell: str) -> str:
    text = cell.strip()
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no day: write it as 2026-11-23") from None
    if moment.tzinfo is not None:
        moment = moment.astimezone(dt.UTC)
    return moment.date().isoformat()


def _amount(cell: str) -> tuple[Billed, str | None, str | None]:
    """An amount, exactly, with the currency that stands before it and the one behind it."""
    text = cell.strip()
    parts = _WRITTEN.fullmatch(text)
    assert parts is not None  # noqa: S101 - for the type checker: every part may be missing
    bare = parts["number"]
    if _THOUSANDS.fullmatch(bare):
        bare = bare.replace(",", "")
    try:
        amount = Decimal(bare)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or abs(amount.adjusted()) > _MOST_DIGITS:
        raise ValueError(f"{text[:40]!r} is no amount: write it as 1234.56")
    # Not by Decimal's own arithmetic, which rounds to 28 digits.
    pico = scaled(f"{amount:f}", PICO_DECIMALS, negative=True)
    # Half a unit of the last decimal that is written.
    decimals = -int(amount.as_tuple().exponent)
    rounding = 10 ** (PICO_DECIMALS - decimals) // 2 if decimals > 0 else 0
    return Billed(pico, rounding), _SYMBOLS.get(parts["symbol"] or ""), parts["code"]
