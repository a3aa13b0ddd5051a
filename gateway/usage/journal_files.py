"""Journal files on disk: names, locks, framing. One JSON document a line.

A file is `<boot>-<n>.jsonl`: `boot` is drawn anew by each process, `n` counts its files from 1. The
process that writes a file holds its flock (flock(2): released by the kernel when the process ends,
however it ends), so a file whose lock is free has lost its owner.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NAME = re.compile(r"(?P<boot>[0-9a-z]+)-(?P<ordinal>[0-9]{1,9})\.jsonl")
_UNBORN = ".new"
_READ_BYTES = 1 << 18


class JournalFile:
    """One journal file, open and locked by this process.

    Attributes:
        size: bytes known to be written.
        finished: nothing more will be written to it.
    """

    __slots__ = ("fd", "finished", "name", "ordinal", "path", "size")

    def __init__(self, path: Path, fd: int, size: int, ordinal: int) -> None:
        self.path = path
        self.name = path.name
        self.fd = fd
        self.size = size
        self.ordinal = ordinal
        self.finished = False

    @property
    def boot(self) -> str:
        """The process that wrote it."""
        return self.name.partition("-")[0]

    def close(self) -> None:
        """Give up the lock. Harmless twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def set_aside(self, suffix: str) -> None:
        """Keep the file for a human, under a name that no replay looks for."""
        self.path.rename(self.path.with_name(self.name + suffix))

    def remove(self) -> None:
        """Delete the file, then give up its lock. Harmless if it is gone."""
        self.path.unlink(missing_ok=True)
        self.close()


def create(folder: Path, boot: str, ordinal: int) -> JournalFile:
    """A new, empty, locked file.

    It gets its name only once it is locked: under that name nobody can ever find it ownerless.

    Raises:
        OSError: it cannot be made.
    """
    path = folder / f"{boot}-{ordinal}.jsonl"
    unborn = path.with_name(path.name + _UNBORN)
    fd = os.open(unborn, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unborn.rename(path)
    except OSError:
        os.close(fd)
        unborn.unlink(missing_ok=True)
        raise
    return JournalFile(path, fd, 0, ordinal)


@contextmanager
def orphans(folder: Path) -> Iterator[list[list[JournalFile]]]:
    """The files of dead processes, locked for the duration of the block.

    Each inner list is all that one process left, in the order in which it was written. What is not
    removed inside the block stays an orphan.
    """
    groups: dict[str, list[JournalFile]] = {}
    try:
        _adopt(folder, groups)
        for files in groups.values():
            files.sort(key=lambda file: file.ordinal)
        yield [files for files in groups.values() if files]
    finally:
        for files in groups.values():
            for file in files:
                file.close()


def _adopt(folder: Path, groups: dict[str, list[JournalFile]]) -> None:
    alive: set[str] = set()
    for path in sorted(folder.iterdir()):
        if path.name.endswith(_UNBORN):
            _remove_unborn(path)
            continue
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        boot = match["boot"]
        file = _lock(path, int(match["ordinal"]))
        if file is None:
            alive.add(boot)
        else:
            groups.setdefault(boot, []).append(file)
    # A process lets its files go one by one as it stops. While it holds any, the lines that end an
    # open may be in that one: leave all of them to it.
    for boot in alive:
        for file in groups.pop(boot, []):
            file.close()


def _lock(path: Path, ordinal: int) -> JournalFile | None:
    """The file, locked; None if somebody else has it, or has just removed it."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(fd)
        ours = os.path.samestat(found, path.stat())
    except (BlockingIOError, FileNotFoundError):
        ours = False
    if not ours:
        os.close(fd)
        return None
    file = JournalFile(path, fd, found.st_size, ordinal)
    file.finished = True
    return file


def remove_beside(folder: Path, suffix: str) -> None:
    """Remove the files called `<boot><suffix>` of processes that have no journal any more."""
    # First these, as a process that makes one has a journal already.
    beside = list(folder.glob("*" + suffix))
    if not beside:
        return
    found = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    boots = {match["boot"] for match in found if match is not None}
    for path in beside:
        if path.name.removesuffix(suffix) not in boots:
            path.unlink(missing_ok=True)


def _remove_unborn(path: Path) -> None:
    """Remove what a process left that died between making a file and naming it."""
    file = _lock(path, 0)
    if file is not None:
        if file.size == 0:
            path.unlink(missing_ok=True)
        file.close()


def blocks(file: JournalFile, offset: int) -> Iterator[tuple[bytes, int]]:
    """The complete lines from `offset` on, many at a time, each block with the offset after it.

    A last line without an end is not given out: it is being written, or its writer died over it.
    `offset` must be the beginning of a line.

    Raises:
        OSError: the file cannot be read.
    """
    carried = b""
    position = offset
    while position < file.size:
        piece = os.pread(file.fd, min(_READ_BYTES, file.size - position), position)
        if not piece:
            return
        position += len(piece)
        whole, end, carried = (carried + piece).rpartition(b"\n")
        if end:
            offset += len(whole) + 1
            yield whole, offset


def lines(file: JournalFile, offset: int) -> Iterator[tuple[bytes, int]]:
    """The complete lines of `blocks`, without their ends, each with the offset after it.

    Raises:
        OSError: the file cannot be read.
    """
    for block, _ in blocks(file, offset):
        for line in block.split(b"\n"):
            offset += len(line) + 1
            yield line, offset
