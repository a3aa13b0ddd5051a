"""Processes that share a socket share what comes in, a burst as well."""

import asyncio
import errno
import logging
import socket
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
import uvloop
from typing_extensions import override

from gateway.processes.accepting import Acceptor


class Served(asyncio.Protocol):
    """A connection."""

    def __init__(self, made: list["Served"]) -> None:
        self.made = made
        self.left = False

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.made.append(self)

    def leave(self) -> None:
        self.left = True

    def part(self) -> None:
        transport: Any = self.transport  # uvloop's is no subclass of asyncio's
        transport.abort()


class Listener(socket.socket):
    """A socket of which the machine can refuse connections."""

    refuses = False

    @override
    def accept(self) -> tuple[socket.socket, Any]:
        if self.refuses:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as made:
        made.bind(("127.0.0.1", 0))
        made.listen(100)
        yield made


def run(work: Coroutine[Any, Any, None]) -> None:
    """In the loop that the gateway runs in."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


def acceptor(listener: socket.socket, made: list[Served]) -> Acceptor[Served]:
    return Acceptor(listener, lambda: Served(made), Served.leave)


async def until(*shares: list[Served], count: int) -> None:
    async with asyncio.timeout(10):
        while sum(map(len, shares)) < count:  # noqa: ASYNC110 - the code under test knows of no events
            await asyncio.sleep(0.001)


def burst(listener: socket.socket, count: int) -> list[socket.socket]:
    """Callers that all wait to be taken."""
    return [socket.create_connection(listener.getsockname()) for _ in range(count)]


def part(made: list[Served], callers: list[socket.socket]) -> None:
    for one in made:
        one.part()
    for caller in callers:
        caller.close()


def test_a_burst_is_shared_evenly(listener: Listener) -> None:
    async def work() -> None:
        callers = burst(listener, 30)
        shares: tuple[list[Served], ...] = ([], [], [])
        sockets = [listener.dup() for _ in shares]  # as processes that inherit it have it
        acceptors = [acceptor(one, made) for one, made in zip(sockets, shares, strict=True)]
        await until(*shares, count=30)
        assert all(8 <= len(made) <= 12 for made in shares), [len(made) for made in shares]
        for one, shared in zip(acceptors, sockets, strict=True):
            one.close()
            shared.close()
        for made in shares:
            part(made, callers)

    run(work())


def test_no_part_of_an_answer_waits_for_more_of_it(listener: Listener) -> None:
    async def work() -> None:
        made: list[Served] = []
        accepting = acceptor(listener, made)
        callers = burst(listener, 1)
        await until(made, count=1)
        transport = made[0].transport
        connection = transport.get_extra_info("socket")
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert transport.get_extra_info("peername") == callers[0].getsockname()
        accepting.close()
        part(made, callers)

    run(work())


def test_once_it_is_closed_it_takes_none_and_what_was_on_its_way_is_told(
    listener: Listener,
) -> None:
    async def work() -> None:
        made: list[Served] = []
        accepting = acceptor(listener, made)
        callers = burst(listener, 1)
        async with asyncio.timeout(10):
            while not accepting._opening:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)
        accepting.close()
        accepting.close()
        callers += burst(listener, 1)
        await accepting.wait_closed()
        with listener.dup() as other:  # the second is left for another process
            taken, _ = await asyncio.get_running_loop().sock_accept(other)
            taken.close()
        assert [one.left for one in made] == [True]
        part(made, callers)

    run(work())


def test_a_machine_that_refuses_a_connection_is_asked_again(
    listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        made: list[Served] = []
        listener.refuses = True
        accepting = acceptor(listener, made)
        callers = burst(listener, 2)
        async with asyncio.timeout(10):
            while not caplog.records:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.001)
        assert caplog.messages == ["connections cannot be taken: Too many open files; trying again"]
        listener.refuses = False
        await until(made, count=2)
        accepting.close()
        part(made, callers)

    with caplog.at_level(logging.ERROR):
        run(work())
