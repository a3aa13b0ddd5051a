"""The litellm worker's process: started, watched, started again, stopped.

litellm takes five seconds and 160 MB to load (1.106.2, measured 2026-11-22), brings sixty packages with
it, and holds credentials of clouds: so it lives in a process of its own, with those alone in its
environment.
"""

import asyncio
import contextlib
import json
import logging
import secrets
import socket
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from backends.litellm.plan import FLAGS, LitellmPlan, environment_of

_log = logging.getLogger(__name__)

START_WITHIN = 120.0  # seconds to load: five on an idle machine
SILENT_FOR = 30.0  # seconds without a sign of life, of which there is one every five
STEADY = 60.0  # seconds after which a worker that dies is one that had worked
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds before it is started again; doubled each time
_LEAVE_WITHIN = 5.0
_MAX_LINE = 1 << 20
_LAST_LINES = 5
_DIED = "it died, and is started again"

Stream = TypeVar("Stream")


class _Ended(Exception):
    """A worker's life is over; `final`: so will the next one's be."""

    def __init__(self, why: str, *, final: bool = False) -> None:
        super().__init__(why)
        self.final = final


class LitellmWorker:
    """Keeps a worker running from `start` to `aclose`.

    The port is this process's own throughout, and lent to each worker in turn: nobody else can take it
    while there is none. Whoever connects then is sent away at once.

    Args:
        plan: what it is started with.
        clock: seconds on a monotonic clock.

    Attributes:
        away: why there is no worker now; None: it is ready.
        pid: of the process, if there is one.
        starts: how often one was started.
        unknown: of each endpoint the fields that litellm would refuse; None: it knows no such model.
    """

    def __init__(self, plan: LitellmPlan, *, clock: Callable[[], float]) -> None:
        self.away: str | None = "it was not started"
        self.pid: int | None = None
        self.starts = 0
        self.unknown: Mapping[str, frozenset[str] | None] = {}
        self._plan = plan
        self._clock = clock
        self._token = secrets.token_hex(32)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def base_url(self) -> str:
        """Where it answers; a path that nobody else knows is part of it, and its only secret."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/{self._token}/v1"

    def start(self) -> None:
        """Start a worker, without waiting until it is ready."""
        self._socket.listen(1024)
        self._lend(lent=False)
        self._become("it is starting")
        self._task = asyncio.create_task(self._keep())

    async def ready(self) -> None:
        """Return once a worker is ready."""
        await self.turned(lambda: self.away is None)

    async def turned(self, state: Callable[[], bool]) -> None:
        """Return once its state is such."""
        while not state():
            self._changed.clear()
            await self._changed.wait()

    async def aclose(self) -> None:
        """Stop it; returns when the process is gone."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
            asyncio.get_running_loop().remove_reader(self._socket)
        self._become("it was stopped")
        self._socket.close()

    # -- inside ------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while True:
            began = self._clock()
            try:
                await self._live()
            except _Ended as end:
                if end.final:
                    self._become(str(end))
                    _log.error("no litellm worker can run: %s", end)
                    return
                self._become(_DIED)
                if self._clock() - began > STEADY:
                    pause = FIRST_PAUSE
                _log.warning("the litellm worker %s; started again in %g s", end, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _live(self) -> None:
        """One worker, from its start to its end.

        Raises:
            _Ended: always.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *(self._plan.interpreter, *FLAGS),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment_of(self._plan),
                pass_fds=(self._socket.fileno(),),
                cwd="/",
                limit=_MAX_LINE,
            )
        except OSError as error:
            raise _Ended(f"{self._plan.interpreter} cannot be run: {error.strerror}") from error
        self.pid = process.pid
        self.starts += 1
        self._changed.set()
        lines: list[str] = []
        listening = asyncio.create_task(_read(_there(process.stderr), lines))
        try:
            await self._watch(process)
        finally:
            self._lend(lent=False)
            self.pid = None
            self._become(_DIED)  # from here on nobody answers, though one that hangs takes its time
            try:
                await _end(process)
            finally:
                await listening
            for line in lines[-_LAST_LINES:]:
                _log.warning("the litellm worker wrote while it was loading: %s", line)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        stdout = _there(process.stdout)
        _there(process.stdin).write(self._config())
        within = START_WITHIN
        while True:
            try:
                async with asyncio.timeout(within):  # `wait_for` can lose a cancellation (3.11)
                    line = await stdout.readline()
                said = json.loads(line) if line else None
            except TimeoutError:
                raise _Ended(f"gave no sign of life for {within:g} s") from None
            except ValueError:  # no JSON, or a line without an end
                raise _Ended(f"is no worker: {self._plan.interpreter} itself prints") from None
            if said is None:
                raise _Ended(_told(await process.wait()))
            if (fault := said.get("fault")) is not None:
                raise _Ended(fault, final=True)
            if said.get("ready"):
                within = SILENT_FOR
                self._arrived(said)

    def _arrived(self, said: Mapping[str, Any]) -> None:
        self.unknown = {
            name: None if fields is None else frozenset(fields)
            for name, fields in said["unknown"].items()
        }
        for name, fields in self.unknown.items():
            if fields is None:
                _log.error(
                    "endpoint %s: litellm %s knows no provider of the model %r",
                    name,
                    said["version"],
                    self._plan.endpoints[name].model,
                )
        self._lend(lent=True)
        self._become(None)
        _log.info("litellm %s is ready, in process %s", said["version"], self.pid)

    def _config(self) -> bytes:
        """The line that a worker is told all in. It holds secrets: it is written to its stdin alone."""
        plan = self._plan
        endpoints = {
            name: {
                "params": {param: value.reveal() for param, value in row.params.items()}
                | ({} if row.base_url is None else {"api_base": row.base_url})
                | {"model": row.model},
                "allowed": row.allowed,
            }
            for name, row in plan.endpoints.items()
        }
        config = {
            "endpoints": endpoints,
            "environment": [*plan.environment],
            "fields": sorted(plan.fields),
            "listen": self._socket.fileno(),
            "max_body": plan.max_body,
            "timeout": plan.timeout,
            "token": self._token,
        }
        return json.dumps(config).encode() + b"\n"

    def _lend(self, *, lent: bool) -> None:
        """Give the port to a worker, or take it back."""
        loop = asyncio.get_running_loop()
        if lent:
            loop.remove_reader(self._socket)
        else:
            loop.add_reader(self._socket, _turn_away, self._socket)

    def _become(self, away: str | None) -> None:
        self.away = away
        self._changed.set()


def _turn_away(listener: socket.socket) -> None:
    """Close a connection that nobody would answer."""
    with contextlib.suppress(OSError):
        listener.accept()[0].close()


async def _read(stream: asyncio.StreamReader, lines: list[str]) -> None:
    """Keep the last lines of what a worker writes before it has served anything."""
    while data := await stream.read(4096):
        lines += data.decode(errors="replace").splitlines()
        del lines[:-_LAST_LINES]


async def _end(process: asyncio.subprocess.Process) -> None:
    """Have a worker leave by closing its stdin; kill it if it does not, or if there is no time to wait."""
    _there(process.stdin).close()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_WITHIN):
                await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _told(status: int) -> str:
    return f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"


def _there(stream: Stream | None) -> Stream:
    if stream is None:
        raise AssertionError("it was started with pipes")
    return stream
