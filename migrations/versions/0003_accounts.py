"""Members, management keys, settings of each level, budgets of each level, audit, many processes.

Revision: 0003, after 0002
Made: 2026-11-22

Only adds: tables, columns with a default, and budgets with other owners. A gateway of the version before
goes on with them. Imports no project code: it must mean the same for ever.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_PICOS = sa.BigInteger().with_variant(sa.Numeric(38, 0), "postgresql")
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _settled() -> tuple[sa.Column, sa.Column]:
    return (
        sa.Column("settings", sa.Text(), server_default="{}", nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
    )


def _budgets() -> list[sa.schema.SchemaItem]:
    """The table as 0001 made it: SQLite can change a constraint only by making a new table."""
    return [
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("scope", sa.String(8), nullable=False),
        sa.Column("key_id", sa.String(40)),
        sa.Column("team_id", sa.String(40)),
        sa.Column("limit_pico", _PICOS, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("period", sa.String(8), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budgets")),
        sa.UniqueConstraint("key_id", name=op.f("uq_budgets_key_id")),
        sa.UniqueConstraint("team_id", name=op.f("uq_budgets_team_id")),
        sa.ForeignKeyConstraint(
            ["key_id"], ["api_keys.id"], name=op.f("fk_budgets_key_id_api_keys"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name=op.f("fk_budgets_team_id_teams"), ondelete="CASCADE"
        ),
        sa.CheckConstraint("limit_pico >= 0", name=op.f("ck_budgets_limit_not_negative")),
        sa.CheckConstraint(
            "period IN ('total', 'daily', 'weekly', 'monthly')", name=op.f("ck_budgets_known_period")
        ),
        sa.CheckConstraint(
            "(scope = 'key' AND key_id IS NOT NULL AND team_id IS NULL)"
            " OR (scope = 'team' AND team_id IS NOT NULL AND key_id IS NULL)",
            name=op.f("ck_budgets_one_owner"),
        ),
    ]


def upgrade() -> None:
    for table in ("organisations", "teams", "api_keys"):
        for column in _settled():
            op.add_column(table, column)
    op.add_column("teams", sa.Column("disabled_ms", sa.BigInteger()))
    op.add_column("api_keys", sa.Column("updated_ms", sa.BigInteger()))
    op.add_column("api_keys", sa.Column("member_id", sa.String(40)))
    op.add_column("api_keys", sa.Column("created_by", sa.String(60)))
    op.add_column("api_keys", sa.Column("old_hash", sa.LargeBinary(32)))
    op.add_column("api_keys", sa.Column("old_expires_ms", sa.BigInteger()))
    op.create_index(op.f("ix_api_keys_member_id"), "api_keys", ["member_id"])
    op.create_index(op.f("ix_api_keys_old_hash"), "api_keys", ["old_hash"])
    op.create_table(
        "members",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("organisation_id", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("email", sa.String(254)),
        sa.Column("role", sa.String(8), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("disabled_ms", sa.BigInteger()),
        *_settled(),
        sa.CheckConstraint("kind IN ('person', 'service')", name=op.f("ck_members_known_kind")),
        sa.CheckConstraint(
            "role IN ('owner', 'admin', 'member', 'viewer', 'billing')",
            name=op.f("ck_members_known_role"),
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"],
            ["organisations.id"],
            name=op.f("fk_members_organisation_id_organisations"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_members")),
        sa.UniqueConstraint(
            "organisation_id", "email", name=op.f("uq_members_organisation_id_email")
        ),
    )
    op.create_table(
        "team_members",
        sa.Column("team_id", sa.String(40), nullable=False),
        sa.Column("member_id", sa.String(40), nullable=False),
        sa.Column("role", sa.String(8), nullable=False),
        sa.CheckConstraint(
            "role IN ('admin', 'member', 'viewer', 'billing')",
            name=op.f("ck_team_members_known_role"),
        ),
        sa.ForeignKeyConstraint(
            ["team_id"],
            ["teams.id"],
            name=op.f("fk_team_members_team_id_teams"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["member_id"],
            ["members.id"],
            name=op.f("fk_team_members_member_id_members"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("team_id", "member_id", name=op.f("pk_team_members")),
    )
    op.create_index(op.f("ix_team_members_member_id"), "team_members", ["member_id"])
    op.create_table(
        "management_keys",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("organisation_id", sa.String(40)),
        sa.Column("member_id", sa.String(40)),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("last4", sa.String(4), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(60)),
        sa.Column("expires_ms", sa.BigInteger()),
        sa.Column("disabled_ms", sa.BigInteger()),
        sa.Column("old_hash", sa.LargeBinary(32)),
        sa.Column("old_expires_ms", sa.BigInteger()),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"],
            ["organisations.id"],
            name=op.f("fk_management_keys_organisation_id_organisations"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["member_id"],
            ["members.id"],
            name=op.f("fk_management_keys_member_id_members"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_management_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_management_keys_key_hash")),
    )
    op.create_index(
        op.f("ix_management_keys_organisation_id"), "management_keys", ["organisation_id"]
    )
    op.create_index(op.f("ix_management_keys_member_id"), "management_keys", ["member_id"])
    op.create_index(op.f("ix_management_keys_old_hash"), "management_keys", ["old_hash"])
    with op.batch_alter_table("budgets", copy_from=sa.Table("budgets", sa.MetaData(), *_budgets())) as budgets:
        budgets.alter_column("scope", type_=sa.String(12), existing_nullable=False)
        budgets.add_column(sa.Column("member_id", sa.String(40)))
        budgets.add_column(sa.Column("organisation_id", sa.String(40)))
        budgets.add_column(
            sa.Column("on_state_loss", sa.String(6), server_default="lease", nullable=False)
        )
        budgets.add_column(sa.Column("revision", sa.Integer(), server_default="1", nullable=False))
        budgets.create_foreign_key(
            op.f("fk_budgets_member_id_members"), "members", ["member_id"], ["id"], ondelete="CASCADE"
        )
        budgets.create_foreign_key(
            op.f("fk_budgets_organisation_id_organisations"),
            "organisations",
            ["organisation_id"],
            ["id"],
            ondelete="CASCADE",
        )
        budgets.create_unique_constraint(op.f("uq_budgets_member_id"), ["member_id"])
        budgets.create_unique_constraint(op.f("uq_budgets_organisation_id"), ["organisation_id"])
        budgets.drop_constraint(op.f("ck_budgets_one_owner"), type_="check")
        budgets.create_check_constraint(
            op.f("ck_budgets_one_owner"),
            "(scope = 'key') = (key_id IS NOT NULL)"
            " AND (scope = 'team') = (team_id IS NOT NULL)"
            " AND (scope = 'member') = (member_id IS NOT NULL)"
            " AND (scope = 'organisation') = (organisation_id IS NOT NULL)",
        )
        budgets.create_check_constraint(
            op.f("ck_budgets_known_scope"), "scope IN ('key', 'team', 'member', 'organisation')"
        )
        budgets.create_check_constraint(
            op.f("ck_budgets_known_on_state_loss"), "on_state_loss IN ('lease', 'refuse')"
        )
    op.create_table(
        "audit_log",
        sa.Column("id", _ROW_ID, autoincrement=True, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("organisation_id", sa.String(40)),
        sa.Column("actor_kind", sa.String(16), nullable=False),
        sa.Column("actor_id", sa.String(60), nullable=False),
        sa.Column("actor_name", sa.String(120), nullable=False),
        sa.Column("via", sa.String(16), nullable=False),
        sa.Column("source", sa.String(64)),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("target_kind", sa.String(20), nullable=False),
        sa.Column("target_id", sa.String(60), nullable=False),
        sa.Column("before", sa.Text()),
        sa.Column("after", sa.Text()),
        sa.Column("request_id", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index(
        op.f("ix_audit_log_organisation_id_id"), "audit_log", ["organisation_id", "id"]
    )
    op.create_index(op.f("ix_audit_log_target_id_id"), "audit_log", ["target_id", "id"])
    op.create_table(
        "account_changes",
        sa.Column("id", _ROW_ID, autoincrement=True, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("ref", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_changes")),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("host", sa.String(120), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("flushed_epoch", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("holder", sa.String(40), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )


def downgrade() -> None:
    for table in ("leases", "workers", "account_changes"):
        op.drop_table(table)
    op.drop_index(op.f("ix_audit_log_target_id_id"), table_name="audit_log")
    op.drop_index(op.f("ix_audit_log_organisation_id_id"), table_name="audit_log")
    op.drop_table("audit_log")
    # Budgets of members and organisations are something that the version before does not know.
    op.execute("DELETE FROM budgets WHERE scope NOT IN ('key', 'team')")
    op.rename_table("budgets", "budgets_0003")
    if op.get_bind().dialect.name == "postgresql":
        for constraint in ("pk_budgets", "uq_budgets_key_id", "uq_budgets_team_id"):
            op.execute(f"ALTER TABLE budgets_0003 DROP CONSTRAINT {constraint}")
    op.create_table("budgets", *_budgets())
    columns = "id, scope, key_id, team_id, limit_pico, currency, period, created_ms"
    op.execute(f"INSERT INTO budgets ({columns}) SELECT {columns} FROM budgets_0003")
    op.drop_table("budgets_0003")
    op.drop_index(op.f("ix_management_keys_old_hash"), table_name="management_keys")
    op.drop_index(op.f("ix_management_keys_member_id"), table_name="management_keys")
    op.drop_index(op.f("ix_management_keys_organisation_id"), table_name="management_keys")
    op.drop_table("management_keys")
    op.drop_index(op.f("ix_team_members_member_id"), table_name="team_members")
    op.drop_table("team_members")
    op.drop_table("members")
    op.drop_index(op.f("ix_api_keys_old_hash"), table_name="api_keys")
    op.drop_index(op.f("ix_api_keys_member_id"), table_name="api_keys")
    for column in ("old_expires_ms", "old_hash", "created_by", "member_id", "updated_ms"):
        op.drop_column("api_keys", column)
    op.drop_column("teams", "disabled_ms")
    for table in ("api_keys", "teams", "organisations"):
        for column in ("revision", "settings"):
            op.drop_column(table, column)
