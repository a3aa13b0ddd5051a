"""What `tidegate ledger reconcile` finds and prints."""

import datetime as dt
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from gateway.cli.administration import run
from pricing.money import PICO_DECIMALS, unscaled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.accounts.opening import Installation
    from gateway.usage.reconciling import Booked, Compared

_HEADS = ("DAY", "MODEL", "BOOKED", "BILLED", "DIFFERENCE", "%", "")


class Reconciled(Struct, frozen=True):
    """Rows in the order of their days, of one provider and in one currency."""

    provider: str
    currency: str
    rows: "Sequence[Compared]"

    @property
    def agrees(self) -> bool:
        """Whether every row does."""
        return all(row.agrees for row in self.rows)


def compared(
    data: "Installation",
    invoice: Path,
    *,
    provider: str,
    currency: str | None,
    tolerance: str,
    columns: dict[str, str],
) -> Reconciled:
    """Compare a bill with the ledger, over the days that the bill is about.

    Raises:
        click.ClickException: one of the two cannot be read, or the tolerance is none.
    """
    from gateway.usage import invoices, reconciling

    try:
        percent = Decimal(tolerance)
    except InvalidOperation:
        percent = Decimal(-1)
    if not percent.is_finite() or percent < 0:
        raise click.ClickException(f"--tolerance {tolerance!r} is no percentage, as in 0.5")
    try:
        text = invoice.read_text(encoding="utf-8")
        bill = invoices.read(text, currency=currency, columns=columns)
    except (invoices.BadBill, OSError, UnicodeDecodeError) as fault:
        lines = "".join(f"\n  {line}" for line in str(fault).splitlines())
        raise click.ClickException(f"{invoice}:{lines}") from fault
    if not bill.billed:
        raise click.ClickException(f"{invoice}: it has heads and no rows: nothing is billed")
    days = [dt.date.fromisoformat(day) for day, _ in bill.billed]

    async def work() -> "list[Booked]":
        from gateway.accounts.opening import opened

        # Nothing but a look at every entry finds those of a provider.
        async with opened(data, command_timeout=None) as database:
            return await reconciling.booked(database, provider, bill.currency, min(days), max(days))

    rows = reconciling.compare(bill, run(work()), percent)
    return Reconciled(provider, bill.currency, rows)


def document(found: Reconciled) -> dict[str, Any]:
    """All of it as JSON; amounts are decimals in strings."""
    return {
        "provider": found.provider,
        "currency": found.currency,
        "agrees": found.agrees,
        "rows": [
            {
                "day": row.day,
                "model": row.model,
                "booked": _or_none(row.ours_pico),
                "estimated": _plain(row.estimated_pico),
                "billed": _or_none(row.theirs_pico),
                "difference": _plain(row.difference_pico),
                "agrees": row.agrees,
            }
            for row in found.rows
        ],
        "booked": _plain(_sum(row.ours_pico for row in found.rows)),
        "billed": _plain(_sum(row.theirs_pico for row in found.rows)),
    }


def table(found: Reconciled) -> str:
    """The same for people, with a line that says how it ended."""
    lines = [_HEADS]
    for row in found.rows:
        ours, theirs = row.ours_pico, row.theirs_pico
        lines.append(
            (
                row.day,
                row.model,
                "-" if ours is None else _plain(ours),
                "-" if theirs is None else _plain(theirs),
                _signed(row.difference_pico),
                _percent(row.difference_pico, ours),
                _said(row),
            )
        )
    ours, theirs = (
        _sum(getattr(row, side) for row in found.rows) for side in ("ours_pico", "theirs_pico")
    )
    difference = theirs - ours
    percent = _percent(difference, ours)
    lines.append(("total", "", _plain(ours), _plain(theirs), _signed(difference), percent, ""))
    widths = [max(len(line[place]) for line in lines) for place in range(len(_HEADS))]
    shown = [
        "  ".join(
            cell.ljust(width) if place in {0, 1, 6} else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    off = sum(not row.agrees for row in found.rows)
    verdict = f"{off} of {len(found.rows)} differ" if off else f"all {len(found.rows)} agree"
    return "\n".join([f"{found.provider}, {found.currency}", "", *shown, "", verdict])


def _said(row: "Compared") -> str:
    words = []
    if row.ours_pico is None:
        words.append("not in the ledger")
    elif row.theirs_pico is None:
        words.append("not in the bill")
    elif not row.agrees:
        words.append("differs")
    if row.estimated_pico:
        words.append(f"{_plain(row.estimated_pico)} of it estimated")
    return ", ".join(words)


def _sum(amounts: Any) -> int:
    return sum(amount or 0 for amount in amounts)


def _plain(pico: int) -> str:
    return unscaled(pico, PICO_DECIMALS)


def _or_none(pico: int | None) -> str | None:
    return None if pico is None else _plain(pico)


def _signed(pico: int) -> str:
    return f"+{_plain(pico)}" if pico > 0 else _plain(pico)


def _percent(difference: int, of: int | None) -> str:
    if not difference:
        return "0"
    return f"{Decimal(difference) * 100 / of:+.2f}" if of else "-"
