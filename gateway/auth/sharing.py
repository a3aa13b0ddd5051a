"""Keeping what the keys of a team have in common once, not once a key.

Each reading of the database makes strings and tuples of its own. A hundred thousand keys that keep theirs
take twice the memory, nearly all of it the same few names, ids and budgets.
"""

import msgspec

from gateway.values import BudgetRule, Principal


class Sharing:
    """Makes principals of one team refer to the same values.

    Args:
        limit: teams remembered. Whose team is forgotten shares with nobody read later, which costs
            memory and nothing else.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._of_team: dict[str, Principal] = {}  # the one read last

    def shared(self, principal: Principal) -> Principal:
        """An equal principal, with what is equal to the one of its team that was read before."""
        team = principal.team_id
        known = self._of_team.pop(team, None)
        if known == principal:
            principal = known
        elif known is not None:
            principal = msgspec.structs.replace(
                principal,
                team_id=known.team_id,
                team_name=_one(known.team_name, principal.team_name),
                organisation_id=_one(known.organisation_id, principal.organisation_id),
                budgets=_budgets(known.budgets, principal.budgets),
                limits=known.limits if known.limits == principal.limits else principal.limits,
                access=known.access if known.access == principal.access else principal.access,
            )
        while len(self._of_team) >= self._limit:
            del self._of_team[next(iter(self._of_team))]
        self._of_team[principal.team_id] = principal
        return principal


def _one(known: str, new: str) -> str:
    return known if known == new else new


def _budgets(known: tuple[BudgetRule, ...], new: tuple[BudgetRule, ...]) -> tuple[BudgetRule, ...]:
    """The same, of the known rules where they are equal: a key's own stands beside its team's."""
    if known == new:
        return known
    return tuple([next((rule for rule in known if rule == one), one) for one in new])
