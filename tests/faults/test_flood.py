"""Upstreams that send without end: the gateway's memory stays as it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typing_extensions import override

from tests.contract.sandbox.caller import Caller, request
from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.raw_server import Peer, RawServer, serve
from tests.faults.load import PATH, chat, ended, events_of, exact
from tests.faults.providers import endpoint

pytestmark = pytest.mark.faults

MIB = 2**20
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
TEXT = b"x" * 65_536  # large, so that a flood is not over its output cap at once
GROWTH = 24.0  # MiB that the gateway may take for one call, whatever its upstream sends


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def piece(text: bytes) -> bytes:
    """One piece of answer as an event in an HTTP chunk."""
    choice = b'{"index":0,"delta":{"content":"%b"},"finish_reason":null}' % text
    return chunk(b'data: {"id":"chatcmpl-1","choices":[%b]}\n\n' % choice)


class Thirsty(Caller):
    """A caller who only counts what it is given."""

    drunk = 0

    @override
    def on_body(self, body: bytes) -> None:
        self.drunk += len(body)


class Flood:
    """An upstream that sends pieces for as long as somebody takes them."""

    def __init__(self) -> None:
        self.sent = 0

    async def __call__(self, peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD)
        events = piece(TEXT)
        while True:
            await peer.send(events)
            self.sent += len(events)

    async def stalled(self) -> int:
        """Bytes sent, once the writer has been stuck for a while."""
        async with asyncio.timeout(30):
            while True:
                before = self.sent
                await asyncio.sleep(0.5)  # that nothing happens is seen only by waiting
                if before == self.sent > 0:
                    return before


@asynccontextmanager
async def before(server: RawServer, folder: Path) -> AsyncIterator[tuple[GatewayProcess, str]]:
    """A gateway that runs before a script, warmed up."""
    base_url = f"http://127.0.0.1:{server.origin.port}/v1"
    settings = {"endpoints": [endpoint("flood", base_url, kind="openai_compat")]}
    async with GatewayProcess(folder, settings) as gateway:
        key = await gateway.first_key()
        await gateway.start()
        await request(gateway, "POST", PATH, b"{}", key=key)  # what is imported late is imported
        yield gateway, key


@pytest.mark.timeout(120)
async def test_a_caller_who_does_not_read_stops_the_upstream(tmp_path: Path) -> None:
    flood = Flood()
    async with serve(flood) as server, before(server, tmp_path) as (gateway, key):
        caller = await Thirsty.connect(gateway)
        assert isinstance(caller, Thirsty)
        memory = gateway.resident_mib()
        caller.send("POST", PATH, chat("hello", stream=True), key=key)
        await caller.until(lambda _: caller.drunk > 0)
        assert caller.transport is not None
        caller.transport.pause_reading()
        stuck = await flood.stalled()
        assert stuck < 32 * MIB  # what sockets and the gateway's own buffers take
        assert gateway.resident_mib() - memory < GROWTH

        caller.transport.resume_reading()
        # It goes on where it stopped, nearly to where an answer is too long to be one (32 MiB).
        await caller.until(lambda _: caller.drunk > 30 * MIB)
        assert gateway.resident_mib() - memory < GROWTH
        assert flood.sent > stuck
        caller.leave()
        await (await server.peer(0)).gone.wait()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_event_without_end_is_given_up(tmp_path: Path, *, stream: bool) -> None:
    sent = 0

    async def endless_event(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(HEAD + chunk(b'data: {"id":"chatcmpl-1","choices":[{"delta":{"content":"'))
        block = chunk(b"x" * 65_536)
        while True:
            await peer.send(block)
            sent += len(block)

    async with serve(endless_event) as server, before(server, tmp_path) as (gateway, key):
        memory = gateway.resident_mib()
        reply = await request(gateway, "POST", PATH, chat("hello", stream=stream), key=key)
        assert (reply.status, exact(reply.body)["error"]["code"]) == (502, "bad_reply")
        await (await server.peer(0)).gone.wait()
        assert sent < 32 * MIB
        assert gateway.resident_mib() - memory < GROWTH


@pytest.mark.timeout(120)
async def test_an_event_without_end_after_a_piece_ends_the_stream(tmp_path: Path) -> None:
    async def endless_event(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + piece(b"good"))
        block = chunk(b"x" * 65_536)
        while True:
            await peer.send(block)

    async with serve(endless_event) as server, before(server, tmp_path) as (gateway, key):
        reply = await request(gateway, "POST", PATH, chat("hello", stream=True), key=key)
        assert not ended(reply)
        assert events_of(reply)[-1]["error"]["code"] == "bad_reply"
        await (await server.peer(0)).gone.wait()


@pytest.mark.timeout(120)
async def test_a_whole_answer_without_end_is_given_up(tmp_path: Path) -> None:
    flood = Flood()
    async with serve(flood) as server, before(server, tmp_path) as (gateway, key):
        memory = gateway.resident_mib()
        caller = await Caller.connect(gateway)
        caller.send("POST", PATH, chat("hello"), key=key)
        reply = await caller.until(lambda _: False, within=60)
        assert (reply.status, exact(reply.body)["error"]["code"]) == (502, "bad_reply")
        caller.leave()
        await (await server.peer(0)).gone.wait()
        assert flood.sent < 80 * MIB
        assert gateway.resident_mib() - memory < 96  # one answer may have 32 MiB
