"""Two hundred callers at once against a budget that is nearly empty: none of it is spent twice.

Some leave just before the last chunk, and pay for what they read. Where there are several processes one of
them is killed on the way.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from backends.sandbox import SandboxServer
from tests.contract.sandbox.caller import Caller, Reply, request
from tests.fakes.forms import Many
from tests.fakes.gateway_process import GatewayProcess
from tests.faults.books import Ledger, read_ledger
from tests.faults.load import PATH, chat, ended, exact, generation_of, pieces_of, told
from tests.faults.providers import endpoint
from tests.servers.postgres_server import PostgresServer
from tests.servers.redis_server import RedisServer

pytestmark = pytest.mark.faults

CALLERS = 200
PROCESSES = 3
PIECES = 300
BUDGET = Decimal("0.03")  # each request holds a quarter of it and costs a twenty-fifth
MOST = 2000  # output tokens
OF_A_PIECE = 4_000_000  # picos
PICO = 10**12
TOO_MUCH = 100_000_000  # output tokens: 400 dollars
FORMS = (
    "one process, SQLite",
    "three processes, SQLite, Redis",
    "three processes, PostgreSQL, Redis",
)


@pytest.fixture(params=FORMS)
async def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[GatewayProcess]:
    with PostgresServer() as postgres, RedisServer(tmp_path / "redis") as redis:
        async with SandboxServer("moonshot") as upstream:
            settings: dict[str, Any] = {"endpoints": [endpoint("one", upstream.base_url)]}
            form = None
            if "Redis" in request.param:
                settings["state"] = {"hold_ttl": 5, "lease_share": 0}
            if "PostgreSQL" in request.param:
                form = Many(postgres, redis, PROCESSES)
            elif "Redis" in request.param:
                settings["state"] |= {"url": redis.url}
                settings["server"] = {"workers": PROCESSES}
            async with GatewayProcess(tmp_path, settings, form=form) as process:
                yield process


async def ask(gateway: GatewayProcess, key: str, at: int) -> Reply:
    """One stream; each fifth caller leaves when a few pieces are missing."""
    try:
        caller = await Caller.connect(gateway)
    except OSError:  # the process that it waited for has died
        return Reply()
    try:
        body = chat(f"[[n={PIECES},pace=1,think=0]]", stream=True, max_tokens=MOST)
        caller.send("POST", PATH, body, key=key)
        leaves = at % 5 == 0
        return await caller.until(
            lambda reply: leaves and reply.body.count(b'"content"') >= PIECES - 5, within=60.0
        )
    finally:
        caller.leave()


async def counter(gateway: GatewayProcess, key: str) -> tuple[Decimal, Decimal]:
    """What the budget's counter says is spent and held."""
    refusal = await request(gateway, "POST", PATH, chat("a lot", max_tokens=TOO_MUCH), key=key)
    assert refusal.status == 402, refusal.body
    said = exact(refusal.body)["error"]["metadata"]
    return Decimal(said["spent"]), Decimal(said["held"])


async def until_nothing_is_held(gateway: GatewayProcess, key: str) -> Decimal:
    async with asyncio.timeout(60):
        while (await counter(gateway, key))[1]:  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.1)
    return (await counter(gateway, key))[0]


async def race(
    gateway: GatewayProcess, key: str, harm: Callable[[], Awaitable[None]]
) -> list[Reply]:
    """Waves of callers until not one is served any more; what was not refused."""
    served: list[Reply] = []
    for wave in range(40):
        calling = [asyncio.create_task(ask(gateway, key, at)) for at in range(CALLERS)]
        if wave == 1:
            await harm()
        replies = await asyncio.gather(*calling)
        assert {reply.status for reply in replies} <= {0, 200, 402}
        good = [reply for reply in replies if reply.status == 200]
        served += good
        await until_nothing_is_held(gateway, key)
        if wave > 1 and not good:
            return served
    raise AssertionError("the budget does not come to its end")


async def test_a_nearly_empty_budget_is_never_passed(gateway: GatewayProcess) -> None:
    await gateway.first_key()
    key = await gateway.administer(
        *("keys", "create", "--team", "default", "--budget", str(BUDGET), "--period", "total")
    )
    await gateway.start()

    async def harm() -> None:
        if len(gateway.workers) > 1:
            await asyncio.sleep(0.2)  # some way into the streams
            os.kill(gateway.workers[0], signal.SIGKILL)

    served = await race(gateway, key, harm)
    spent = await until_nothing_is_held(gateway, key)
    assert await gateway.stop() == 0
    ledger = read_ledger(gateway.installation)
    in_ledger = Decimal(ledger.spent()) / PICO
    assert BUDGET - Decimal("0.0085") < in_ledger <= BUDGET  # to its end, and not beyond
    assert in_ledger <= spent <= in_ledger + Decimal(len(ledger.entries)) / 10**9
    check(served, ledger)
    assert list(gateway.journal.iterdir()) == []


def check(served: list[Reply], ledger: Ledger) -> None:
    """Each was charged what it was told, or what it read."""
    whole = [reply for reply in served if ended(reply)]
    assert whole
    for reply in whole:
        noted = told(reply, streamed=True)
        assert noted is not None
        assert noted.cost is not None
        assert ledger.charged(noted.generation) == noted.cost * PICO
    parted = 0
    for reply in served:
        generation = ledger.generations[generation_of(reply)]
        if generation.result == "cancelled":
            parted += 1
            assert ledger.charged(generation.id) >= pieces_of(reply) * OF_A_PIECE > 0
        elif not ended(reply):  # its process was killed
            assert (generation.result, generation.error_code) == ("aborted", "process_died")
            assert ledger.charged(generation.id) > 0 or not pieces_of(reply)
    assert parted, "somebody leaves just before the last chunk"
