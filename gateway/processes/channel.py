"""What a supervisor and its processes say to each other: messages on a pair of sockets.

Each message is four bytes of length and a MessagePack document. The end of the stream says that the other
side has ended, however it did.
"""

import asyncio
import pickle
import socket
from typing import Literal, Self

import msgspec
from msgspec import Struct

from gateway.settings import Settings
from gateway.telemetry.metrics import Written

Task = Literal["prepare", "check", "serve"]
_LENGTH = 4
_MOST = 2**28  # bytes


class Begin(Struct, frozen=True, tag="begin"):
    """Supervisor: what the process is for."""

    task: Task
    settings: bytes


class Drain(Struct, frozen=True, tag="drain"):
    """Supervisor: leave, as at SIGTERM."""


class Change(Struct, frozen=True, tag="change"):
    """Supervisor: go on with other settings."""

    settings: bytes


class Ask(Struct, frozen=True, tag="ask"):
    """Supervisor: your own samples, please. Process: those of all."""

    number: int


class Tell(Struct, frozen=True, tag="tell"):
    """The answer to an `Ask`."""

    number: int
    samples: list[Written]


class Done(Struct, frozen=True, tag="done"):
    """Process: the task is done; one that serves: it answers from now on."""


class Refused(Struct, frozen=True, tag="refused"):
    """Process: why not, a line for each fault."""

    faults: list[str]


class Changed(Struct, frozen=True, tag="changed"):
    """Process: other settings are served; with faults: they are not."""

    faults: list[str] = []


Message = Begin | Drain | Change | Ask | Tell | Done | Refused | Changed
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


def packed(settings: Settings) -> bytes:
    """Settings for a process of one's own, secrets and all: never write them anywhere else."""
    return pickle.dumps(settings)


def unpacked(data: bytes) -> Settings:
    """The settings that `packed` packed."""
    settings = pickle.loads(data)  # noqa: S301 - from the process that started this one, over its own socket
    assert isinstance(settings, Settings)  # noqa: S101 - for the type checker
    return settings


class Channel:
    """One end of the conversation."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Self:
        """The end that this socket is."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    def send(self, message: Message) -> None:
        """Say something; nobody hears it once the other side has ended."""
        if not self._writer.is_closing():
            data = _encode(message)
            self._writer.write(len(data).to_bytes(_LENGTH, "big") + data)

    async def receive(self) -> Message | None:
        """What is said next; None: the other side has ended."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH), "big")
            if length > _MOST:
                return None
            message: Message = _decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return message

    async def flush(self) -> None:
        """Return once what was said is on its way."""
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    def close(self) -> None:
        """End this side."""
        self._writer.close()
