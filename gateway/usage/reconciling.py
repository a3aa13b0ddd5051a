"""A provider's bill against what its answers cost by the ledger, by day and model."""

import datetime as dt
from collections.abc import Container, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import ColumnElement, case, func, literal_column, select

from gateway.store.database import Database
from gateway.store.tables.usage import ledger_entries
from gateway.usage.invoices import Bill, Billed
from gateway.values import Basis

_SPLIT: Final = 10**9
_DAY_MS: Final = 86_400_000
_HUNDRED: Final = 100


class Booked(Struct, frozen=True):
    """What the ledger has of a model on a day (UTC, by when the attempt began).

    `estimated_pico` is how much of the cost rests on counts that the provider did not state.
    """

    day: str
    upstream_model: str
    model: str
    cost_pico: int
    estimated_pico: int
    attempts: int


class Compared(Struct, frozen=True):
    """A day and model, with both sides; None: the side has nothing of it.

    `agrees`: the difference is within the rounding of the bill and the tolerance.
    """

    day: str
    model: str
    ours_pico: int | None
    estimated_pico: int
    theirs_pico: int | None
    agrees: bool

    @property
    def difference_pico(self) -> int:
        """By how much more is billed than booked."""
        return (self.theirs_pico or 0) - (self.ours_pico or 0)


async def booked(
    database: Database, provider: str, currency: str, first: dt.date, last: dt.date
) -> list[Booked]:
    """What attempts at a provider cost, corrections included; sandbox traffic is left out.

    Args:
        database: where the ledger is.
        provider: slug of the host.
        currency: costs in another one are left out.
        first: day, inclusive.
        last: day, inclusive.

    Raises:
        Unavailable: the database cannot be used.
    """
    entry = ledger_entries.c
    # As `queries.spent`: 64-bit sums overflow, those of quotients and of remainders do not.
    high, low = (
        ("div(cost_pico, {0})", "mod(cost_pico, {0})")
        if database.dialect == "postgresql"
        else ("cost_pico / {0}", "cost_pico % {0}")
    )
    parts: list[ColumnElement[Any]] = [literal_column(part.format(_SPLIT)) for part in (high, low)]
    guessed = entry.basis == Basis.ESTIMATED.value
    day: ColumnElement[Any] = literal_column(f"started_ms / {_DAY_MS}")
    query = (
        select(
            day.label("day"),
            entry.upstream_model,
            entry.model,
            *(func.sum(part) for part in parts),
            *(func.sum(case((guessed, part), else_=literal_column("0"))) for part in parts),
            func.sum(
                case((entry.corrects.is_(None), literal_column("1")), else_=literal_column("0"))
            ),
        )
        .where(entry.provider == provider, entry.cost_currency == currency)
        .where(entry.sandbox.is_(False))
        .where(entry.started_ms >= _epoch_ms(first), entry.started_ms < _epoch_ms(last) + _DAY_MS)
        .group_by(literal_column("1"), entry.upstream_model, entry.model)
        .order_by(literal_column("1"), entry.upstream_model, entry.model)
    )
    async with database.reading() as connection:
        rows = [tuple(row) for row in await connection.execute(query)]
    return [
        Booked(
            (dt.date(1970, 1, 1) + dt.timedelta(days=int(number))).isoformat(),
            upstream_model,
            model,
            int(cost_high) * _SPLIT + int(cost_low),
            int(est_high) * _SPLIT + int(est_low),
            int(attempts),
        )
        for number, upstream_model, model, cost_high, cost_low, est_high, est_low, attempts in rows
    ]


def _epoch_ms(day: dt.date) -> int:
    return (day - dt.date(1970, 1, 1)).days * _DAY_MS


def compare(bill: Bill, ours: Iterable[Booked], tolerance: Decimal) -> list[Compared]:
    """Both sides by day and model, in their order. Pure.

    A model is the same if the bill has the provider's name for it, or the canonical slug with or without
    its author, unless that is the provider's name for another; letter case does not count.

    Args:
        bill: what is billed.
        ours: what is booked.
        tolerance: percent of the larger side by which they may differ, beyond the rounding of the bill.
    """
    named: dict[tuple[str, str], list[Booked]] = {}
    every = list(ours)
    theirs = {one.upstream_model.lower() for one in every}
    for one in every:
        named.setdefault((one.day, _name_in(bill.billed, one, theirs)), []).append(one)
    made = []
    for day, model in sorted({*bill.billed, *named}):
        some, billed = named.get((day, model)), bill.billed.get((day, model))
        cost = None if some is None else sum(one.cost_pico for one in some)
        made.append(
            Compared(
                day,
                model,
                cost,
                sum(one.estimated_pico for one in some or ()),
                None if billed is None else billed.pico,
                _agree(cost or 0, billed or Billed(0, 0), tolerance),
            )
        )
    return made


def _name_in(billed: Mapping[tuple[str, str], Billed], one: Booked, theirs: Container[str]) -> str:
    """What the bill calls a model of ours; the provider's name where it has none."""
    own, slug = one.upstream_model.lower(), one.model.lower()
    names = [own, *(name for name in (slug, slug.rpartition("/")[2]) if name not in theirs)]
    return next((name for name in names if (one.day, name) in billed), own)


def _agree(ours: int, billed: Billed, tolerance: Decimal) -> bool:
    difference = abs(billed.pico - ours)
    allowed = tolerance * max(abs(ours), abs(billed.pico)) / _HUNDRED
    return difference <= billed.rounding_pico + allowed
