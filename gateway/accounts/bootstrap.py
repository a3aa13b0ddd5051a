"""The first organisation, team and key, so that a fresh installation answers its first request."""

from msgspec import Struct
from sqlalchemy import insert, select

from gateway.accounts import installation
from gateway.accounts.ids import new_id
from gateway.accounts.keys import insert_key
from gateway.accounts.privacy import privacy_of
from gateway.accounts.rows import Organisation, Team
from gateway.clock import Clock
from gateway.store.database import Database
from gateway.store.tables.accounts import api_keys, organisations, teams

FIRST_NAME = "default"


class First(Struct, frozen=True):
    """What was there first. `key_plaintext` is None unless the key was made by this very call."""

    organisation: Organisation
    team: Team
    key_plaintext: str | None


async def ensure_first(
    db: Database, pepper: bytes, *, clock: Clock, with_key: bool = True
) -> First:
    """Make what is missing of: an organisation, a team, a key. What exists is left alone.

    Without `with_key` no key is made: in production whoever needs one asks for it.

    A disabled key counts as existing: nobody is handed a new one by restarting the gateway. All or
    nothing, and on SQLite one process at a time.

    Raises:
        ConfigurationError: the pepper is not this installation's.
    """
    now_ms = int(clock.now() * 1000)
    async with db.transaction() as connection:
        await installation.claim(connection, pepper, now_ms=now_ms)
        oldest = select(organisations).order_by(organisations.c.created_ms, organisations.c.id)
        row = (await connection.execute(oldest.limit(1))).one_or_none()
        if row is None:
            organisation = Organisation(new_id("org"), FIRST_NAME, now_ms)
            await connection.execute(
                insert(organisations).values(
                    id=organisation.id, name=organisation.name, created_ms=now_ms
                )
            )
        else:
            organisation = Organisation(row.id, row.name, row.created_ms, privacy_of(row))
        oldest = (
            select(teams)
            .where(teams.c.organisation_id == organisation.id)
            .order_by(teams.c.created_ms, teams.c.id)
        )
        row = (await connection.execute(oldest.limit(1))).one_or_none()
        if row is None:
            team = Team(
                new_id("team"),
                organisation.id,
                FIRST_NAME,
                now_ms,
                organisation_privacy=organisation.privacy,
            )
            await connection.execute(
                insert(teams).values(
                    id=team.id,
                    organisation_id=organisation.id,
                    name=team.name,
                    created_ms=now_ms,
                )
            )
        else:
            team = Team(
                row.id,
                row.organisation_id,
                row.name,
                row.created_ms,
                privacy_of(row),
                organisation.privacy,
            )
        plaintext = None
        if with_key and await connection.scalar(select(api_keys.c.id).limit(1)) is None:
            _, plaintext = await insert_key(
                connection, pepper, team, name="first key", now_ms=now_ms
            )
    return First(organisation, team, plaintext)
