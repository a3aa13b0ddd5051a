"""`tidegate serve` as a process of its own: started, looked at, killed."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import yaml

from gateway import app
from gateway.accounts.checking import check_current_books
from gateway.accounts.opening import DATABASE_FILE, Installation, make_folder
from gateway.settings import load_whereabouts
from gateway.store import schema
from tests.fakes import commands, forms
from tests.fakes.forms import Form
from tests.servers.watched import children

PROGRAM = Path(sys.executable).with_name("tidegate")
_READY = re.compile(r"listening on http://([\d.]+):(\d+)")
_START_WITHIN = 60.0  # seconds: a loaded machine is slow, a gateway that hangs is worse


class GatewayProcess:
    """The gateway on a data folder, which outlives any number of processes on it.

    Leaving the context kills the process that runs, if one does, and checks the books that it leaves:
    ledger and journal must agree, with each other and with themselves, whatever the test did.

    Args:
        folder: where its settings file and its data folder are made.
        settings: sections of the settings, without `data` and the address.
        source: a checkout whose code runs, instead of what is installed.
        form: where it keeps what it knows, and in how many processes it runs.

    Attributes:
        usual: the form of whoever is given none: tests need not know in which one they run.
        host, port: where it listens; a free port at each start.
        log: the lines of stderr of the process that was started last.
        books_spoilt: why the books that are left cannot be right; set by a test that spoils them.
    """

    host = "127.0.0.1"
    usual: ClassVar[Form] = forms.ONE

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        source: Path | None = None,
        *,
        form: Form | None = None,
    ) -> None:
        self.data = folder / "data"
        self._place = (form or self.usual).place()
        self.port = 0
        self.log: list[str] = []
        self.books_spoilt = ""
        self.config = folder / "tidegate.yaml"
        self._source = source
        self.configure(settings)
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Write the settings that the next start reads."""
        tree = {**settings, "data": str(self.data)}
        for name, section in self._place.items():
            tree[name] = {**section, **settings.get(name, {})}
        tree["server"] = {"host": self.host, "port": 0, **tree.get("server", {})}
        self.config.write_text(yaml.safe_dump(tree), encoding="utf-8")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def journal(self) -> Path:
        return self.data / "journal"

    @property
    def installation(self) -> Installation:
        """Where its database is."""
        return Installation.of(load_whereabouts(self.config, {}))

    def read(self, query: str, **values: object) -> list[dict[str, Any]]:
        """Rows of its database, read from outside; `:name` in the query stands for a value."""
        return forms.read(self.installation, query, **values)

    def write(self, statement: str, **values: object) -> int:
        """Change its database from outside; how many rows changed."""
        return forms.write(self.installation, statement, **values)

    async def administer(self, *words: str) -> str:
        """Run an administrative verb on the data folder; gives what it printed."""
        status, out, err = await asyncio.to_thread(
            commands.run, [*words, "--config", str(self.config)]
        )
        assert status == 0, err
        return out.strip()

    async def first_key(self) -> str:
        """Make the data folder and the key that is in it from the beginning."""
        make_folder(self.data)
        await schema.upgrade(self.installation.url)
        first = await app.first_account(self.installation, with_key=True)
        assert first.key_plaintext is not None
        return first.key_plaintext

    async def begin(self) -> None:
        """Start a process, without waiting for it."""
        self.log = []
        self._process = await asyncio.create_subprocess_exec(
            *(*self._program, "serve", "--config", self.config),
            stderr=asyncio.subprocess.PIPE,
            cwd=self._source,
        )
        self._ready = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read(self._process, self._ready))

    @property
    def _program(self) -> Sequence[str | Path]:
        # `-c` has Python look in the working folder first.
        run = "from gateway.cli import main; main()"
        return [PROGRAM] if self._source is None else [sys.executable, "-c", run]

    async def start(self) -> None:
        """Start a process, and return once it listens."""
        await self.begin()
        await self.ready()

    async def ready(self) -> None:
        """Return once the process that was begun listens."""
        async with asyncio.timeout(_START_WITHIN):
            assert await self._ready, "\n".join(self.log)

    async def _read(
        self, process: asyncio.subprocess.Process, ready: "asyncio.Future[bool]"
    ) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            text = line.decode(errors="replace").rstrip()
            self.log.append(text)
            if (found := _READY.search(text)) and not ready.done():
                self.port = int(found[2])
                ready.set_result(True)
        if not ready.done():
            ready.set_result(False)

    @property
    def listening(self) -> bool:
        """Whether the process that was begun has come to listen."""
        return self._ready.done() and self._ready.result()

    def kill(self) -> None:
        """SIGKILL, now."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM, now."""
        assert self._process is not None
        self._process.terminate()

    async def ended(self, within: float = 30.0) -> int:
        """The exit status, once there is one; of a signal, its number below zero."""
        assert self._process is not None
        assert self._reading is not None
        async with asyncio.timeout(within):
            status = await self._process.wait()
            await self._reading
        self._process = None
        return status

    async def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.terminate()
        return await self.ended()

    def resident_mib(self) -> float:
        """Resident memory in MiB; of several processes, that of the largest."""
        found = (
            int(line.split()[1]) / 1024
            for pid in (self.pid, *children(self.pid))
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if line.startswith("VmRSS:")
        )
        return max(found)

    @property
    def workers(self) -> list[int]:
        """The processes that it has started."""
        return children(self.pid)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                    self.kill()
            await self.ended()
        if kind is None and self._source is None and not self.books_spoilt:
            await self._check_books()

    async def _check_books(self) -> None:
        where = self.installation
        if not where.shared and not (self.data / DATABASE_FILE).exists():
            return  # it never came to have any
        checked = await check_current_books(where, counters=False)
        assert not checked.count, "\n".join(fault.line for fault in checked.faults)
