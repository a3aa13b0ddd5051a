"""The parent of several processes that serve on one socket.

It answers no requests and holds no connections: it checks, binds, starts the processes, starts those again
that die, and passes on what it is told. Each process is a fresh one, which inherits the listening socket:
connections that wait there are lost with none of them. See `docs/decisions/0018-processes.md`.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterable

from gateway.errors import ConfigurationError
from gateway.processes.channel import (
    Ask,
    Change,
    Changed,
    Done,
    Drain,
    Refused,
    Task,
    Tell,
    packed,
)
from gateway.processes.child import Child
from gateway.processes.listening import bind
from gateway.processes.reload import Reloading
from gateway.settings import Settings
from gateway.store import owner
from gateway.telemetry import metrics
from gateway.telemetry.merging import counters, merged
from gateway.telemetry.metrics import Written

_log = logging.getLogger(__name__)
FIRST_PAUSE = 0.5  # seconds before a process that died is started again; doubled each time
LONGEST_PAUSE = 30.0
STEADY = 60.0  # seconds after which a process that dies is not one that keeps dying
_ANSWER = 2.0  # seconds for a process to tell its metrics; then what it told last counts
_CHANGE = 120.0  # seconds for a process to go on with other settings
_SETTLE = 20.0  # seconds beyond those to drain, after which a process is killed


class Supervisor:
    """Keeps `server.workers` processes serving.

    Args:
        settings: good ones.
        reread: reads the settings anew, for a SIGHUP.
        ready: told the listening socket once all processes answer.
    """

    def __init__(
        self,
        settings: Settings,
        reread: Callable[[], Settings],
        ready: Callable[[socket.socket], None],
    ) -> None:
        self._settings = settings
        self._packed = packed(settings)
        self._ready = ready
        self._children: set[Child] = set()
        self._stopping = asyncio.Event()
        self._forced = False
        self._serving = False  # all answered once
        self._failed: list[str] | None = None
        self._restarts = 0
        self._left: list[Written] = []  # counters of processes that have ended
        self._scraping: asyncio.Task[list[Written]] | None = None
        self._told: dict[Child, asyncio.Future[None]] = {}
        self._changes: dict[Child, asyncio.Future[list[str]]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._reloading = Reloading(reread, lambda: self._settings, self._check, self._change)
        # Whoever holds the reading end learns of our end, however it comes.
        self._lifeline, self._life = os.pipe()
        self._listener: socket.socket | None = None
        self._claim = -1

    async def run(self) -> bool:
        """Serve until a signal ends it; whether it ever did.

        Raises:
            ConfigurationError: it could not start.
        """
        try:
            # Before it is known whether anything else is good: a gateway that runs here is not disturbed.
            self._claim = owner.take(self._settings.data)
            await self._one_off("prepare", self._packed)
            self._listener = bind(self._settings.server)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stop)
            loop.add_signal_handler(signal.SIGHUP, self._hangup)
            slots = [
                asyncio.create_task(self._slot()) for _ in range(self._settings.server.workers)
            ]
            try:
                await asyncio.gather(*slots)
            finally:
                for child in self._children:
                    child.kill()
                for slot in slots:
                    slot.cancel()
                await asyncio.gather(*slots, return_exceptions=True)
        finally:
            for descriptor in (self._lifeline, self._life):
                os.close(descriptor)
            if self._claim >= 0:
                os.close(self._claim)
            if self._listener is not None:
                self._listener.close()
        if self._failed is not None:
            raise ConfigurationError(self._failed)
        return self._serving

    # Starting and ending

    async def _one_off(self, task: Task, settings: bytes) -> None:
        """Have another process do a task, so that this one stays light.

        Raises:
            ConfigurationError: it was refused.
        """
        child = await Child.start(task, settings, self._lifeline)
        answer = await child.receive()
        status = await child.ended()
        if isinstance(answer, Refused):
            raise ConfigurationError(answer.faults)
        if not isinstance(answer, Done):
            raise ConfigurationError([f"{task}: its process ended with status {status}; see above"])

    async def _slot(self) -> None:
        """Keep one process running until all are to end."""
        assert self._listener is not None  # noqa: S101 - for the type checker
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            kept = (self._claim,)
            child = await Child.start(
                "serve", self._packed, self._lifeline, kept, self._listener.fileno()
            )
            self._children.add(child)
            if self._stopping.is_set():
                child.send(Drain())
            try:
                status = await self._life_of(child)
            finally:
                self._children.discard(child)
            self._left = merged([self._left, counters(child.samples)])
            if self._stopping.is_set():
                return
            if not child.ready and not self._serving:
                self._give_up(child, status)
                return
            if child.age > STEADY:
                pause = FIRST_PAUSE
            _log.error(
                "process %d ended with status %d; another is started in %g s",
                child.pid,
                status,
                pause,
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            pause = min(pause * 2, LONGEST_PAUSE)
            self._restarts += 1

    def _give_up(self, child: Child, status: int) -> None:
        """A process that cannot even begin: nor would the next."""
        if self._failed is None:
            why = child.faults or [f"see above what process {child.pid} said last"]
            self._failed = [
                f"a process ended with status {status} before it served; nothing is served",
                *why,
            ]
        self._stop()

    async def _life_of(self, child: Child) -> int:
        """Hear a process to its end; its exit status."""
        while (message := await child.receive()) is not None:
            match message:
                case Done():
                    child.ready = True
                    self._look_whether_all_serve()
                case Refused(faults):
                    child.faults = faults
                case Changed(faults) if (change := self._changes.get(child)) is not None:
                    if not change.done():
                        change.set_result(faults)
                case Tell(_, samples):
                    child.samples = samples
                    told = self._told.get(child)
                    if told is not None and not told.done():
                        told.set_result(None)
                case Ask(number):
                    answering = asyncio.create_task(self._answer(child, number))
                    self._answering.add(answering)
                    answering.add_done_callback(self._answering.discard)
                case _:
                    pass
        status = await child.ended()
        for waiting in (self._told.get(child), self._changes.get(child)):
            if waiting is not None and not waiting.done():
                waiting.cancel()
        return status

    def _look_whether_all_serve(self) -> None:
        if self._serving or self._stopping.is_set():
            return
        ready = sum(child.ready for child in self._children)
        if ready == self._settings.server.workers and self._listener is not None:
            self._serving = True
            self._ready(self._listener)

    def _stop(self) -> None:
        """Have all of them leave; a second time: end at once."""
        if self._stopping.is_set():
            if self._failed is None:
                for child in self._children:
                    child.kill()
            return
        self._stopping.set()
        for child in self._children:
            child.send(Drain())
        if self._listener is not None:
            self._listener.close()  # else connections would wait there for nobody
        server = self._settings.server
        asyncio.get_running_loop().call_later(
            server.drain_delay + server.drain_timeout + _SETTLE, self._kill
        )

    def _kill(self) -> None:
        for child in self._children:
            _log.error("process %d does not end and is killed", child.pid)
            child.kill()

    # Reload

    def _hangup(self) -> None:
        if self._serving and not self._stopping.is_set():
            self._reloading.begin()

    async def _check(self, settings: Settings) -> None:
        await self._one_off("check", packed(settings))

    async def _change(self, settings: Settings) -> None:
        """Have every process go on with these; what starts from now on begins with them.

        Raises:
            ConfigurationError: one of them does not: then those that do go back.
        """
        before, self._packed = self._packed, packed(settings)
        changed = [child for child in self._children if child.ready]
        faults = [
            fault
            for some in await asyncio.gather(*(self._changed(child) for child in changed))
            for fault in some
        ]
        if faults:
            self._packed = before
            await asyncio.gather(*(self._changed(child) for child in changed))
            raise ConfigurationError(sorted(set(faults)))
        self._settings = settings

    async def _changed(self, child: Child) -> Iterable[str]:
        waiting: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self._changes[child] = waiting
        child.send(Change(self._packed))
        try:
            async with asyncio.timeout(_CHANGE):
                return await waiting
        except TimeoutError:
            return [f"process {child.pid} does not answer"]
        except asyncio.CancelledError:
            if waiting.cancelled():  # it has died: the next one begins with them
                return []
            raise
        finally:
            del self._changes[child]

    # Metrics

    async def _answer(self, child: Child, number: int) -> None:
        if self._scraping is None or self._scraping.done():
            self._scraping = asyncio.create_task(self._scrape())
        child.send(Tell(number, await asyncio.shield(self._scraping)))

    async def _scrape(self) -> list[Written]:
        """The metrics of all processes, also of those that have ended."""
        children = [child for child in self._children if child.ready]
        await asyncio.gather(*map(self._samples_of, children))
        own: list[Written] = [
            (metrics.WORKERS, (), str(len(children))),
            (metrics.WORKER_RESTARTS, (), str(self._restarts)),
            (metrics.RELOAD_FAILED, (), str(int(self._reloading.failed))),
        ]
        alive = [child.samples for child in children if child in self._children]
        return merged([own, self._left, *alive])

    async def _samples_of(self, child: Child) -> None:
        waiting = self._told[child] = asyncio.get_running_loop().create_future()
        child.send(Ask(0))
        try:
            async with asyncio.timeout(_ANSWER):
                await waiting
        except TimeoutError:
            _log.warning("process %d does not tell its metrics; its last ones count", child.pid)
        except asyncio.CancelledError:
            if not waiting.cancelled():
                raise
        finally:
            del self._told[child]


async def supervise(
    settings: Settings,
    reread: Callable[[], Settings],
    ready: Callable[[socket.socket], None],
) -> bool:
    """Serve in `server.workers` processes until a signal ends it; whether it ever did.

    Raises:
        ConfigurationError: it could not start.
    """
    return await Supervisor(settings, reread, ready).run()
