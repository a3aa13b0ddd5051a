"""What a declaration changes of a level: the steps, and how they are found."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from gateway.accounts.declared import DeclaredLevel
from gateway.accounts.privacy import Change
from gateway.accounts.rows import Budget, Key, Organisation, Team
from gateway.policies.levels import LevelSettings, parse

Values = Mapping[str, Any]


class Step(Struct, frozen=True):
    """One thing that has to change.

    Attributes:
        action: "create", "update" or "disable".
        kind: "organisation", "team", "member" or "key".
        path: names from the organisation down, with `/` between.
        before, after: what differs, by field; of something new `before` is empty.
    """

    action: str
    kind: str
    path: str
    before: Values
    after: Values


def demanded(wanted: DeclaredLevel, found: Organisation | Team | Key) -> Change | None:
    """What has to change of the privacy demanded; None: nothing."""
    deny = None
    if wanted.data_collection is not UNSET:
        deny = wanted.data_collection == "deny"
    change = Change(None if wanted.zdr is UNSET else wanted.zdr, deny)
    return change if change.differing(found.privacy) else None


def changed_settings(
    wanted: dict[str, Any] | UnsetType, found: LevelSettings
) -> LevelSettings | None:
    """The settings that have to be written; None: none."""
    if wanted is UNSET:
        return None
    parsed = parse(wanted)
    return None if parsed == found else parsed


def plain(settings: LevelSettings) -> dict[str, Any]:
    """What settings say, by paths such as `settings.models`."""
    plain = msgspec.to_builtins(settings)
    return {f"settings.{name}": value for name, value in plain.items()}


def told_privacy(name: str, value: bool) -> bool | str:  # noqa: FBT001 - a value to be told
    """What a field of `Privacy` says, in the words of the file."""
    if name == "no_training":
        return "deny" if value else "allow"
    return value


def told_budget(budget: Budget) -> str:
    """What a budget says, for people."""
    amount = budget.limit
    told = f"{amount} {budget.period}"
    return told if budget.on_state_loss == "lease" else f"{told}, {budget.on_state_loss}"
