"""Accounts as administrators see them."""

from msgspec import Struct

from pricing import Money


class Organisation(Struct, frozen=True):
    """The owner of teams."""

    id: str
    name: str
    created_ms: int


class Team(Struct, frozen=True):
    """Keys are issued to teams, and teams are billed."""

    id: str
    organisation_id: str
    name: str
    created_ms: int


class Key(Struct, frozen=True, kw_only=True):
    """An API key, without the key: `prefix` and `last4` are for recognising it. Times: epoch ms."""

    id: str
    name: str
    team_id: str
    team_name: str
    prefix: str
    last4: str
    created_ms: int
    expires_ms: int | None
    disabled_ms: int | None


class Budget(Struct, frozen=True, kw_only=True):
    """A limit on the spend of one key or one team."""

    id: str
    scope: str  # "key" or "team"
    owner_id: str  # of the key or the team
    owner_name: str
    limit: Money
    period: str
