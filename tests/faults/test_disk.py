"""A disk that takes no more: new requests are refused, those under way are accounted for."""

import asyncio
import errno
import os
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from backends.sandbox import SandboxServer
from tests.contract.sandbox.caller import Caller, Reply, request
from tests.fakes.gateway_process import GatewayProcess
from tests.faults.books import Ledger, journals, read_ledger
from tests.faults.load import PATH, chat, ended, exact, pieces_of, told
from tests.faults.providers import endpoint

pytestmark = pytest.mark.faults

PICO = 10**12


@asynccontextmanager
async def running(gateway_folder: Path) -> AsyncIterator[tuple[GatewayProcess, str]]:
    async with SandboxServer("moonshot") as provider:
        settings = {"endpoints": [endpoint("one", provider.base_url)]}
        async with GatewayProcess(gateway_folder, settings) as gateway:
            yield gateway, await gateway.first_key()


async def ask(gateway: GatewayProcess, key: str) -> Reply:
    return await request(gateway, "POST", PATH, chat("[[n=2,think=0]]"), key=key)


async def long_stream(gateway: GatewayProcess, key: str) -> Caller:
    """A stream under way, of 60 pieces in three seconds."""
    caller = await Caller.connect(gateway)
    caller.send("POST", PATH, chat("[[n=60,pace=50,think=0]]", stream=True), key=key)
    await caller.until(lambda reply: pieces_of(reply) > 0)
    return caller


async def until_refused(gateway: GatewayProcess, key: str) -> list[Reply]:
    """Ask until the gateway refuses: the good answers before, then the refusal."""
    replies = []
    for _ in range(40):  # what a file system keeps of the last page may still be had
        replies.append(await ask(gateway, key))
        if replies[-1].status != 200:
            break
    return replies


async def until_ready(gateway: GatewayProcess) -> None:
    """Return once the gateway says that it takes requests."""
    async with asyncio.timeout(10):
        ready = await request(gateway, "GET", "/readyz", key=None)
        while ready.status != 200:
            await asyncio.sleep(0.05)  # it tries by the clock
            ready = await request(gateway, "GET", "/readyz", key=None)


async def check_refusal(gateway: GatewayProcess, refusal: Reply) -> None:
    assert refusal.status == 503
    assert exact(refusal.body)["error"]["code"] == "journal_unavailable"
    assert int(refusal.headers["retry-after"]) >= 1
    ready = await request(gateway, "GET", "/readyz", key=None)
    assert ready.status == 503


def check_booked(ledger: Ledger, replies: list[Reply]) -> None:
    """Whether each good answer is in the ledger at what it said it cost."""
    for reply in replies:
        assert ended(reply)
        streamed = reply.headers["content-type"].startswith("text/event-stream")
        known = told(reply, streamed=streamed)
        assert known is not None
        assert known.cost is not None
        assert ledger.generations[known.generation].result == "success"
        assert ledger.charged(known.generation) == known.cost * PICO > 0


def fill(folder: Path) -> Callable[[], None]:
    """Write until the disk is full; gives what makes room again."""
    path = folder / "filler"
    with closing(os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT), "wb", buffering=0)) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError as fault:
            assert fault.errno == errno.ENOSPC  # noqa: PT017 - the full disk is what is made here
    return path.unlink


@asynccontextmanager
async def small_disk(folder: Path) -> AsyncIterator[None]:
    """A file system of its own at `folder`, where this may be had."""
    folder.mkdir(parents=True)  # noqa: ASYNC240 - a folder of a test
    mount = ("mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tidegate-test", str(folder))
    if os.geteuid() != 0 or await status_of(*mount) != 0:
        pytest.skip("only root can mount a small disk")
    try:
        yield
    finally:
        # Lazily: whatever went wrong before, no mount is left behind.
        assert await status_of("umount", "--lazy", str(folder)) == 0


async def status_of(*command: str) -> int:
    process = await asyncio.create_subprocess_exec(*command)
    return await process.wait()


async def test_a_full_journal_disk_stops_admission_and_loses_nothing(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "data/journal"), running(tmp_path) as (gateway, key):
        await gateway.start()
        stream = await long_stream(gateway, key)
        make_room = fill(gateway.journal)
        *answered, refusal = await until_refused(gateway, key)
        await check_refusal(gateway, refusal)
        assert pieces_of(stream.reply) < 60
        streamed = await stream.whole()
        await check_refusal(gateway, await ask(gateway, key))  # it was full to the end

        # The ledger is elsewhere, and has it all the same, before there is room again.
        await until_booked(gateway, [*answered, streamed])
        make_room()
        await until_ready(gateway)
        answered.append(await ask(gateway, key))
        gateway.kill()
        await gateway.ended()
        await gateway.start()
        check_booked(read_ledger(gateway.data), [*answered, streamed])
        assert await gateway.stop() == 0
        assert journals(gateway.journal) == []


async def until_booked(gateway: GatewayProcess, replies: list[Reply]) -> None:
    wanted = {reply.headers["x-generation-id"] for reply in replies}
    async with asyncio.timeout(10):
        ledger = read_ledger(gateway.data)
        while not wanted <= ledger.generations.keys():
            await asyncio.sleep(0.05)  # the shipper goes by the clock
            ledger = read_ledger(gateway.data)
    check_booked(ledger, replies)


async def test_where_journal_and_ledger_are_full_it_is_booked_when_there_is_room(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as (gateway, key):
        await gateway.start()
        first = await ask(gateway, key)
        stream = await long_stream(gateway, key)
        before = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
        (journal,) = journals(gateway.journal)
        # No file can grow beyond this: the next line is cut off after its first bytes.
        size = journal.stat().st_size + 100
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (size, before[1]))
        *answered, refusal = await until_refused(gateway, key)
        await check_refusal(gateway, refusal)
        streamed = await stream.whole()
        assert ended(streamed)

        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, before)
        await until_ready(gateway)
        answered.append(await ask(gateway, key))
        gateway.kill()
        await gateway.ended()
        await gateway.start()
        check_booked(read_ledger(gateway.data), [first, *answered, streamed])
        assert not [line for line in gateway.log if "damaged" in line and "damaged=0" not in line]
        assert await gateway.stop() == 0
        assert journals(gateway.journal) == []
