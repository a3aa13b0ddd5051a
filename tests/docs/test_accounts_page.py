"""The page on accounts has the rights that the roles have."""

import re
from collections.abc import Sequence
from pathlib import Path

from gateway.accounts.roles import NOUNS, ROLES, TEAM_ROLES, Actor, allowed

PAGE = Path(__file__).resolve().parents[2] / "docs/concepts/accounts.md"


def _actor(role: str | None, in_team: str | None = None) -> Actor:
    return Actor(
        kind="management_key",
        id="mk",
        name="",
        via="api",
        organisation_id="org",
        role=role,
        team_roles={} if in_team is None else {"team": in_team},
    )


def _table(roles: Sequence[str], rights: Sequence[frozenset[str]]) -> str:
    lines = ["| | " + " | ".join(roles) + " |", "|---" * (len(roles) + 1) + "|"]
    for noun in NOUNS:
        cells = [
            "write"
            if f"{noun}:write" in one
            else "read"
            if f"{noun}:read" in one
            else "\N{EN DASH}"
            for one in rights
        ]
        if set(cells) != {"\N{EN DASH}"}:
            lines.append(f"| `{noun}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def test_the_tables_of_rights_are_those_of_the_code() -> None:
    found = re.findall(r"(?:^\|.*\n)+", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [table.rstrip() for table in found] == [
        _table(ROLES, [allowed(_actor(role), "org") for role in ROLES]),
        _table(TEAM_ROLES, [allowed(_actor(None, role), "org", "team") for role in TEAM_ROLES]),
    ]
