"""Whose usage somebody may see."""

from msgspec import Struct

from gateway.accounts import organisations, roles
from gateway.accounts.office import Office
from gateway.accounts.roles import Actor


class Reach(Struct, frozen=True):
    """The organisation whose usage may be seen (None: all), and the teams in it (None: all)."""

    organisation_id: str | None
    team_ids: frozenset[str] | None = None


async def reach(office: Office, actor: Actor, organisation: str | None = None) -> Reach:
    """Whose usage an actor may see; of one organisation, if its id or name is given.

    Who has a role in single teams only sees these.

    Raises:
        NotFound: no such organisation; code organisation_not_found.
        Forbidden: codes permission_denied, insufficient_scope.
    """
    async with office.look(actor) as look:
        where = look.actor.organisation_id
        if organisation is not None:
            where = (await organisations.find(look.connection, look.actor, organisation)).id
        return Reach(where, roles.teams_with(look.actor, "usage:read", where))
