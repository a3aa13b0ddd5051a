"""The settings of levels: read, replaced, patched, and what they come to together.

Whatever is in force at a level says which levels made it so.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts import budgets, owners, revisions, roles
from gateway.accounts.office import Office
from gateway.accounts.owners import LevelName, Owner
from gateway.accounts.privacy import Privacy, demanded_by, privacy_of
from gateway.accounts.roles import Actor
from gateway.accounts.rows import Effective, EffectiveValue, Level, Source
from gateway.policies import levels as policies
from gateway.policies.levels import LevelSettings
from gateway.policies.provenance import provenance


async def get(office: Office, actor: Actor, level: LevelName, ref: str) -> Level:
    """What one level sets itself.

    Args:
        office: where to look.
        actor: who asks: with `settings:read` in the team of a team or key, else in the organisation.
        level: "organisation", "team", "member" or "key".
        ref: id; of organisations and teams also the name, of members the email.

    Raises:
        NotFound, InvalidRequest: as `owners.find`.
        Forbidden: codes permission_denied, insufficient_scope.
    """
    async with office.look(actor) as look:
        owner = await owners.find(look.connection, look.actor, level, ref)
        roles.require(look.actor, "settings:read", owner.organisation_id, owner.team_id)
        return _level(owner)


async def replace(
    office: Office,
    actor: Actor,
    level: LevelName,
    ref: str,
    document: LevelSettings | Mapping[str, Any] | bytes | str,
    *,
    revision: int | None = None,
) -> Level:
    """Set what a level sets, instead of all that it set before; what the document leaves out is not set.

    A change that changes nothing leaves revision and audit log alone.

    Raises:
        NotFound, InvalidRequest: as `owners.find`; also code invalid_settings.
        Forbidden: codes permission_denied, insufficient_scope.
        RevisionConflict: `revision` is not the level's current one; code revision_conflict.
    """
    if isinstance(document, LevelSettings):
        document = policies.encode(document)
    settings = policies.parse(document)
    return await _write(office, actor, level, ref, derive=lambda _: settings, revision=revision)


async def patch(
    office: Office,
    actor: Actor,
    level: LevelName,
    ref: str,
    change: Mapping[str, Any],
    *,
    revision: int | None = None,
) -> Level:
    """Change some of what a level sets: a JSON merge patch (RFC 7396), in which null takes away.

    Raises:
        NotFound, InvalidRequest, Forbidden, RevisionConflict: as `replace`.
    """

    def changed(old: LevelSettings) -> LevelSettings:
        return policies.parse(merged(msgspec.to_builtins(old), change))

    return await _write(office, actor, level, ref, derive=changed, revision=revision)


def merged(document: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with a merge patch applied, as RFC 7396 says."""
    found = dict(document)
    for name, value in change.items():
        if value is None:
            found.pop(name, None)
        elif isinstance(value, Mapping):
            inner = found.get(name)
            found[name] = merged(inner if isinstance(inner, Mapping) else {}, value)
        else:
            found[name] = value
    return found


async def effective(office: Office, actor: Actor, level: LevelName, ref: str) -> Effective:
    """All that is in force at a level: its settings with those of the levels above it, and their demands.

    Above a team and a member is their organisation; above a key its team, the member that it belongs to,
    and the organisation. Budgets are among it for who may read them.

    Raises:
        NotFound, InvalidRequest, Forbidden: as `get`.
    """
    async with office.look(actor) as look:
        owner = await owners.find(look.connection, look.actor, level, ref)
        roles.require(look.actor, "settings:read", owner.organisation_id, owner.team_id)
        line = await _line(look.connection, look.actor, owner)
        values = _of_settings(line)
        values += await _of_privacy(look.connection, line)
        rights = roles.allowed(look.actor, owner.organisation_id, owner.team_id)
        if "budgets:read" in rights:
            values += await _of_budgets(look.connection, line)
    return Effective(level=level, id=owner.id, name=owner.name, values=tuple(values))


