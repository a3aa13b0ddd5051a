"""Who may use the gateway: organisations, their teams and members, keys, and budgets on all of them.

Accounts are disabled, never deleted while something refers to them: ledger rows go on naming them.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
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
    CheckConstraint('"only" = 1', name="one_row"),
)

_EMPTY = "{}"


def _settled() -> tuple[Column[str], Column[int]]:
    """The columns of a level: its settings (JSON, see `gateway.policies.levels`), and its revision.

    The revision goes up by one with each change of the row.
    """
    return (
        Column("settings", Text, nullable=False, server_default=_EMPTY),
        Column("revision", Integer, nullable=False, server_default="1"),
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
    *_settled(),
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
    *_settled(),
    Column("disabled_ms", UtcMilliseconds),
    UniqueConstraint("organisation_id", "name"),
)

# People and service accounts. Their role in the organisation; in single teams, `team_members`.
members = Table(
    "members",
    metadata,
    Column("id", String(40), primary_key=True),
    Column(
        "organisation_id",
        String(40),
        ForeignKey("organisations.id", ondelete="RESTRICT"),
        nullable=False,
    ),
    Column("kind", String(8), nullable=False),
    Column("name", String(120), nullable=False),
    Column("email", String(254)),
    Column("role", String(8), nullable=False),
    Column("created_ms", UtcMilliseconds, nullable=False),
    Column("disabled_ms", UtcMilliseconds),
    *_settled(),
    UniqueConstraint("organisation_id", "email"),
    CheckConstraint("kind IN ('person', 'service')", name="known_kind"),
    CheckConstraint("role IN ('owner', 'admin', 'member', 'viewer', 'billing')", name="known_role"),
)

team_members = Table(
    "team_members",
    metadata,
    Column("team_id", String(40), ForeignKey("teams.id", ondelete="CASCADE")),
    Column("member_id", String(40), ForeignKey("members.id", ondelete="CASCADE")),
    Column("role", String(8), nullable=False),
    PrimaryKeyConstraint("team_id", "member_id"),
    CheckConstraint("role IN ('admin', 'member', 'viewer', 'billing')", name="known_role"),
    Index(None, "member_id"),
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
    *_settled(),
    Column("updated_ms", UtcMilliseconds),
    # Whose key it is, for limits and budgets of members; and who made it, an id or `operator`.
    Column("member_id", String(40)),
    Column("created_by", String(60)),
    # The hash before the last rotation, which goes on being taken until then.
    Column("old_hash", LargeBinary(32)),
    Column("old_expires_ms", UtcMilliseconds),
    Index(None, "team_id"),
    Index(None, "member_id"),
    Index(None, "old_hash"),
)

# Keys that administer and cannot do inference. `organisation_id` null: the whole installation.
management_keys = Table(
    "management_keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("organisation_id", String(40), ForeignKey("organisations.id", ondelete="RESTRICT")),
    Column("member_id", String(40), ForeignKey("members.id", ondelete="RESTRICT")),
    Column("name", String(120), nullable=False),
    Column("key_hash", LargeBinary(32), nullable=False, unique=True),
    Column("prefix", String(16), nullable=False),
    Column("last4", String(4), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_ms", UtcMilliseconds, nullable=False),
    Column("created_by", String(60)),
    Column("expires_ms", UtcMilliseconds),
    Column("disabled_ms", UtcMilliseconds),
    Column("old_hash", LargeBinary(32)),
    Column("old_expires_ms", UtcMilliseconds),
    Column("revision", Integer, nullable=False, server_default="1"),
    Index(None, "organisation_id"),
    Index(None, "member_id"),
    Index(None, "old_hash"),
)

budgets = Table(
    "budgets",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("scope", String(12), nullable=False),
    Column("key_id", String(40), ForeignKey("api_keys.id", ondelete="CASCADE"), unique=True),
    Column("team_id", String(40), ForeignKey("teams.id", ondelete="CASCADE"), unique=True),
    Column("member_id", String(40), ForeignKey("members.id", ondelete="CASCADE"), unique=True),
    Column(
        "organisation_id",
        String(40),
        ForeignKey("organisations.id", ondelete="CASCADE"),
        unique=True,
    ),
    Column("limit_pico", Picos, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("period", String(8), nullable=False),
    Column("created_ms", UtcMilliseconds, nullable=False),
    # What a process may do while the shared counters are out of reach: spend what it leased, or nothing.
    Column("on_state_loss", String(6), nullable=False, server_default="lease"),
    Column("revision", Integer, nullable=False, server_default="1"),
    CheckConstraint(
        "(scope = 'key') = (key_id IS NOT NULL)"
        " AND (scope = 'team') = (team_id IS NOT NULL)"
        " AND (scope = 'member') = (member_id IS NOT NULL)"
        " AND (scope = 'organisation') = (organisation_id IS NOT NULL)",
        name="one_owner",
    ),
    CheckConstraint("scope IN ('key', 'team', 'member', 'organisation')", name="known_scope"),
    CheckConstraint("on_state_loss IN ('lease', 'refuse')", name="known_on_state_loss"),
    CheckConstraint("period IN ('total', 'daily', 'weekly', 'monthly')", name="known_period"),
    CheckConstraint("limit_pico >= 0", name="limit_not_negative"),
)
