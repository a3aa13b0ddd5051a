"""Where administrative acts are done: one transaction each, with its lines in the audit log.

    async with office.act(actor) as act:
        …                                   # check, then change, through act.connection
        act.record("key.create", "key", key.id, organisation_id=…, after={…})
        act.changed("key", key.id)

On leaving, audit lines and notes of what changed are written in the same transaction: an act without its
line does not happen. After the commit the change is announced, so that processes that remember principals
read them anew; where the announcement is lost they find the note in the database.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
from msgspec import Struct
from sqlalchemy import Column, String, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts.roles import Actor
from gateway.clock import Clock
from gateway.errors import Forbidden
from gateway.store.database import Database
from gateway.store.tables.accounts import members, team_members
from gateway.store.tables.operations import account_changes, audit_log

_encode = msgspec.json.Encoder(order="deterministic").encode


class Change(Struct, frozen=True):
    """Something of which principals are made has changed; `kind` as in the table `account_changes`."""

    kind: str
    ref: str


Announce = Callable[[Sequence[Change]], Awaitable[None]]


class Act:
    """An administrative act under way.

    Attributes:
        connection: of its transaction.
        actor: who does it, with the roles that it has in this very transaction.
        now_ms: when, in epoch milliseconds.
    """

    def __init__(self, connection: AsyncConnection, actor: Actor, now_ms: int) -> None:
        self.connection = connection
        self.actor = actor
        self.now_ms = now_ms
        self.lines: list[dict[str, Any]] = []
        self.changes: list[Change] = []

    def record(
        self,
        action: str,
        target_kind: str,
        target_id: str,
        *,
        organisation_id: str | None,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Have a line written in the audit log.

        Of two mappings only what differs is kept. Never put a secret in one.
        """
        if before is not None and after is not None:
            differing = {key for key in {*before, *after} if before.get(key) != after.get(key)}
            before = {key: value for key, value in before.items() if key in differing}
            after = {key: value for key, value in after.items() if key in differing}
        actor, columns = self.actor, audit_log.c
        self.lines.append(
            {
                "at_ms": self.now_ms,
                "organisation_id": organisation_id,
                "actor_kind": actor.kind,
                "actor_id": actor.id,
                "actor_name": actor.name,
                "via": actor.via,
                "source": _cut(actor.source, columns.source),
                "action": action,
                "target_kind": target_kind,
                "target_id": target_id,
                "before": None if before is None else _encode(before).decode(),
                "after": None if after is None else _encode(after).decode(),
                "request_id": _cut(actor.request_id, columns.request_id),
            }
        )

    def changed(self, kind: str, ref: str) -> None:
        """Have processes read anew what depends on this."""
        self.changes.append(Change(kind, ref))


def _cut(text: str | None, column: Column[Any]) -> str | None:
    """What callers say of themselves, as far as it fits: PostgreSQL would refuse the act."""
    return None if text is None else text[: cast("String", column.type).length]


async def _nobody(_: Sequence[Change]) -> None:
    pass


class Office:
    """What administrative acts need.

    Args:
        database: the installation's.
        pepper: of the installation: it keys the hashes of keys.
        clock: the time.
        announce: tells other processes of changes, once they are committed; it must not raise.
    """

    def __init__(
        self, database: Database, pepper: bytes, clock: Clock, announce: Announce = _nobody
    ) -> None:
        self.database = database
        self.pepper = pepper
        self.clock = clock
        self._announce = announce
        self._outer: Act | None = None
        self._asker: Actor | None = None  # who asked for the outer act, as it was then

    @asynccontextmanager
    async def together(self, actor: Actor) -> AsyncIterator["Office"]:
        """An office in which several acts are one: all of them happen, or none does.

        Raises:
            Unavailable: the database cannot be used; code database_unavailable.
        """
        async with self.act(actor) as outer:
            inner = Office(self.database, self.pepper, self.clock)
            inner._outer, inner._asker = outer, actor
            yield inner

    @asynccontextmanager
    async def act(self, actor: Actor) -> AsyncIterator[Act]:
        """An act: all of it happens, with its audit lines, or nothing does.

        Raises:
            Forbidden: the actor's member is disabled; code member_disabled.
            Unavailable: the database cannot be used; code database_unavailable.
        """
        if (outer := self._outer) is not None:
            act = Act(outer.connection, self._refreshed(actor, outer), outer.now_ms)
            # Undone alone, should somebody go on without it.
            async with outer.connection.begin_nested():
                yield act
            outer.lines += act.lines
            outer.changes += act.changes
            return
        async with self.database.transaction() as connection:
            actor = await _present(connection, actor)
            act = Act(connection, actor, int(self.clock.now() * 1000))
            yield act
            if act.lines:
                await connection.execute(insert(audit_log), act.lines)
            if act.changes:
                notes = [
                    {"at_ms": act.now_ms, "kind": change.kind, "ref": change.ref}
                    for change in act.changes
                ]
                await connection.execute(insert(account_changes), notes)
        if act.changes:
            await self._announce(act.changes)

    def _refreshed(self, actor: Actor, outer: Act) -> Actor:
        """The actor with the roles that it was found to have when the outer act began."""
        return outer.actor if actor == self._asker else actor

    @asynccontextmanager
    async def look(self, actor: Actor) -> AsyncIterator[Act]:
        """The same without a change: nothing is written, and nothing can be recorded.

        Raises:
            Forbidden: the actor's member is disabled; code member_disabled.
            Unavailable: the database cannot be used; code database_unavailable.
        """
        if (outer := self._outer) is not None:  # what it has done itself is to be seen
            yield Act(outer.connection, self._refreshed(actor, outer), outer.now_ms)
            return
        async with self.database.reading() as connection:
            actor = await _present(connection, actor)
            yield Act(connection, actor, int(self.clock.now() * 1000))


async def _present(connection: AsyncConnection, actor: Actor) -> Actor:
    """The actor with its member's roles of now: what it was told when it called may be over.

    Raises:
        Forbidden: its member is disabled or gone; code member_disabled.
    """
    if actor.member_id is None:
        return actor
    row = (
        await connection.execute(
            select(members.c.role, members.c.disabled_ms, members.c.organisation_id).where(
                members.c.id == actor.member_id
            )
        )
    ).one_or_none()
    if row is None or row.disabled_ms is not None:
        raise Forbidden(
            "the member that this key belongs to is disabled: its rights are over",
            code="member_disabled",
        )
    if actor.kind == "key":  # looks at itself, and has no share in its member's roles
        return actor
    mine = select(team_members.c.team_id, team_members.c.role).where(
        team_members.c.member_id == actor.member_id
    )
    in_teams = {found.team_id: found.role for found in await connection.execute(mine)}
    return msgspec.structs.replace(
        actor, organisation_id=row.organisation_id, role=row.role, team_roles=in_teams
    )
