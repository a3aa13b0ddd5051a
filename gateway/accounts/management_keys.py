"""Management keys: they administer, and answer no requests to models.

One belongs to an organisation, or to the whole installation (made at the command line only). It has the
roles of a member, as they are when it is used, cut down to its scopes; or it is nobody's, and has its
scopes alone. Nobody makes one that may do more than he may.
"""

from typing import Any

import msgspec
from sqlalchemy import insert, select

from gateway.accounts import installation, member_rows, organisations, pages, revisions, roles
from gateway.accounts.ids import new_id
from gateway.accounts.key_secrets import (
    DEFAULT_OVERLAP,
    check_expiry,
    check_overlap,
    maker,
    rotation,
    shown,
)
from gateway.accounts.management_key_rows import KEYS, audited, find, key_of
from gateway.accounts.names import checked_name
from gateway.accounts.office import Act, Office
from gateway.accounts.roles import Actor
from gateway.accounts.rows import ManagementKey, Page
from gateway.auth.keys import MANAGEMENT_PREFIX, key_hash, new_key
from gateway.errors import Conflict, Forbidden, InvalidRequest, NotFound

_ORDER = (KEYS.c.created_ms, KEYS.c.id)


async def create(
    office: Office,
    actor: Actor,
    *,
    name: str,
    scopes: frozenset[str],
    organisation: str | None = None,
    member: str | None = None,
    expires_ms: int | None = None,
) -> tuple[ManagementKey, str]:
    """Make a management key.

    Args:
        office: where it is done.
        actor: who does it: with `management_keys:write` in the organisation.
        name: what it is for.
        scopes: of `roles.SCOPES`; what it may do as far as its member's roles allow.
        organisation: id or name; None, for who administers the whole installation: all of it.
        member: id or email of the member whose roles it has; None: nobody's.
        expires_ms: epoch milliseconds after which it is refused.

    Returns:
        Its row, and the key in plain text, which nobody can ever read again.

    Raises:
        NotFound: codes organisation_not_found, member_not_found.
        Forbidden: codes permission_denied, insufficient_scope, scope_not_covered, role_not_covered,
            expiry_not_covered.
        InvalidRequest: codes invalid_name, invalid_scopes, invalid_expiry.
        Conflict: the member is disabled; code member_disabled.
    """
    name = checked_name(name, what="management key")
    _check_scopes(scopes)
    async with office.act(actor) as act:
        check_expiry(expires_ms, act.now_ms)
        await installation.claim(act.connection, office.pepper, now_ms=act.now_ms)
        where = act.actor.organisation_id
        if organisation is not None:
            where = (await organisations.find(act.connection, act.actor, organisation)).id
        _require(act.actor, "management_keys:write", where)
        _require_scopes(act.actor, scopes, where)
        _require_expiry(act.actor, expires_ms)
        member_id = None if member is None else await _owner(act, where, member)
        plaintext = new_key(MANAGEMENT_PREFIX)
        prefix, last4 = shown(plaintext, MANAGEMENT_PREFIX)
        row = ManagementKey(
            id=new_id("mkey"),
            organisation_id=where,
            member_id=member_id,
            name=name,
            prefix=prefix,
            last4=last4,
            scopes=tuple(sorted(scopes)),
            created_ms=act.now_ms,
            created_by=maker(act.actor),
            expires_ms=expires_ms,
            disabled_ms=None,
        )
        await act.connection.execute(
            insert(KEYS).values(
                id=row.id,
                organisation_id=where,
                member_id=member_id,
                name=name,
                key_hash=key_hash(office.pepper, plaintext.encode()),
                prefix=row.prefix,
                last4=row.last4,
                scopes=msgspec.json.encode(row.scopes).decode(),
                created_ms=row.created_ms,
                created_by=row.created_by,
                expires_ms=expires_ms,
            )
        )
        act.record(
            "management_key.create",
            "management_key",
            row.id,
            organisation_id=where,
            after=audited(row),
        )
    return row, plaintext


