"""Sums of the ledger by the hour, and notes of which hours have entries that are in no sum yet.

A trigger notes the hour of every entry that is inserted, whoever inserts it: the shipper, a replay, a
correction, a gateway of the version before, or a person. So in every snapshot of the database this holds:
an hour without a note has exactly the sums that its entries have. See docs/decisions/0019-roll-ups.md.

An hour is a whole number of hours since the Unix epoch, UTC. Amounts are split, for 64 bits hold no sum of
picos: the amount is `*_high` times `SPLIT` plus `*_low`; both have the sign of the amounts.
"""

from typing import Final

from sqlalchemy import DDL, BigInteger, Boolean, Column, Index, Integer, String, Table, Text, event

from gateway.store.tables.metadata import metadata

SPLIT: Final = 10**9
HOUR_MS: Final = 3_600_000

BOUNDS_MS: Final = (
    *(50, 100, 200, 300, 500, 700, 1000, 1500, 2000, 3000),
    *(5000, 7000, 10_000, 20_000, 60_000),
)
"""Upper bounds of the histograms' places, inclusive, in milliseconds; the last place has none."""

PLACES: Final = len(BOUNDS_MS) + 1
TIMES: Final = ("ttft", "duration")
DIMENSIONS: Final = (
    "organisation_id",
    "team_id",
    "key_id",
    "model",
    "provider",
    "endpoint_id",
    "sandbox",
    "cost_currency",
    "charge_currency",
)
COUNTS: Final = (
    "requests",
    "attempts",
    "failures",
    "fresh_input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "output",
    "reasoning",
    "searches",
)
AMOUNTS: Final = ("cost", "charge")


def histogram(time: str) -> tuple[str, ...]:
    """The columns of a time's histogram: how many were in each place, not those below as well."""
    return tuple(f"{time}_{place:02}" for place in range(PLACES))


SUMMED: Final = (
    *COUNTS,
    *(f"{amount}_{half}" for amount in AMOUNTS for half in ("high", "low")),
    *(name for time in TIMES for name in (f"{time}_count", f"{time}_ms", *histogram(time))),
)
"""All columns that are sums: those of several rows may be added up."""

_ROW_ID = BigInteger().with_variant(Integer, "sqlite")

roll_ups = Table(
    "roll_ups",
    metadata,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("hour", Integer, nullable=False),
    Column("organisation_id", String(64), nullable=False),
    Column("team_id", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("model", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("endpoint_id", Text, nullable=False),
    Column("sandbox", Boolean, nullable=False),
    Column("cost_currency", String(3), nullable=False),
    Column("charge_currency", String(3), nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in SUMMED),
    Index(None, "hour"),
)

# Between which ids the entries of an hour are: the primary key finds them, without an index of times.
roll_up_hours = Table(
    "roll_up_hours",
    metadata,
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("first_id", Text, nullable=False),
    Column("last_id", Text, nullable=False),
)

# Hours with entries that came after their sums. Rows are inserted and deleted, never updated: writers
# that ship at the same time do not wait for each other.
roll_up_marks = Table(
    "roll_up_marks",
    metadata,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("hour", Integer, nullable=False),
    Column("first_id", Text, nullable=False),
    Column("last_id", Text, nullable=False),
    Index(None, "hour"),
)

# SQLite knows triggers for each row only. So that most rows cost a look and no write, a mark covers all
# ids with the same first ten characters, which are those of a quarter of an hour: see `gateway.ids`.
_SQLITE: Final = """\
CREATE TRIGGER ledger_entries_marks AFTER INSERT ON ledger_entries
WHEN NOT EXISTS (SELECT 1 FROM roll_up_marks WHERE hour = NEW.created_ms / 3600000
AND first_id <= NEW.id AND last_id >= NEW.id)
BEGIN INSERT INTO roll_up_marks (hour, first_id, last_id)
VALUES (NEW.created_ms / 3600000, substr(NEW.id, 1, 10), substr(NEW.id, 1, 10) || char(1114111)); END"""
_POSTGRES: Final = (
    """\
CREATE FUNCTION ledger_entries_marks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
INSERT INTO roll_up_marks (hour, first_id, last_id)
SELECT created_ms / 3600000, min(id), max(id) FROM arrived GROUP BY 1;
RETURN NULL;
END $$""",
    """\
CREATE TRIGGER ledger_entries_marks AFTER INSERT ON ledger_entries
REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION ledger_entries_marks()""",
)
for _dialect, _statements in (("sqlite", (_SQLITE,)), ("postgresql", _POSTGRES)):
    for _statement in _statements:
        event.listen(
            metadata,
            "after_create",
            DDL(_statement).execute_if(dialect=_dialect),  # type: ignore[no-untyped-call] # theirs
        )
