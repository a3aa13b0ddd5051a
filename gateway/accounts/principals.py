"""The caller behind a key's hash: what binds it from all levels, in one value."""

from sqlalchemy import and_, case, or_, select

from gateway.accounts.revisions import read_settings
from gateway.policies.levels import NO_SETTINGS, Level, compile_levels
from gateway.store.database import Database
from gateway.store.tables import accounts as tables
from gateway.values import BudgetRule, Principal

_KEYS = tables.api_keys
_BUDGETS = tables.budgets
_LEVELS = {
    "organisation": tables.organisations,
    "team": tables.teams,
    "member": tables.members,
    "key": _KEYS,
}
_FOUND = (
    select(
        _KEYS,
        tables.teams.c.name.label("team_name"),
        tables.teams.c.organisation_id,
        tables.teams.c.disabled_ms.label("team_disabled_ms"),
        tables.members.c.disabled_ms.label("member_disabled_ms"),
        *[
            table.c.settings.label(f"{level}_settings")
            for level, table in _LEVELS.items()
            if level != "key"
        ],
        *[
            _LEVELS[level].c[what].label(f"{level}_{what}")
            for level in ("organisation", "team")
            for what in ("zdr", "no_training")
        ],
    )
    .join(tables.teams, tables.teams.c.id == _KEYS.c.team_id)
    .join(tables.organisations, tables.organisations.c.id == tables.teams.c.organisation_id)
    .join(tables.members, tables.members.c.id == _KEYS.c.member_id, isouter=True)
)
# The narrowest first: of a request that several cannot cover, its owner is told of the nearest.
_NEAREST = case(
    {"key": 0, "member": 1, "team": 2, "organisation": 3}, value=_BUDGETS.c.scope, else_=4
)


async def find_principal(db: Database, digest: bytes) -> Principal | None:
    """The caller whose key has this hash, with what binds it from all levels; None if there is none.

    Disabled and expired keys are found too: the caller is to be told which of the two it is. A secret
    from before a rotation expires when its overlap ends.

    Raises:
        Unavailable: the database cannot be reached; code database_unavailable.
    """
    query = _FOUND.where(or_(_KEYS.c.key_hash == digest, _KEYS.c.old_hash == digest))
    async with db.reading() as connection:
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        rules = (
            select(
                _BUDGETS.c.id,
                _BUDGETS.c.scope,
                _BUDGETS.c.limit_pico,
                _BUDGETS.c.currency,
                _BUDGETS.c.period,
                _BUDGETS.c.on_state_loss,
            )
            .where(
                or_(
                    _BUDGETS.c.key_id == row.id,
                    _BUDGETS.c.team_id == row.team_id,
                    _BUDGETS.c.organisation_id == row.organisation_id,
                    # Of nobody's key nothing: compared with None it would be every budget but members'.
                    and_(_BUDGETS.c.member_id.is_not(None), _BUDGETS.c.member_id == row.member_id),
                )
            )
            .order_by(_NEAREST)
        )
        budgets = tuple([BudgetRule(*found) for found in await connection.execute(rules)])
    ids = {
        "organisation": row.organisation_id,
        "team": row.team_id,
        "member": row.member_id,
        "key": row.id,
    }
    documents = {
        "organisation": row.organisation_settings,
        "team": row.team_settings,
        "member": row.member_settings,
        "key": row.settings,
    }
    levels = [
        Level(scope, ids[scope], settings)
        for scope, document in documents.items()
        if document is not None and (settings := read_settings(document)) is not NO_SETTINGS
    ]
    compiled = compile_levels(levels)
    expires_ms = row.expires_ms
    if row.key_hash != digest:
        expires_ms = min(row.old_expires_ms or 0, expires_ms or row.old_expires_ms or 0)
    return Principal(
        key_id=row.id,
        key_name=row.name,
        team_id=row.team_id,
        team_name=row.team_name,
        organisation_id=row.organisation_id,
        member_id=row.member_id,
        budgets=budgets,
        limits=compiled.limits,
        access=compiled.access,
        disabled=_disabled(row.disabled_ms, row.team_disabled_ms, row.member_disabled_ms),
        expires_at=None if expires_ms is None else expires_ms / 1000,
        zdr=row.zdr or row.team_zdr or row.organisation_zdr,
        no_training=row.no_training or row.team_no_training or row.organisation_no_training,
    )


def _disabled(key_ms: int | None, team_ms: int | None, member_ms: int | None) -> str:
    """Why it is refused; the nearest reason, as that is what its owner can look into."""
    if key_ms is not None:
        return "key_disabled"
    if member_ms is not None:
        return "member_disabled"
    return "" if team_ms is None else "team_disabled"
