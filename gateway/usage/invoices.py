"""A provider's bill, as it exports it: rows of day, model and amount. Pure."""

import csv
import datetime as dt
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final

from msgspec import Struct

HEADS: Final[Mapping[str, Sequence[str]]] = {
    "date": ("date", "day", "usage_date", "billing_date", "usage_day", "time", "timestamp"),
    "model": ("model", "model_name", "model_id", "product", "item"),
    "amount": ("amount", "cost", "total", "total_cost", "charge", "spend", "fee"),
    "currency": ("currency",),
}
"""What columns of a bill are called, if nobody says it; letter case, spaces and hyphens do not count."""

_PICO_DECIMALS: Final = 12
_MOST_DIGITS: Final = 20  # before the point
_MOST_FAULTS: Final = 20
_SYMBOLS = re.compile(r"^(US\$|CN¥|[$¥€£])\s*|\s*(USD|CNY|EUR|GBP)$")
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
            key, billed, stated = _row(row, len(heads), places)
        except ValueError as fault:
            faults.append(f"line {number}: {fault}")
            continue
        currencies.add(stated or currency or "")
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
    if currency is not None and currencies - {currency}:
        raise BadBill(f"its amounts are in {currencies.pop()}, not in {currency}")
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
    row: Sequence[str], width: int, places: Mapping[str, int]
) -> tuple[tuple[str, str], Billed, str | None]:
    """Raises ValueError: what is wrong."""
    if len(row) != width:
        raise ValueError(f"it has {len(row)} cells, the heads are {width}")
    model = row[places["model"]].strip().lower()
    if not model:
        raise ValueError("it names no model")
    currency = None
    if "currency" in places:
        currency = row[places["currency"]].strip().upper()
        if not re.fullmatch("[A-Z]{3}", currency):
            raise ValueError(f"{currency!r} is not a currency code of three letters")
    return (_day(row[places["date"]]), model), _amount(row[places["amount"]]), currency


def _day(cell: str) -> str:
    text = cell.strip()
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no day: write it as 2026-11-23") from None
    if moment.tzinfo is not None:
        moment = moment.astimezone(dt.UTC)
    return moment.date().isoformat()


def _amount(cell: str) -> Billed:
    text = cell.strip()
    bare = _SYMBOLS.sub("", text)
    if _THOUSANDS.fullmatch(bare):
        bare = bare.replace(",", "")
    try:
        amount = Decimal(bare)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount.adjusted() > _MOST_DIGITS:
        raise ValueError(f"{text[:40]!r} is no amount: write it as 1234.56")
    exponent = int(amount.as_tuple().exponent)
    pico = amount.scaleb(_PICO_DECIMALS)
    if pico != pico.to_integral_value():
        raise ValueError(f"{text[:40]!r} has more than {_PICO_DECIMALS} decimals")
    # Half a unit of the last decimal that is written.
    rounding = 10 ** (_PICO_DECIMALS + exponent) // 2 if -_PICO_DECIMALS <= exponent < 0 else 0
    return Billed(int(pico), rounding)
