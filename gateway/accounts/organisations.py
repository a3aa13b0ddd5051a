"""Organisations: the owners of teams. Only who administers the installation sees more than its own."""

from typing import Any

from sqlalchemy import insert, or_, select
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts import pages, revisions, roles
from gateway.accounts.ids import new_id
from gateway.accounts.names import can_be_meant, checked_name
from gateway.accounts.office import Act, Office
from gateway.accounts.privacy import NOTHING_DEMANDED, Change, Privacy, privacy_of
from gateway.accounts.roles import Actor
from gateway.accounts.rows import Organisation, Page
from gateway.errors import Conflict, Forbidden, NotFound
from gateway.policies.levels import NO_SETTINGS, LevelSettings
from gateway.store.tables.accounts import organisations

_ORDER = (organisations.c.created_ms, organisations.c.id)


async def create(
    office: Office,
    actor: Actor,
    name: str,
    *,
    privacy: Privacy = NOTHING_DEMANDED,
    settings: LevelSettings = NO_SETTINGS,
) -> Organisation:
    """Make an organisation: only who administers the whole installation can.

    Raises:
        Forbidden: the actor belongs to an organisation, or may not; codes permission_denied,
            insufficient_scope.
        InvalidRequest: name or settings are unfit; codes invalid_name, invalid_settings.
        Conflict: it is taken; code name_taken.
    """
    name = checked_name(name, what="organisation")
    settings = revisions.checked_settings(settings)
    async with office.act(actor) as act:
        if not act.actor.everywhere:
            raise Forbidden("organisations are made by who administers the whole installation")
        roles.require(act.actor, "organisations:write", None)
        return await insert_organisation(act, name, privacy=privacy, settings=settings)


async def insert_organisation(
    act: Act,
    name: str,
    *,
    privacy: Privacy = NOTHING_DEMANDED,
    settings: LevelSettings = NO_SETTINGS,
) -> Organisation:
    """`create`, inside an act that is allowed already."""
    row = Organisation(
        id=new_id("org"), name=name, created_ms=act.now_ms, privacy=privacy, settings=settings
    )
    await _check_free(act.connection, name)
    try:
        await act.connection.execute(
            insert(organisations).values(
                id=row.id,
                name=name,
                created_ms=row.created_ms,
                zdr=privacy.zdr,
                no_training=privacy.no_training,
                settings=revisions.written(settings),
            )
        )
    except IntegrityError as fault:  # on PostgreSQL somebody can come between
        raise _taken(name) from fault
    act.record(
        "organisation.create",
        "organisation",
        row.id,
        organisation_id=row.id,
        after=_audited(row),
    )
    return row


async def get(office: Office, actor: Actor, ref: str) -> Organisation:
    """An organisation by its id or name.

    Raises:
        NotFound: no such organisation, or not the actor's; code organisation_not_found.
        Forbidden: it may not read it; codes permission_denied, insufficient_scope.
    """
    async with office.look(actor) as look:
        row = await find(look.connection, look.actor, ref)
        roles.require(look.actor, "organisations:read", row.id)
        return row


async def list_page(
    office: Office,
    actor: Actor,
    *,
    limit: int = pages.DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Organisation]:
    """The organisations that the actor may see, oldest first: all, or its own.

    Raises:
        InvalidRequest: codes invalid_limit, invalid_cursor.
        Forbidden: codes permission_denied, insufficient_scope.
    """
    async with office.look(actor) as look:
        roles.require(look.actor, "organisations:read", look.actor.organisation_id)
        query = select(organisations)
        if not look.actor.everywhere:
            query = query.where(organisations.c.id == look.actor.organisation_id)
        return await pages.read_page(
            look.connection, query, _ORDER, _organisation, limit=limit, cursor=cursor
        )


async def list_all(office: Office, actor: Actor) -> list[Organisation]:
    """All of `list_page`."""
    return await pages.every(
        lambda cursor: list_page(office, actor, limit=pages.MAX_LIMIT, cursor=cursor)
    )


