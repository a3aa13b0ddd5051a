"""A connection to Redis: what its URL says, and what becomes of calls when the server fails."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import cast

import hiredis
import pytest

from gateway.store.state import StateLost
from gateway.store.state.redis import RedisCounters
from gateway.store.state.resp import Address, Connection, address, connect, pack
from gateway.values import Reservation

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """A server on a Unix socket that answers as it is told.

    Attributes:
        reads: what arrived, by read.
        answers: what is said to each read; None: nothing.
    """

    def __init__(self, path: Path) -> None:
        self.url = f"unix://{path}"
        self.where = address(self.url)
        self.reads: list[bytes] = []
        self.answers: list[bytes | None] = []
        self.closed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 20):
            self.reads.append(data)
            answer = self.answers.pop(0) if self.answers else None
            if answer is not None:
                writer.write(answer)
            if answer == b"":
                break
        writer.close()
        self.closed.set()


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[Peer]:
    made = Peer(tmp_path / "s")
    server = await asyncio.start_unix_server(made.serve, tmp_path / "s")
    yield made
    server.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", Address()),
        ("redis://cache:7000/3", Address(host="cache", port=7000, database=3)),
        ("redis://:s%40crt@h", Address(host="h", password="s@crt")),
        ("redis://me:pw@h?db=2", Address(host="h", user="me", password="pw", database=2)),
        ("redis://[::1]:7000", Address(host="::1", port=7000)),
        ("rediss://h", Address(host="h", tls=True)),
        (
            "rediss://h?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
            Address(
                host="h",
                tls=True,
                authorities="/ca.pem",
                certificate="/c.pem",
                private_key="/k.pem",
            ),
        ),
        ("unix:///run/r.sock?db=1", Address(path="/run/r.sock", database=1)),
    ],
)
def test_a_url_says_where_the_server_is(url: str, expected: Address) -> None:
    assert address(url) == expected


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://h", "begins with"),
        ("redis://:secret@h/x", "is a number"),
        ("redis://:secret@h:99999", "port"),
        ("redis://:secret@h?ssl=1", "'ssl'"),
        ("redis://:secret@h?ssl_ca_certs=/ca.pem", "only rediss"),
        ("unix://", "path of its socket"),
    ],
)
def test_a_url_that_means_nothing_is_told_without_its_secrets(url: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as caught:
        address(url)
    assert "secret" not in str(caught.value)


async def test_calls_of_one_tick_go_out_as_one_write_and_are_answered_in_order(peer: Peer) -> None:
    connection = await connect(peer.where, timeout=20)
    transport = connection._transport
    assert transport is not None
    writes: list[bytes] = []
    send = transport.write

    class Noting:
        def write(self, data: bytes) -> None:
            writes.append(data)
            send(data)

    connection._transport = cast("asyncio.Transport", Noting())
    peer.answers = [b":1\r\n-ERR no\r\n$-1\r\n", b"+OK\r\n"]
    answers = await asyncio.gather(*(connection.call(pack("GET", name)) for name in "abc"))
    assert writes == [b"".join(pack("GET", name) for name in "abc")]
    connection._transport = transport
    assert answers[0] == 1
    assert isinstance(answers[1], hiredis.ReplyError)
    assert answers[2] is None
    assert await connection.call(pack("PING")) == b"OK"
    await connection.aclose()


async def test_an_answer_that_nobody_waits_for_any_more_disturbs_no_other(peer: Peer) -> None:
    connection = await connect(peer.where, timeout=20)
    peer.answers = [b":1\r\n:2\r\n"]
    first = asyncio.ensure_future(connection.call(pack("A")))
    second = asyncio.ensure_future(connection.call(pack("B")))
    first.cancel()
    assert await second == 2
    await connection.aclose()


async def test_a_server_that_does_not_answer_in_time_is_lost_for_all(peer: Peer) -> None:
    connection = await connect(peer.where, timeout=0.05)
    calls = [connection.call(pack("GET", name)) for name in "ab"]
    for call in calls:
        with pytest.raises(StateLost, match="has not answered"):
            await call
    await peer.closed.wait()
    assert not connection.live
    with pytest.raises(StateLost, match="no connection"):
        await connection.call(pack("GET", "c"))


async def test_time_is_counted_from_the_oldest_call(peer: Peer) -> None:
    connection = await connect(peer.where, timeout=0.1)
    peer.answers = [b":1\r\n", None]
    assert await connection.call(pack("A")) == 1
    late = asyncio.ensure_future(connection.call(pack("B")))
    with pytest.raises(StateLost):
        await late


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b":1\r\n:2\r\n"])
async def test_a_server_that_leaves_or_talks_nonsense_is_lost(peer: Peer, answer: bytes) -> None:
    connection = await connect(peer.where, timeout=20)
    peer.answers = [answer]
    call = asyncio.ensure_future(connection.call(pack("GET", "a")))
    if answer.startswith(b":"):
        assert await call == 1  # and then one more than was asked
    else:
        with pytest.raises(StateLost):
            await call
    await peer.closed.wait()
    assert not connection.live


async def test_who_may_not_come_in_is_told_so(peer: Peer) -> None:
    peer.answers = [b"-WRONGPASS invalid\r\n"]
    with pytest.raises(StateLost, match="AUTH: WRONGPASS"):
        await connect(address(f"unix://me:pw@{peer.where.path}?db=4"), timeout=20)
    peer.answers = [b"+OK\r\n", b"+OK\r\n"]
    connection = await connect(address(f"unix://me:pw@{peer.where.path}?db=4"), timeout=20)
    assert peer.reads[-2:] == [pack("AUTH", "me", "pw"), pack("SELECT", "4")]
    await connection.aclose()


async def test_a_server_that_is_not_there_is_lost(tmp_path: Path) -> None:
    with pytest.raises(StateLost, match="cannot be reached"):
        await connect(address(f"unix://{tmp_path}/none"), timeout=20)


async def test_a_server_that_is_behind_gets_no_more_calls(peer: Peer) -> None:
    connection = await connect(peer.where, timeout=20)
    calls = [connection.call(b"") for _ in range(65_536)]
    with pytest.raises(StateLost, match="behind"):
        connection.call(b"")
    await connection.aclose()
    for answer in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(answer, StateLost)


async def test_counters_without_a_connection_are_lost() -> None:
    counters = RedisCounters("redis://nowhere")
    with pytest.raises(StateLost):
        await counters.admit(Reservation("a"), 1)
    await counters.aclose()


def test_a_command_is_packed_with_its_lengths_in_bytes() -> None:
    assert pack("SET", "ü", b"\x00", 12) == (
        b"*4\r\n$3\r\nSET\r\n$2\r\n\xc3\xbc\r\n$1\r\n\x00\r\n$2\r\n12\r\n"
    )


async def test_a_connection_that_was_never_made_closes() -> None:
    await Connection(1.0).aclose()
