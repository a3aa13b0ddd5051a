"""API keys: made once in plain text, kept as a hash."""

from sqlalchemy import Select, Update, insert, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts import budgets, installation, teams
from gateway.accounts.ids import new_id
from gateway.accounts.names import checked_name
from gateway.accounts.privacy import NOTHING_DEMANDED, Change, Privacy, privacy_of
from gateway.accounts.rows import Key, Team
from gateway.auth.keys import PREFIX, key_hash, new_key
from gateway.clock import Clock
from gateway.errors import InvalidRequest, NotFound
from gateway.store.database import Database
from gateway.store.tables import accounts as tables
from gateway.values import BudgetRule, Principal

_SHOWN = len(PREFIX) + 4

# What the levels above a key demand.
_ABOVE = (
    tables.teams.c.zdr.label("team_zdr"),
    tables.teams.c.no_training.label("team_no_training"),
    tables.organisations.c.zdr.label("organisation_zdr"),
    tables.organisations.c.no_training.label("organisation_no_training"),
)
_LISTED = (
    select(tables.api_keys, tables.teams.c.name.label("team_name"), *_ABOVE)
    .join(tables.teams, tables.teams.c.id == tables.api_keys.c.team_id)
    .join(tables.organisations, tables.organisations.c.id == tables.teams.c.organisation_id)
)

_FOUND = (
    select(
        tables.api_keys.c.id.label("key_id"),
        tables.api_keys.c.name.label("key_name"),
        tables.api_keys.c.expires_ms,
        tables.api_keys.c.disabled_ms,
        tables.teams.c.id.label("team_id"),
        tables.teams.c.name.label("team_name"),
        tables.teams.c.organisation_id,
        tables.api_keys.c.zdr,
        tables.api_keys.c.no_training,
        *_ABOVE,
        tables.budgets.c.id.label("budget_id"),
        tables.budgets.c.scope,
        tables.budgets.c.limit_pico,
        tables.budgets.c.currency,
        tables.budgets.c.period,
    )
    .join(tables.teams, tables.teams.c.id == tables.api_keys.c.team_id)
    .join(tables.organisations, tables.organisations.c.id == tables.teams.c.organisation_id)
    .join(
        tables.budgets,
        or_(
            tables.budgets.c.key_id == tables.api_keys.c.id,
            tables.budgets.c.team_id == tables.api_keys.c.team_id,
        ),
        isouter=True,
    )
    .order_by(tables.budgets.c.scope)  # the key's own budget first: it is the narrower
)


async def create(
    db: Database,
    pepper: bytes,
    *,
    team: str,
    clock: Clock,
    name: str = "unnamed",
    expires_ms: int | None = None,
    budget: budgets.Limit | None = None,
    privacy: Privacy = NOTHING_DEMANDED,
) -> tuple[Key, str]:
    """Issue a key to a team, with a budget of its own if one is given.

    Args:
        db: the installation's database.
        pepper: the installation's pepper.
        team: id or name of the team.
        clock: for the time of making.
        name: what the key is for.
        expires_ms: epoch milliseconds after which it is refused.
        budget: limit on the key's spend.
        privacy: what it demands of those who see its requests.

    Returns:
        The key's row, and the key in plain text, which nobody can ever read again.

    Raises:
        NotFound: no such team; code team_not_found.
        InvalidRequest: an unfit name, or an expiry in the past (invalid_expiry).
        ConfigurationError: the pepper is not this installation's.
    """
    name = checked_name(name, what="key")
    now_ms = int(clock.now() * 1000)
    if expires_ms is not None and expires_ms <= now_ms:
        raise InvalidRequest(
            "a key cannot expire in the past; give a later time",
            code="invalid_expiry",
            param="expires",
        )
    async with db.transaction() as connection:
        await installation.claim(connection, pepper, now_ms=now_ms)
        owner = await teams.find(connection, team)
        row, plaintext = await insert_key(
            connection,
            pepper,
            owner,
            name=name,
            now_ms=now_ms,
            expires_ms=expires_ms,
            privacy=privacy,
        )
        if budget is not None:
            await budgets.put(connection, "key", row.id, budget, now_ms=now_ms)
    return row, plaintext


