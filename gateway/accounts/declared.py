"""A file that declares who may use the gateway: organisations, their members, teams and keys.

What is written is what is to be; what is left out is left as it is. A name (of a person, the email) says
which organisation, member, team or key is meant; another name is another one.

    organisations:
    - name: default
      settings: {models: [moonshotai/kimi-k2.6]}
      budget: {amount: "500.00", period: monthly}
      members:
      - {email: ada@example.com, name: Ada, role: owner}
      teams:
      - name: search
        settings: {limits: [{what: requests, amount: 600, per: minute}]}
        members: {ada@example.com: admin}
        keys:
        - {name: web, budget: {amount: "50", period: monthly}}
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec
import yaml
from msgspec import UNSET, Struct, UnsetType
from typing_extensions import override

from gateway.errors import ConfigurationError, InvalidRequest
from gateway.policies.levels import parse

Privacy = Literal["allow", "deny"]
Role = Literal["owner", "admin", "member", "viewer", "billing"]
TeamRole = Literal["admin", "member", "viewer", "billing"]


class DeclaredBudget(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A budget; `amount` in quotes, as money is no binary fraction."""

    amount: str | int
    period: Literal["total", "daily", "weekly", "monthly"] = "total"
    currency: str = "USD"
    on_state_loss: Literal["lease", "refuse"] = "lease"


class DeclaredLevel(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every level may declare; `budget: null` takes it away."""

    zdr: bool | UnsetType = UNSET
    data_collection: Privacy | UnsetType = UNSET
    settings: dict[str, Any] | UnsetType = UNSET
    budget: DeclaredBudget | UnsetType | None = UNSET


class DeclaredKey(DeclaredLevel, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An API key of a team; `member` is the email, or name of a service account, whose key it is."""

    name: str
    member: str | UnsetType = UNSET
    expires: str | UnsetType | None = UNSET  # ISO 8601, UTC unless it says otherwise
    disabled: bool | UnsetType = UNSET


class DeclaredTeam(DeclaredLevel, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A team. `members`, where it is there, names all of them with their roles."""

    name: str
    members: dict[str, TeamRole] | UnsetType = UNSET
    keys: tuple[DeclaredKey, ...] = ()
    disabled: bool | UnsetType = UNSET


class DeclaredMember(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A person, by email, or a service account, by name alone."""

    role: Role
    email: str | None = None
    name: str | None = None
    settings: dict[str, Any] | UnsetType = UNSET
    budget: DeclaredBudget | UnsetType | None = UNSET
    disabled: bool | UnsetType = UNSET

    @property
    def known_as(self) -> str:
        """What other parts of the file call it."""
        return (self.email or "").lower() or self.name or ""


class DeclaredOrganisation(DeclaredLevel, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An organisation."""

    name: str
    members: tuple[DeclaredMember, ...] = ()
    teams: tuple[DeclaredTeam, ...] = ()


class Declared(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    organisations: tuple[DeclaredOrganisation, ...]


class _Loader(yaml.SafeLoader):
    """Refuses a mapping that has a key twice: YAML would take the last in silence."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} is there more than once", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


# Dates stay as they are written: `expires` is read here, and dates elsewhere are just texts.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def moment(text: str) -> int:
    """A time of the file in epoch milliseconds; of a date, its first moment in UTC.

    Raises:
        ValueError: it is none.
    """
    found = dt.datetime.fromisoformat(text)
    if found.tzinfo is None:
        found = found.replace(tzinfo=dt.UTC)
    return int(found.timestamp() * 1000)


def told_moment(milliseconds: int) -> str:
    """A time in epoch milliseconds as a file may have it."""
    found = dt.datetime.fromtimestamp(milliseconds / 1000, tz=dt.UTC)
    return found.isoformat().replace("+00:00", "Z")


def read(text: str, name: str) -> Declared:
    """What a file declares. `name` is the file's, for messages.

    Raises:
        ConfigurationError: with one line for each fault, all of them where the form is right.
    """
    try:
        tree = yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        problem = getattr(error, "problem", error)
        raise ConfigurationError([f"{name}:{place} not valid YAML: {problem}"]) from error
    try:
        declared = msgspec.convert(tree, Declared)
    except msgspec.ValidationError as error:
        raise ConfigurationError([f"{name}: {_said(str(error))}"]) from error
    faults = [f"{name}: {fault}" for fault in _faults(declared)]
    if faults:
        raise ConfigurationError(faults)
    return declared


def _said(message: str) -> str:
    """The decoder's words with the place first: `$.organisations[0].teams[1].name`."""
    what, _, where = message.partition(" - at `")
    if where.endswith("budget.amount`") and "got `float`" in what:
        what = "put the amount in quotes, such as '5.50': money is no binary fraction"
    return f"{where.removesuffix('`').removeprefix('$').lstrip('.') or 'file'}: {what}"


def _faults(declared: Declared) -> Iterator[str]:
    yield from _twice("organisations", (one.name for one in declared.organisations))
    for number, organisation in enumerate(declared.organisations):
        at = f"organisations[{number}]"
        yield from _wrong_settings(at, organisation.settings)
        yield from _wrong_members(at, organisation)
        yield from _twice(f"{at}.teams", (team.name for team in organisation.teams))
        for second, team in enumerate(organisation.teams):
            inside = f"{at}.teams[{second}]"
            yield from _wrong_settings(inside, team.settings)
            yield from _twice(f"{inside}.keys", (key.name for key in team.keys))
            for third, key in enumerate(team.keys):
                where = f"{inside}.keys[{third}]"
                yield from _wrong_settings(where, key.settings)
                yield from _wrong_expiry(where, key.expires)


def _wrong_members(at: str, organisation: DeclaredOrganisation) -> Iterator[str]:
    yield from _twice(f"{at}.members", (member.known_as for member in organisation.members))
    for number, member in enumerate(organisation.members):
        where = f"{at}.members[{number}]"
        if not member.known_as:
            yield f"{where}: needs an email, or, a service account, a name"
        yield from _wrong_settings(where, member.settings)


def _wrong_expiry(where: str, expires: str | UnsetType | None) -> Iterator[str]:
    if isinstance(expires, str):
        try:
            moment(expires)
        except ValueError:
            yield f"{where}.expires: {expires!r} is no time such as 2027-01-31 or 2027-01-31T12:00:00Z"


def _twice(where: str, names: Iterable[str]) -> Iterator[str]:
    for name, count in Counter(names).items():
        if name and count > 1:
            yield f"{where}: {name!r} is there more than once"


def _wrong_settings(where: str, settings: dict[str, Any] | UnsetType) -> Iterator[str]:
    if isinstance(settings, dict):
        try:
            parse(settings)
        except InvalidRequest as fault:
            place = f".{fault.param}" if fault.param else ""
            yield f"{where}.settings{place}: {fault.message}"
