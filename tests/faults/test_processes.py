"""Several processes on one socket: all serve, those that die are replaced, none outlives its parent."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from backends.sandbox import SandboxServer
from tests.contract.sandbox.caller import Caller, Reply, request
from tests.fakes.gateway_process import GatewayProcess
from tests.faults.books import read_ledger
from tests.faults.load import PATH, chat, ended, exact, generation_of
from tests.faults.providers import endpoint
from tests.servers.redis_server import RedisServer

pytestmark = pytest.mark.faults
PROCESSES = 3
BUDGET = Decimal("0.50")
TOO_MUCH = 100_000_000  # output tokens: 400 dollars
PICO = 10**12


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
async def upstream() -> AsyncIterator[SandboxServer]:
    async with SandboxServer("moonshot") as server:
        yield server


def settings(redis: RedisServer, upstream: SandboxServer, **server: Any) -> dict[str, Any]:
    return {
        "server": {"workers": PROCESSES, **server},
        "state": {"url": redis.url, "hold_ttl": 5, "lease_share": 0},
        "endpoints": [endpoint("one", upstream.base_url)],
    }


@pytest.fixture
async def gateway(
    tmp_path: Path, redis: RedisServer, upstream: SandboxServer
) -> AsyncIterator[GatewayProcess]:
    async with GatewayProcess(tmp_path, settings(redis, upstream)) as process:
        yield process


async def started(gateway: GatewayProcess) -> str:
    """A key, once it serves."""
    key = await gateway.first_key()
    await gateway.start()
    return key


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def until(true: Callable[[], bool], within: float = 30.0) -> None:
    """Return once it is so; of other processes nothing can be awaited."""
    async with asyncio.timeout(within):
        while not true():  # noqa: ASYNC110 - nothing to await
            await asyncio.sleep(0.05)


def boot(reply: Reply) -> str:
    """Which process served it: the end of each id is that of its process."""
    return generation_of(reply)[-8:]


async def ask(gateway: GatewayProcess, key: str, text: str = "[[n=2,think=0]]", **f: Any) -> Reply:
    caller = await Caller.connect(gateway)
    try:
        caller.send("POST", PATH, chat(text, **f), key=key)
        return await caller.until(lambda _: False, within=60.0)
    finally:
        caller.leave()


async def asked_of_all(gateway: GatewayProcess, key: str, **fields: Any) -> int:
    """Have all processes serve; how many requests that took, as one may take most of a burst."""
    count, seen = 0, set[str]()
    async with asyncio.timeout(60):
        while len(seen) < PROCESSES:
            asking = (ask(gateway, key, "[[wait=100]]", **fields) for _ in range(60))
            replies = await asyncio.gather(*asking)
            assert {reply.status for reply in replies} == {200}
            seen |= {boot(reply) for reply in replies}
            count += len(replies)
    return count


async def metric(gateway: GatewayProcess, name: str) -> float:
    reply = await request(gateway, "GET", "/metrics")
    found = [line for line in reply.body.decode().splitlines() if line.startswith(name)]
    return sum(float(line.rpartition(" ")[2]) for line in found)


async def test_all_processes_serve_on_one_port_and_any_of_them_tells_the_metrics_of_all(
    gateway: GatewayProcess,
) -> None:
    key = await started(gateway)
    count = await asked_of_all(gateway, key)
    for _ in range(5):  # whichever process is asked
        assert await metric(gateway, "tidegate_requests_total") == count
        assert await metric(gateway, "tidegate_workers") == PROCESSES
    assert await gateway.stop() == 0
    assert not [line for line in gateway.log if "Traceback" in line]


async def test_a_process_that_is_killed_is_replaced_and_its_counts_stay(
    gateway: GatewayProcess,
) -> None:
    key = await started(gateway)
    await asyncio.gather(*(ask(gateway, key) for _ in range(30)))
    assert await metric(gateway, "tidegate_requests_total") == 30
    victim = children(gateway.pid)[0]
    os.kill(victim, signal.SIGKILL)
    await until(lambda: victim not in children(gateway.pid))
    assert (await ask(gateway, key)).status == 200  # the others go on
    assert await metric(gateway, "tidegate_requests_total") == 31
    async with asyncio.timeout(30):
        while await metric(gateway, "tidegate_workers") < PROCESSES:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)
    assert len(children(gateway.pid)) == PROCESSES
    assert await metric(gateway, "tidegate_worker_restarts_total") == 1
    assert [line for line in gateway.log if f"process {victim} ended with status -9" in line]


async def counter(gateway: GatewayProcess, key: str) -> tuple[Decimal, Decimal]:
    """What the budget's counter says is spent and held: a request that it cannot cover is told."""
    refusal = await ask(gateway, key, "too much", max_tokens=TOO_MUCH)
    assert refusal.status == 402, refusal.body
    said = exact(refusal.body)["error"]["metadata"]
    return Decimal(said["spent"]), Decimal(said["held"])