async def insert_key(
    connection: AsyncConnection,
    pepper: bytes,
    team: Team,
    *,
    name: str,
    now_ms: int,
    expires_ms: int | None = None,
    privacy: Privacy = NOTHING_DEMANDED,
) -> tuple[Key, str]:
    """`create`, inside a transaction that is open already."""
    plaintext = new_key()
    row = Key(
        id=new_id("key"),
        name=name,
        team_id=team.id,
        team_name=team.name,
        prefix=plaintext[:_SHOWN],
        last4=plaintext[-4:],
        created_ms=now_ms,
        expires_ms=expires_ms,
        disabled_ms=None,
        privacy=privacy,
        team_privacy=team.privacy,
        organisation_privacy=team.organisation_privacy,
    )
    await connection.execute(
        insert(tables.api_keys).values(
            id=row.id,
            team_id=row.team_id,
            name=row.name,
            key_hash=key_hash(pepper, plaintext.encode()),
            prefix=row.prefix,
            last4=row.last4,
            created_ms=row.created_ms,
            expires_ms=row.expires_ms,
            zdr=privacy.zdr,
            no_training=privacy.no_training,
        )
    )
    return row, plaintext


async def list_all(db: Database, *, team: str | None = None) -> list[Key]:
    """Every key, oldest first; of one team, if its id or name is given.

    Raises:
        NotFound: no such team; code team_not_found.
    """
    query = _LISTED.order_by(tables.api_keys.c.created_ms, tables.api_keys.c.id)
    async with db.reading() as connection:
        if team is not None:
            query = query.where(tables.teams.c.id == (await teams.find(connection, team)).id)
        return [_key(row) for row in await connection.execute(query)]


async def disable(db: Database, key_id: str, *, clock: Clock) -> Key:
    """Refuse a key from now on; gateways notice within seconds (KeyDirectory's `max_age`).

    A key that is disabled already keeps the time at which it was.

    Raises:
        NotFound: no such key; code key_not_found.
    """
    not_yet = tables.api_keys.c.disabled_ms.is_(None)
    now_ms = int(clock.now() * 1000)
    return await _changed(db, key_id, update(tables.api_keys).where(not_yet), disabled_ms=now_ms)


async def set_privacy(db: Database, key_id: str, change: Change) -> Key:
    """Change what a key demands of those who see its requests; gateways follow as with `disable`.

    What its team and organisation demand stays in force.

    Raises:
        NotFound: no such key; code key_not_found.
        InvalidRequest: nothing to set.
    """
    return await _changed(db, key_id, update(tables.api_keys), **change.values())


async def _changed(db: Database, key_id: str, change: Update, **values: object) -> Key:
    is_it = tables.api_keys.c.id == key_id
    async with db.transaction() as connection:
        await connection.execute(change.where(is_it).values(**values))
        row = (await connection.execute(_LISTED.where(is_it))).one_or_none()
    if row is None:
        raise NotFound(
            f"no key {key_id!r}; `tidegate keys list` shows their ids, which begin with `key_`",
            code="key_not_found",
            param="id",
        )
    return _key(row)


async def find_principal(db: Database, digest: bytes) -> Principal | None:
    """The caller whose key has this hash, with what binds it from all levels; None if there is none.

    Disabled and expired keys are found too: the caller is to be told which of the two it is.
    """
    query: Select[tuple[object, ...]] = _FOUND.where(tables.api_keys.c.key_hash == digest)
    async with db.reading() as connection:
        rows = (await connection.execute(query)).all()
    if not rows:
        return None
    first = rows[0]
    return Principal(
        key_id=first.key_id,
        key_name=first.key_name,
        team_id=first.team_id,
        team_name=first.team_name,
        organisation_id=first.organisation_id,
        budgets=tuple(
            BudgetRule(row.budget_id, row.scope, row.limit_pico, row.currency, row.period)
            for row in rows
            if row.budget_id is not None
        ),
        disabled=first.disabled_ms is not None,
        expires_at=None if first.expires_ms is None else first.expires_ms / 1000,
        zdr=first.zdr or first.team_zdr or first.organisation_zdr,
        no_training=first.no_training or first.team_no_training or first.organisation_no_training,
    )


def _key(row: Row[tuple[object, ...]]) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        team_id=row.team_id,
        team_name=row.team_name,
        prefix=row.prefix,
        last4=row.last4,
        created_ms=row.created_ms,
        expires_ms=row.expires_ms,
        disabled_ms=row.disabled_ms,
        privacy=privacy_of(row),
        team_privacy=privacy_of(row, "team_"),
        organisation_privacy=privacy_of(row, "organisation_"),
    )
