"""Checks of the prices of one row, wherever it stands: in a price file or in settings."""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation

from msgspec import Struct

from pricing.currencies import CURRENCIES
from pricing.faults import Report, Severity, near
from pricing.money import PER_MILLION_DECIMALS, PICO_DECIMALS
from pricing.plausible import Plausible
from pricing.sources.document import Node

REQUIRED = ("input", "output")
PER_MILLION = (*REQUIRED, "cache_read", "cache_write_5m", "cache_write_1h")
PER_UNIT = ("per_request", "per_search")

_PLAIN = re.compile(r"[0-9]+(\.[0-9]+)?")
# Beyond this no number is a price, and writing it out in full would take long.
_MAGNITUDE = 30


class Row(Struct, frozen=True, kw_only=True):
    """What must be known of a row to judge its prices.

    `where` is its place, such as `prices[3]`, and `subject` whose price it is. `own` is whether the
    hardware may be the operator's own, where a token can cost next to nothing. `zero` is how bad it
    is that something costs nothing, None if it may; `zero_advice` is what to do about it. Without a
    `currency` (ISO 4217), where it could not be read, sizes are not judged.
    """

    where: str
    subject: str
    model: str
    currency: str | None
    own: bool
    zero: Severity | None
    zero_advice: str


def check_prices(
    node: Node,
    row: Row,
    plausible: Plausible,
    report: Report,
    required: Iterable[str] = REQUIRED,
) -> None:
    """Check the price fields of a mapping; other fields of it are not looked at.

    Args:
        node: the mapping.
        row: what it is about.
        plausible: what prices are judged by.
        report: where faults go.
        required: price fields that must be there.
    """
    found: dict[str, Decimal] = {}
    for field in required:
        if field not in node.fields:
            report.add(
                node.line,
                f"{row.where}.{field}",
                "is missing",
                f'write what a million tokens cost, such as {field}: "0.95"; nothing is free by default',
                subject=row.subject,
            )
    for field, value in node.fields.items():
        if field in PER_MILLION or field in PER_UNIT:
            price = check_price(value, field, row, plausible, report)
            if price is not None:
                found[field] = price
    _compare(node, found, row, report)


def check_currency(node: Node, where: str, subject: str, report: Report) -> str | None:
    """The currency that a scalar names, or None after telling what is wrong with it."""
    code = node.text
    if node.kind == "text" and code in CURRENCIES:
        return code
    hint = near(code, CURRENCIES) if code.upper() not in CURRENCIES else f"write {code.upper()}"
    report.add(
        node.line,
        where,
        f"{code[:40]!r} is not a currency",
        hint or "write an ISO 4217 code such as USD",
        subject=subject,
    )
    return None


def check_price(
    node: Node,
    field: str,
    row: Row,
    plausible: Plausible,
    report: Report,
    *,
    place: str | None = None,
) -> Decimal | None:
    """Check one price; the arguments are those of `check_prices`.

    Args:
        node: the scalar.
        field: what it is the price of, one of `PER_MILLION` or `PER_UNIT`.
        row: what it is about.
        plausible: what prices are judged by.
        report: where faults go.
        place: the field's own name where it is not `field`.

    Returns:
        The price that was meant, if it is a number and not below zero, whatever else is told of it.
    """

    def tell(wrong: str, advice: str, severity: Severity = "error") -> None:
        where = f"{row.where}.{place or field}"
        report.add(node.line, where, wrong, advice, subject=row.subject, severity=severity)

    decimals = PER_MILLION_DECIMALS if field in PER_MILLION else PICO_DECIMALS
    unit = "a million tokens" if field in PER_MILLION else f"one {field.removeprefix('per_')}"
    price = _number(node)
    if price is None:
        tell(
            f"{node.text[:40]!r} is not a plain decimal number"
            if node.kind in {"text", "number"}
            else f"is {'a ' if node.kind in {'list', 'mapping', 'date'} else ''}{node.kind}, not a price",
            f'write what {unit} cost{"s" * (field in PER_UNIT)}, digits with a point, such as "0.95"',
        )
        return None
    if price < 0:
        tell(
            f"{node.text!r} is below zero", f"write what {unit} cost; a discount has no place here"
        )
        return None
    doubt = None
    if field in PER_MILLION and price and row.currency is not None:
        doubt = plausible.doubt(field, price, row.currency, row.model)
    meant = doubt.meant if doubt is not None else None
    text = meant or f"{price.normalize():f}"
    if node.kind == "number":
        tell(f"{node.text} is not in quotes", f'write "{text}": a number loses digits')
    elif not _PLAIN.fullmatch(node.text):
        tell(f"{node.text[:40]!r} is not a plain decimal number", f'write "{text}"')
    elif -int(price.normalize().as_tuple().exponent) > decimals:
        tell(
            f"{node.text!r} has more than {decimals} decimals",
            f"write what {unit} cost" + (f', "{meant}"' if meant else ", rounded up"),
        )
    if price == 0 and row.zero is not None and field in PER_MILLION:
        tell("is 0", row.zero_advice, row.zero)
    if doubt is not None and not (row.own and doubt.size == "odd-low"):
        gentle = doubt.size.startswith("odd") or (
            row.own and doubt.size == "low" and not doubt.per_token
        )
        advice = f'write "{meant}"' if meant else "check it, and the unit"
        tell(f"{node.text[:40]!r} {doubt.wrong}", advice, "warning" if gentle else "error")
    return price if meant is None else Decimal(meant)


def _number(node: Node) -> Decimal | None:
    """A scalar as a number, in any notation; None if it is none, or none of this world."""
    if node.kind not in {"text", "number"}:
        return None
    try:
        number = Decimal(node.text)
    except InvalidOperation:
        return None
    if not number.is_finite() or (number and abs(number.adjusted()) > _MAGNITUDE):
        return None
    return number if len(number.as_tuple().digits) <= _MAGNITUDE * 2 else None


def _compare(node: Node, found: Mapping[str, Decimal], row: Row, report: Report) -> None:
    """Tell of prices that cannot stand beside each other."""
    fresh, output, read = (found.get(name) for name in ("input", "output", "cache_read"))

    def tell(field: str, wrong: str, advice: str, severity: Severity) -> None:
        line = node.fields[field].line
        report.add(
            line, f"{row.where}.{field}", wrong, advice, subject=row.subject, severity=severity
        )

    if fresh is not None and read is not None and read > fresh:
        tell(
            "cache_read",
            f"is dearer than input ({read:f} above {fresh:f})",
            "reading from a cache is a discount; are they swapped?",
            "error",
        )
    if fresh is not None and output is not None and output < fresh:
        tell(
            "output",
            f"is cheaper than input ({output:f} below {fresh:f})",
            "no known host asks so; are they swapped?",
            "warning",
        )
    short, long = found.get("cache_write_5m"), found.get("cache_write_1h")
    if short is not None and long is not None and long < short:
        tell(
            "cache_write_1h",
            f"is cheaper than cache_write_5m ({long:f} below {short:f})",
            "are they swapped?",
            "warning",
        )
