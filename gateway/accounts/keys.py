"""API keys: made once in plain text, kept as a hash.

Whoever may write a team's keys may do all of this. A plain member of a team makes keys for itself there,
and renames, rotates and disables these; what was set on them it cannot loosen.

A rotation gives a key another secret and nothing else: id, budget, limits and settings stay, and what was
spent goes on counting. The secret before goes on being taken for a while, so that callers can be changed
one after the other; of a key that is rotated again meanwhile, the oldest one ends at once.
"""

from typing import Any

from msgspec import UNSET, UnsetType
from sqlalchemy import insert

from gateway.accounts import (
    budgets,
    installation,
    member_rows,
    organisations,
    pages,
    revisions,
    roles,
    teams,
)
from gateway.accounts.ids import new_id
from gateway.accounts.key_rows import KEYS, LISTED, audited, find, key_of
from gateway.accounts.key_secrets import (
    DEFAULT_OVERLAP,
    check_expiry,
    check_overlap,
    maker,
    rotation,
    shown,
)
from gateway.accounts.names import checked_name
from gateway.accounts.office import Act, Office
from gateway.accounts.privacy import NOTHING_DEMANDED, Change, Privacy
from gateway.accounts.roles import Actor
from gateway.accounts.rows import Key, Page, Team
from gateway.auth.keys import PREFIX, key_hash, new_key
from gateway.errors import Conflict
from gateway.policies.levels import NO_SETTINGS, LevelSettings
from gateway.store.tables import accounts as tables

_ORDER = (KEYS.c.created_ms, KEYS.c.id)


async def create(
    office: Office,
    actor: Actor,
    *,
    team: str,
    name: str = "unnamed",
    expires_ms: int | None = None,
    member: str | None = None,
    budget: budgets.Limit | None = None,
    privacy: Privacy = NOTHING_DEMANDED,
    settings: LevelSettings = NO_SETTINGS,
) -> tuple[Key, str]:
    """Issue a key to a team, with a budget of its own if one is given.

    Args:
        office: where it is done.
        actor: who does it: with `keys:write` in the team, or a member of it for itself.
        team: id or name of the team.
        name: what the key is for.
        expires_ms: epoch milliseconds after which it is refused.
        member: id or email of the member whose key it is; a plain member's are its own without saying so.
        budget: limit on the key's spend.
        privacy: what it demands of those who see its requests.
        settings: its own.

    Returns:
        The key's row, and the key in plain text, which nobody can ever read again.

    Raises:
        NotFound: no such team or member; codes team_not_found, member_not_found.
        Forbidden: codes permission_denied, insufficient_scope.
        InvalidRequest: an unfit name or settings, or an expiry in the past (invalid_expiry).
        Conflict: the team is disabled; code team_disabled.
        ConfigurationError: the pepper is not this installation's.
    """
    name = checked_name(name, what="key")
    settings = revisions.checked_settings(settings)
    async with office.act(actor) as act:
        check_expiry(expires_ms, act.now_ms)
        await installation.claim(act.connection, office.pepper, now_ms=act.now_ms)
        owner = await teams.find(act.connection, act.actor, team)
        whose = await _whose(act, owner, member)
        roles.require_issue(act.actor, owner.organisation_id, owner.id, whose)
        if owner.disabled_ms is not None:
            raise Conflict(
                f"the team {owner.name!r} is disabled: its keys would be refused",
                code="team_disabled",
                param="team",
            )
        row, plaintext = await insert_key(
            act,
            office.pepper,
            owner,
            name=name,
            expires_ms=expires_ms,
            member_id=whose,
            privacy=privacy,
            settings=settings,
        )
        if budget is not None:
            roles.require(act.actor, "budgets:write", owner.organisation_id, owner.id)
            await budgets.put(act, "key", row.id, budget)
    return row, plaintext


