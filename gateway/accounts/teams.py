"""Teams: whom keys are issued to. The keys of a disabled team are refused."""

from typing import Any

from sqlalchemy import insert, or_, select
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts import organisations, pages, revisions, roles
from gateway.accounts.ids import new_id
from gateway.accounts.names import can_be_meant, checked_name
from gateway.accounts.office import Act, Office
from gateway.accounts.privacy import NOTHING_DEMANDED, Change, Privacy, privacy_of
from gateway.accounts.roles import Actor
from gateway.accounts.rows import Organisation, Page, Team
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.policies.levels import NO_SETTINGS, LevelSettings
from gateway.store.tables import accounts as tables

_TEAMS = tables.teams
_ORDER = (_TEAMS.c.created_ms, _TEAMS.c.id)
_FOUND = select(
    _TEAMS,
    tables.organisations.c.zdr.label("organisation_zdr"),
    tables.organisations.c.no_training.label("organisation_no_training"),
).join(tables.organisations, tables.organisations.c.id == _TEAMS.c.organisation_id)


async def create(
    office: Office,
    actor: Actor,
    name: str,
    *,
    organisation: str | None = None,
    privacy: Privacy = NOTHING_DEMANDED,
    settings: LevelSettings = NO_SETTINGS,
) -> Team:
    """Make a team in an organisation, by its id or name.

    Without `organisation` it is the actor's own, or for who administers the whole installation the one
    that was there first. `privacy` is what the team demands of those who see its requests.

    Raises:
        NotFound: no such organisation, or none at all; code organisation_not_found.
        Forbidden: codes permission_denied, insufficient_scope.
        InvalidRequest: name or settings are unfit; codes invalid_name, invalid_settings.
        Conflict: it is taken in the organisation; code name_taken.
    """
    name = checked_name(name, what="team")
    settings = revisions.checked_settings(settings)
    async with office.act(actor) as act:
        owner = await organisations.own(act.connection, act.actor, organisation)
        roles.require(act.actor, "teams:write", owner.id)
        return await insert_team(act, owner, name, privacy=privacy, settings=settings)


async def insert_team(
    act: Act,
    owner: Organisation,
    name: str,
    *,
    privacy: Privacy = NOTHING_DEMANDED,
    settings: LevelSettings = NO_SETTINGS,
) -> Team:
    """`create`, inside an act that is allowed already."""
    row = Team(
        id=new_id("team"),
        organisation_id=owner.id,
        name=name,
        created_ms=act.now_ms,
        privacy=privacy,
        organisation_privacy=owner.privacy,
        settings=settings,
    )
    await _check_free(act.connection, owner.id, name)
    try:
        await act.connection.execute(
            insert(_TEAMS).values(
                id=row.id,
                organisation_id=owner.id,
                name=name,
                created_ms=row.created_ms,
                zdr=privacy.zdr,
                no_training=privacy.no_training,
                settings=revisions.written(settings),
            )
        )
    except IntegrityError as fault:  # on PostgreSQL somebody can come between
        raise _taken(name) from fault
    act.record("team.create", "team", row.id, organisation_id=owner.id, after=_audited(row))
    return row


async def get(office: Office, actor: Actor, ref: str) -> Team:
    """A team by its id or name; raises as `find`.

    Raises:
        Forbidden: the actor may not read it; codes permission_denied, insufficient_scope.
    """
    async with office.look(actor) as look:
        team = await find(look.connection, look.actor, ref)
        roles.require(look.actor, "teams:read", team.organisation_id, team.id)
        return team


async def list_page(
    office: Office,
    actor: Actor,
    *,
    organisation: str | None = None,
    limit: int = pages.DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Team]:
    """The teams that the actor may see, oldest first; of one organisation, if its id or name is given.

    Raises:
        NotFound: no such organisation; code organisation_not_found.
        InvalidRequest: codes invalid_limit, invalid_cursor.
        Forbidden: codes permission_denied, insufficient_scope.
    """
    async with office.look(actor) as look:
        where = look.actor.organisation_id
        if organisation is not None:
            where = (await organisations.find(look.connection, look.actor, organisation)).id
        seen = roles.teams_with(look.actor, "teams:read", where)
        query = _FOUND
        if where is not None:
            query = query.where(_TEAMS.c.organisation_id == where)
        if seen is not None:
            query = query.where(_TEAMS.c.id.in_(seen))
        return await pages.read_page(
            look.connection, query, _ORDER, _team, limit=limit, cursor=cursor
        )


async def list_all(office: Office, actor: Actor, *, organisation: str | None = None) -> list[Team]:
    """All of `list_page`."""
    return await pages.every(
        lambda cursor: list_page(
            office, actor, organisation=organisation, limit=pages.MAX_LIMIT, cursor=cursor
        )
    )


