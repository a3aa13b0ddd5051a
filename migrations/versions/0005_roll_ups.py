"""Sums of the ledger by the hour, and a trigger that notes hours with new entries.

Revision: 0005, after 0004
Made: 2026-11-23

Only adds tables and a trigger: a gateway of the version before goes on shipping, and what it ships is
noted too. All hours that there are begin as noted, and are summed when a gateway runs.
Imports no project code: it must mean the same for ever.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SUMMED = (
    *("requests", "attempts", "failures", "fresh_input", "cache_read", "cache_write_5m"),
    *("cache_write_1h", "output", "reasoning", "searches"),
    *("cost_high", "cost_low", "charge_high", "charge_low"),
    *("ttft_count", "ttft_ms", *(f"ttft_{place:02}" for place in range(16))),
    *("duration_count", "duration_ms", *(f"duration_{place:02}" for place in range(16))),
)
_SQLITE = """\
CREATE TRIGGER ledger_entries_marks AFTER INSERT ON ledger_entries
WHEN NOT EXISTS (SELECT 1 FROM roll_up_marks WHERE hour = NEW.created_ms / 3600000
AND first_id <= NEW.id AND last_id >= NEW.id)
BEGIN INSERT INTO roll_up_marks (hour, first_id, last_id)
VALUES (NEW.created_ms / 3600000, substr(NEW.id, 1, 10), substr(NEW.id, 1, 10) || char(1114111)); END"""
_POSTGRES = (
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


def upgrade() -> None:
    op.create_table(
        "roll_ups",
        sa.Column("id", _ROW_ID, autoincrement=True, nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("organisation_id", sa.String(64), nullable=False),
        sa.Column("team_id", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("endpoint_id", sa.Text(), nullable=False),
        sa.Column("sandbox", sa.Boolean(), nullable=False),
        sa.Column("cost_currency", sa.String(3), nullable=False),
        sa.Column("charge_currency", sa.String(3), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _SUMMED),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roll_ups")),
    )
    op.create_index(op.f("ix_roll_ups_hour"), "roll_ups", ["hour"])
    op.create_table(
        "roll_up_hours",
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first_id", sa.Text(), nullable=False),
        sa.Column("last_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("hour", name=op.f("pk_roll_up_hours")),
    )
    op.create_table(
        "roll_up_marks",
        sa.Column("id", _ROW_ID, autoincrement=True, nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("first_id", sa.Text(), nullable=False),
        sa.Column("last_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roll_up_marks")),
    )
    op.create_index(op.f("ix_roll_up_marks_hour"), "roll_up_marks", ["hour"])
    # The trigger first: on PostgreSQL it waits for whoever inserts now, and whoever comes later is noted.
    postgres = op.get_bind().dialect.name == "postgresql"
    for statement in _POSTGRES if postgres else (_SQLITE,):
        op.execute(statement)
    op.execute(
        "INSERT INTO roll_up_marks (hour, first_id, last_id)"
        " SELECT created_ms / 3600000, min(id), max(id) FROM ledger_entries GROUP BY 1"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER ledger_entries_marks ON ledger_entries")
        op.execute("DROP FUNCTION ledger_entries_marks()")
    else:
        op.execute("DROP TRIGGER ledger_entries_marks")
    op.drop_table("roll_up_marks")
    op.drop_table("roll_up_hours")
    op.drop_table("roll_ups")
