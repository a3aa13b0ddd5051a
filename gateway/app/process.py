"""One of several processes: what a supervisor starts, and tells what to do.

Started anew, never forked, so that it shares nothing with its parent but the sockets that it is given.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine

import uvloop

from gateway.app.serving import Serving
from gateway.app.start import check_all, prepare
from gateway.errors import ConfigurationError, GatewayError
from gateway.processes.channel import (
    Ask,
    Begin,
    Change,
    Changed,
    Channel,
    Done,
    Drain,
    Refused,
    Tell,
    unpacked,
)
from gateway.processes.signals import leave_to_supervisor
from gateway.settings import Settings
from gateway.telemetry.merging import merged
from gateway.telemetry.metrics import rendered

_SCRAPE = 5.0  # seconds for the metrics of all processes
_GRACE = 15.0  # seconds beyond those to drain, after which an orphan ends at once


def main(control: int, listening: int, lifeline: int) -> None:
    """Do what the supervisor says; ends with the process."""
    os.umask(0o077)
    logging.basicConfig(
        level=logging.WARNING,
        stream=sys.stderr,
        format=f"%(asctime)s %(levelname)s [{os.getpid()}] %(message)s",
    )
    leave_to_supervisor()
    uvloop.run(_work(control, listening, lifeline))


async def _work(control: int, listening: int, lifeline: int) -> None:
    channel = await Channel.over(socket.socket(fileno=control))
    first = await channel.receive()
    if not isinstance(first, Begin):
        return
    settings = unpacked(first.settings)
    if first.task == "serve":
        await _Process(channel, settings, lifeline).serve(socket.socket(fileno=listening))
    elif first.task == "check":
        await _answered(channel, check_all(settings))
    else:
        await _answered(channel, prepare(settings, owned=True))


async def _answered(channel: Channel, work: Coroutine[object, object, None]) -> None:
    """Do it, and say how it went."""
    try:
        await work
    except ConfigurationError as fault:
        channel.send(Refused(list(fault.faults)))
    except GatewayError as fault:
        channel.send(Refused([str(fault)]))
    else:
        channel.send(Done())
    await channel.flush()
    channel.close()


class _Process:
    """A process that serves."""

    def __init__(self, channel: Channel, settings: Settings, lifeline: int) -> None:
        self._channel = channel
        self._asked: dict[int, asyncio.Future[Tell]] = {}
        self._numbers = 0
        self._lifeline = lifeline
        self._serving = Serving(settings, lambda: channel.send(Done()), self._scrape, alone=False)

    async def serve(self, listener: socket.socket) -> None:
        watch(self._lifeline, lambda: self._serving.settings.server.drain_timeout + _GRACE)
        signal.signal(
            signal.SIGTERM, signal.SIG_IGN
        )  # that of a clean stop, raised again: see uvicorn
        listening = asyncio.create_task(self._listen())
        try:
            await self._serving.run(listener)
        except ConfigurationError as fault:
            self._channel.send(Refused(list(fault.faults)))
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
            await self._channel.flush()
            self._channel.close()

    async def _listen(self) -> None:
        while (message := await self._channel.receive()) is not None:
            match message:
                case Drain():
                    self._serving.server.leave()
                case Change(settings):
                    await self._change(unpacked(settings))
                case Ask(number):
                    self._channel.send(Tell(number, self._serving.worker.metrics.samples()))
                case Tell(number) if (waiting := self._asked.get(number)) is not None:
                    if not waiting.done():
                        waiting.set_result(message)
                case _:
                    pass
        # The supervisor is gone: nobody would start this process again, or tell it to end.
        self._serving.server.leave()

    async def _change(self, settings: Settings) -> None:
        try:
            await self._serving.change(settings)
        except ConfigurationError as fault:
            self._channel.send(Changed(list(fault.faults)))
        else:
            self._channel.send(Changed())

    async def _scrape(self) -> str:
        """The metrics of all processes, which the supervisor adds up; this one's own if it does not."""
        self._numbers += 1
        number = self._numbers
        waiting = self._asked[number] = asyncio.get_running_loop().create_future()
        self._channel.send(Ask(number))
        try:
            async with asyncio.timeout(_SCRAPE):
                told = await waiting
        except TimeoutError:
            return rendered(merged([self._serving.worker.metrics.samples()]))
        finally:
            del self._asked[number]
        return rendered(told.samples)


def watch(lifeline: int, seconds: Callable[[], float]) -> None:
    """End this process hard, some seconds after the other end of a pipe is gone.

    In a thread: for a process whose event loop hangs, and so does not hear that it should leave.
    """

    def look() -> None:
        with contextlib.suppress(OSError):
            os.read(lifeline, 1)
        timer = threading.Timer(seconds(), os._exit, (1,))
        timer.daemon = True
        timer.start()

    threading.Thread(target=look, daemon=True).start()
