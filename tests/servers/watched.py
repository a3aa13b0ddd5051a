"""A server as a child process that ends, with its folder, whatever becomes of the test run."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_PATIENCE_S = 30.0
_POLL_S = 0.01

# Runs beside each server. At the end of its stdin, which only the test run holds open, the test run is
# gone (or says good-bye, with `done`): then the server and its children go, and the folder. A process
# that a test has stopped is continued first, for PostgreSQL's children end only while they run.
_WATCHDOG = """
import os, shutil, signal, sys, time
pid, folder = int(sys.argv[1]), sys.argv[2]
if sys.stdin.read().strip() == "done":
    sys.exit()
def tell(process, number):
    try:
        os.kill(process, number)
    except OSError:
        return False
    return True
def children():
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        try:
            with open(f"/proc/{name}/stat") as file:
                if name.isdigit() and file.read().rpartition(")")[2].split()[1] == str(pid):
                    found.append(int(name))
        except OSError:
            pass
    return found
tree = [*children(), pid]
for process in tree:
    tell(process, signal.SIGCONT)
tell(pid, signal.SIGQUIT)
for _ in range(200):
    if not tell(pid, 0):
        break
    time.sleep(0.01)
for process in tree:
    tell(process, signal.SIGKILL)
shutil.rmtree(folder, ignore_errors=True)
"""


class Unready(Exception):
    """The server did not start; the message holds the end of what it wrote."""


class WatchedServer:
    """What the servers have in common. All calls are synchronous and return when it is so.

    In a coroutine, call them by `asyncio.to_thread`.

    Attributes:
        port: on 127.0.0.1; the same over restarts.
        folder: of its data and its log; removed at `close()`.
    """

    def __init__(
        self, name: str, *, folder: Path | None = None, user: tuple[int, int] | None = None
    ) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix=f"tidegate-{name}-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._user = user
        if user is not None:
            os.chown(self.folder, *user)
        self.port = free_port()
        self._log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """The command that runs it in the foreground."""
        raise NotImplementedError

    def variables(self) -> Mapping[str, str]:
        """What its environment has besides the path."""
        return {}

    def answers(self) -> bool:
        """Whether it serves."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """Of the server's own process.

        Raises:
            RuntimeError: it is not running.
        """
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether there is a process, be it stopped by `pause` or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and return when it answers.

        Raises:
            Unready: it ended at once, or did not answer in time.
        """
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests, which then stop it in order
                **self._identity(),
            )
        self._watchdog = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", _WATCHDOG, str(self.pid), str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        until = time.monotonic() + _PATIENCE_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > until:
                end = self._log.read_text(errors="replace")[-2000:]
                self.kill()
                raise Unready(f"{type(self).__name__} did not start:\n{end}")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """End it in order; its data stay. Harmless when it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would; its data stay."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start again: same port, same data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stop all its processes (SIGSTOP): connections stay open, and nothing answers."""
        for process in self._tree():
            os.kill(process, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        for process in self._tree():
            os.kill(process, signal.SIGCONT)

    def close(self) -> None:
        """End it, and remove its folder. Harmless twice."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _identity(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        user, group = self._user
        return {"user": user, "group": group, "extra_groups": []}

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.defpath, "TZ": "UTC", "LC_ALL": "C", **self.variables()}

    def _tree(self) -> list[int]:
        return [self.pid, *children(self.pid)]

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            if self.is_running:
                tree = self._tree()
                self._process.send_signal(number)
                # The stopped would never take notice; after SIGKILL, PostgreSQL's children end by
                # themselves, but one that is stopped would stay.
                for process in tree:
                    _tell(process, signal.SIGCONT)
                try:
                    self._process.wait(_PATIENCE_S)
                except subprocess.TimeoutExpired:
                    for process in tree:
                        _tell(process, signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._watchdog is not None:
            self._watchdog.communicate(b"done")
            self._watchdog = None


def children(pid: int) -> list[int]:
    """The processes that a process has started itself."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    pairs = (map(int, line.split()) for line in listed.splitlines())
    return [child for child, parent in pairs if parent == pid]


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tell(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
