"""Who may do what. Pure.

    actor (a role in an organisation, roles in single teams, the scopes of its key) → allowed or not

Three rules. What belongs to another organisation is not there: it is not found, never forbidden. A key can
do less than its owner, never more: its scopes cut down what the role allows. Nobody gives away what he does
not have: a key, a role or a scope that is made must be covered by its maker's.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from gateway.errors import Forbidden, InvalidRequest, NotFound

ROLES: Final = ("owner", "admin", "member", "viewer", "billing")
TEAM_ROLES: Final = ("admin", "member", "viewer", "billing")

NOUNS: Final = (
    "organisations",
    "teams",
    "members",
    "keys",
    "management_keys",
    "budgets",
    "settings",
    "audit",
    "usage",
)
SCOPES: Final = frozenset(
    [f"{noun}:read" for noun in NOUNS]
    + [f"{noun}:write" for noun in NOUNS if noun not in {"audit", "usage"}]
)
"""What a management key may be given; `keys:write` covers `keys:read`, and so on."""

_READ: Final = frozenset(f"{noun}:read" for noun in NOUNS)
_PLAIN_READ: Final = _READ - {"audit:read", "management_keys:read"}
_OF_ROLE: Final[Mapping[str, frozenset[str]]] = {
    "owner": SCOPES,
    "admin": SCOPES - {"organisations:write"},
    # A member makes keys for itself in its own teams: see `require_issue`.
    "member": _PLAIN_READ,
    "viewer": _PLAIN_READ,
    "billing": frozenset(
        {"organisations:read", "teams:read", "budgets:read", "budgets:write", "usage:read"}
    ),
}
_OF_TEAM_ROLE: Final[Mapping[str, frozenset[str]]] = {
    "admin": frozenset(
        {"teams:read", "teams:write", "members:read", "keys:read", "keys:write"}
        | {"budgets:read", "budgets:write", "settings:read", "settings:write", "usage:read"}
    ),
    "member": frozenset({"teams:read", "keys:read", "settings:read", "budgets:read", "usage:read"}),
    "viewer": frozenset({"teams:read", "keys:read", "settings:read", "budgets:read", "usage:read"}),
    "billing": frozenset({"teams:read", "budgets:read", "budgets:write", "usage:read"}),
}


class Actor(Struct, frozen=True, kw_only=True):
    """Who does an administrative act, and from where.

    Attributes:
        kind: "operator" (whoever may open the data folder or the database), "management_key", "key" (an
            inference key that looks at itself) or "system".
        id: of the key; of the operator the name of its account on the machine.
        name: for people.
        via: "cli", "api", "apply" or "start".
        source: the caller's address, or the machine of the command line.
        request_id: of the request to the API.
        organisation_id: the one that it belongs to; None: the whole installation.
        member_id: the member that the key belongs to; its roles are its key's.
        role: in the organisation; None: in none, but in single teams.
        team_roles: by the id of the team.
        scopes: what its key allows; None: all that the role does.
        expires_ms: when its key ends, in epoch milliseconds; None: never. No management key that it makes
            outlives it.
    """

    kind: str
    id: str
    name: str
    via: str
    source: str | None = None
    request_id: str | None = None
    organisation_id: str | None = None
    member_id: str | None = None
    role: str | None = None
    team_roles: Mapping[str, str] = {}
    scopes: frozenset[str] | None = None
    expires_ms: int | None = None

    @property
    def everywhere(self) -> bool:
        """Whether it administers the whole installation."""
        return self.organisation_id is None


def operator(name: str, machine: str, via: str = "cli") -> Actor:
    """Whoever works on the installation itself: it may do anything."""
    return Actor(kind="operator", id=name, name=name, via=via, source=machine, role="owner")


def allowed(
    actor: Actor, organisation_id: str | None, team_id: str | None = None
) -> frozenset[str]:
    """The scopes that an actor has in an organisation, or in one of its teams.

    `organisation_id` None is the installation itself.
    """
    if not actor.everywhere and actor.organisation_id != organisation_id:
        return frozenset()
    found = _OF_ROLE.get(actor.role or "", frozenset())
    if team_id is not None and (in_team := actor.team_roles.get(team_id)) is not None:
        found |= _OF_TEAM_ROLE.get(in_team, frozenset())
    if actor.scopes is not None:
        found &= widened(actor.scopes)
    return found


def checked_role(role: str, known: tuple[str, ...] = ROLES) -> None:
    """Refuse what is not a role: one of `ROLES`, or of `TEAM_ROLES` if these are given.

    Raises:
        InvalidRequest: code invalid_role.
    """
    if role not in known:
        raise InvalidRequest(
            f"unknown role {role!r}; use one of {', '.join(known)}",
            code="invalid_role",
            param="role",
        )


def covers(
    actor: Actor,
    role: str,
    organisation_id: str | None,
    team_id: str | None = None,
) -> bool:
    """Whether an actor may give or take a role: that of an organisation, or with `team_id` of the team.

    It must have every scope of the role itself, there: so nobody raises anybody above himself, and only
    owners make and unmake owners.
    """
    of_role = _OF_ROLE if team_id is None else _OF_TEAM_ROLE
    return of_role[role] <= allowed(actor, organisation_id, team_id)


def require_cover(
    actor: Actor,
    role: str,
    organisation_id: str | None,
    team_id: str | None = None,
) -> None:
    """Refuse to give or take a role that an actor does not cover.

    Raises:
        Forbidden: code role_not_covered.
    """
    if covers(actor, role, organisation_id, team_id):
        return
    of_role = _OF_ROLE if team_id is None else _OF_TEAM_ROLE
    lacking = ", ".join(sorted(of_role[role] - allowed(actor, organisation_id, team_id)))
    raise Forbidden(
        f"the role {role!r} can be given or taken only by who has all its rights: this lacks {lacking}",
        code="role_not_covered",
        param="role",
    )


def require_issue(
    actor: Actor, organisation_id: str | None, team_id: str, member_id: str | None
) -> None:
    """Refuse to make or change a key of a team, which belongs to the member `member_id`, if to any.

    Whoever may write the team's keys may; and a member for itself, in teams that it is an admin or a
    member of.

    Raises:
        NotFound, Forbidden: as `require`.
    """
    if (
        actor.member_id is not None
        and actor.member_id == member_id
        and actor.organisation_id == organisation_id
        and actor.team_roles.get(team_id) in {"admin", "member"}
        and (actor.scopes is None or "keys:write" in actor.scopes)
    ):
        return
    require(actor, "keys:write", organisation_id, team_id)


def teams_with(actor: Actor, scope: str, organisation_id: str | None) -> frozenset[str] | None:
    """The teams of an organisation in which an actor has a scope; None: in all.

    Raises:
        NotFound, Forbidden: as `require`, where it has it in none.
    """
    if not actor.everywhere and actor.organisation_id != organisation_id:
        raise _elsewhere()
    if scope in allowed(actor, organisation_id):
        return None
    found = frozenset(
        team for team in actor.team_roles if scope in allowed(actor, organisation_id, team)
    )
    if not found:
        require(actor, scope, organisation_id)
    return found


def within(actor: Actor, organisation_id: str) -> Actor:
    """The same, where only one organisation is to be looked in."""
    return msgspec.structs.replace(actor, organisation_id=organisation_id)


def widened(scopes: frozenset[str]) -> frozenset[str]:
    """Scopes with those that they cover: writing covers reading."""
    return scopes | {f"{scope.partition(':')[0]}:read" for scope in scopes}


def require(
    actor: Actor, scope: str, organisation_id: str | None, team_id: str | None = None
) -> None:
    """Refuse what an actor may not do.

    Raises:
        NotFound: it is another organisation's; code not_found.
        Forbidden: it is not allowed; codes permission_denied, or insufficient_scope where its role would
            allow it but its key does not.
    """
    if not actor.everywhere and actor.organisation_id != organisation_id:
        raise _elsewhere()
    if scope in allowed(actor, organisation_id, team_id):
        return
    if actor.scopes is not None and scope not in widened(actor.scopes):
        raise Forbidden(
            f"this management key has not the scope {scope!r}", code="insufficient_scope"
        )
    raise Forbidden(
        f"the role {actor.role or 'of this key'!r} may not do this: it needs {scope!r}",
        code="permission_denied",
    )


def _elsewhere() -> NotFound:
    return NotFound("there is no such thing here", code="not_found")
