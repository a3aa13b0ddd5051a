"""What vLLM sends on bad days, byte by byte, and what keeps its callers' caches apart."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from msgspec import Raw

from backends import BackendError, Call, Endpoint, HttpClient, open_backends
from backends.errors import BadReply, UpstreamFault
from backends.openai_compat import OpenAICompatBackend, Quirks, backend
from backends.sandbox import SandboxServer, Vllm
from backends.values import Usage
from tests.contract.adapters.upstream import Ended, read
from tests.fakes.answers import Answer
from tests.fakes.raw_server import Peer, serve

RECORDINGS = Path(__file__).resolve().parents[2] / "recordings"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n"
THOUGHT = "The user asks; I answer briefly"
TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
ABORT = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}\n\n'
BILL = b'data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":10}}\n\n'
DONE = b"data: [DONE]\n\n"
BILLED = Usage(prompt=12, completion=10)
HOW = pytest.mark.parametrize("poured", [False, True], ids=["asked", "poured"])

Script = Callable[[Peer], Awaitable[None]]


def endpoint(base_url: str, isolation: str = "team") -> Endpoint:
    return Endpoint(
        id=f"e/{isolation}",
        provider="p",
        kind="vllm",
        base_url=base_url,
        local=True,
        model="tiny-kimi",
        cache_isolation=isolation,
    )


def call(text: str = "Hi", *, team: str = "a", organisation: str = "o", own: str = "") -> Call:
    fields = {"messages": Raw(b'[{"role":"user","content":"%b"}]' % text.encode())}
    if own:
        fields["cache_salt"] = Raw(b'"%b"' % own.encode())
    return Call(
        fields=fields,
        stream=True,
        output_cap=50,
        request_id="g",
        tenant=team,
        organisation=organisation,
    )


def sending(*reads: bytes, then: Callable[[Peer], None] = Peer.close) -> Script:
    """Answers with these bytes, each in a packet of its own as far as the network allows."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD)
        for piece in reads:
            await asyncio.sleep(0)
            await peer.send(piece)
        then(peer)

    return script


@pytest.fixture
async def client(few_authorities: str | None) -> AsyncIterator[HttpClient]:
    client = HttpClient(clock=asyncio.get_running_loop().time, ca_file=few_authorities)
    yield client
    await client.aclose()


async def asked(
    client: HttpClient, script: Script, *, poured: bool = False, row: Quirks | None = None
) -> Ended:
    """What became of one request for a stream."""
    async with serve(script) as server, asyncio.timeout(5):
        adapter = open_backends(client)["vllm"]
        if row is not None:
            adapter = OpenAICompatBackend(client, row)
        to = endpoint(f"http://{server.origin.authority}/v1")
        return await read(await adapter.open(call(), to, timeout=5), poured=poured)


def events_of(name: str) -> Sequence[bytes]:
    """The events of a recorded stream, each with its blank line."""
    stream = (RECORDINGS / name).read_bytes()
    return [event + b"\n\n" for event in stream.split(b"\n\n") if event]


@HOW
async def test_an_answer_that_a_stopping_server_aborts_fails_with_its_usage_told(
    client: HttpClient, *, poured: bool
) -> None:
    ended = await asked(client, sending(*events_of("vllm-stream-shutdown.sse")), poured=poured)
    assert type(ended.error) is UpstreamFault
    assert ended.error.native_code == "abort"
    assert ended.answer == Answer(
        content="Hello from a",
        reasoning=THOUGHT,
        usage=Usage(prompt=12, completion=10, reasoning=7),
    )


@HOW
@pytest.mark.parametrize(
    "reads",
    [
        (TEXT + ABORT + BILL + DONE,),
        (TEXT + ABORT, BILL + DONE),
        (TEXT, ABORT, BILL, DONE),
        (TEXT, ABORT + BILL[:20], BILL[20:]),
        (ABORT, BILL, DONE),
    ],
)
async def test_usage_behind_an_abort_is_told_however_it_is_cut(
    client: HttpClient, reads: Sequence[bytes], *, poured: bool
) -> None:
    ended = await asked(client, sending(*reads), poured=poured)
    assert type(ended.error) is UpstreamFault
    assert ended.answer == Answer(content="Hi" if TEXT in reads[0] else "", usage=BILLED)


@pytest.mark.parametrize("end", [Peer.close, Peer.reset])
async def test_an_abort_without_usage_is_one_all_the_same(
    client: HttpClient, end: Callable[[Peer], None]
) -> None:
    ended = await asked(client, sending(TEXT + ABORT, then=end))
    assert type(ended.error) is UpstreamFault
    assert ended.answer == Answer(content="Hi")