async def test_what_a_killed_process_held_is_settled_once_and_no_budget_is_overspent(
    gateway: GatewayProcess,
) -> None:
    await started(gateway)
    key = await gateway.administer("keys", "create", "--team", "default", "--budget", str(BUDGET))
    running = []
    for _ in range(24):
        stream = ask(gateway, key, "[[n=300,pace=20,think=0]]", stream=True, max_tokens=2000)
        running.append(asyncio.create_task(stream))
        await asyncio.sleep(0.02)  # of a burst one process may take all
    await asyncio.sleep(1.5)  # some way into their streams
    _, held = await counter(gateway, key)
    assert held > 0
    victim = max(
        children(gateway.pid), key=lambda pid: len(list(Path(f"/proc/{pid}/fd").iterdir()))
    )
    os.kill(victim, signal.SIGKILL)
    replies = [reply for reply in await asyncio.gather(*running) if reply.status == 200]
    cut = [reply for reply in replies if not ended(reply)]
    whole = [reply for reply in replies if ended(reply)]
    assert cut
    assert whole
    assert len({boot(reply) for reply in cut}) == 1
    async with asyncio.timeout(60):
        while (await counter(gateway, key))[1]:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.5)
    spent, _ = await counter(gateway, key)
    assert 0 < spent <= BUDGET
    assert await gateway.stop() == 0
    ledger = read_ledger(gateway.data)
    for reply in cut:
        generation = ledger.generations[generation_of(reply)]
        assert (generation.result, generation.error_code) == ("aborted", "process_died")
        assert ledger.charged(generation.id) > 0
    in_ledger = Decimal(ledger.spent()) / PICO
    assert in_ledger <= spent <= in_ledger + Decimal(len(replies)) / 10**9  # each rounded up
    assert list(gateway.journal.iterdir()) == []


async def test_a_stop_lets_streams_of_all_processes_end(
    gateway: GatewayProcess, upstream: SandboxServer
) -> None:
    key = await started(gateway)
    running = [
        asyncio.create_task(ask(gateway, key, "[[n=40,pace=25,think=0]]", stream=True))
        for _ in range(12)
    ]
    await upstream.received.wait(12)
    gateway.terminate()
    for reply in await asyncio.gather(*running):
        assert reply.body.endswith(b"data: [DONE]\n\n")
    assert await gateway.ended() == 0
    assert list(gateway.journal.iterdir()) == []  # all is in the ledger


async def test_no_process_outlives_a_supervisor_that_is_killed(
    gateway: GatewayProcess, upstream: SandboxServer
) -> None:
    key = await started(gateway)
    running = asyncio.create_task(ask(gateway, key, "[[n=40,pace=25,think=0]]", stream=True))
    await upstream.received.wait(1)
    processes = children(gateway.pid)
    assert len(processes) == PROCESSES
    gateway.kill()
    assert (await running).body.endswith(b"data: [DONE]\n\n")  # what runs may end
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes))
    await gateway.ended()
    await gateway.start()  # and nothing of it is in the way
    assert (await ask(gateway, key)).status == 200


async def test_a_process_that_dies_at_its_start_ends_the_start(gateway: GatewayProcess) -> None:
    await gateway.first_key()
    gateway.journal.write_text("in the way of a folder")
    await gateway.begin()
    assert await gateway.ended() == 2
    assert not gateway.listening
    assert [line for line in gateway.log if "before it served; nothing is served" in line]


async def test_a_second_gateway_on_the_folder_is_refused(gateway: GatewayProcess) -> None:
    await started(gateway)
    second = GatewayProcess.__new__(GatewayProcess)
    second.__dict__.update(gateway.__dict__, _process=None)
    async with second:
        await second.begin()
        assert await second.ended() == 2
        assert [line for line in second.log if "another gateway is running" in line]


async def test_settings_are_changed_in_all_processes_or_in_none(
    gateway: GatewayProcess, redis: RedisServer, upstream: SandboxServer
) -> None:
    key = await started(gateway)
    running = asyncio.create_task(ask(gateway, key, "[[n=40,pace=25,think=0]]", stream=True))
    await upstream.received.wait(1)
    tree = settings(redis, upstream, port=1)
    tree["endpoints"].append(endpoint("two", upstream.base_url) | {"serves": "tests/new"})
    gateway.configure(tree)
    os.kill(gateway.pid, signal.SIGHUP)
    await until(lambda: any("the settings are taken" in line for line in gateway.log))
    assert [line for line in gateway.log if "server.port changed, which takes a restart" in line]
    await asked_of_all(gateway, key, model="tests/new")
    assert (await running).body.endswith(b"data: [DONE]\n\n")

    tree["endpoints"][1].pop("price")
    tree["request"] = {"max_attempts": 0}
    gateway.configure(tree)
    os.kill(gateway.pid, signal.SIGHUP)
    await until(lambda: any("reload: refused" in line for line in gateway.log))
    assert [line for line in gateway.log if "request.max_attempts" in line]
    assert await metric(gateway, "tidegate_config_reload_failed") == 1
    assert (await ask(gateway, key, model="tests/new")).status == 200

    gateway.configure(settings(redis, upstream))
    os.kill(gateway.pid, signal.SIGHUP)
    await until(lambda: sum("the settings are taken" in line for line in gateway.log) == 2)
    assert await metric(gateway, "tidegate_config_reload_failed") == 0
    assert (await ask(gateway, key, model="tests/new")).status == 404
