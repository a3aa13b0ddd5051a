"""Column types that keep money and time exact on every database."""

from decimal import Decimal

from sqlalchemy import BigInteger, Dialect, Numeric
from sqlalchemy.types import TypeDecorator, TypeEngine
from typing_extensions import override

UtcMilliseconds = BigInteger
"""UTC times as integer milliseconds since the Unix epoch: no time zones, no rounding."""

_INT64_MAX = 2**63 - 1


class Picos(TypeDecorator[int]):
    """An amount of money in picos (10⁻¹²) of a currency that another column names.

    A Python `int` on both sides, never a float or a Decimal. PostgreSQL keeps it as NUMERIC(38, 0),
    any amount below 10²⁶ units of currency. SQLite keeps it as a 64-bit integer: between
    -9,223,372.036854775808 and 9,223,372.036854775807 units in one row. A SUM over rows can pass
    that on SQLite, which then raises `integer overflow` (measured with SQLite 3.40, November 2026);
    sum the high and the low part of the number apart there.
    """

    impl = BigInteger
    cache_ok = True

    @override
    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[int] | TypeEngine[Decimal]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(Numeric(38, 0))
        return dialect.type_descriptor(BigInteger())

    @override
    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | Decimal | None:
        """Refuse what is not a whole number of picos.

        Raises:
            TypeError: a float, a bool or a Decimal.
            ValueError: outside the range of the database.
        """
        if value is None:
            return None
        if type(value) is not int:
            raise TypeError(f"picos are an int, not {type(value).__name__}")
        if dialect.name == "postgresql":
            if abs(value) >= 10**38:
                raise ValueError("amount does not fit NUMERIC(38, 0)")
            return Decimal(value)
        if not -_INT64_MAX - 1 <= value <= _INT64_MAX:
            raise ValueError("amount does not fit 64 bits of picos")
        return value

    @override
    def process_result_value(self, value: int | Decimal | None, dialect: Dialect) -> int | None:
        return None if value is None else int(value)
