"""The sandbox keeps count of what reaches it, and holds up as an HTTP server."""

import asyncio
import json
import signal
import sys
from typing import Any

import openai
import pytest
import uvloop

from backends.sandbox import SandboxServer
from tests.contract.sandbox.caller import TOOL, Caller, chat, chat_body, chat_path, request


async def test_what_reached_the_provider_can_be_read_without_its_key(
    moonshot: SandboxServer,
) -> None:
    body = chat_body(moonshot, "hello", top_k=5)
    own = {"X-Own": "yes"}
    await request(moonshot, "POST", chat_path(moonshot), body, key="sk-secret", headers=own)
    (received,) = moonshot.requests
    assert received.body == body
    assert received.headers["x-own"] == "yes"
    assert received.headers["authorization"] == "Bearer ***"
    shown = await request(moonshot, "GET", "/__sandbox/requests", key=None)
    assert b"sk-secret" not in shown.body
    assert shown.json["last"][0]["body"] == body
    counts = {name: shown.json[name] for name in ("requests", "completed", "in_flight")}
    assert counts == {"requests": 1, "completed": 1, "in_flight": 0}


async def test_counters_tell_how_requests_ended(moonshot: SandboxServer) -> None:
    await chat(moonshot)
    await chat(moonshot, "[[fault=cut]]", stream=True)
    await request(moonshot, "GET", "/v1/models")
    caller = await Caller.connect(moonshot)
    caller.send("POST", chat_path(moonshot), chat_body(moonshot, "[[fault=stall]]"))
    await moonshot.received.wait(3)
    shown = (await request(moonshot, "GET", "/__sandbox/requests")).json
    del shown["last"]
    assert shown == {
        "requests": 3,
        "completed": 1,
        "cancelled": 0,
        "broken": 1,
        "in_flight": 1,
        "other_paths": {"GET /v1/models": 1},
    }
    reset = (await request(moonshot, "DELETE", "/__sandbox/requests")).json
    assert (reset["requests"], reset["in_flight"], reset["last"]) == (1, 1, [])
    caller.leave()
    await moonshot.cancelled.wait()


async def test_only_the_newest_fifty_requests_are_kept(moonshot: SandboxServer) -> None:
    caller = await Caller.connect(moonshot)
    for number in range(52):
        caller.send("POST", chat_path(moonshot), chat_body(moonshot, f"number {number}"))
        await caller.whole()
    assert len(moonshot.requests) == 50
    assert moonshot.requests[0].body["messages"][0]["content"] == "number 2"
    assert moonshot.completed.count == 52
    caller.leave()


async def test_waiting_for_what_does_not_happen_ends(moonshot: SandboxServer) -> None:
    with pytest.raises(TimeoutError):
        await moonshot.cancelled.wait(within=0.01)


async def test_a_connection_serves_one_request_after_the_other(server: SandboxServer) -> None:
    caller = await Caller.connect(server)
    for stream in (True, False, True):
        caller.send("POST", chat_path(server), chat_body(server, stream=stream))
        assert (await caller.whole()).complete
    assert not caller.lost
    caller.send("GET", "/nowhere", headers={"Connection": "close"})
    assert (await caller.whole()).status == 404
    await caller.until(lambda _: False)
    await caller.gone()


async def test_a_large_prompt_is_taken_whole_but_not_kept(moonshot: SandboxServer) -> None:
    content = "word " * 800_000  # 4 MB
    expect = {"Expect": "100-continue"}
    body = chat_body(moonshot, content)
    reply = await request(moonshot, "POST", chat_path(moonshot), body, headers=expect)
    assert reply.json["usage"]["prompt_tokens"] == 1_000_000
    assert moonshot.requests[0].body is None
    assert moonshot.requests[0].size > 4_000_000


@pytest.mark.parametrize("raw", [b"{", b"[]", b'{"messages":"none"}', b'{"n":"two"}'])
async def test_a_body_that_cannot_be_read_is_the_callers_fault(
    server: SandboxServer, raw: bytes
) -> None:
    reply = await request(server, "POST", chat_path(server), raw)
    assert reply.status == 400


async def test_what_is_not_http_is_told_so(moonshot: SandboxServer) -> None:
    caller = await Caller.connect(moonshot)
    assert caller.transport is not None
    caller.transport.write(b"nonsense\r\n\r\n")
    reply = await caller.whole()
    assert reply.status == 400


async def test_a_wrong_method_is_refused(server: SandboxServer) -> None:
    assert (await request(server, "GET", chat_path(server))).status == 405
    assert (await request(server, "DELETE", "/v1/unknown")).status == 404


async def test_openais_own_client_understands_whole_replies_and_streams(
    moonshot: SandboxServer,
) -> None:
    async with openai.AsyncOpenAI(base_url=moonshot.base_url, api_key="sk-x") as client:
        tools: Any = [TOOL]
        messages: Any = [{"role": "user", "content": "hello"}]
        whole = await client.chat.completions.create(
            model="kimi-k3", messages=messages, tools=tools
        )
        calls: Any = whole.choices[0].message.tool_calls
        assert json.loads(calls[0].function.arguments) == {"city": "Paris"}
        stream = await client.chat.completions.create(
            model="kimi-k3", messages=messages, stream=True
        )
        text = ""
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
        assert text.startswith("This is Tidegate's sandbox of Moonshot AI, not a model.")
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="gone", messages=messages)


def test_resets_are_resets_on_uvloop_too() -> None:
    async def cut() -> BaseException | None:
        async with SandboxServer() as server:
            return (await chat(server, "[[fault=cut,after=1]]", stream=True)).error

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert isinstance(runner.run(cut()), ConnectionResetError)


async def test_the_program_tells_its_ports_and_ends_on_sigterm() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "backends.sandbox",
        *("--moonshot-port", "0", "--novita-port", "0"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    ports = json.loads(await process.stdout.readline())
    assert list(ports) == ["moonshot", "novita"]
    server = SandboxServer("novita", port=ports["novita"])  # not started: an address to call
    assert (await chat(server)).status == 200
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