async def test_nobody_waits_long_for_the_usage_of_an_aborted_answer(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_LAST_WORDS", 0.05)
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + TEXT + ABORT)
        await peer.until_gone()
        gone.set()

    async with serve(script) as server, asyncio.timeout(5):
        to = endpoint(f"http://{server.origin.authority}/v1")
        ended = await read(await open_backends(client)["vllm"].open(call(), to, timeout=5))
        assert type(ended.error) is UpstreamFault
        await gone.wait()


@HOW
async def test_the_death_of_the_engine_is_no_good_end_for_the_mark_behind_it(
    client: HttpClient, *, poured: bool
) -> None:
    ended = await asked(client, sending(*events_of("vllm-stream-engine-death.sse")), poured=poured)
    assert type(ended.error) is UpstreamFault
    assert ended.answer == Answer(content="Hello from a", reasoning=THOUGHT)
    with pytest.raises(UpstreamFault):
        await ended.reply.next()


@pytest.mark.parametrize(
    "fault",
    [
        b'{"object":"error","message":"m","type":"BadRequestError","param":null,"code":400}',
        b'{"error":"m"}',
    ],
)
async def test_older_forms_of_error_fail_the_attempt_and_name_no_guilty_caller(
    client: HttpClient, fault: bytes
) -> None:
    ended = await asked(client, sending(b"data: %b\n\n" % fault + DONE))
    assert type(ended.error) is UpstreamFault
    assert ended.error.try_next
    assert ended.events == []

    async def whole(peer: Peer) -> None:
        await peer.request()
        await peer.reply(fault, more=b"Content-Type: application/json\r\n")

    with pytest.raises(UpstreamFault):
        await asked(client, whole)


@HOW
async def test_what_follows_the_end_mark_is_ignored(client: HttpClient, *, poured: bool) -> None:
    more = b'data: {"error":"m"}\n\ndata: x\n\n' + TEXT
    ended = await asked(client, sending(TEXT + STOP + DONE + more), poured=poured)
    assert (ended.error, ended.reply.malformed) == (None, 0)
    assert ended.answer == Answer(content="Hi", finish=[("stop", "stop")])


ENDLESS = Quirks(forwarded=frozenset({"messages"}), end_mark=False)


@HOW
async def test_a_row_without_an_end_mark_ends_with_its_finish_reason(
    client: HttpClient, *, poured: bool
) -> None:
    for reads, error in (
        ((TEXT, STOP), None),
        ((TEXT, STOP, BILL), None),
        ((TEXT, STOP, DONE), None),
        ((TEXT,), BadReply),
        ((TEXT, STOP[:-2]), None),
    ):
        ended = await asked(client, sending(*reads), poured=poured, row=ENDLESS)
        assert (type(ended.error) if ended.error else None) is error, reads
        assert ended.answer.content == "Hi"


async def test_with_an_end_mark_a_finish_reason_is_no_end(client: HttpClient) -> None:
    ended = await asked(client, sending(TEXT, STOP))
    assert isinstance(ended.error, BadReply)


async def test_no_team_learns_from_the_cache_what_another_has_asked(client: HttpClient) -> None:
    prompt = "x" * 4000

    async def cached(team: str, isolation: str = "team", own: str = "") -> int:
        asking = call(prompt, team=team, own=own)
        reply = await adapter.open(asking, endpoint(server.base_url, isolation), timeout=5)
        usage = (await read(reply)).answer.usage
        assert usage is not None
        return usage.cached

    async with SandboxServer(Vllm(cache_details=True)) as server:
        adapter = open_backends(client, bytes(32))["vllm"]
        assert await cached("a") == 0
        assert await cached("b") == 0
        assert await cached("a") > 0
        assert await cached("b") > 0
        assert await cached("a", own="mine") == 0, "a caller may divide its team's cache further"
        assert await cached("b", own="mine") == 0, "and can name nobody else's part by that"
        assert await cached("a", own="mine") > 0
        assert await cached("a", "organisation") == 0
        assert await cached("b", "organisation") > 0
        assert await cached("a", "none") == 0
        assert await cached("b", "none") > 0
        assert len({request.body.get("cache_salt") for request in server.requests}) == 6


async def test_a_server_that_refuses_salts_is_passed_over(client: HttpClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        body = (
            b'{"object":"error","message":"Parameter \'cache_salt\' is not supported","code":400}'
        )
        await peer.reply(body, status="400 Bad Request")

    with pytest.raises(BackendError) as caught:
        await asked(client, script)
    assert caught.value.try_next
    assert caught.value.native_code == "cache_salt_refused"
