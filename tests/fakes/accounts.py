"""An installation to administer: its office, its operator, and actors of every role."""

from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct
from sqlalchemy import insert

from gateway.accounts import members, memberships, organisations, teams
from gateway.accounts.ids import new_id
from gateway.accounts.office import Announce, Office
from gateway.accounts.roles import ROLES, Actor, operator
from gateway.accounts.rows import Member, Organisation, Team
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.store import schema
from gateway.store.database import Database, sqlite_url
from gateway.store.tables.accounts import api_keys
from tests.fakes.clock import HandClock

PEPPER = bytes(range(32))
OPERATOR = operator("root", "machine")


def office_of(
    database: Database, clock: Clock | None = None, announce: Announce | None = None
) -> Office:
    """The office of an installation whose pepper is `PEPPER`."""
    clock = clock or HandClock()
    if announce is None:
        return Office(database, PEPPER, clock)
    return Office(database, PEPPER, clock, announce)


def acting(member: Member, scopes: frozenset[str] | None = None) -> Actor:
    """A member with a management key: with these scopes, or all that its role allows."""
    return Actor(
        kind="management_key",
        id=f"mk_of_{member.id}",
        name=f"key of {member.name}",
        via="api",
        source="192.0.2.1",
        request_id="req_1",
        organisation_id=member.organisation_id,
        member_id=member.id,
        role=member.role,
        team_roles={one.team_id: one.role for one in member.teams},
        scopes=scopes,
    )


def keyed(
    role: str | None,
    organisation_id: str | None,
    *,
    team_roles: Mapping[str, str] | None = None,
    scopes: frozenset[str] | None = None,
    member_id: str | None = None,
) -> Actor:
    """An actor that is in no database."""
    return Actor(
        kind="management_key",
        id="mk_1",
        name="some key",
        via="api",
        organisation_id=organisation_id,
        member_id=member_id,
        role=role,
        team_roles=team_roles or {},
        scopes=scopes,
    )


class World(Struct, frozen=True):
    """Two organisations with two teams each, and in the first a member of every role.

    `members`: by role. Besides these `team admin`, whose role in the organisation is viewer, administers
    the team `search`; and `service` is a service account with the role member, which is a member there.
    """

    acme: Organisation
    rival: Organisation
    search: Team
    ads: Team
    foreign: Team
    members: Mapping[str, Member]
    stranger: Member  # owner of the other organisation

    def actor(self, who: str, scopes: frozenset[str] | None = None) -> Actor:
        """That member of the first organisation with a management key."""
        return acting(self.members[who], scopes)


async def put_key(
    office: Office, team: Team, name: str = "web", member: Member | None = None
) -> str:
    """The id of a key of a team that nobody can use: a row, and no more."""
    ref = new_id("key")
    async with office.database.transaction() as connection:
        await connection.execute(
            insert(api_keys).values(
                id=ref,
                team_id=team.id,
                name=name,
                key_hash=ref.encode().ljust(32)[:32],
                prefix="sk-tg-0000",
                last4="0000",
                created_ms=int(office.clock.now() * 1000),
                member_id=None if member is None else member.id,
            )
        )
    return ref


async def outcome(work: Awaitable[object]) -> str:
    """`done`, or the code of what it raised."""
    try:
        await work
    except GatewayError as fault:
        return fault.code
    return "done"


async def world(office: Office) -> World:
    """A populated installation."""
    acme = await organisations.create(office, OPERATOR, "acme")
    rival = await organisations.create(office, OPERATOR, "rival")
    search = await teams.create(office, OPERATOR, "search", organisation="acme")
    ads = await teams.create(office, OPERATOR, "ads", organisation="acme")
    foreign = await teams.create(office, OPERATOR, "foreign", organisation="rival")
    await teams.create(office, OPERATOR, "search", organisation="rival")
    found = {}
    for role in ROLES:
        found[role] = await members.create(
            office,
            OPERATOR,
            name=role.title(),
            role=role,
            email=f"{role}@acme.example",
            organisation="acme",
        )
    lead = await members.create(
        office, OPERATOR, name="Lead", role="viewer", email="lead@acme.example", organisation="acme"
    )
    await memberships.put(office, OPERATOR, search.id, lead.id, "admin")
    found["team admin"] = await members.get(office, OPERATOR, lead.id)
    bot = await members.create(
        office, OPERATOR, name="bot", role="member", kind="service", organisation="acme"
    )
    await memberships.put(office, OPERATOR, search.id, bot.id, "member")
    found["service"] = await members.get(office, OPERATOR, bot.id)
    stranger = await members.create(
        office, OPERATOR, name="Eve", role="owner", email="eve@rival.example", organisation="rival"
    )
    return World(acme, rival, search, ads, foreign, found, stranger)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    """A database, such as that of the fixture `database_url`."""
    database = Database(url)
    try:
        yield database
    finally:
        await database.aclose()


@asynccontextmanager
async def installed(folder: Path) -> AsyncIterator[Database]:
    """A migrated SQLite database in a folder, with nothing in it."""
    url = sqlite_url(folder / "tidegate.db")
    await schema.upgrade(url)
    async with opened(url) as database:
        yield database
