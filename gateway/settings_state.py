"""Settings of where accounts, counters and the journal live, and of how many processes share them."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from gateway.settings_fields import Count, Seconds, Section


class DatabaseSettings(Section):
    """Where accounts, the ledger and the audit log are kept."""

    url: SecretStr | None = Field(
        None,
        description="`postgresql://user:password@host:5432/name` for PostgreSQL; without it a SQLite file"
        " in the data folder.",
    )
    pool_size: Count = Field(5, description="Connections of each process to PostgreSQL.")


class StateSettings(Section):
    """Where limits and budgets are counted."""

    url: SecretStr | None = Field(
        None,
        description="`redis://host:6379/0` (`rediss://` for TLS; Valkey does as well) for counters that"
        " several processes share; without it they are kept in the memory of the one process.",
    )
    prefix: str = Field(
        "tidegate",
        pattern=r"^[A-Za-z0-9_-]{1,32}$",
        description="What the names of all keys begin with.",
    )
    timeout: Seconds = Field(
        1.0, description="Seconds without an answer after which the store counts as lost."
    )
    hold_ttl: Annotated[float, Field(ge=5, le=3600)] = Field(
        30.0, description="Seconds after which what a dead process held is settled as an estimate."
    )
    lease_share: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.01,
        description="Share of each budget in use that a process leases, to spend while the store is lost;"
        " a lease counts as spent.",
    )


class JournalSettings(Section):
    """How the record of what was spent is kept safe until it is in the database."""

    sync: Literal["group", "always"] = Field(
        "group",
        description="`group`: fsync at most 50 ms later; `always`: before the answer ends.",
    )


class AuthSettings(Section):
    """How keys are looked up."""

    pepper: SecretStr | None = Field(
        None,
        description="64 hexadecimal digits that key the hash of every API key, the same for all replicas;"
        " without it the file `pepper` in the data folder.",
    )
    poll_interval: Seconds = Field(
        2.0, description="Seconds between looks in the database for changes of accounts."
    )
    max_entries: Count = Field(100_000, description="Keys that a process remembers.")

    max_age: Seconds = Field(
        15.0, description="Seconds after which a cached key is read again: how late a change shows."
    )
    max_staleness: Seconds = Field(
        600.0,
        description="Seconds for which a cached key still serves while the database is away.",
    )