async def _write(
    office: Office,
    actor: Actor,
    level: LevelName,
    ref: str,
    *,
    derive: Callable[[LevelSettings], LevelSettings],
    revision: int | None,
) -> Level:
    async with office.act(actor) as act:
        old = await owners.find(act.connection, act.actor, level, ref, for_update=True)
        roles.require(act.actor, "settings:write", old.organisation_id, old.team_id)
        revisions.check_revision(level, current=old.revision, revision=revision)
        settings = derive(old.settings)
        if settings == old.settings:
            return _level(old)
        values: dict[str, Any] = {"settings": revisions.written(settings)}
        if level == "key":
            values["updated_ms"] = act.now_ms
        await revisions.raise_revision(
            act.connection,
            owners.TABLES[level],
            old.id,
            values,
            what=level,
            current=old.revision,
            revision=revision,
        )
        act.record(
            "settings.set",
            level,
            old.id,
            organisation_id=old.organisation_id,
            before=revisions.flat(old.settings),
            after=revisions.flat(settings),
        )
        act.changed(level, old.id)
    return _level(msgspec.structs.replace(old, settings=settings, revision=old.revision + 1))


def _level(owner: Owner) -> Level:
    return Level(
        level=owner.level,
        id=owner.id,
        name=owner.name,
        settings=owner.settings,
        revision=owner.revision,
    )


async def _line(connection: AsyncConnection, actor: Actor, owner: Owner) -> list[Owner]:
    """The levels that bind an owner, widest first, itself last."""
    above: list[tuple[LevelName, str]] = []
    if owner.level != "organisation":
        above.append(("organisation", owner.organisation_id))
    if owner.level == "key" and owner.team_id is not None:
        above.append(("team", owner.team_id))
    if owner.level == "key" and owner.member_id is not None:
        above.append(("member", owner.member_id))
    found = [await owners.find(connection, actor, level, ref) for level, ref in above]
    return [*found, owner]


def _of_settings(line: list[Owner]) -> list[EffectiveValue]:
    sources = {(owner.level, owner.id): _source(owner) for owner in line}
    levels = [policies.Level(owner.level, owner.id, owner.settings) for owner in line]
    return [
        EffectiveValue(
            name=one.field,
            value=one.value,
            sources=tuple(sources[source.scope, source.id] for source in one.sources),  # type: ignore[index] # a scope is one of the levels' names
        )
        for one in provenance(levels)
    ]


async def _of_privacy(connection: AsyncConnection, line: list[Owner]) -> list[EffectiveValue]:
    sources: dict[str, Source] = {owner.level: _source(owner) for owner in line}
    demands: dict[str, Privacy] = {}
    for owner in line:
        if owner.level == "member":
            continue  # members demand nothing of their own
        table = owners.TABLES[owner.level]
        query = select(table).where(table.c.id == owner.id)
        demands[owner.level] = privacy_of((await connection.execute(query)).one())
    found = []
    for name, value, what in (("zdr", True, "zdr"), ("data_collection", "deny", "no_training")):
        by = tuple(sources[level] for level in demands if level in demanded_by(demands, what))
        if by:
            found.append(EffectiveValue(name=name, value=value, sources=by))
    return found


async def _of_budgets(connection: AsyncConnection, line: list[Owner]) -> list[EffectiveValue]:
    found = []
    for owner in line:
        budget = await budgets.of(connection, owner.level, owner.id)
        if budget is not None:
            value = {
                "id": budget.id,
                "limit": budget.limit.decimal_string(),
                "currency": budget.limit.currency,
                "period": budget.period,
                "on_state_loss": budget.on_state_loss,
            }
            found.append(EffectiveValue(name="budget", value=value, sources=(_source(owner),)))
    return found


def _source(owner: Owner) -> Source:
    return Source(owner.level, owner.id, owner.name)
