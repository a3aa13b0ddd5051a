"""Teams: whom keys are issued to."""

from sqlalchemy import insert, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts.ids import new_id
from gateway.accounts.names import checked_name
from gateway.accounts.privacy import NOTHING_DEMANDED, Change, Privacy, privacy_of
from gateway.accounts.rows import Team
from gateway.clock import Clock
from gateway.errors import InvalidRequest, NotFound
from gateway.store.database import Database
from gateway.store.tables.accounts import organisations, teams

_OLDEST_FIRST = (teams.c.created_ms, teams.c.id)
_FOUND = select(
    teams,
    organisations.c.zdr.label("organisation_zdr"),
    organisations.c.no_training.label("organisation_no_training"),
).join(organisations, organisations.c.id == teams.c.organisation_id)


async def create(
    db: Database,
    name: str,
    *,
    clock: Clock,
    organisation_id: str | None = None,
    privacy: Privacy = NOTHING_DEMANDED,
) -> Team:
    """Make a team in an organisation; by default in the one that was there first.

    `privacy` is what it demands of those who see its requests.

    Raises:
        InvalidRequest: the name is unfit (invalid_name) or taken in the organisation (name_taken).
        NotFound: no such organisation, or none at all; code organisation_not_found.
    """
    name = checked_name(name, what="team")
    owner = select(organisations).order_by(organisations.c.created_ms, organisations.c.id)
    if organisation_id is not None:
        owner = owner.where(organisations.c.id == organisation_id)
    async with db.transaction() as connection:
        found = (await connection.execute(owner.limit(1))).one_or_none()
        if found is None:
            raise NotFound(
                "no such organisation; `tidegate migrate` makes the first one",
                code="organisation_not_found",
                param="organisation_id",
            )
        taken = select(teams.c.id).where(teams.c.organisation_id == found.id, teams.c.name == name)
        if await connection.scalar(taken) is not None:
            raise InvalidRequest(
                f"there is a team named {name!r}; choose another name",
                code="name_taken",
                param="name",
            )
        row = Team(
            new_id("team"),
            found.id,
            name,
            int(clock.now() * 1000),
            privacy,
            organisation_privacy=privacy_of(found),
        )
        await connection.execute(
            insert(teams).values(
                id=row.id,
                organisation_id=found.id,
                name=name,
                created_ms=row.created_ms,
                zdr=privacy.zdr,
                no_training=privacy.no_training,
            )
        )
    return row


async def list_all(db: Database) -> list[Team]:
    """Every team, oldest first."""
    async with db.reading() as connection:
        rows = await connection.execute(_FOUND.order_by(*_OLDEST_FIRST))
        return [_team(row) for row in rows]


async def get(db: Database, id_or_name: str) -> Team:
    """A team by its id or name; raises as `find`."""
    async with db.reading() as connection:
        return await find(connection, id_or_name)


async def set_privacy(db: Database, id_or_name: str, change: Change) -> Team:
    """Change what a team demands of those who see its requests; as `keys.set_privacy`.

    Raises:
        NotFound, InvalidRequest: as `find`; also where there is nothing to set.
    """
    values = change.values()
    async with db.transaction() as connection:
        team = await find(connection, id_or_name)
        await connection.execute(update(teams).where(teams.c.id == team.id).values(**values))
        return await find(connection, team.id)


async def find(connection: AsyncConnection, id_or_name: str) -> Team:
    """A team by its id, or by its name where only one organisation has such a team.

    Raises:
        NotFound: no such team; code team_not_found.
        InvalidRequest: several teams of that name; code team_ambiguous.
    """
    query = _FOUND.where(or_(teams.c.id == id_or_name, teams.c.name == id_or_name))
    rows = (await connection.execute(query)).all()
    # An id decides, even if somebody named another team after it.
    rows = [row for row in rows if row.id == id_or_name] or rows
    if not rows:
        raise NotFound(
            f"no team {id_or_name!r}; `tidegate teams list` shows them, `tidegate teams create`"
            " makes one",
            code="team_not_found",
            param="team",
        )
    if len(rows) > 1:
        raise InvalidRequest(
            f"several organisations have a team {id_or_name!r}; give the team's id",
            code="team_ambiguous",
            param="team",
        )
    return _team(rows[0])


def _team(row: Row[tuple[object, ...]]) -> Team:
    return Team(
        row.id,
        row.organisation_id,
        row.name,
        row.created_ms,
        privacy_of(row),
        privacy_of(row, "organisation_"),
    )
