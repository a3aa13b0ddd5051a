"""Many processes over PostgreSQL and Redis, any of which dies under load: nothing is lost or overspent."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from backends.sandbox import SandboxServer
from tests.contract.sandbox.caller import Caller, Reply, request
from tests.fakes.forms import Many
from tests.fakes.gateway_process import GatewayProcess
from tests.faults.books import Ledger, journals, read_ledger
from tests.faults.load import PATH, Told, chat, exact, told
from tests.faults.providers import DEARER, endpoint
from tests.servers.postgres_server import PostgresServer
from tests.servers.redis_server import RedisServer

pytestmark = pytest.mark.faults

PROCESSES = 3
PICO = 10**12
TOO_MUCH = 100_000_000  # output tokens: more than any budget here
BUDGETS = {"small": Decimal("0.0012"), "leasing": Decimal(2), "refusing": Decimal(2)}
CALLERS = 3  # for each budget
BEFORE, AFTER = 1.5, 1.5  # seconds of load around the harm
LOST = 1.5  # seconds that a server stays away


class Heard:
    """What one request was answered, and when it was begun."""

    def __init__(self, team: str, begun: float, reply: Reply, noted: Told | None) -> None:
        self.team = team
        self.begun = begun
        self.reply = reply
        self.noted = noted


class Storm:
    """A gateway under load, with three budgets, over servers that can be harmed."""

    def __init__(
        self, gateway: GatewayProcess, postgres: PostgresServer, redis: RedisServer
    ) -> None:
        self.gateway = gateway
        self.postgres = postgres
        self.redis = redis
        self.keys: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        self.heard: list[Heard] = []
        self._over = False

    async def begin(self) -> None:
        """Make the keys, and start."""
        await self.gateway.first_key()
        run = self.gateway.administer
        for team, budget in BUDGETS.items():
            await run("teams", "create", team)
            self.keys[team] = await run("keys", "create", "--team", team)
            loss = "refuse" if team == "refusing" else "lease"
            words = ("budgets", "set", "--team", team, str(budget), "--period", "total")
            await run(*words, "--on-state-loss", loss)
        await self.gateway.start()

    async def rage(self, harm: Callable[["Storm"], Awaitable[None]]) -> None:
        """Have harm done under load, and see that all is right in the end."""
        calling = [
            asyncio.create_task(self._call(team, Random(f"{team}-{at}")))  # noqa: S311 - no secret
            for team in BUDGETS
            for at in range(CALLERS)
        ]
        await asyncio.sleep(BEFORE)
        await harm(self)
        healed = time.monotonic()
        await self._until_served(healed)
        await asyncio.sleep(AFTER)
        self._over = True
        await asyncio.gather(*calling)
        counters = {team: await self._settled(team) for team in BUDGETS}
        assert await self.gateway.stop() == 0, self.gateway.log
        self._check(read_ledger(self.gateway.installation), counters)

    async def _call(self, team: str, random: Random) -> None:
        """One request after the other, on connections that may break."""
        while not self._over:
            try:
                caller = await Caller.connect(self.gateway)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            while not (caller.lost or self._over):
                streamed = random.random() < 0.5
                tag = "[[fault=error500,at=moonshot]]" if random.random() < 0.05 else ""
                count = 60 if random.random() < 0.1 else random.randint(1, 6)
                text = f"[[n={count},think=0,pace=10]]{tag} so it is"
                begun = time.monotonic()
                body = chat(text, stream=streamed, max_tokens=max(20, count))
                caller.send("POST", PATH, body, key=self.keys[team])
                reply = await caller.until(lambda _: False, within=60.0)
                noted = told(reply, streamed=streamed) if reply.status == 200 else None
                self.heard.append(Heard(team, begun, reply, noted))
                if reply.status != 200:
                    await asyncio.sleep(0.03)
            caller.leave()

    async def _until_served(self, since: float) -> None:
        """Return once requests of both large budgets that were begun since are answered."""
        async with asyncio.timeout(40):
            for team in ("leasing", "refusing"):
                while not any(one.begun > since for one in self.answered(team)):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)

    def answered(self, team: str) -> list[Heard]:
        return [one for one in self.heard if one.team == team and one.reply.status == 200]

    async def _settled(self, team: str) -> Decimal:
        """What the counter says is spent, once nothing is held but leases."""
        share = Decimal("0.01") * BUDGETS[team] * PROCESSES
        async with asyncio.timeout(60):
            while True:
                body = chat("too much", max_tokens=TOO_MUCH)
                reply = await request(self.gateway, "POST", PATH, body, key=self.keys[team])
                if reply.status == 402:
                    said = exact(reply.body)["error"]["metadata"]
                    spent, held = Decimal(said["spent"]), Decimal(said["held"])
                    if held <= (0 if team == "refusing" else share):
                        return spent
                await asyncio.sleep(0.3)

    def _check(self, ledger: Ledger, counters: dict[str, Decimal]) -> None:
        whole = [one.noted for one in self.heard if one.noted and one.noted.cost is not None]
        assert len({noted.generation for noted in whole}) == len(whole) > 100
        for noted in whole:
            assert noted.cost is not None
            assert ledger.generations[noted.generation].result == "success"
            assert ledger.charged(noted.generation) == noted.cost * PICO, noted
        for one in self.heard:
            if one.noted and one.noted.cost is None and one.noted.pieces:
                assert ledger.charged(one.noted.generation) > 0
        ids = {
            row["id"]: row["name"]
            for row in self.gateway.read(
                "SELECT k.id, t.name FROM api_keys k JOIN teams t ON k.team_id = t.id"
            )
        }
        spent = dict.fromkeys(BUDGETS, 0)
        booked = [entry for entries in ledger.entries.values() for entry in entries]
        for entry in booked:
            spent[ids[entry.key_id]] += entry.charge_pico
        for team, budget in BUDGETS.items():
            exactly = Decimal(spent[team]) / PICO
            assert exactly <= budget, team
            refused = any(one.reply.status == 402 for one in self.heard if one.team == team)
            assert refused or team != "small", "the small budget is to be driven to its end"
            # Each charge is rounded up to nanos in the counter.
            assert exactly <= counters[team] <= exactly + Decimal(len(booked)) / 10**9, team
        assert journals(self.gateway.journal) == []
        log = self.gateway.log
        assert not [line for line in log if "Traceback" in line], "\n".join(log)


@pytest.fixture
async def storm(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Storm]:
    persistence = "with_its_data" in request.node.name
    with (
        PostgresServer(
            {"synchronous_commit": "on"}
        ) as postgres,  # what is committed outlives a kill
        RedisServer(tmp_path / "redis", persistence=persistence) as redis,
    ):
        async with SandboxServer("moonshot") as first, SandboxServer("novita") as second:
            settings = {
                "state": {"hold_ttl": 5},
                "endpoints": [
                    endpoint("one", first.base_url),
                    endpoint("two", second.base_url, kind="novita", price=DEARER),
                ],
            }
            form = Many(postgres, redis, PROCESSES)
            async with GatewayProcess(tmp_path, settings, form=form) as gateway:
                storm = Storm(gateway, postgres, redis)
                await storm.begin()
                yield storm


async def test_a_process_is_killed(storm: Storm) -> None:
    async def harm(storm: Storm) -> None:
        victim = storm.gateway.workers[0]
        os.kill(victim, signal.SIGKILL)

    await storm.rage(harm)


async def _away(storm: Storm, leave: Callable[[], None], come: Callable[[], None]) -> None:
    """Redis leaves for a while; nothing of the budget that refuses is spent in it."""
    await asyncio.to_thread(leave)
    begun = time.monotonic()
    await asyncio.sleep(LOST)
    until = time.monotonic()
    await asyncio.to_thread(come)
    asked = [one for one in storm.heard if one.team == "refusing" and begun < one.begun < until]
    assert asked
    # A call that waits for the server may be answered when it is back within the time for it.
    assert not [one for one in asked if one.reply.status == 200 and one.begun < until - 1]


async def test_redis_is_killed_and_comes_back_empty(storm: Storm) -> None:
    async def harm(storm: Storm) -> None:
        await _away(storm, storm.redis.kill, storm.redis.start)

    await storm.rage(harm)


async def test_redis_is_killed_and_comes_back_with_its_data(storm: Storm) -> None:
    async def harm(storm: Storm) -> None:
        await _away(storm, storm.redis.kill, storm.redis.start)

    await storm.rage(harm)


async def test_redis_hangs(storm: Storm) -> None:
    async def harm(storm: Storm) -> None:
        await _away(storm, storm.redis.pause, storm.redis.resume)

    await storm.rage(harm)


async def test_postgresql_is_killed_and_started_again(storm: Storm) -> None:
    """Keys in use go on: no request needs the database."""

    async def harm(storm: Storm) -> None:
        await asyncio.to_thread(storm.postgres.kill)
        begun = time.monotonic()
        await asyncio.sleep(LOST)
        await asyncio.to_thread(storm.postgres.start)
        served = [one for one in storm.answered("refusing") if one.begun > begun]
        assert len(served) > 5

    await storm.rage(harm)


async def test_postgresql_hangs(storm: Storm) -> None:
    async def harm(storm: Storm) -> None:
        storm.postgres.pause()
        begun = time.monotonic()
        await asyncio.sleep(LOST)
        storm.postgres.resume()
        served = [one for one in storm.answered("leasing") if one.begun > begun]
        assert len(served) > 5

    await storm.rage(harm)
