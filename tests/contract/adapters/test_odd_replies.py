"""Replies that no sandbox sends: each is taken for what it is, or refused, and never waited for."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec import Raw

from backends import BackendError, Call, Endpoint, HttpClient, open_backends
from backends.errors import BadReply, Overloaded, RateLimited
from tests.contract.adapters.upstream import Ended, read
from tests.fakes.answers import Answer
from tests.fakes.raw_server import Peer, serve

CALL = Call(fields={"messages": Raw(b"[]")}, stream=True, output_cap=9, request_id="g")
WHOLE = b'{"id":"x","choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}'
TEXT = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
END = b'data: {"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
HI = Answer(content="Hi", finish=[("stop", "stop")])

Script = Callable[[Peer], Awaitable[None]]


@pytest.fixture
def ask(few_authorities: str | None) -> Callable[[Script], Awaitable[Ended]]:
    """Asks a server that follows a script, within five seconds."""

    async def ask(script: Script) -> Ended:
        client = HttpClient(clock=asyncio.get_running_loop().time, ca_file=few_authorities)
        async with serve(script) as server, asyncio.timeout(5):
            endpoint = Endpoint(
                id="e",
                provider="p",
                kind="openai_compat",
                base_url=f"http://{server.origin.authority}/v1",
                local=True,
                model="m",
            )
            try:
                reply = await open_backends(client)["openai_compat"].open(CALL, endpoint, timeout=5)
                return await read(reply)
            finally:
                await client.aclose()

    return ask


Ask = Callable[[Script], Awaitable[Ended]]


def replying(body: bytes, kind: str, status: str = "200 OK") -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.reply(body, status=status, more=f"Content-Type: {kind}\r\n".encode())

    return script


async def test_a_whole_reply_to_a_request_for_a_stream_is_taken(ask: Ask) -> None:
    ended = await ask(replying(WHOLE, "application/json; charset=utf-8"))
    assert (ended.error, ended.answer) == (None, HI)


@pytest.mark.parametrize("kind", ["text/html", "text/plain", "application/octet-stream"])
async def test_an_answer_of_another_kind_is_bad(ask: Ask, kind: str) -> None:
    with pytest.raises(BadReply) as caught:
        await ask(replying(WHOLE, kind))
    assert caught.value.status == 200


@pytest.mark.parametrize("end", [b"data: [DONE]\n\n", b"data: [DONE]\n", b"data: [DONE]"])
async def test_the_end_mark_may_lack_its_blank_line(ask: Ask, end: bytes) -> None:
    ended = await ask(replying(TEXT + END + end, "text/event-stream"))
    assert (ended.error, ended.answer) == (None, HI)


async def test_nobody_waits_for_what_may_follow_the_end_mark(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9999\r\n\r\n"
        await peer.send(head + TEXT + END + b"data: [DONE]\n\n")

    ended = await ask(script)
    assert (ended.error, ended.answer) == (None, HI)


async def test_a_refusal_whose_text_is_cut_is_still_known_by_its_status(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        head = b"HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 999\r\n\r\n"
        await peer.send(head + b'{"error":{"mess')
        peer.close()

    with pytest.raises(RateLimited) as caught:
        await ask(script)
    assert caught.value.retry_after == 7.0


async def test_a_refusal_without_end_is_read_so_far_and_no_further(ask: Ask) -> None:
    left = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                await peer.send(b"2000\r\n" + b"x" * 8192 + b"\r\n")
        finally:
            left.set()

    with pytest.raises(Overloaded):
        await ask(script)
    assert left.is_set()


async def test_numbers_of_retry_after_may_be_dates(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.reply(status="529 Busy", more=b"Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n")

    with pytest.raises(BackendError) as caught:
        await ask(script)
    assert caught.value.retry_after == 0.0
