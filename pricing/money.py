"""Amounts of money, exact: a currency and a whole number of picos (10⁻¹² of its unit).

A price with six decimals per million tokens is a whole number of picos per token, so every product
of a count and a price is exact. No float enters or leaves.
"""

import re

from msgspec import Struct
from typing_extensions import override

from pricing.errors import CurrencyMismatch

_DECIMAL = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")
_CURRENCY = re.compile(r"[A-Z]{3}")
# Far beyond any amount, and below the length at which Python refuses to convert digits.
_LONGEST = 200

PICO_DECIMALS = 12
# Of a price per 10**6 tokens: scaled by 10**6, it is picos per token.
PER_MILLION_DECIMALS = 6
_PICOS_IN_NANO = 1000


def scaled(text: str, decimals: int, *, negative: bool = False) -> int:
    """The number in `text` times 10**`decimals`, exactly.

    Args:
        text: plain decimal notation, such as "0.95" or "4"; no exponent, sign "+", space or NaN.
        decimals: how many digits may follow the point.
        negative: whether a number below zero is allowed.

    Raises:
        TypeError: `text` is not a string; floats in particular are never converted.
        ValueError: not plain decimal notation, too many decimals, or below zero.
    """
    if not isinstance(text, str):
        raise TypeError(f"expected a decimal string such as '0.95', not {type(text).__name__}")
    match = _DECIMAL.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a plain decimal number such as '0.95'")
    sign, whole, fraction = match[1], match[2], match[3] or ""
    if len(fraction) > decimals:
        raise ValueError(f"{text!r} has more than {decimals} decimals")
    value = int(whole + fraction.ljust(decimals, "0"))
    if sign and value:
        if not negative:
            raise ValueError(f"{text!r} is below zero")
        return -value
    return value


def unscaled(value: int, decimals: int) -> str:
    """`value` times 10**-`decimals` in plain notation, exactly: what `scaled` reads back."""
    whole, fraction = divmod(abs(value), 10**decimals)
    sign = "-" if value < 0 else ""
    if not fraction:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{fraction:0{decimals}d}".rstrip("0")


class Money(Struct, frozen=True, gc=False):
    """An amount: `pico` times 10⁻¹² of `currency` (ISO 4217), of any size.

    Sums, differences (which may be negative) and order exist within one currency only and raise
    `CurrencyMismatch` across two. Amounts of two currencies are never equal.
    """

    currency: str
    pico: int

    @classmethod
    def parse(cls, text: str, currency: str, *, negative: bool = False) -> "Money":
        """An amount from plain decimal notation, exactly.

        Raises:
            TypeError: `text` is not a string.
            ValueError: not plain decimal notation, over 12 decimals, below zero without `negative`,
                or `currency` is not three capital letters.
        """
        return cls(checked_currency(currency), scaled(text, PICO_DECIMALS, negative=negative))

    @classmethod
    def zero(cls, currency: str) -> "Money":
        """Nothing, in `currency`.

        Raises:
            ValueError: `currency` is not three capital letters.
        """
        return cls(checked_currency(currency), 0)

    def decimal_string(self) -> str:
        """Plain notation without exponent or trailing zeros: "0", "12", "0.00034"."""
        return unscaled(self.pico, PICO_DECIMALS)

    def nano_up(self) -> int:
        """Nano-units (10⁻⁹), rounded up: a counter never holds less than the amount."""
        return -(-self.pico // _PICOS_IN_NANO)

    def _same(self, other: "Money") -> None:
        if self.currency != other.currency:
            raise CurrencyMismatch(
                f"{self.currency} and {other.currency} do not mix: amounts are never converted here"
            )

    def __add__(self, other: "Money") -> "Money":
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other)
        return Money(self.currency, self.pico + other.pico)

    def __sub__(self, other: "Money") -> "Money":
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other)
        return Money(self.currency, self.pico - other.pico)

    def __lt__(self, other: "Money") -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other)
        return self.pico < other.pico

    def __le__(self, other: "Money") -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other)
        return self.pico <= other.pico

    def __gt__(self, other: "Money") -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other)
        return self.pico > other.pico

    def __ge__(self, other: "Money") -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other)
        return self.pico >= other.pico

    @override
    def __str__(self) -> str:
        return f"{self.decimal_string()} {self.currency}"


def checked_currency(currency: str) -> str:
    """`currency` itself, if it looks like an ISO 4217 code.

    Raises:
        ValueError: it does not.
    """
    if not _CURRENCY.fullmatch(currency):
        raise ValueError(f"{currency!r} is not a currency code of three capital letters")
    return currency