async def insert_key(
    act: Act,
    pepper: bytes,
    team: Team,
    *,
    name: str,
    expires_ms: int | None = None,
    member_id: str | None = None,
    privacy: Privacy = NOTHING_DEMANDED,
    settings: LevelSettings = NO_SETTINGS,
) -> tuple[Key, str]:
    """`create`, inside an act that is allowed already."""
    plaintext = new_key()
    prefix, last4 = shown(plaintext, PREFIX)
    row = Key(
        id=new_id("key"),
        name=name,
        team_id=team.id,
        team_name=team.name,
        organisation_id=team.organisation_id,
        prefix=prefix,
        last4=last4,
        created_ms=act.now_ms,
        expires_ms=expires_ms,
        disabled_ms=None,
        member_id=member_id,
        created_by=maker(act.actor),
        privacy=privacy,
        team_privacy=team.privacy,
        organisation_privacy=team.organisation_privacy,
        settings=settings,
    )
    await act.connection.execute(
        insert(KEYS).values(
            id=row.id,
            team_id=row.team_id,
            name=row.name,
            key_hash=key_hash(pepper, plaintext.encode()),
            prefix=row.prefix,
            last4=row.last4,
            created_ms=row.created_ms,
            expires_ms=row.expires_ms,
            member_id=member_id,
            created_by=row.created_by,
            zdr=privacy.zdr,
            no_training=privacy.no_training,
            settings=revisions.written(settings),
        )
    )
    act.record("key.create", "key", row.id, organisation_id=row.organisation_id, after=audited(row))
    act.changed("key", row.id)
    return row, plaintext


async def get(office: Office, actor: Actor, key_id: str) -> Key:
    """A key by its id. Everybody may read its own.

    Raises:
        NotFound: no such key; code key_not_found.
        Forbidden: codes permission_denied, insufficient_scope.
    """
    async with office.look(actor) as look:
        key = await find(look.connection, look.actor, key_id)
        _require_read(look.actor, key)
        return key


async def list_page(
    office: Office,
    actor: Actor,
    *,
    organisation: str | None = None,
    team: str | None = None,
    limit: int = pages.DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Key]:
    """The keys that the actor may see, oldest first; of an organisation or a team, if it is given.

    Raises:
        NotFound: no such organisation or team; codes organisation_not_found, team_not_found.
        InvalidRequest: codes invalid_limit, invalid_cursor, team_ambiguous.
        Forbidden: codes permission_denied, insufficient_scope.
    """
    async with office.look(actor) as look:
        where = look.actor.organisation_id
        if organisation is not None:
            where = (await organisations.find(look.connection, look.actor, organisation)).id
        query = LISTED
        if where is not None:
            query = query.where(tables.teams.c.organisation_id == where)
        if team is not None:
            asked = await teams.find(look.connection, look.actor, team)
            roles.require(look.actor, "keys:read", asked.organisation_id, asked.id)
            query = query.where(KEYS.c.team_id == asked.id)
        elif (seen := roles.teams_with(look.actor, "keys:read", where)) is not None:
            query = query.where(KEYS.c.team_id.in_(seen))
        return await pages.read_page(
            look.connection, query, _ORDER, key_of, limit=limit, cursor=cursor
        )


async def list_all(
    office: Office, actor: Actor, *, organisation: str | None = None, team: str | None = None
) -> list[Key]:
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
    key_id: str,
    *,
    name: str | None = None,
    expires_ms: int | UnsetType | None = UNSET,
    disabled: bool | None = None,
    privacy: Change | None = None,
    settings: LevelSettings | None = None,
    revision: int | None = None,
) -> Key:
    """Change a key; what is None, or of the expiry UNSET, stays as it is.

    Privacy and settings need `settings:write` in the team, expiry and taking it back into use
    `keys:write`. A change that changes nothing leaves revision and audit log alone.

    Raises:
        NotFound: no such key; code key_not_found.
        Forbidden: codes permission_denied, insufficient_scope.
        RevisionConflict: `revision` is not the current one; code revision_conflict.
        InvalidRequest: codes invalid_name, invalid_expiry, invalid_settings.
    """
    name = None if name is None else checked_name(name, what="key")
    if settings is not None:
        settings = revisions.checked_settings(settings)
    async with office.act(actor) as act:
        old = await find(act.connection, act.actor, key_id, for_update=True)
        where = old.organisation_id, old.team_id
        if privacy is not None or settings is not None:
            roles.require(act.actor, "settings:write", *where)
        if expires_ms is not UNSET or disabled is False:
            roles.require(act.actor, "keys:write", *where)
        if name is not None or disabled or (privacy is None and settings is None):
            roles.require_issue(act.actor, *where, old.member_id)
        values: dict[str, Any] = {}
        if name is not None and name != old.name:
            values["name"] = name
        if expires_ms is not UNSET and expires_ms != old.expires_ms:
            check_expiry(expires_ms, act.now_ms)
            values["expires_ms"] = expires_ms
        if disabled is not None and disabled != (old.disabled_ms is not None):
            values["disabled_ms"] = act.now_ms if disabled else None
        if privacy is not None:
            values |= privacy.differing(old.privacy)
        if settings is not None and settings != old.settings:
            values["settings"] = revisions.written(settings)
        revisions.check_revision("key", current=old.revision, revision=revision)
        if not values:
            return old
        action = "key.update"
        if "disabled_ms" in values and len(values) == 1:
            action = "key.disable" if disabled else "key.enable"
        return await _write(act, old, values, action=action, revision=revision)