async def get(office: Office, actor: Actor, key_id: str) -> ManagementKey:
    """A management key by its id.

    Raises:
        NotFound: no such key; code management_key_not_found.
        Forbidden: codes permission_denied, insufficient_scope.
    """
    async with office.look(actor) as look:
        row = await find(look.connection, look.actor, key_id)
        _require(look.actor, "management_keys:read", row.organisation_id)
        return row


async def own(office: Office, actor: Actor) -> ManagementKey:
    """The management key that asks.

    Raises:
        NotFound: none asks; code management_key_not_found.
    """
    async with office.look(actor) as look:
        return await find(look.connection, look.actor, actor.id)


async def list_page(
    office: Office,
    actor: Actor,
    *,
    organisation: str | None = None,
    limit: int = pages.DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[ManagementKey]:
    """The management keys of an organisation, oldest first; all, for who administers the installation.

    Raises:
        NotFound: no such organisation; code organisation_not_found.
        InvalidRequest: codes invalid_limit, invalid_cursor.
        Forbidden: codes permission_denied, insufficient_scope.
    """
    async with office.look(actor) as look:
        where = look.actor.organisation_id
        if organisation is not None:
            where = (await organisations.find(look.connection, look.actor, organisation)).id
        _require(look.actor, "management_keys:read", where)
        query = select(KEYS)
        if where is not None:
            query = query.where(KEYS.c.organisation_id == where)
        return await pages.read_page(
            look.connection, query, _ORDER, key_of, limit=limit, cursor=cursor
        )


async def list_all(
    office: Office, actor: Actor, *, organisation: str | None = None
) -> list[ManagementKey]:
    """All of `list_page`."""
    return await pages.every(
        lambda cursor: list_page(
            office, actor, organisation=organisation, limit=pages.MAX_LIMIT, cursor=cursor
        )
    )


async def update(
    office: Office,
    actor: Actor,
    key_id: str,
    *,
    name: str | None = None,
    disabled: bool | None = None,
    revision: int | None = None,
) -> ManagementKey:
    """Rename a management key, refuse it, or take it again; what is None stays as it is.

    A change that changes nothing leaves revision and audit log alone.

    Raises:
        NotFound, Forbidden: as `get`; to take one again, whoever does it must have its scopes.
        RevisionConflict: `revision` is not the current one; code revision_conflict.
        InvalidRequest: code invalid_name.
    """
    name = None if name is None else checked_name(name, what="management key")
    async with office.act(actor) as act:
        old = await find(act.connection, act.actor, key_id, for_update=True)
        _require(act.actor, "management_keys:write", old.organisation_id)
        if disabled is False:
            await _require_as_if_made(act, old)
        values: dict[str, Any] = {}
        if name is not None and name != old.name:
            values["name"] = name
        if disabled is not None and disabled != (old.disabled_ms is not None):
            values["disabled_ms"] = act.now_ms if disabled else None
        revisions.check_revision("management key", current=old.revision, revision=revision)
        if not values:
            return old
        action = "management_key.update"
        if "disabled_ms" in values and len(values) == 1:
            action = "management_key.disable" if disabled else "management_key.enable"
        return await _write(act, old, values, action=action, revision=revision)


async def disable(
    office: Office, actor: Actor, key_id: str, *, revision: int | None = None
) -> ManagementKey:
    """Refuse a management key from now on; as `update`."""
    return await update(office, actor, key_id, disabled=True, revision=revision)


async def rotate(
    office: Office,
    actor: Actor,
    key_id: str,
    *,
    overlap: int = DEFAULT_OVERLAP,
    revision: int | None = None,
) -> tuple[ManagementKey, str]:
    """Give a management key another secret, as `gateway.accounts.keys.rotate` does.

    Whoever does it must have all that the key may do: he gets to see it. A key may rotate itself, but not
    by a secret that ends earlier than the key.

    Raises:
        NotFound, Forbidden, RevisionConflict: as `update`.
        InvalidRequest: code invalid_overlap.
        Conflict: it is disabled or has expired; code key_ended.
    """
    check_overlap(overlap)
    async with office.act(actor) as act:
        old = await find(act.connection, act.actor, key_id, for_update=True)
        if act.actor.id == old.id:
            # The secret before a rotation, which may be why there was one, does not get a newer one.
            _require_expiry(act.actor, old.expires_ms)
        else:
            _require(act.actor, "management_keys:write", old.organisation_id)
            await _require_as_if_made(act, old)
        revisions.check_revision("management key", current=old.revision, revision=revision)
        values, plaintext = rotation(
            KEYS,
            old,
            pepper=office.pepper,
            prefix=MANAGEMENT_PREFIX,
            overlap=overlap,
            now_ms=act.now_ms,
        )
        new = await _write(act, old, values, action="management_key.rotate", revision=revision)
    return new, plaintext


def _check_scopes(scopes: frozenset[str]) -> None:
    if unknown := sorted(scopes - roles.SCOPES):
        raise InvalidRequest(
            f"unknown scopes {', '.join(unknown)}; there are {', '.join(sorted(roles.SCOPES))}",
            code="invalid_scopes",
            param="scopes",
        )
    if not scopes:
        raise InvalidRequest(
            "a management key without scopes can do nothing: name some",
            code="invalid_scopes",
            param="scopes",
        )


def _require(actor: Actor, scope: str, organisation_id: str | None) -> None:
    if organisation_id is None and not actor.everywhere:
        raise NotFound("there is no such management key here", code="management_key_not_found")
    roles.require(actor, scope, organisation_id)


def _require_scopes(actor: Actor, scopes: frozenset[str], organisation_id: str | None) -> None:
    lacking = sorted(roles.widened(scopes) & roles.SCOPES - roles.allowed(actor, organisation_id))
    if lacking:
        raise Forbidden(
            f"a key can be given only what its maker may do itself: this lacks {', '.join(lacking)}",
            code="scope_not_covered",
            param="scopes",
        )


def _require_expiry(actor: Actor, expires_ms: int | None) -> None:
    """A key that leaked must not outlive its own end in one that it made."""
    ends = actor.expires_ms
    if ends is not None and (expires_ms is None or expires_ms > ends):
        raise Forbidden(
            "a management key can make only such as end when it does, or before: give an earlier expiry",
            code="expiry_not_covered",
            param="expires",
        )


async def _require_as_if_made(act: Act, row: ManagementKey) -> None:
    _require_scopes(act.actor, frozenset(row.scopes), row.organisation_id)
    _require_expiry(act.actor, row.expires_ms)
    if row.member_id is not None:
        await _owner(act, row.organisation_id, row.member_id)


async def _owner(act: Act, organisation_id: str | None, member: str) -> str:
    if organisation_id is None:
        raise InvalidRequest(
            "a key for the whole installation is nobody's: name an organisation, or no member",
            code="invalid_member",
            param="member",
        )
    actor = roles.within(act.actor, organisation_id)
    found = await member_rows.find(act.connection, actor, member)
    if found.disabled_ms is not None:
        raise Conflict(
            f"{found.name!r} is disabled: its keys would be refused",
            code="member_disabled",
            param="member",
        )
    if found.id != act.actor.member_id:
        roles.require_cover(act.actor, found.role, organisation_id)
    return found.id


async def _write(
    act: Act, old: ManagementKey, values: dict[str, Any], *, action: str, revision: int | None
) -> ManagementKey:
    await revisions.raise_revision(
        act.connection,
        KEYS,
        old.id,
        values,
        what="management key",
        current=old.revision,
        revision=revision,
    )
    new = await find(act.connection, act.actor, old.id)
    act.record(
        action,
        "management_key",
        old.id,
        organisation_id=old.organisation_id,
        before=audited(old),
        after=audited(new),
    )
    return new
