"""Members of an organisation: people, and service accounts. Their roles in teams: `memberships`.

Nobody gives or takes a role whose rights he does not have himself; only owners make and unmake owners; an
organisation that has an owner keeps one. Whoever is disabled has no rights any more, nor do its keys.
"""

from typing import Any, Literal

from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts import organisations, pages, revisions, roles, teams
from gateway.accounts.ids import new_id
from gateway.accounts.member_rows import find, member_of, with_teams
from gateway.accounts.names import checked_email, checked_name
from gateway.accounts.office import Act, Office
from gateway.accounts.roles import Actor
from gateway.accounts.rows import Member, Page
from gateway.errors import Conflict, InvalidRequest
from gateway.policies.levels import NO_SETTINGS, LevelSettings
from gateway.store.tables import accounts as tables

Kind = Literal["person", "service"]
KINDS = ("person", "service")

_MEMBERS = tables.members
_ORDER = (_MEMBERS.c.created_ms, _MEMBERS.c.id)


async def create(
    office: Office,
    actor: Actor,
    *,
    name: str,
    role: str,
    kind: Kind = "person",
    email: str | None = None,
    organisation: str | None = None,
    settings: LevelSettings = NO_SETTINGS,
) -> Member:
    """Take somebody into an organisation, or make it a service account.

    Without `organisation` (id or name) it is the actor's own, or for who administers the whole
    installation the one that was there first.

    Raises:
        NotFound: no such organisation; code organisation_not_found.
        Forbidden: codes permission_denied, insufficient_scope, role_not_covered.
        InvalidRequest: unfit name, email, role, kind or settings; codes invalid_name, invalid_email,
            invalid_role, invalid_kind, invalid_settings.
        Conflict: somebody there has this email; code email_taken.
    """
    name = checked_name(name, what="member")
    roles.checked_role(role)
    if kind not in KINDS or (kind == "service" and email is not None):
        raise InvalidRequest(
            "a member is a person, who can have an email address, or a service account, which has none",
            code="invalid_kind",
            param="kind",
        )
    email = None if email is None else checked_email(email)
    settings = revisions.checked_settings(settings)
    async with office.act(actor) as act:
        owner = await organisations.own(act.connection, act.actor, organisation)
        roles.require(act.actor, "members:write", owner.id)
        roles.require_cover(act.actor, role, owner.id)
        return await insert_member(
            act, owner.id, name=name, role=role, kind=kind, email=email, settings=settings
        )


async def insert_member(
    act: Act,
    organisation_id: str,
    *,
    name: str,
    role: str,
    kind: Kind = "person",
    email: str | None = None,
    settings: LevelSettings = NO_SETTINGS,
) -> Member:
    """`create`, inside an act that is allowed already."""
    row = Member(
        id=new_id("mem"),
        organisation_id=organisation_id,
        kind=kind,
        name=name,
        email=email,
        role=role,
        created_ms=act.now_ms,
        settings=settings,
    )
    if email is not None:
        await _check_free(act.connection, organisation_id, email)
    try:
        await act.connection.execute(
            insert(_MEMBERS).values(
                id=row.id,
                organisation_id=organisation_id,
                kind=kind,
                name=name,
                email=email,
                role=role,
                created_ms=row.created_ms,
                settings=revisions.written(settings),
            )
        )
    except IntegrityError as fault:  # on PostgreSQL somebody can come between
        raise _taken(email) from fault
    act.record(
        "member.create", "member", row.id, organisation_id=organisation_id, after=_audited(row)
    )
    return row


async def get(office: Office, actor: Actor, ref: str) -> Member:
    """A member by its id or email, with its teams.

    Everybody may read itself.

    Raises:
        NotFound, InvalidRequest: as `find`.
        Forbidden: codes permission_denied, insufficient_scope.
    """
    async with office.look(actor) as look:
        member = await find(look.connection, look.actor, ref)
        if member.id != look.actor.member_id:
            roles.require(look.actor, "members:read", member.organisation_id)
        return member


async def list_page(
    office: Office,
    actor: Actor,
    *,
    organisation: str | None = None,
    team: str | None = None,
    limit: int = pages.DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Member]:
    """The members that the actor may see, oldest first; of an organisation or a team, if it is given.

    Raises:
        NotFound: no such organisation or team; codes organisation_not_found, team_not_found.
        InvalidRequest: codes invalid_limit, invalid_cursor, team_ambiguous.
        Forbidden: codes permission_denied, insufficient_scope.
    """
    async with office.look(actor) as look:
        query = select(_MEMBERS)
        where = look.actor.organisation_id
        if organisation is not None:
            where = (await organisations.find(look.connection, look.actor, organisation)).id
        if where is not None:
            query = query.where(_MEMBERS.c.organisation_id == where)
        if team is None:
            roles.require(look.actor, "members:read", where)
        else:
            asked = await teams.find(look.connection, look.actor, team)
            roles.require(look.actor, "members:read", asked.organisation_id, asked.id)
            query = query.where(
                _MEMBERS.c.id.in_(
                    select(tables.team_members.c.member_id).where(
                        tables.team_members.c.team_id == asked.id
                    )
                )
            )
        page = await pages.read_page(
            look.connection, query, _ORDER, member_of, limit=limit, cursor=cursor
        )
        return Page(tuple(await with_teams(look.connection, page.items)), page.next_cursor)


