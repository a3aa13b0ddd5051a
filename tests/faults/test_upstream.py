"""Upstreams that die, stall, flood and come back: what their callers see, and what it costs."""

import asyncio
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from backends.sandbox import SandboxServer
from tests.contract.sandbox.caller import Caller, Reply, request
from tests.fakes import raw_server
from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.raw_server import Peer
from tests.faults.load import PATH, chat, ended, events_of, exact, generation_of, pieces_of
from tests.faults.providers import DEARER, endpoint

pytestmark = pytest.mark.faults

FIRST_BYTE = 0.4
IDLE = 0.5
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


class Setting:
    """A gateway before two stand-ins; the first is the cheaper one, which is asked first."""

    def __init__(
        self, gateway: GatewayProcess, key: str, first: SandboxServer, second: SandboxServer
    ) -> None:
        self.gateway = gateway
        self.key = key
        self.first = first
        self.second = second

    async def ask(self, content: str, **fields: Any) -> Reply:
        return await request(self.gateway, "POST", PATH, chat(content, **fields), key=self.key)

    async def booked(self, reply: Reply) -> dict[str, Any]:
        """What the gateway tells of a generation."""
        path = f"/api/v1/generation?id={generation_of(reply)}"
        told = await request(self.gateway, "GET", path, key=self.key)
        assert told.status == 200, told.body
        data: dict[str, Any] = exact(told.body)["data"]
        return data


@pytest.fixture
async def setting(tmp_path: Path) -> AsyncIterator[Setting]:
    timeouts = {"connect": 1.0, "first_byte": FIRST_BYTE, "idle": IDLE}
    async with SandboxServer("moonshot") as first, SandboxServer("novita") as second:
        dearer = endpoint("two", second.base_url, kind="novita", price=DEARER, timeouts=timeouts)
        settings = {"endpoints": [endpoint("one", first.base_url, timeouts=timeouts), dearer]}
        async with GatewayProcess(tmp_path, settings) as gateway:
            key = await gateway.first_key()
            await gateway.start()
            yield Setting(gateway, key, first, second)


@pytest.mark.parametrize("how", ["rst", "fin"])
async def test_a_stream_that_dies_ends_with_an_error_and_is_charged(
    setting: Setting, how: str
) -> None:
    reply = await setting.ask(f"[[fault=cut,after=3,how={how},think=0]]", stream=True)
    assert reply.status == 200
    assert reply.complete  # the caller's own connection did not break
    assert not ended(reply)
    assert pieces_of(reply) == 3
    last = events_of(reply)[-1]
    assert last["error"]["code"] in {"connection_lost", "bad_reply"}
    booked = await setting.booked(reply)
    assert booked["result"] == "failed"
    assert booked["basis"] == "estimated"
    assert booked["tokens_completion"] >= 3
    assert booked["total_cost"] > 0
    assert setting.second.received.count == 0  # the answer had begun: nobody else may go on with it


async def test_a_stream_that_falls_silent_ends_with_an_error_and_is_charged(
    setting: Setting,
) -> None:
    reply = await setting.ask("[[fault=stall_after_head,after=2,think=0]]", stream=True)
    assert pieces_of(reply) == 2
    assert events_of(reply)[-1]["error"]["code"] == "timeout"
    assert (await setting.booked(reply))["total_cost"] > 0
    await setting.first.cancelled.wait(1)  # the silent connection is given up


