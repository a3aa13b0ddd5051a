"""The journal: what this process has begun and ended, on disk before anybody is told.

Every line appended in one tick of the event loop goes out in one `write`. What was awaited is in
the operating system's page cache, where a SIGKILL of this process cannot reach it; against a power
cut it is synced in groups, or before each answer (`sync="always"`).

When the disk refuses (full, failing), lines wait in memory and are tried again each second.
Meanwhile `healthy` is False and `require_healthy` refuses new work, but work that is under way is
accounted for: futures resolve all the same. It recovers by itself.

After a failed fsync Linux does not write the pages again, and calls the next fsync a success ("Lost
async page write (Linux) and fsync() errors", knowledge.enterprisedb.com, read November 2026). So
everything since the last good one is written again, to a new file. Readers must therefore bear a
line that occurs twice.
"""

import asyncio
import errno
import logging
import os
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from typing_extensions import override

from gateway.errors import Unavailable
from gateway.usage import journal_files
from gateway.usage.journal_files import JournalFile

MAX_BYTES = 64 * 2**20
FSYNC_INTERVAL = 0.05
RETRY_INTERVAL = 1.0

log = logging.getLogger(__name__)

Write = Callable[[int, bytes | memoryview], int]
Fsync = Callable[[int], None]


class _Tick(asyncio.Future[None]):
    """The shared future of one tick's lines.

    A Task that is cancelled while it waits cancels what it waits for, which here belongs to others
    too. Refusing makes the Task take its cancellation when the write is done, within the tick.
    """

    @override
    def cancel(self, msg: Any | None = None) -> bool:
        return False