async def list_all(
    office: Office, actor: Actor, *, organisation: str | None = None, team: str | None = None
) -> list[Member]:
    """All of `list_page`."""
    return await pages.every(
        lambda cursor: list_page(
            office,
            actor,
            organisation=organisation,
            team=team,
            limit=pages.MAX_LIMIT,
            cursor=cursor,
        )
    )


async def update(
    office: Office,
    actor: Actor,
    ref: str,
    *,
    name: str | None = None,
    email: str | None = None,
    role: str | None = None,
    settings: LevelSettings | None = None,
    disabled: bool | None = None,
    revision: int | None = None,
) -> Member:
    """Change a member, by its id or email; what is None stays as it is.

    Settings need `settings:write`, all else `members:write` and all rights of whoever is changed. A
    change that changes nothing leaves revision and audit log alone.

    Raises:
        NotFound: as `find`.
        Forbidden: codes permission_denied, insufficient_scope, role_not_covered.
        RevisionConflict: `revision` is not the current one; code revision_conflict.
        InvalidRequest: codes invalid_name, invalid_email, invalid_role, invalid_kind,
            invalid_settings.
        Conflict: another has this email (email_taken), or the organisation would be left without an
            owner (last_owner).
    """
    name = None if name is None else checked_name(name, what="member")
    email = None if email is None else checked_email(email)
    if role is not None:
        roles.checked_role(role)
    if settings is not None:
        settings = revisions.checked_settings(settings)
    async with office.act(actor) as act:
        old = await find(act.connection, act.actor, ref)
        # Whoever changes roles of an organisation comes one at a time: two owners cannot unmake each other.
        await organisations.find(act.connection, act.actor, old.organisation_id, for_update=True)
        old = await find(act.connection, act.actor, old.id, for_update=True)
        if settings is not None:
            roles.require(act.actor, "settings:write", old.organisation_id)
        if settings is None or any(one is not None for one in (name, email, role, disabled)):
            roles.require(act.actor, "members:write", old.organisation_id)
            roles.require_cover(act.actor, old.role, old.organisation_id)
        values: dict[str, Any] = {}
        if name is not None and name != old.name:
            values["name"] = name
        if email is not None and email != old.email:
            if old.kind == "service":
                raise InvalidRequest(
                    "a service account has no email address", code="invalid_kind", param="email"
                )
            await _check_free(act.connection, old.organisation_id, email)
            values["email"] = email
        if role is not None and role != old.role:
            roles.require_cover(act.actor, role, old.organisation_id)
            values["role"] = role
        if settings is not None and settings != old.settings:
            values["settings"] = revisions.written(settings)
        if disabled is not None and disabled != (old.disabled_ms is not None):
            values["disabled_ms"] = act.now_ms if disabled else None
        revisions.check_revision("member", current=old.revision, revision=revision)
        if not values:
            return old
        if "role" in values or values.get("disabled_ms") is not None:
            await _check_owner_left(act.connection, old)
        try:
            await revisions.raise_revision(
                act.connection,
                _MEMBERS,
                old.id,
                values,
                what="member",
                current=old.revision,
                revision=revision,
            )
        except IntegrityError as fault:
            raise _taken(email) from fault
        new = await find(act.connection, act.actor, old.id)
        act.record(
            _action(new, values),
            "member",
            old.id,
            organisation_id=old.organisation_id,
            before=_audited(old),
            after=_audited(new),
        )
        act.changed("member", old.id)
    return new


async def set_role(
    office: Office, actor: Actor, ref: str, role: str, *, revision: int | None = None
) -> Member:
    """Give a member another role in its organisation; as `update`."""
    return await update(office, actor, ref, role=role, revision=revision)


async def disable(office: Office, actor: Actor, ref: str, *, revision: int | None = None) -> Member:
    """End a member's rights, and refuse its keys and management keys; as `update`."""
    return await update(office, actor, ref, disabled=True, revision=revision)


async def enable(office: Office, actor: Actor, ref: str, *, revision: int | None = None) -> Member:
    """Give a disabled member back what it had; as `update`."""
    return await update(office, actor, ref, disabled=False, revision=revision)


async def _check_owner_left(connection: AsyncConnection, leaving: Member) -> None:
    if leaving.role != "owner" or leaving.disabled_ms is not None:
        return
    others = select(func.count()).where(
        _MEMBERS.c.organisation_id == leaving.organisation_id,
        _MEMBERS.c.role == "owner",
        _MEMBERS.c.disabled_ms.is_(None),
        _MEMBERS.c.id != leaving.id,
    )
    if not await connection.scalar(others):
        raise Conflict(
            "this is the organisation's last owner; make another member an owner first",
            code="last_owner",
        )


async def _check_free(connection: AsyncConnection, organisation_id: str, email: str) -> None:
    taken = select(_MEMBERS.c.id).where(
        _MEMBERS.c.organisation_id == organisation_id, _MEMBERS.c.email == email
    )
    if await connection.scalar(taken) is not None:
        raise _taken(email)


def _taken(email: str | None) -> Conflict:
    return Conflict(
        f"a member of this organisation has the email address {email!r} already",
        code="email_taken",
        param="email",
    )


def _action(new: Member, values: dict[str, Any]) -> str:
    if set(values) != {"disabled_ms"}:
        return "member.update"
    return "member.enable" if new.disabled_ms is None else "member.disable"


def _audited(row: Member) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "name": row.name,
        "email": row.email,
        "role": row.role,
        "disabled_ms": row.disabled_ms,
        **revisions.flat(row.settings),
    }
