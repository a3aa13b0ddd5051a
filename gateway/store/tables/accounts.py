"""Who may use the gateway: organisations, their teams, the teams' keys, and budgets on both.

Accounts are disabled, never deleted while something refers to them: ledger rows go on naming them.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    false,
)

from gateway.store.tables.metadata import metadata
from gateway.store.types import Picos, UtcMilliseconds

installation = Table(
    "installation",
    metadata,
    Column("only", SmallInteger, primary_key=True, autoincrement=False),
    Column("id", String(40), nullable=False),
    # Tells whether the pepper file is the one that the keys were hashed with, and no more.
    Column("pepper_check", String(32), nullable=False),
    Column("created_ms", UtcMilliseconds, nullable=False),
    CheckConstraint("only = 1", name="one_row"),
)

organisations = Table(
    "organisations",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(120), nullable=False, unique=True),
    Column("created_ms", UtcMilliseconds, nullable=False),
    # Here, of teams and of keys: what is demanded of those who see the requests.
    Column("zdr", Boolean, nullable=False, server_default=false()),
    Column("no_training", Boolean, nullable=False, server_default=false()),
)

teams = Table(
    "teams",
    metadata,
    Column("id", String(40), primary_key=True),
    Column(
        "organisation_id",
        String(40),
        ForeignKey("organisations.id", ondelete="RESTRICT"),
        nullable=False,
    ),
    Column("name", String(120), nullable=False),
    Column("created_ms", UtcMilliseconds, nullable=False),
    Column("zdr", Boolean, nullable=False, server_default=false()),
    Column("no_training", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("organisation_id", "name"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("team_id", String(40), ForeignKey("teams.id", ondelete="RESTRICT"), nullable=False),
    Column("name", String(120), nullable=False),
    Column("key_hash", LargeBinary(32), nullable=False, unique=True),
    Column("prefix", String(16), nullable=False),
    Column("last4", String(4), nullable=False),
    Column("created_ms", UtcMilliseconds, nullable=False),
    Column("expires_ms", UtcMilliseconds),
    Column("disabled_ms", UtcMilliseconds),
    Column("zdr", Boolean, nullable=False, server_default=false()),
    Column("no_training", Boolean, nullable=False, server_default=false()),
    Index(None, "team_id"),
)

budgets = Table(
    "budgets",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("scope", String(8), nullable=False),
    Column("key_id", String(40), ForeignKey("api_keys.id", ondelete="CASCADE"), unique=True),
    Column("team_id", String(40), ForeignKey("teams.id", ondelete="CASCADE"), unique=True),
    Column("limit_pico", Picos, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("period", String(8), nullable=False),
    Column("created_ms", UtcMilliseconds, nullable=False),
    CheckConstraint(
        "(scope = 'key' AND key_id IS NOT NULL AND team_id IS NULL)"
        " OR (scope = 'team' AND team_id IS NOT NULL AND key_id IS NULL)",
        name="one_owner",
    ),
    CheckConstraint("period IN ('total', 'daily', 'weekly', 'monthly')", name="known_period"),
    CheckConstraint("limit_pico >= 0", name="limit_not_negative"),
)