async def update(
    office: Office,
    actor: Actor,
    ref: str,
    *,
    name: str | None = None,
    privacy: Change | None = None,
    settings: LevelSettings | None = None,
    disabled: bool | None = None,
    revision: int | None = None,
) -> Team:
    """Change a team, by its id or name; what is None stays as it is.

    Name and `disabled` need `teams:write`, privacy and settings `settings:write`, in the team. A change
    that changes nothing leaves revision and audit log alone: a team that is disabled already keeps the
    time at which it was.

    Raises:
        NotFound: as `find`.
        Forbidden: codes permission_denied, insufficient_scope.
        RevisionConflict: `revision` is not the current one; code revision_conflict.
        InvalidRequest: unfit name or settings (invalid_name, invalid_settings), or as `find`.
        Conflict: the name is taken; code name_taken.
    """
    if settings is not None:
        settings = revisions.checked_settings(settings)
    async with office.act(actor) as act:
        old = await find(act.connection, act.actor, ref, for_update=True)
        settled = privacy is not None or settings is not None
        if settled:
            roles.require(act.actor, "settings:write", old.organisation_id, old.id)
        if name is not None or disabled is not None or not settled:
            roles.require(act.actor, "teams:write", old.organisation_id, old.id)
        values: dict[str, Any] = {}
        if name is not None and (name := checked_name(name, what="team")) != old.name:
            await _check_free(act.connection, old.organisation_id, name)
            values["name"] = name
        if privacy is not None:
            values |= privacy.differing(old.privacy)
        if settings is not None and settings != old.settings:
            values["settings"] = revisions.written(settings)
        if disabled is not None and disabled != (old.disabled_ms is not None):
            values["disabled_ms"] = act.now_ms if disabled else None
        revisions.check_revision("team", current=old.revision, revision=revision)
        if not values:
            return old
        try:
            await revisions.raise_revision(
                act.connection,
                _TEAMS,
                old.id,
                values,
                what="team",
                current=old.revision,
                revision=revision,
            )
        except IntegrityError as fault:
            raise _taken(name or old.name) from fault
        new = await find(act.connection, act.actor, old.id)
        act.record(
            _action(old, new, values),
            "team",
            old.id,
            organisation_id=old.organisation_id,
            before=_audited(old),
            after=_audited(new),
        )
        act.changed("team", old.id)
    return new


async def rename(
    office: Office, actor: Actor, ref: str, name: str, *, revision: int | None = None
) -> Team:
    """Give a team another name; as `update`."""
    return await update(office, actor, ref, name=name, revision=revision)


async def disable(office: Office, actor: Actor, ref: str, *, revision: int | None = None) -> Team:
    """Refuse the team's keys from now on; as `update`."""
    return await update(office, actor, ref, disabled=True, revision=revision)


async def enable(office: Office, actor: Actor, ref: str, *, revision: int | None = None) -> Team:
    """Take the team's keys again; as `update`."""
    return await update(office, actor, ref, disabled=False, revision=revision)


async def set_privacy(
    office: Office,
    actor: Actor,
    ref: str,
    change: Change,
    *,
    revision: int | None = None,
) -> Team:
    """Change what a team demands of those who see its requests; as `update`.

    What its organisation demands stays in force.

    Raises:
        InvalidRequest: nothing to set; code nothing_to_set.
    """
    change.values()
    return await update(office, actor, ref, privacy=change, revision=revision)


async def find(
    connection: AsyncConnection, actor: Actor, ref: str, *, for_update: bool = False
) -> Team:
    """A team among those that the actor can know of, by its id, or by its name where that says which.

    Rights are the caller's to check. `for_update`: until the end of the transaction nobody else can
    change it.

    Raises:
        NotFound: no such team; code team_not_found.
        InvalidRequest: several teams of that name; code team_ambiguous.
    """
    query = _FOUND.where(or_(_TEAMS.c.id == ref, _TEAMS.c.name == ref))
    if not actor.everywhere:
        query = query.where(_TEAMS.c.organisation_id == actor.organisation_id)
    if for_update:
        query = query.with_for_update(of=_TEAMS)
    rows = (await connection.execute(query)).all() if can_be_meant(ref) else []
    # An id decides, even if somebody named another team after it.
    rows = [row for row in rows if row.id == ref] or rows
    if not rows:
        raise NotFound(
            f"no team {ref!r}; `tidegate teams list` shows them, `tidegate teams create` makes one",
            code="team_not_found",
            param="team",
        )
    if len(rows) > 1:
        raise InvalidRequest(
            f"several organisations have a team {ref!r}; give the team's id",
            code="team_ambiguous",
            param="team",
        )
    return _team(rows[0])


async def _check_free(connection: AsyncConnection, organisation_id: str, name: str) -> None:
    taken = select(_TEAMS.c.id).where(
        _TEAMS.c.organisation_id == organisation_id, _TEAMS.c.name == name
    )
    if await connection.scalar(taken) is not None:
        raise _taken(name)


def _taken(name: str) -> Conflict:
    return Conflict(
        f"there is a team named {name!r}; choose another name", code="name_taken", param="name"
    )


def _action(old: Team, new: Team, values: dict[str, Any]) -> str:
    if set(values) != {"disabled_ms"}:
        return "team.update"
    return "team.enable" if new.disabled_ms is None and old.disabled_ms else "team.disable"


def _audited(row: Team) -> dict[str, Any]:
    return {
        "name": row.name,
        "disabled_ms": row.disabled_ms,
        **revisions.flat(row.settings, row.privacy),
    }


def _team(row: Row[Any]) -> Team:
    return Team(
        id=row.id,
        organisation_id=row.organisation_id,
        name=row.name,
        created_ms=row.created_ms,
        disabled_ms=row.disabled_ms,
        privacy=privacy_of(row),
        organisation_privacy=privacy_of(row, "organisation_"),
        settings=revisions.settings_of(row),
        revision=row.revision,
    )
