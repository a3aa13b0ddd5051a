"""The first organisation, team, owner and key, so that a fresh installation answers its first request.

There are no passwords here, so there is none by default: the first owner can do nothing until somebody on
the machine itself makes a management key for it.
"""

from msgspec import Struct
from sqlalchemy import select

from gateway.accounts import installation, members, organisations, teams
from gateway.accounts.keys import insert_key
from gateway.accounts.member_rows import find, member_of
from gateway.accounts.office import Act, Office
from gateway.accounts.roles import Actor
from gateway.accounts.rows import Member, Organisation, Team
from gateway.clock import Clock
from gateway.store.database import Database
from gateway.store.tables import accounts as tables

FIRST_NAME = "default"
OWNER_NAME = "owner"
STARTING = Actor(kind="system", id="gateway", name="the first start", via="start", role="owner")


class First(Struct, frozen=True):
    """What was there first. `key_plaintext` is None unless the key was made by this very call."""

    organisation: Organisation
    team: Team
    owner: Member
    key_plaintext: str | None


async def ensure_first(
    db: Database, pepper: bytes, *, clock: Clock, with_key: bool = True
) -> First:
    """Make what is missing of: an organisation, a team, an owner, a key. What exists is left alone.

    Without `with_key` no key is made: in production whoever needs one asks for it.

    A disabled key counts as existing: nobody is handed a new one by restarting the gateway. All or
    nothing, and one process at a time.

    Raises:
        ConfigurationError: the pepper is not this installation's.
    """
    async with Office(db, pepper, clock).act(STARTING) as act:
        await installation.claim(act.connection, pepper, now_ms=act.now_ms)
        organisation = await _organisation(act)
        team = await _team(act, organisation)
        owner = await _owner(act, organisation)
        plaintext = None
        any_key = select(tables.api_keys.c.id).limit(1)
        if with_key and await act.connection.scalar(any_key) is None:
            plaintext = await _key(act, pepper, team)
    return First(organisation, team, owner, plaintext)


async def _organisation(act: Act) -> Organisation:
    oldest = select(tables.organisations.c.id).order_by(
        tables.organisations.c.created_ms, tables.organisations.c.id
    )
    found = await act.connection.scalar(oldest.limit(1))
    if found is None:
        return await organisations.insert_organisation(act, FIRST_NAME)
    return await organisations.find(act.connection, act.actor, found)


async def _team(act: Act, organisation: Organisation) -> Team:
    oldest = (
        select(tables.teams.c.id)
        .where(tables.teams.c.organisation_id == organisation.id)
        .order_by(tables.teams.c.created_ms, tables.teams.c.id)
    )
    found = await act.connection.scalar(oldest.limit(1))
    if found is None:
        return await teams.insert_team(act, organisation, FIRST_NAME)
    return await teams.find(act.connection, act.actor, found)


async def _owner(act: Act, organisation: Organisation) -> Member:
    """The first owner; in a database from before there were members it is made now."""
    oldest = (
        select(tables.members)
        .where(
            tables.members.c.organisation_id == organisation.id, tables.members.c.role == "owner"
        )
        .order_by(tables.members.c.created_ms, tables.members.c.id)
    )
    row = (await act.connection.execute(oldest.limit(1))).one_or_none()
    if row is None:
        return await members.insert_member(act, organisation.id, name=OWNER_NAME, role="owner")
    return await find(act.connection, act.actor, member_of(row).id)


async def _key(act: Act, pepper: bytes, team: Team) -> str:
    _, plaintext = await insert_key(act, pepper, team, name="first key")
    return plaintext
