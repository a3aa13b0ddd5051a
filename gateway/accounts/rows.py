"""Accounts as administrators see them."""

from collections.abc import Mapping

from msgspec import Struct

from gateway.accounts.privacy import NOTHING_DEMANDED, Privacy
from pricing import Money


class Organisation(Struct, frozen=True):
    """The owner of teams."""

    id: str
    name: str
    created_ms: int
    privacy: Privacy = NOTHING_DEMANDED

    @property
    def levels(self) -> Mapping[str, Privacy]:
        """What each level demands that its requests come under."""
        return {"organisation": self.privacy}


class Team(Struct, frozen=True):
    """Keys are issued to teams, and teams are billed."""

    id: str
    organisation_id: str
    name: str
    created_ms: int
    privacy: Privacy = NOTHING_DEMANDED
    organisation_privacy: Privacy = NOTHING_DEMANDED

    @property
    def levels(self) -> Mapping[str, Privacy]:
        """What each level demands that its requests come under."""
        return {"organisation": self.organisation_privacy, "team": self.privacy}


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
    privacy: Privacy = NOTHING_DEMANDED
    team_privacy: Privacy = NOTHING_DEMANDED
    organisation_privacy: Privacy = NOTHING_DEMANDED

    @property
    def levels(self) -> Mapping[str, Privacy]:
        """What each level demands that its requests come under."""
        return {
            "organisation": self.organisation_privacy,
            "team": self.team_privacy,
            "key": self.privacy,
        }


class Budget(Struct, frozen=True, kw_only=True):
    """A limit on the spend of one key or one team."""

    id: str
    scope: str  # "key" or "team"
    owner_id: str  # of the key or the team
    owner_name: str
    limit: Money
    period: str
