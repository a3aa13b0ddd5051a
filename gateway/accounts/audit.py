"""The audit log: every administrative act, who did it, from where, and what it changed."""

from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.engine import Row

from gateway.accounts import organisations, pages, roles
from gateway.accounts.office import Office
from gateway.accounts.roles import Actor
from gateway.accounts.rows import AuditLine, Page
from gateway.store.tables.operations import audit_log

INSTALLATION = "installation"
"""In place of an organisation: only the lines of the installation itself."""


async def list_page(
    office: Office,
    actor: Actor,
    *,
    organisation: str | None = None,
    by: str | None = None,
    target: str | None = None,
    action: str | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    limit: int = pages.DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[AuditLine]:
    """Lines of the audit log, newest first; with filters those that all of them fit.

    Who belongs to an organisation sees its lines only; whoever administers the whole installation sees
    all, or with `organisation="installation"` those that belong to none.

    Args:
        office: where to look.
        actor: who asks; it needs `audit:read`.
        organisation: id or name of the one whose lines they are.
        by: id of who did it.
        target: id of what it was done to.
        action: such as "key.create"; "key." finds all of keys.
        since_ms: epoch milliseconds, inclusive.
        until_ms: epoch milliseconds, exclusive.
        limit: lines of a page.
        cursor: of the page before.

    Raises:
        NotFound: no such organisation; code organisation_not_found.
        InvalidRequest: codes invalid_limit, invalid_cursor.
        Forbidden: codes permission_denied, insufficient_scope.
    """
    limit = pages.checked_limit(limit)
    query = select(audit_log)
    async with office.look(actor) as look:
        where = look.actor.organisation_id
        if organisation == INSTALLATION and look.actor.everywhere:
            query = query.where(audit_log.c.organisation_id.is_(None))
        elif organisation is not None:
            where = (await organisations.find(look.connection, look.actor, organisation)).id
        roles.require(look.actor, "audit:read", where)
        if where is not None:
            query = query.where(audit_log.c.organisation_id == where)
        if by is not None:
            query = query.where(audit_log.c.actor_id == by)
        if target is not None:
            query = query.where(audit_log.c.target_id == target)
        if action is not None and action.endswith("."):
            query = query.where(audit_log.c.action.startswith(action, autoescape=True))
        elif action is not None:
            query = query.where(audit_log.c.action == action)
        if since_ms is not None:
            query = query.where(audit_log.c.at_ms >= since_ms)
        if until_ms is not None:
            query = query.where(audit_log.c.at_ms < until_ms)
        if cursor is not None:
            query = query.where(audit_log.c.id < _before(cursor))
        query = query.order_by(audit_log.c.id.desc()).limit(limit + 1)
        rows = (await look.connection.execute(query)).all()
    items = tuple(_line(row) for row in rows[:limit])
    if len(rows) <= limit:
        return Page(items)
    return Page(items, pages.write_cursor(items[-1].at_ms, str(items[-1].id)))


def _before(cursor: str) -> int:
    _, ref = pages.read_cursor(cursor)
    if not ref.isdecimal() or len(ref) > pages.MAX_DIGITS:
        raise pages.unfit_cursor()
    return int(ref)


def _line(row: Row[Any]) -> AuditLine:
    return AuditLine(
        id=row.id,
        at_ms=row.at_ms,
        organisation_id=row.organisation_id,
        actor_kind=row.actor_kind,
        actor_id=row.actor_id,
        actor_name=row.actor_name,
        via=row.via,
        source=row.source,
        action=row.action,
        target_kind=row.target_kind,
        target_id=row.target_id,
        before=None if row.before is None else msgspec.json.decode(row.before),
        after=None if row.after is None else msgspec.json.decode(row.after),
        request_id=row.request_id,
    )