async def update(
    office: Office,
    actor: Actor,
    ref: str,
    *,
    name: str | None = None,
    privacy: Change | None = None,
    settings: LevelSettings | None = None,
    revision: int | None = None,
) -> Organisation:
    """Change an organisation, by its id or name; what is None stays as it is.

    A name is for its owners to change, privacy and settings for who may write settings. A change that
    changes nothing leaves revision and audit log alone.

    Raises:
        NotFound: as `get`.
        Forbidden: codes permission_denied, insufficient_scope.
        RevisionConflict: `revision` is not the current one; code revision_conflict.
        InvalidRequest: unfit name or settings; codes invalid_name, invalid_settings.
        Conflict: the name is taken; code name_taken.
    """
    if settings is not None:
        settings = revisions.checked_settings(settings)
    async with office.act(actor) as act:
        old = await find(act.connection, act.actor, ref, for_update=True)
        if name is not None:
            roles.require(act.actor, "organisations:write", old.id)
        if privacy is not None or settings is not None or name is None:
            roles.require(act.actor, "settings:write", old.id)
        values: dict[str, Any] = {}
        if name is not None and (name := checked_name(name, what="organisation")) != old.name:
            await _check_free(act.connection, name)
            values["name"] = name
        if privacy is not None:
            values |= privacy.differing(old.privacy)
        if settings is not None and settings != old.settings:
            values["settings"] = revisions.written(settings)
        revisions.check_revision("organisation", current=old.revision, revision=revision)
        if not values:
            return old
        try:
            await revisions.raise_revision(
                act.connection,
                organisations,
                old.id,
                values,
                what="organisation",
                current=old.revision,
                revision=revision,
            )
        except IntegrityError as fault:
            raise _taken(name or old.name) from fault
        new = await find(act.connection, act.actor, old.id)
        act.record(
            "organisation.update",
            "organisation",
            old.id,
            organisation_id=old.id,
            before=_audited(old),
            after=_audited(new),
        )
        act.changed("organisation", old.id)
    return new


async def rename(
    office: Office, actor: Actor, ref: str, name: str, *, revision: int | None = None
) -> Organisation:
    """Give an organisation another name; as `update`."""
    return await update(office, actor, ref, name=name, revision=revision)


async def set_privacy(
    office: Office,
    actor: Actor,
    ref: str,
    change: Change,
    *,
    revision: int | None = None,
) -> Organisation:
    """Change what an organisation demands of those who see its requests; as `update`.

    Raises:
        InvalidRequest: nothing to set; code nothing_to_set.
    """
    change.values()
    return await update(office, actor, ref, privacy=change, revision=revision)


async def find(
    connection: AsyncConnection, actor: Actor, ref: str, *, for_update: bool = False
) -> Organisation:
    """An organisation by its id or name, among those that the actor can know of.

    Rights are the caller's to check. `for_update`: until the end of the transaction nobody else can
    change it.

    Raises:
        NotFound: none; code organisation_not_found.
    """
    query = select(organisations).where(or_(organisations.c.id == ref, organisations.c.name == ref))
    if not actor.everywhere:
        query = query.where(organisations.c.id == actor.organisation_id)
    if for_update:
        query = query.with_for_update()
    rows = (await connection.execute(query)).all() if can_be_meant(ref) else []
    # An id decides, even if somebody named another organisation after it.
    rows = [row for row in rows if row.id == ref] or rows
    if not rows:
        raise NotFound(
            f"no organisation {ref!r}; `tidegate organisations list` shows them",
            code="organisation_not_found",
            param="organisation",
        )
    return _organisation(rows[0])


async def own(connection: AsyncConnection, actor: Actor, ref: str | None) -> Organisation:
    """The organisation `ref`; where that is None, the actor's own, or else the one that was there first.

    Raises:
        NotFound: none; code organisation_not_found.
    """
    if ref is None:
        ref = actor.organisation_id
    if ref is None:
        ref = await connection.scalar(select(organisations.c.id).order_by(*_ORDER).limit(1))
    if ref is None:
        raise NotFound(
            "no such organisation; `tidegate migrate` makes the first one",
            code="organisation_not_found",
            param="organisation",
        )
    return await find(connection, actor, ref)


async def _check_free(connection: AsyncConnection, name: str) -> None:
    taken = select(organisations.c.id).where(organisations.c.name == name)
    if await connection.scalar(taken) is not None:
        raise _taken(name)


def _taken(name: str) -> Conflict:
    return Conflict(
        f"there is an organisation named {name!r}; choose another name",
        code="name_taken",
        param="name",
    )


def _audited(row: Organisation) -> dict[str, Any]:
    return {"name": row.name, **revisions.flat(row.settings, row.privacy)}


def _organisation(row: Row[Any]) -> Organisation:
    return Organisation(
        id=row.id,
        name=row.name,
        created_ms=row.created_ms,
        privacy=privacy_of(row),
        settings=revisions.settings_of(row),
        revision=row.revision,
    )
