"""What was used and what it cost: requests, their attempts, the cards they were priced by.

Rows of `generations`, `ledger_entries` and `rate_cards` are inserted once and never updated; a
correction is a new ledger entry that names in `corrects` the one it corrects. Times are epoch
milliseconds, durations milliseconds, money integer picos (10⁻¹²) of the currency beside it.

There are no foreign keys from an entry to its generation or its rate card on purpose: an entry is
money spent, and must never be refused because a row that explains it is missing.
For the same reason whatever callers or providers word has no limit of length.

An entry's id begins with its generation's id and a hyphen, a correction's too: so the primary key finds
the entries of a generation, and every request is spared the cost of an index. Requests are looked for by
team, key and time through their entries.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from gateway.store.tables.metadata import metadata
from gateway.store.types import Picos, UtcMilliseconds

generations = Table(
    "generations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("request_id", Text, nullable=False),
    Column("created_ms", UtcMilliseconds, nullable=False),
    Column("closed_ms", UtcMilliseconds, nullable=False),
    Column("organisation_id", String(64), nullable=False),
    Column("team_id", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("api", String(32), nullable=False),
    Column("model_requested", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("streamed", Boolean, nullable=False),
    Column("result", String(16), nullable=False),
    Column("status", Integer, nullable=False),
    Column("error_code", Text),
    Column("finish_reason", Text),
    Column("native_finish_reason", Text),
    Column("ttft_ms", BigInteger),
    Column("sandbox", Boolean, nullable=False),
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("generation_id", String(64), nullable=False),
    Column("ordinal", Integer, nullable=False),
    # When the request was admitted: the window of a budget that the entry counts in.
    Column("created_ms", UtcMilliseconds, nullable=False),
    Column("organisation_id", String(64), nullable=False),
    Column("team_id", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("model", Text, nullable=False),
    Column("sandbox", Boolean, nullable=False),
    Column("endpoint_id", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("upstream_model", Text, nullable=False),
    Column("rate_card_id", String(256), nullable=False),
    Column("result", String(16), nullable=False),
    Column("error_code", Text),
    Column("upstream_status", Integer),
    Column("upstream_id", Text),
    Column("started_ms", UtcMilliseconds, nullable=False),
    Column("ttft_ms", BigInteger),
    Column("duration_ms", BigInteger, nullable=False),
    Column("fresh_input", BigInteger, nullable=False),
    Column("cache_read", BigInteger, nullable=False),
    Column("cache_write_5m", BigInteger, nullable=False),
    Column("cache_write_1h", BigInteger, nullable=False),
    Column("output", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("searches", BigInteger, nullable=False),
    Column("basis", String(20), nullable=False),
    Column("cost_currency", String(3), nullable=False),
    Column("cost_pico", Picos, nullable=False),
    Column("charge_currency", String(3), nullable=False),
    Column("charge_pico", Picos, nullable=False),
    Column("reported_cost", Text),
    # By what the cost counts: `rate_card` or `provider_reported`; NULL in rows from before it was said.
    Column("cost_basis", String(20)),
    Column("corrects", String(80), ForeignKey("ledger_entries.id")),
    Index(None, "team_id", "created_ms"),
    Index(None, "key_id", "created_ms"),
)

journal_files = Table(
    "journal_files",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("shipped_offset", BigInteger, nullable=False),
    Column("closed", Boolean, nullable=False),
)

rate_cards = Table(
    "rate_cards",
    metadata,
    Column("id", String(256), primary_key=True),
    Column("content", Text, nullable=False),
    Column("first_seen_ms", UtcMilliseconds, nullable=False),
)