async def rotate(
    office: Office,
    actor: Actor,
    key_id: str,
    *,
    overlap: int = DEFAULT_OVERLAP,
    revision: int | None = None,
) -> tuple[Key, str]:
    """Give a key another secret; the one before is taken for `overlap` more seconds, 30 days at most.

    Returns:
        The key's row, and the new secret in plain text, which nobody can ever read again.

    Raises:
        NotFound, Forbidden, RevisionConflict: as `update`.
        InvalidRequest: code invalid_overlap.
        Conflict: the key is disabled or has expired, so that a new secret would not do; code key_ended.
    """
    check_overlap(overlap)
    async with office.act(actor) as act:
        old = await find(act.connection, act.actor, key_id, for_update=True)
        roles.require_issue(act.actor, old.organisation_id, old.team_id, old.member_id)
        revisions.check_revision("key", current=old.revision, revision=revision)
        values, plaintext = rotation(
            KEYS, old, pepper=office.pepper, prefix=PREFIX, overlap=overlap, now_ms=act.now_ms
        )
        new = await _write(act, old, values, action="key.rotate", revision=revision)
    return new, plaintext


async def disable(office: Office, actor: Actor, key_id: str, *, revision: int | None = None) -> Key:
    """Refuse a key from now on; as `update`. One that was disabled already keeps its time."""
    return await update(office, actor, key_id, disabled=True, revision=revision)


async def set_privacy(
    office: Office, actor: Actor, key_id: str, change: Change, *, revision: int | None = None
) -> Key:
    """Change what a key demands of those who see its requests; as `update`.

    What its team and organisation demand stays in force.

    Raises:
        InvalidRequest: nothing to set; code nothing_to_set.
    """
    change.values()
    return await update(office, actor, key_id, privacy=change, revision=revision)


async def _write(
    act: Act, old: Key, values: dict[str, Any], *, action: str, revision: int | None
) -> Key:
    await revisions.raise_revision(
        act.connection,
        KEYS,
        old.id,
        {**values, "updated_ms": act.now_ms},
        what="key",
        current=old.revision,
        revision=revision,
    )
    new = await find(act.connection, act.actor, old.id)
    act.record(
        action,
        "key",
        old.id,
        organisation_id=old.organisation_id,
        before=audited(old),
        after=audited(new),
    )
    act.changed("key", old.id)
    return new


async def _whose(act: Act, team: Team, member: str | None) -> str | None:
    """The member whose key it is to be."""
    actor = act.actor
    if member is None:
        plain = "keys:write" not in roles.allowed(actor, team.organisation_id, team.id)
        return actor.member_id if plain else None
    found = await member_rows.find(
        act.connection, roles.within(actor, team.organisation_id), member
    )
    if found.disabled_ms is not None:
        raise Conflict(
            f"{found.name!r} is disabled: its keys would be refused",
            code="member_disabled",
            param="member",
        )
    return found.id


def _require_read(actor: Actor, key: Key) -> None:
    if actor.id == key.id or (actor.member_id is not None and actor.member_id == key.member_id):
        return
    roles.require(actor, "keys:read", key.organisation_id, key.team_id)
