from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import BigInteger, Numeric
from sqlalchemy.dialects import postgresql, sqlite

from gateway.store.types import Picos

SQLITE = sqlite.dialect()
POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's own


def test_each_database_gets_an_exact_column() -> None:
    assert isinstance(Picos().load_dialect_impl(SQLITE), BigInteger)
    on_postgresql = Picos().load_dialect_impl(POSTGRESQL)
    assert isinstance(on_postgresql, Numeric)
    assert (on_postgresql.precision, on_postgresql.scale) == (38, 0)


@pytest.mark.parametrize("value", [0, 1, -1, 2**63 - 1, -(2**63)])
def test_whole_picos_go_in_and_out_unchanged(value: int) -> None:
    picos = Picos()
    assert picos.process_bind_param(value, SQLITE) == value
    bound = picos.process_bind_param(value, POSTGRESQL)
    assert isinstance(bound, Decimal)
    back = picos.process_result_value(bound, POSTGRESQL)
    assert (back, type(back)) == (value, int)


@pytest.mark.parametrize("value", [1.0, Decimal(1), True, "1"])
def test_what_is_not_a_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="picos are an int"):
        Picos().process_bind_param(value, SQLITE)


def test_what_does_not_fit_is_refused_not_rounded() -> None:
    with pytest.raises(ValueError, match="64 bits"):
        Picos().process_bind_param(2**63, SQLITE)
    assert Picos().process_bind_param(10**38 - 1, POSTGRESQL) == Decimal(10**38 - 1)
    with pytest.raises(ValueError, match="NUMERIC"):
        Picos().process_bind_param(10**38, POSTGRESQL)


def test_nothing_stays_nothing() -> None:
    assert Picos().process_bind_param(None, SQLITE) is None
    assert Picos().process_result_value(None, SQLITE) is None
