"""By what the cost of a ledger entry counts.

Revision: 0004, after 0003
Made: 2026-11-23

Only adds a column that may be empty: a gateway of the version before goes on, and its entries have none.
Imports no project code: it must mean the same for ever.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("ledger_entries", sa.Column("cost_basis", sa.String(20)))


def downgrade() -> None:
    op.drop_column("ledger_entries", "cost_basis")
