"""A process that a supervisor has started, as the supervisor sees it."""

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from gateway.processes.channel import Begin, Channel, Message, Task

if TYPE_CHECKING:
    from gateway.telemetry.metrics import Written

# With the import path of this process: the folder that it was started in may hold anything.
_PROGRAM = (
    "import json, sys; path, *descriptors = json.loads(sys.argv[1]); sys.path[:] = path;"
    " from gateway.app.process import main; main(*descriptors)"
)


class Child:
    """A process and the conversation with it.

    Attributes:
        ready: it has said that its task is done or, if it serves, that it answers.
        faults: why it would not.
        samples: what it said last of its metrics.
        born: when it was started, on the monotonic clock.
    """

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.ready = False
        self.faults: list[str] = []
        self.samples: list[Written] = []
        self.born = time.monotonic()
        self._process = process
        self._channel = channel

    @classmethod
    async def start(
        cls,
        task: Task,
        settings: bytes,
        lifeline: int,
        kept: Sequence[int] = (),
        listening: int = -1,
    ) -> Self:
        """Start one.

        Args:
            task: what it is for.
            settings: from `gateway.processes.channel.packed`.
            lifeline: the end of a pipe of which this process holds the other.
            kept: further descriptors that it holds as long as it lives.
            listening: the socket that it serves on.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            passed = [theirs.fileno(), *([listening] if listening >= 0 else []), lifeline, *kept]
            argument = json.dumps([sys.path, theirs.fileno(), listening, lifeline])
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-c", _PROGRAM, argument),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=passed,
            )
        channel = await Channel.over(ours)
        channel.send(Begin(task, settings))
        return cls(process, channel)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.born

    def send(self, message: Message) -> None:
        """Tell it something."""
        self._channel.send(message)

    async def receive(self) -> Message | None:
        """What it says next; None: it says nothing more."""
        return await self._channel.receive()

    async def ended(self) -> int:
        """Its exit status, once it has ended; of a signal, the number below zero."""
        status = await self._process.wait()
        self._channel.close()
        return status

    def kill(self) -> None:
        """End it at once."""
        if self._process.returncode is None:
            os.kill(self._process.pid, 9)