class Journal:
    """One process's journal.

    Args:
        folder: where the files live; made if missing.
        loop: the event loop that all calls come from.
        boot: what names this process's files; unless it is given it is drawn.
        sync: `group` syncs every `fsync_interval` seconds behind the answers; `always` holds them
            until their lines are synced.
        fsync_interval: seconds between the first unsynced line and its fsync.
        max_bytes: a file that has reached this size is finished and the next one begun.
        retry_interval: seconds between attempts while the disk refuses.
        write: stands for `os.write` in tests of failing disks.
        fsync: stands for `os.fsync` likewise.

    Attributes:
        files: this process's files that are not removed yet, oldest first; the last is current.
        healthy: whether the disk took everything so far.

    Raises:
        OSError: the first file cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        *,
        loop: asyncio.AbstractEventLoop,
        boot: str | None = None,
        sync: Literal["group", "always"] = "group",
        fsync_interval: float = FSYNC_INTERVAL,
        max_bytes: int = MAX_BYTES,
        retry_interval: float = RETRY_INTERVAL,
        write: Write = os.write,
        fsync: Fsync = os.fsync,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.healthy = True
        self._boot = boot or secrets.token_hex(8)
        self._loop = loop
        self._always = sync == "always"
        self._interval = fsync_interval
        self._max_bytes = self._finish_at = max_bytes
        self._retry_interval = retry_interval
        self._write = write
        self._fsync = fsync

        self._lines: list[bytes] = []  # of this tick
        self._tick: _Tick | None = None
        self._unwritten: deque[bytes] = deque()  # whole lines, joined by the tick
        self._written = 0  # bytes of the first unwritten that are in the file
        self._unsynced: list[bytes] = []  # written since the last good fsync
        self._awaiting_sync: list[_Tick] = []
        self._headers: dict[str, bytes] = {}  # lines that each file must hold before they are used
        self._all_headers: dict[str, bytes] = {}
        self._headers_used: set[str] = set()
        self._groups_used: set[str] = set()

        self._retry: asyncio.TimerHandle | None = None
        self._sync_timer: asyncio.TimerHandle | None = None
        self._syncing: asyncio.Task[None] | None = None
        self._closed = False
        self._folder_synced_for = 0  # ordinal of the newest file whose name is on disk for certain
        self._broken = False  # the current file failed an fsync: nothing more goes into it
        self._syncer = ThreadPoolExecutor(1, thread_name_prefix="journal-fsync")
        self._file = journal_files.create(folder, self._boot, 1)
        self._unsynced_files = [self._file]
        self.files: list[JournalFile] = [self._file]

    def append(self, line: bytes) -> Awaitable[None]:
        """Write one JSON document that holds no line break.

        Returns:
            What resolves once the line is written (with `sync="always"`: synced), or kept in memory
            because the disk refuses it. It need not be awaited. Cancelling a Task that awaits it
            takes effect when the write is done.
        """
        tick = self._tick
        if tick is None:
            if self._closed:
                raise RuntimeError("the journal is closed")
            tick = self._tick = _Tick(loop=self._loop)
            self._loop.call_soon(self._flush)
        self._lines.append(line)
        return tick

    def lacks_header(self, key: str) -> bool:
        """Whether `append_header` must be called before a line that refers to `key`.

        Asking means that the current file uses the header, which carries it to the next file.
        """
        if key in self._headers_used:
            return False
        self._headers_used.add(key)
        return key not in self._headers

    def lacks_headers(self, group: str) -> bool:
        """Whether `lacks_header` must be asked for each header of a group, which always come together.

        Asking means that they are: from then on it is False, until a new file begins.
        """
        if group in self._groups_used:
            return False
        self._groups_used.add(group)
        return True

    def append_header(self, key: str, line: bytes) -> None:
        """Write a line that later lines refer to by `key`, in this file and each that uses it."""
        self._headers[key] = self._all_headers[key] = line
        self.append(line)

    def headers(self) -> Mapping[str, bytes]:
        """All header lines that were ever appended, by key; also those that newer files do without."""
        return self._all_headers

    def reached(self) -> dict[str, int]:
        """How far each file holds whole lines, in bytes, by name."""
        sizes = {file.name: file.size for file in self.files}
        sizes[self._file.name] = self._file.size - self._written
        return sizes

    def require_healthy(self) -> None:
        """Let new work pass only while the journal can record it.

        Raises:
            Unavailable: the disk refuses; code journal_unavailable.
        """
        if not self.healthy:
            raise Unavailable(
                "the gateway cannot record requests now; try again",
                code="journal_unavailable",
                retry_after=self._retry_interval,
            )

    def unwritten(self) -> list[bytes]:
        """The lines that wait in memory because the disk refuses them."""
        return [line for data in self._unwritten for line in data.split(b"\n") if line]

    async def sync(self) -> None:
        """Write and sync whatever was appended so far, if the disk lets us."""
        self._flush()
        while self._syncing is not None or (self.healthy and self._unsynced):
            await self._start_sync()

    async def close(self) -> None:
        """Write and sync the rest and take no more lines; the files stay locked. Harmless twice.

        What the disk still refuses stays in `unwritten`.
        """
        self._flush()
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
            self._try_again()
        await self.sync()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._syncer.shutdown()
        for file in self.files:
            file.finished = True
        if self._unwritten:
            log.error("journal closed with %d lines not written", len(self.unwritten()))

    def release(self) -> None:
        """Give up the files that are left, for whichever process starts next."""
        for file in self.files:
            file.close()
        self.files.clear()

    def remove(self, file: JournalFile) -> None:
        """Delete a finished file."""
        if not file.finished:
            raise ValueError(f"{file.name} is still being written")
        file.remove()
        self.files.remove(file)

    def _flush(self) -> None:
        tick, self._tick = self._tick, None
        if tick is None:
            return  # `sync` was faster than the callback
        lines, self._lines = self._lines, []
        lines.append(b"")
        self._unwritten.append(b"\n".join(lines))
        if self.healthy:
            self._drain()
        if self._always and self.healthy:
            self._awaiting_sync.append(tick)  # in time: a sync begins no sooner than the next tick
        else:
            tick.set_result(None)

    def _drain(self) -> None:
        """Write what waits, in order; on a refusal remember where it stopped."""
        waiting = self._unwritten
        try:
            while waiting:
                if self._broken or (self._written == 0 and self._file.size >= self._finish_at):
                    self._begin_file()
                data = waiting[0]
                rest = memoryview(data)[self._written :] if self._written else data
                count = self._write(self._file.fd, rest)
                if count <= 0:
                    self._failed(OSError(errno.EIO, "nothing was written"))
                    return
                self._file.size += count
                if count == len(rest):
                    waiting.popleft()
                    self._written = 0
                    self._unsynced.append(data)
                else:
                    self._written += count
        except OSError as fault:
            self._failed(fault)
            return
        self._schedule_sync()

    def _begin_file(self) -> None:
        old = self._file
        new = journal_files.create(self.folder, self._boot, old.ordinal + 1)
        if self._broken:
            old.finished = True
        self._broken = False
        self._file = new
        self.files.append(new)
        self._unsynced_files.append(new)
        used = self._headers_used
        self._headers = {key: line for key, line in self._headers.items() if key in used}
        self._headers_used = set()
        self._groups_used = set()
        self._finish_at = self._max_bytes
        if self._headers:
            header = b"\n".join([*self._headers.values(), b""])
            self._unwritten.appendleft(header)
            self._finish_at = max(self._max_bytes, 2 * len(header))  # room for more than headers

    def _failed(self, fault: OSError) -> None:
        if self.healthy:
            log.error("journal: the disk refuses, admission stops: %s", fault)
        self.healthy = False
        for tick in self._awaiting_sync:
            tick.set_result(None)
        self._awaiting_sync.clear()
        if self._retry is None and not self._closed:
            self._retry = self._loop.call_later(self._retry_interval, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self.healthy = True
        self._drain()
        if self.healthy:
            log.warning("journal: the disk takes lines again")

    def _schedule_sync(self) -> None:
        if self._syncing is None and self._unsynced:
            if self._always:
                self._start_sync()
            elif self._sync_timer is None:
                self._sync_timer = self._loop.call_later(self._interval, self._start_sync)

    def _start_sync(self) -> asyncio.Task[None]:
        """The fsync that is running or, if none is, a new one."""
        if self._sync_timer is not None:
            self._sync_timer.cancel()
            self._sync_timer = None
        if self._syncing is None:
            self._syncing = self._loop.create_task(self._sync())
        return self._syncing

    async def _sync(self) -> None:
        count = len(self._unsynced)
        ticks, self._awaiting_sync = self._awaiting_sync, []
        files = self._unsynced_files
        current = self._file
        self._unsynced_files = [current]
        folder = self._folder_synced_for != current.ordinal
        try:
            await self._loop.run_in_executor(self._syncer, self._sync_files, files, folder)
        except OSError as fault:
            self._unwritten.extendleft(reversed(self._unsynced))
            self._unsynced.clear()
            self._written = 0
            self._broken = True
            self._unsynced_files = []
            for file in files:
                file.finished = file is not self._file
            self._failed(fault)
        else:
            self._folder_synced_for = current.ordinal
            del self._unsynced[:count]
            for file in files:
                file.finished = file is not current
        finally:
            self._syncing = None
            for tick in ticks:
                tick.set_result(None)
        self._schedule_sync()

    def _sync_files(self, files: list[JournalFile], folder: bool) -> None:  # noqa: FBT001
        for file in files:
            self._fsync(file.fd)
        if folder:  # a new file's name is in its folder, which has a page of its own
            fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                self._fsync(fd)
            finally:
                os.close(fd)
