"""What an organisation, a team and a key demand of those who see their requests.

Revision: 0002, after 0001
Made: 2026-11-22

Only adds columns with a default: a gateway of the version before goes on with them.
Imports no project code: it must mean the same for ever.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLES = ("organisations", "teams", "api_keys")
_COLUMNS = ("zdr", "no_training")


def upgrade() -> None:
    for table in _TABLES:
        for column in _COLUMNS:
            op.add_column(
                table, sa.Column(column, sa.Boolean(), server_default=sa.false(), nullable=False)
            )


def downgrade() -> None:
    for table in reversed(_TABLES):
        for column in reversed(_COLUMNS):
            op.drop_column(table, column)
