"""Accounts as administrators see them. Times are epoch milliseconds.

A `revision` goes up by one with each change of what it stands in: whoever changes something says which one
was read, and is told where somebody else was faster.
"""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from msgspec import Struct

from gateway.accounts.privacy import NOTHING_DEMANDED, Privacy
from gateway.policies.levels import NO_SETTINGS, LevelSettings
from pricing import Money

Row = TypeVar("Row")


class Page(Struct, Generic[Row], frozen=True):
    """Part of a list; `next_cursor` asks for what follows, None where nothing does."""

    items: tuple[Row, ...]
    next_cursor: str | None = None


class Organisation(Struct, frozen=True, kw_only=True):
    """The owner of teams."""

    id: str
    name: str
    created_ms: int
    privacy: Privacy = NOTHING_DEMANDED
    settings: LevelSettings = NO_SETTINGS
    revision: int = 1

    @property
    def levels(self) -> Mapping[str, Privacy]:
        """What each level demands that its requests come under."""
        return {"organisation": self.privacy}


class Team(Struct, frozen=True, kw_only=True):
    """Keys are issued to teams, and teams are billed. The keys of a disabled team are refused."""

    id: str
    organisation_id: str
    name: str
    created_ms: int
    disabled_ms: int | None = None
    privacy: Privacy = NOTHING_DEMANDED
    organisation_privacy: Privacy = NOTHING_DEMANDED
    settings: LevelSettings = NO_SETTINGS
    revision: int = 1

    @property
    def levels(self) -> Mapping[str, Privacy]:
        """What each level demands that its requests come under."""
        return {"organisation": self.organisation_privacy, "team": self.privacy}


class TeamMembership(Struct, frozen=True, kw_only=True):
    """The role of a member in a team: one of `gateway.accounts.roles.TEAM_ROLES`."""

    team_id: str
    team_name: str
    member_id: str
    member_name: str
    role: str


class Member(Struct, frozen=True, kw_only=True):
    """Somebody in an organisation: a person, or a service account.

    Attributes:
        kind: "person" or "service".
        email: of a person, in lower case; None: not known. Service accounts have none.
        role: in the organisation, one of `gateway.accounts.roles.ROLES`.
        teams: its roles in single teams, by the names of these.
    """

    id: str
    organisation_id: str
    kind: str
    name: str
    email: str | None
    role: str
    created_ms: int
    disabled_ms: int | None = None
    settings: LevelSettings = NO_SETTINGS
    teams: tuple[TeamMembership, ...] = ()
    revision: int = 1


class Key(Struct, frozen=True, kw_only=True):
    """An API key, without the key: `prefix` and `last4` are for recognising it.

    Attributes:
        member_id: whose key it is, where it is somebody's.
        created_by: the member or the key that made it, or `operator`.
        old_expires_ms: until when the secret before the last rotation is taken; None: there was none.
    """

    id: str
    name: str
    team_id: str
    team_name: str
    organisation_id: str = ""
    prefix: str
    last4: str
    created_ms: int
    expires_ms: int | None
    disabled_ms: int | None
    updated_ms: int | None = None
    member_id: str | None = None
    created_by: str | None = None
    old_expires_ms: int | None = None
    privacy: Privacy = NOTHING_DEMANDED
    team_privacy: Privacy = NOTHING_DEMANDED
    organisation_privacy: Privacy = NOTHING_DEMANDED
    settings: LevelSettings = NO_SETTINGS
    revision: int = 1

    @property
    def levels(self) -> Mapping[str, Privacy]:
        """What each level demands that its requests come under."""
        return {
            "organisation": self.organisation_privacy,
            "team": self.team_privacy,
            "key": self.privacy,
        }


class ManagementKey(Struct, frozen=True, kw_only=True):
    """A key that administers and cannot do inference; `organisation_id` None: the whole installation."""

    id: str
    organisation_id: str | None
    member_id: str | None
    name: str
    prefix: str
    last4: str
    scopes: tuple[str, ...]
    created_ms: int
    created_by: str | None
    expires_ms: int | None
    disabled_ms: int | None
    old_expires_ms: int | None = None
    revision: int = 1


class Budget(Struct, frozen=True, kw_only=True):
    """A limit on the spend of a key, a team, a member or an organisation.

    `on_state_loss` is what a process may do while the shared counters are out of reach: `lease` spends what
    it had leased, `refuse` spends nothing.
    """

    id: str
    scope: str  # "key", "team", "member" or "organisation"
    owner_id: str
    owner_name: str
    organisation_id: str
    limit: Money
    period: str
    created_ms: int
    on_state_loss: str = "lease"
    revision: int = 1


class Level(Struct, frozen=True, kw_only=True):
    """What one level sets; `level` is "organisation", "team", "member" or "key"."""

    level: str
    id: str
    name: str
    settings: LevelSettings
    revision: int


class Source(Struct, frozen=True):
    """Where an effective value, or a part of one, came from."""

    level: str
    id: str
    name: str


class EffectiveValue(Struct, frozen=True, kw_only=True):
    """One thing that is in force, and the levels that made it so, widest first.

    `name` is a path in the settings, such as `provider.max_price.prompt` or `limits` (each limit is a value
    of its own); `zdr`; `data_collection`; or `budget` (each is one).
    """

    name: str
    value: Any
    sources: tuple[Source, ...]


class Effective(Struct, frozen=True, kw_only=True):
    """All that is in force at a level: what no level sets is not among the values."""

    level: str
    id: str
    name: str
    values: tuple[EffectiveValue, ...]


class AuditLine(Struct, frozen=True, kw_only=True):
    """An administrative act that was done.

    Attributes:
        id: goes up with time.
        organisation_id: whose act it was; None: the installation's own.
        before, after: what differs; `before` None: it was not there, `after` None: it is gone.
    """

    id: int
    at_ms: int
    organisation_id: str | None
    actor_kind: str
    actor_id: str
    actor_name: str
    via: str
    source: str | None
    action: str
    target_kind: str
    target_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    request_id: str | None
