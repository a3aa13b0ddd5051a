"""Who may do what: every role, at its own and others' organisations and teams, by whatever key."""

import itertools

import pytest

from gateway.accounts.roles import (
    NOUNS,
    ROLES,
    SCOPES,
    TEAM_ROLES,
    Actor,
    allowed,
    checked_role,
    covers,
    operator,
    require,
    require_cover,
    require_issue,
    teams_with,
)
from gateway.errors import Forbidden, InvalidRequest, NotFound
from tests.fakes.accounts import keyed

# What each role may do, written out: `r` reads, `w` reads and writes, `-` neither.
#                 organisations teams members keys management_keys budgets settings audit usage
_ORGANISATION = {
    "owner":   "w w w w w w w r r",
    "admin":   "r w w w w w w r r",
    "member":  "r r r r - r r - r",
    "viewer":  "r r r r - r r - r",
    "billing": "r r - - - w - - r",
}  # fmt: skip
_TEAM = {
    "admin":   "- w r w - w w - r",
    "member":  "- r - r - r r - r",
    "viewer":  "- r - r - r r - r",
    "billing": "- r - - - w - - r",
}  # fmt: skip


def _scopes(marks: str) -> set[str]:
    found = set()
    for noun, mark in zip(NOUNS, marks.split(), strict=True):
        if mark in "rw":
            found.add(f"{noun}:read")
        if mark == "w":
            found.add(f"{noun}:write")
    return found


def _may(actor: Actor, scope: str, organisation: str | None, team: str | None) -> str:
    try:
        require(actor, scope, organisation, team)
    except NotFound as fault:
        return fault.code
    except Forbidden as fault:
        return fault.code
    return "yes"


@pytest.mark.parametrize("scope", sorted(SCOPES))
@pytest.mark.parametrize("role", ROLES)
def test_a_role_of_an_organisation_holds_in_it_and_in_all_its_teams(role: str, scope: str) -> None:
    actor = keyed(role, "org_own")
    expected = "yes" if scope in _scopes(_ORGANISATION[role]) else "permission_denied"
    assert _may(actor, scope, "org_own", None) == expected
    assert _may(actor, scope, "org_own", "team_any") == expected


@pytest.mark.parametrize("scope", sorted(SCOPES))
@pytest.mark.parametrize("role", TEAM_ROLES)
def test_a_role_of_a_team_holds_in_that_team_only(role: str, scope: str) -> None:
    actor = keyed(None, "org_own", team_roles={"team_own": role})
    expected = "yes" if scope in _scopes(_TEAM[role]) else "permission_denied"
    assert _may(actor, scope, "org_own", "team_own") == expected
    assert _may(actor, scope, "org_own", "team_other") == "permission_denied"
    assert _may(actor, scope, "org_own", None) == "permission_denied"


@pytest.mark.parametrize(("role", "team_role"), list(itertools.product(ROLES, TEAM_ROLES)))
def test_roles_of_organisation_and_team_add_up(role: str, team_role: str) -> None:
    actor = keyed(role, "org_own", team_roles={"team_own": team_role})
    both = _scopes(_ORGANISATION[role]) | _scopes(_TEAM[team_role])
    assert allowed(actor, "org_own", "team_own") == both
    assert allowed(actor, "org_own", "team_other") == _scopes(_ORGANISATION[role])


@pytest.mark.parametrize("scope", sorted(SCOPES))
@pytest.mark.parametrize("role", ROLES)
def test_what_is_anothers_is_not_there_for_any_role(role: str, scope: str) -> None:
    actor = keyed(role, "org_own", team_roles={"team_other": "admin"})
    assert _may(actor, scope, "org_other", None) == "not_found"
    assert _may(actor, scope, "org_other", "team_other") == "not_found"
    assert _may(actor, scope, None, None) == "not_found"


@pytest.mark.parametrize("scope", sorted(SCOPES))
def test_whoever_has_the_machine_may_do_anything_anywhere(scope: str) -> None:
    for organisation in (None, "org_a", "org_b"):
        assert _may(operator("root", "machine"), scope, organisation, "team_any") == "yes"


@pytest.mark.parametrize(("role", "scope"), list(itertools.product(ROLES, sorted(SCOPES))))
def test_a_key_can_do_less_than_its_role_and_never_more(role: str, scope: str) -> None:
    noun = scope.partition(":")[0]
    actor = keyed(role, "org_own", scopes=frozenset({scope}))
    covered = {scope, f"{noun}:read"} & _scopes(_ORGANISATION[role])
    assert allowed(actor, "org_own") == covered
    for other in SCOPES - {scope, f"{noun}:read"}:
        assert _may(actor, other, "org_own", None) == "insufficient_scope"


