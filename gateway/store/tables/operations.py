"""What keeps many processes together, and what was done by whom."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from gateway.store.tables.metadata import metadata
from gateway.store.types import UtcMilliseconds

_ROW_ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows in INTEGER keys only

# Every administrative act. Rows are never changed; secrets are never among the values.
audit_log = Table(
    "audit_log",
    metadata,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("at_ms", UtcMilliseconds, nullable=False),
    Column("organisation_id", String(40)),  # null: the installation itself
    Column("actor_kind", String(16), nullable=False),  # operator, management_key, key, system
    Column("actor_id", String(60), nullable=False),
    Column("actor_name", String(120), nullable=False),
    Column("via", String(16), nullable=False),  # cli, api, apply, start
    Column(
        "source", String(64)
    ),  # address of the caller, or the user and machine of the command line
    Column("action", String(40), nullable=False),  # such as key.create
    Column("target_kind", String(20), nullable=False),
    Column("target_id", String(60), nullable=False),
    Column("before", Text),  # JSON of what changed, as it was; null: it was not there
    Column("after", Text),  # and as it is; null: it is gone
    Column("request_id", String(64)),
    Index(None, "organisation_id", "id"),
    Index(None, "target_id", "id"),
)

# What changed of accounts, in the order in which it happened, for processes that remember principals.
account_changes = Table(
    "account_changes",
    metadata,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("at_ms", UtcMilliseconds, nullable=False),
    Column("kind", String(16), nullable=False),  # organisation, team, member, key, management_key
    Column("ref", String(40), nullable=False),  # its id
)

# Gateway processes that are alive: see `gateway.store.workers`.
workers = Table(
    "workers",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("host", String(120), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", String(40), nullable=False),
    Column("started_ms", UtcMilliseconds, nullable=False),
    Column("seen_ms", UtcMilliseconds, nullable=False),
    # The epoch of the shared counters up to which all that this process settled is in the ledger.
    Column("flushed_epoch", String(64)),
)

# Which process does a job that must be done by one at a time.
leases = Table(
    "leases",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("holder", String(40), nullable=False),
    Column("until_ms", UtcMilliseconds, nullable=False),
)