@pytest.mark.parametrize("stream", [True, False])
async def test_a_stall_before_the_first_byte_costs_its_deadline_and_no_more(
    setting: Setting, *, stream: bool
) -> None:
    began = time.monotonic()
    reply = await setting.ask("[[fault=stall,at=moonshot]]", stream=stream)
    took = time.monotonic() - began
    assert reply.status == 200
    assert ended(reply)
    assert reply.headers["x-tidegate-provider"] == "two"
    assert FIRST_BYTE <= took < FIRST_BYTE + 1.5
    stalled, answered = (await setting.booked(reply))["provider_responses"]
    assert (stalled["error_code"], stalled["charge"]) == ("timeout", Decimal(0))
    assert (answered["result"], answered["provider_name"]) == ("success", "two")
    await setting.first.cancelled.wait(1)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_endpoint_that_only_says_that_it_is_there_is_given_up(
    tmp_path: Path, *, stream: bool
) -> None:
    """It sends its head at once and a comment now and then, so that it is never silent."""

    async def busy(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD)
        while True:
            await peer.send(b"10\r\n: still working\n\r\n")
            await asyncio.sleep(FIRST_BYTE / 8)  # the pace is the point

    timeouts = {"connect": 1.0, "first_byte": FIRST_BYTE, "idle": IDLE}
    async with raw_server.serve(busy) as server, SandboxServer("novita") as second:
        base_url = f"http://127.0.0.1:{server.origin.port}/v1"
        dearer = endpoint("two", second.base_url, kind="novita", price=DEARER, timeouts=timeouts)
        settings = {"endpoints": [endpoint("one", base_url, timeouts=timeouts), dearer]}
        async with GatewayProcess(tmp_path, settings) as gateway:
            key = await gateway.first_key()
            await gateway.start()
            reply = await request(gateway, "POST", PATH, chat("hello", stream=stream), key=key)
            assert reply.status == 200
            assert reply.headers["x-tidegate-attempts"] == "2"
            told = await request(
                gateway, "GET", f"/api/v1/generation?id={generation_of(reply)}", key=key
            )
            first, second_try = exact(told.body)["data"]["provider_responses"]
            assert (first["error_code"], second_try["result"]) == ("timeout", "success")
            await (await server.peer(0)).gone.wait()  # it is not left running


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("error500", 502, "upstream_fault"),
        ("error503", 503, "provider_unavailable"),
        ("stall", 504, "timeout"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_where_all_fail_one_error_lists_every_attempt(
    setting: Setting, fault: str, status: int, code: str, *, stream: bool
) -> None:
    reply = await setting.ask(f"[[fault={fault}]]", stream=stream)
    assert reply.status == status
    error = exact(reply.body)["error"]
    assert error["code"] == code
    attempts = error["metadata"]["attempts"]
    assert [attempt["endpoint"] for attempt in attempts] == ["one/kimi", "two/kimi"]
    assert {attempt["code"] for attempt in attempts} == {code}
    booked = await setting.booked(reply)
    assert (booked["result"], booked["total_cost"]) == ("failed", Decimal(0))
    assert len(booked["provider_responses"]) == 2


async def test_upstreams_that_are_down_and_come_back_serve_again(setting: Setting) -> None:
    await setting.ask("[[think=0]]")  # so that there is a connection to lose
    setting.first.stop_listening()
    setting.second.stop_listening()
    for _ in range(4):  # one more than sets an endpoint aside
        down = await setting.ask("hello")
        assert down.status == 503
        attempts = exact(down.body)["error"]["metadata"]["attempts"]
        assert {attempt["endpoint"] for attempt in attempts} == {"one/kimi", "two/kimi"}
    await setting.second.start()
    back = await setting.ask("hello")  # all are set aside, and yet they are asked
    assert (back.status, back.headers["x-tidegate-provider"]) == (200, "two")


async def test_an_endpoint_that_asked_for_a_pause_is_first_again_after_it(
    setting: Setting,
) -> None:
    pause = 1.0
    fault = f"[[fault=error429_overloaded,retry_after={pause},at=moonshot]]"
    first = await setting.ask(fault)
    asked = time.monotonic()
    assert first.headers["x-tidegate-provider"] == "two"
    assert first.headers["x-tidegate-attempts"] == "2"
    await first_again(setting, seen=1)
    assert pause - 0.1 <= time.monotonic() - asked < pause + 1.5


@pytest.mark.timeout(60)
async def test_an_endpoint_that_died_is_left_alone_until_its_pause_is_over(
    setting: Setting,
) -> None:
    setting.first.stop_listening()
    for _ in range(3):
        served = await setting.ask("hello")
        assert served.headers["x-tidegate-attempts"] == "2"
    died = time.monotonic()
    await setting.first.start()
    await first_again(setting, seen=0)
    assert 4.9 <= time.monotonic() - died < 7.0  # breaker.FIRST_PAUSE is 5 s


async def first_again(setting: Setting, seen: int) -> None:
    """Ask until the cheaper endpoint answers; until then it must not even be tried."""
    async with asyncio.timeout(15):
        while True:
            reply = await setting.ask("hello")
            assert reply.status == 200
            assert "x-tidegate-attempts" not in reply.headers
            if reply.headers["x-tidegate-provider"] == "one":
                return
            assert setting.first.received.count == seen
            await asyncio.sleep(0.1)  # a pause ends by the clock alone


async def test_the_connection_of_a_caller_survives_all_of_it(setting: Setting) -> None:
    caller = await Caller.connect(setting.gateway)
    for tag in ("[[fault=cut,after=1]]", "[[fault=error500]]", "[[fault=stall]]", "hello"):
        caller.send("POST", PATH, chat(tag, stream=True), key=setting.key)
        reply = await caller.whole()
        assert reply.complete
        assert not caller.lost
    assert ended(reply)
    caller.leave()
