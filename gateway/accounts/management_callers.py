"""Who calls with a management key."""

from collections.abc import Sequence

from sqlalchemy import or_, select

from gateway.accounts.management_key_rows import KEYS, key_of
from gateway.accounts.office import Office
from gateway.accounts.roles import Actor
from gateway.accounts.rows import ManagementKey
from gateway.auth.header import why_malformed
from gateway.auth.keys import (
    MANAGEMENT_PREFIX,
    check_form,
    check_management_form,
    is_management_key,
    key_hash,
)
from gateway.errors import Forbidden, Unauthenticated
from gateway.store.tables import accounts as tables


async def authenticate_management(
    office: Office,
    token: bytes,
    *,
    source: str | None = None,
    request_id: str | None = None,
    via: str = "api",
) -> Actor:
    """Who calls with a management key.

    Args:
        office: where the keys are.
        token: the bare key.
        source: the caller's address, for the audit log.
        request_id: of the request, likewise.
        via: the way, likewise.

    Raises:
        Unauthenticated: codes invalid_api_key, key_disabled, key_expired, member_disabled.
        Forbidden: an API key of a caller; code management_key_required.
        Unavailable: the database cannot be reached; code database_unavailable.
    """
    if check_form(token):
        raise Forbidden(
            "this is an API key, which sends requests to models: administration needs a management key"
            f" (`{MANAGEMENT_PREFIX}…`); `tidegate management-keys create` makes one",
            code="management_key_required",
        )
    if not check_management_form(token):
        why = why_malformed(token)
        if is_management_key(token):
            why = "the management key was cut or mistyped; copy it again in full"
        raise Unauthenticated(why)
    digest = key_hash(office.pepper, token)
    async with office.database.reading() as connection:
        found = (
            await connection.execute(
                select(
                    KEYS,
                    tables.members.c.role.label("member_role"),
                    tables.members.c.disabled_ms.label("member_disabled_ms"),
                )
                .join(tables.members, tables.members.c.id == KEYS.c.member_id, isouter=True)
                .where(or_(KEYS.c.key_hash == digest, KEYS.c.old_hash == digest))
            )
        ).one_or_none()
        if found is None:
            raise Unauthenticated(
                "this management key is well-formed but not known here: it belongs to another"
                " installation, or was rotated; make one with `tidegate management-keys create`"
            )
        mine = select(tables.team_members.c.team_id, tables.team_members.c.role).where(
            tables.team_members.c.member_id == found.member_id
        )
        in_teams = {row.team_id: row.role for row in await connection.execute(mine)}
    row = key_of(found)
    # Of a secret from before a rotation, the end of its overlap counts as well.
    bounds = (row.expires_ms, row.old_expires_ms if found.key_hash != digest else None)
    ends = [bound for bound in bounds if bound is not None]
    _check_usable(row, ends, office.clock.now() * 1000)
    if found.member_disabled_ms is not None:
        raise Unauthenticated(
            "the member that this key belongs to is disabled: its rights are over",
            code="member_disabled",
        )
    return Actor(
        kind="management_key",
        id=row.id,
        name=row.name,
        via=via,
        source=source,
        request_id=request_id,
        organisation_id=row.organisation_id,
        member_id=row.member_id,
        role="owner" if row.member_id is None else found.member_role,
        team_roles=in_teams,
        scopes=frozenset(row.scopes),
        expires_ms=min(ends, default=None),
    )


def _check_usable(row: ManagementKey, ends: Sequence[int], now_ms: float) -> None:
    if row.disabled_ms is not None:
        raise Unauthenticated(f"the management key {row.id} is disabled", code="key_disabled")
    if any(end <= now_ms for end in ends):
        raise Unauthenticated(f"the management key {row.id} has expired", code="key_expired")
