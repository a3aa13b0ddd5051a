"""The administrative API and OpenRouter's key API in process, with keys of every kind of caller."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import httpx2

from gateway.accounts import budgets, keys, management_keys
from gateway.accounts.principals import find_principal
from gateway.accounts.roles import SCOPES
from gateway.accounts.rows import Key, ManagementKey
from gateway.api.admin.edge import BASE, routes
from gateway.api.routes import application
from gateway.auth.directory import KeyDirectory
from gateway.clock import Clock, SystemClock
from gateway.flow.counters import Counters
from gateway.ids import IdSource
from gateway.settings_state import StateSettings
from gateway.store.database import Database
from gateway.store.state.memory import MemoryState
from gateway.usage.recent import Recent
from gateway.values import Principal
from tests.fakes.accounts import OPERATOR, PEPPER, World, installed, office_of, world

if TYPE_CHECKING:
    from gateway.services import Services


class Answer:
    """What came back."""

    def __init__(self, response: httpx2.Response) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.body = response.content

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> Any:
        """The code of a refusal."""
        return self.json["error"]["code"]


class Administration:
    """The API; requests go through the application that the gateway serves, without a socket.

    Attributes:
        app: the ASGI application.
        office: where things can be made without the API.
        state, recent, database: what `/key` reads.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock
        self.office = office_of(database, clock)
        self.state = MemoryState(clock)
        self.recent = Recent()
        counters = Counters(database, self.state, self.recent, asyncio.Lock(), clock, grace=0.0)

        async def load(digest: bytes) -> Principal | None:
            principal = await find_principal(database, digest)
            if principal is not None:
                await counters.ensure(principal)
            return principal

        self.directory = KeyDirectory(
            load, PEPPER, clock, max_age=0.0, max_staleness=30.0, load_timeout=10.0
        )
        parts = SimpleNamespace(
            ids=IdSource(clock),
            clock=clock,
            database=database,
            state=self.state,
            recent=self.recent,
            keys=self.directory,
            settings=SimpleNamespace(state=StateSettings()),
        )
        services = cast("Services", parts)
        table = routes(lambda: services, lambda: self.office)
        self.app = application(table, IdSource(clock))
        self.client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.app), base_url="http://gateway.test"
        )

    async def ask(
        self,
        method: str,
        path: str,
        key: str | None,
        *,
        revision: str | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Answer:
        """A request; `path` within the administrative API. `revision` is the value of `If-Match`."""
        head = dict(headers or {})
        if revision is not None:
            head["if-match"] = revision
        return await self.at(method, BASE + path, key, headers=head, **more)

    async def at(
        self,
        method: str,
        path: str,
        key: str | None,
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Answer:
        """A request to any path."""
        head = dict(headers or {})
        if key is not None:
            head["authorization"] = f"Bearer {key}"
        return Answer(await self.client.request(method, path, headers=head, **more))


class Populated:
    """An installation with two organisations, and a key of every kind of caller.

    Attributes:
        callers: keys of the first organisation: by role the management keys of its members, `standing
            alone` one that is nobody's, `inference` an inference key, `nobody` none at all.
        root: a management key of the whole installation.
        stranger: one of the owner of the other organisation.
        foreign: ids of the other organisation's things, by the names of path parameters.
        own: those of the first organisation.
    """

    def __init__(self, api: Administration, found: World) -> None:
        self.api = api
        self.world = found
        self.callers: dict[str, str | None] = {"nobody": None}
        self.own: dict[str, str] = {}
        self.foreign: dict[str, str] = {}
        self.root = self.stranger = ""

    async def populate(self) -> None:
        """Make the keys, and a budget on each level."""
        found, office = self.world, self.api.office
        for role, member in found.members.items():
            _, self.callers[role] = await self.managing(found.acme.id, member.id, role)
        _, self.callers["standing alone"] = await self.managing(found.acme.id, None, "alone")
        narrow = frozenset({"teams:read"})  # that whoever may write management keys has too
        row, _ = await self.managing(found.acme.id, None, "narrow", narrow)
        key, self.callers["inference"] = await keys.create(
            office, OPERATOR, team=found.search.id, name="web"
        )
        self.own = {
            "organisation_id": found.acme.id,
            "team_id": found.search.id,
            "member_id": found.members["member"].id,
            "key_id": key.id,
            "management_key_id": row.id,
        }
        theirs, self.stranger = await self.managing(found.rival.id, found.stranger.id, "Eve")
        secret, _ = await keys.create(office, OPERATOR, team=found.foreign.id, name="secret")
        self.foreign = {
            "organisation_id": found.rival.id,
            "team_id": found.foreign.id,
            "member_id": found.stranger.id,
            "key_id": secret.id,
            "management_key_id": theirs.id,
        }
        for things in (self.own, self.foreign):
            for level in ("organisation", "team", "member", "key"):
                await budgets.set_budget(
                    office,
                    OPERATOR,
                    level,
                    things[f"{level}_id"],
                    budgets.limit("7.25", "monthly"),
                )
        _, self.root = await self.managing(None, None, "root")

    async def managing(
        self,
        organisation: str | None,
        member: str | None,
        name: str,
        scopes: frozenset[str] = SCOPES,
    ) -> tuple[ManagementKey, str]:
        """A management key, with every scope unless it says otherwise."""
        return await management_keys.create(
            self.api.office,
            OPERATOR,
            organisation=organisation,
            member=member,
            name=name,
            scopes=scopes,
        )

    async def key(self, team: str, name: str) -> tuple[Key, str]:
        """An inference key."""
        return await keys.create(self.api.office, OPERATOR, team=team, name=name)


@asynccontextmanager
async def administration(folder: Path, clock: Clock | None = None) -> AsyncIterator[Administration]:
    """An installation without anything in it."""
    async with installed(folder) as database:
        made = Administration(database, clock or SystemClock())
        try:
            yield made
        finally:
            await made.client.aclose()
            await made.directory.aclose()


@asynccontextmanager
async def populated(folder: Path, clock: Clock | None = None) -> AsyncIterator[Populated]:
    """One with two organisations: see `Populated`."""
    async with administration(folder, clock) as api:
        made = Populated(api, await world(api.office))
        await made.populate()
        yield made