def test_a_key_without_scopes_can_do_nothing() -> None:
    assert allowed(keyed("owner", "org_own", scopes=frozenset()), "org_own") == frozenset()


def _gives(actor: Actor, role: str, team: str | None = None) -> bool:
    try:
        require_cover(actor, role, "org_own", team)
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize(
    ("role", "given"),
    [
        ("owner", {"owner", "admin", "member", "viewer", "billing"}),
        ("admin", {"admin", "member", "viewer", "billing"}),
        ("member", {"member", "viewer"}),
        ("viewer", {"member", "viewer"}),
        ("billing", {"billing"}),
    ],
)
def test_only_roles_below_ones_own_are_covered(role: str, given: set[str]) -> None:
    """The right to change members at all is another: `members:write`."""
    assert {one for one in ROLES if _gives(keyed(role, "org_own"), one)} == given
    assert not any(covers(keyed(role, "org_own"), one, "org_other") for one in ROLES)


def test_a_narrow_key_of_an_owner_gives_away_no_more_than_it_has() -> None:
    assert not any(
        _gives(keyed("owner", "org_own", scopes=frozenset({"members:write"})), role)
        for role in ROLES
    )
    assert _gives(keyed("owner", "org_own", scopes=SCOPES), "owner")
    without = SCOPES - {"organisations:write"}
    assert not _gives(keyed("owner", "org_own", scopes=without), "owner")
    assert _gives(keyed("owner", "org_own", scopes=without), "admin")


def test_a_team_s_admin_gives_all_roles_in_its_team_and_none_elsewhere() -> None:
    lead = keyed("viewer", "org_own", team_roles={"team_own": "admin"})
    assert all(_gives(lead, role, "team_own") for role in TEAM_ROLES)
    assert not _gives(lead, "admin", "team_other")
    assert not _gives(lead, "billing", "team_other")
    assert not _gives(lead, "admin")


@pytest.mark.parametrize(
    ("role", "team_role", "whose", "scopes", "expected"),
    [
        ("admin", None, "mem_other", None, True),
        ("admin", None, None, None, True),
        ("member", "member", "mem_own", None, True),
        ("member", "admin", "mem_other", None, True),
        ("member", "member", "mem_other", None, False),
        ("member", "member", None, None, False),
        ("member", None, "mem_own", None, False),
        ("member", "viewer", "mem_own", None, False),
        ("member", "member", "mem_own", frozenset({"keys:write"}), True),
        ("member", "member", "mem_own", frozenset({"keys:read"}), False),
    ],
)
def test_members_make_keys_for_themselves_in_their_own_teams(
    role: str,
    team_role: str | None,
    whose: str | None,
    scopes: frozenset[str] | None,
    expected: bool,  # noqa: FBT001 - a row of the table
) -> None:
    team_roles = {} if team_role is None else {"team_own": team_role}
    actor = keyed(role, "org_own", team_roles=team_roles, scopes=scopes, member_id="mem_own")
    if expected:
        require_issue(actor, "org_own", "team_own", whose)
        return
    with pytest.raises(Forbidden):
        require_issue(actor, "org_own", "team_own", whose)


def test_keys_in_another_organisation_are_not_there_to_be_made() -> None:
    actor = keyed("member", "org_own", team_roles={"team_x": "member"}, member_id="mem_own")
    with pytest.raises(NotFound):
        require_issue(actor, "org_other", "team_x", "mem_own")


def test_lists_are_cut_down_to_the_teams_where_somebody_may_look() -> None:
    lead = keyed(None, "org_own", team_roles={"team_a": "admin", "team_b": "billing"})
    assert teams_with(lead, "budgets:read", "org_own") == frozenset({"team_a", "team_b"})
    assert teams_with(lead, "keys:read", "org_own") == frozenset({"team_a"})
    assert teams_with(keyed("viewer", "org_own"), "keys:read", "org_own") is None
    with pytest.raises(Forbidden):
        teams_with(lead, "audit:read", "org_own")
    with pytest.raises(NotFound):
        teams_with(lead, "keys:read", "org_other")


def test_what_is_no_role_is_named() -> None:
    with pytest.raises(InvalidRequest, match="owner, admin, member, viewer, billing"):
        checked_role("root")
    with pytest.raises(InvalidRequest, match="admin, member, viewer, billing"):
        checked_role("owner", TEAM_ROLES)
