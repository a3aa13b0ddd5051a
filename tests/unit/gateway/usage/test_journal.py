"""The journal writes before it tells, survives failing disks, and rotates."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import Unavailable
from gateway.usage import journal_files
from gateway.usage.journal import Journal
from tests.unit.gateway.usage.samples import files_in, kill

Make = Callable[..., Journal]


class Disk:
    """A disk that can be told to fail, and remembers what it was asked."""

    def __init__(self) -> None:
        self.fault: int | None = None
        self.sync_fault: int | None = None
        self.room: int | None = None  # bytes until it is full
        self.writes: list[bytes] = []
        self.wrote = asyncio.Event()
        self.syncs = 0

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if self.fault is not None:
            raise OSError(self.fault, os.strerror(self.fault))
        taken = bytes(data)
        if self.room is not None:
            if self.room == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            taken = taken[: self.room]
            self.room -= len(taken)
        self.writes.append(taken)
        self.wrote.set()
        return os.write(fd, taken)

    def fsync(self, fd: int) -> None:
        self.syncs += 1
        if self.sync_fault is not None:
            raise OSError(self.sync_fault, os.strerror(self.sync_fault))
        os.fsync(fd)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
async def make(tmp_path: Path, disk: Disk) -> AsyncIterator[Make]:
    made: list[Journal] = []

    def new(**options: Any) -> Journal:
        settings: dict[str, Any] = {
            "write": disk.write,
            "fsync": disk.fsync,
            "retry_interval": 0.01,
        } | options
        journal = Journal(tmp_path, loop=asyncio.get_running_loop(), **settings)
        made.append(journal)
        return journal

    yield new
    disk.fault = disk.sync_fault = disk.room = None
    for journal in made:
        await journal.close()
        journal.release()


def text(journal: Journal) -> bytes:
    return b"".join(file.path.read_bytes() for file in journal.files)


async def mend(disk: Disk, journal: Journal) -> None:
    """Let the disk take writes again, and return when the journal has found out by itself."""
    disk.wrote.clear()
    disk.fault = disk.sync_fault = disk.room = None
    async with asyncio.timeout(5):
        await disk.wrote.wait()
    assert journal.healthy


async def test_what_was_awaited_is_in_the_file(make: Make) -> None:
    journal = make()
    await journal.append(b'{"a":1}')
    assert text(journal) == b'{"a":1}\n'


async def test_lines_of_one_tick_go_out_in_one_write_in_order(make: Make, disk: Disk) -> None:
    journal = make()
    first = journal.append(b"1")
    assert journal.append(b"2") is first
    await journal.append(b"3")
    assert disk.writes == [b"1\n2\n3\n"]
    await journal.append(b"4")
    assert disk.writes == [b"1\n2\n3\n", b"4\n"]


async def test_nothing_is_written_before_the_tick_ends(make: Make, disk: Disk) -> None:
    journal = make()
    waiting = journal.append(b"1")
    assert disk.writes == []
    await waiting
    assert disk.writes == [b"1\n"]


async def test_a_task_that_is_cancelled_while_it_waits_takes_no_other_with_it(make: Make) -> None:
    journal = make(sync="always")

    async def wait() -> str:
        await journal.append(b"line")
        return "written"

    leaver, stayer = asyncio.create_task(wait()), asyncio.create_task(wait())
    await asyncio.sleep(0)
    leaver.cancel()
    assert await stayer == "written"
    with pytest.raises(asyncio.CancelledError):
        await leaver


async def test_with_sync_always_the_answer_waits_for_the_fsync(make: Make, disk: Disk) -> None:
    journal = make(sync="always")
    await journal.append(b"1")
    assert disk.syncs >= 1
    before = disk.syncs
    await asyncio.gather(*(journal.append(b"2") for _ in range(50)))
    assert disk.syncs == before + 1


async def test_with_sync_group_the_fsync_follows_behind(make: Make, disk: Disk) -> None:
    journal = make(fsync_interval=0.001)
    for _ in range(5):
        await journal.append(b"1")
    assert disk.syncs == 0
    await journal.sync()
    assert disk.syncs >= 1


async def test_an_unsynced_line_is_synced_within_the_interval(make: Make) -> None:
    synced = asyncio.Event()
    loop = asyncio.get_running_loop()

    def fsync(fd: int) -> None:
        os.fsync(fd)
        loop.call_soon_threadsafe(synced.set)

    journal = make(fsync_interval=0.001, fsync=fsync)
    await journal.append(b"1")
    async with asyncio.timeout(5):
        await synced.wait()


async def test_a_partial_write_is_continued_where_it_stopped(make: Make, disk: Disk) -> None:
    journal = make()
    pieces = iter([3, 2])

    def write(fd: int, data: bytes | memoryview) -> int:
        return os.write(fd, bytes(data)[: next(pieces, len(data))])

    journal._write = write
    await journal.append(b"0123456789")
    assert text(journal) == b"0123456789\n"
    assert journal.healthy


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO])
async def test_while_the_disk_refuses_lines_wait_and_new_work_is_refused(
    make: Make, disk: Disk, fault: int
) -> None:
    journal = make(retry_interval=60)
    await journal.append(b"before")
    journal.require_healthy()
    disk.fault = fault
    await journal.append(b"1")  # resolves: what is under way is accounted for
    await journal.append(b"2")
    assert not journal.healthy
    assert journal.unwritten() == [b"1", b"2"]
    with pytest.raises(Unavailable) as caught:
        journal.require_healthy()
    assert caught.value.code == "journal_unavailable"
    assert caught.value.retry_after == 60


async def test_it_recovers_by_itself_and_loses_nothing(make: Make, disk: Disk) -> None:
    journal = make()
    disk.fault = errno.ENOSPC
    await journal.append(b"1")
    await journal.append(b"2")
    await mend(disk, journal)
    await journal.append(b"3")
    journal.require_healthy()
    assert text(journal) == b"1\n2\n3\n"
    assert journal.unwritten() == []


async def test_a_disk_that_fills_up_in_the_middle_of_a_line_tears_nothing(
    make: Make, disk: Disk
) -> None:
    journal = make()
    disk.room = 4
    await journal.append(b"012345")
    await journal.append(b"678")
    assert text(journal) == b"0123"
    await mend(disk, journal)
    assert text(journal) == b"012345\n678\n"


async def test_with_sync_always_a_refusing_disk_keeps_nobody_waiting(
    make: Make, disk: Disk
) -> None:
    journal = make(sync="always")
    disk.sync_fault = errno.EIO
    await journal.append(b"1")
    assert not journal.healthy
    await mend(disk, journal)
    await journal.append(b"2")
    assert journal.healthy


async def test_after_a_failed_fsync_everything_since_the_last_good_one_is_written_to_a_new_file(
    make: Make, disk: Disk
) -> None:
    journal = make(fsync_interval=60)
    await journal.append(b"safe")
    await journal.sync()
    await journal.append(b"doubtful")
    disk.sync_fault = errno.EIO
    await journal.sync()
    assert not journal.healthy
    await journal.append(b"later")
    await mend(disk, journal)
    old, new = journal.files
    assert old.path.read_bytes() == b"safe\ndoubtful\n"
    assert new.path.read_bytes() == b"doubtful\nlater\n"
    assert old.finished
    assert not new.finished


async def test_a_full_file_is_finished_and_a_new_one_begun(make: Make) -> None:
    journal = make(max_bytes=10, fsync_interval=60)
    for number in range(4):
        await journal.append(b"line %d" % number)
    assert [file.finished for file in journal.files] == [False, False]  # not synced yet
    await journal.sync()
    assert [file.path.read_bytes() for file in journal.files] == [
        b"line 0\nline 1\n",
        b"line 2\nline 3\n",
    ]
    assert [file.name.partition("-")[2] for file in journal.files] == ["1.jsonl", "2.jsonl"]
    assert [file.finished for file in journal.files] == [True, False]


async def test_a_file_that_is_being_written_cannot_be_removed(make: Make) -> None:
    journal = make()
    with pytest.raises(ValueError, match="still being written"):
        journal.remove(journal.files[0])


async def test_a_header_is_written_once_before_its_first_use_in_each_file(make: Make) -> None:
    journal = make(max_bytes=60, fsync_interval=60)

    def use(key: str) -> None:
        if journal.lacks_header(key):
            journal.append_header(key, b"header " + key.encode())

    for number in range(8):
        use("a")
        if number == 0:
            use("b")
        await journal.append(b"line %d uses a" % number)
    texts = [file.path.read_bytes().splitlines() for file in journal.files]
    assert texts[0][:3] == [b"header a", b"header b", b"line 0 uses a"]
    assert len(texts) >= 3
    for lines in texts:
        assert lines.count(b"header a") == 1
        assert lines[0] == b"header a"
    # Carried while the file before used it, then forgotten.
    assert [b"header b" in lines for lines in texts[:3]] == [True, True, False]
    assert journal.lacks_header("b")


async def test_headers_longer_than_a_file_do_not_rotate_for_ever(make: Make) -> None:
    journal = make(max_bytes=5)
    for key in ("a", "b"):
        assert journal.lacks_header(key)
        journal.append_header(key, key.encode() * 50)
    await journal.append(b"1")
    assert not journal.lacks_header("a")
    await journal.append(b"2")
    assert text(journal).splitlines()[-1] == b"2"


async def test_closing_writes_what_waits_and_takes_no_more(make: Make) -> None:
    journal = make(fsync_interval=60)
    waiting = journal.append(b"last")
    await journal.close()
    await waiting
    assert text(journal) == b"last\n"
    assert journal.files[0].finished
    with pytest.raises(RuntimeError, match="closed"):
        journal.append(b"too late")
    await journal.close()


async def test_closing_tries_a_refusing_disk_once_more(make: Make, disk: Disk) -> None:
    journal = make(retry_interval=60)
    disk.fault = errno.EIO
    await journal.append(b"1")
    disk.fault = None
    await journal.close()
    assert text(journal) == b"1\n"


async def test_closing_on_a_dead_disk_keeps_the_lines_for_the_shipper(
    make: Make, disk: Disk
) -> None:
    journal = make(retry_interval=60)
    disk.fault = errno.EIO
    await journal.append(b"1")
    await journal.close()
    assert journal.unwritten() == [b"1"]


async def test_a_live_journal_is_nobodys_orphan_and_a_killed_one_is(
    make: Make, tmp_path: Path
) -> None:
    live, killed = make(), make()
    await asyncio.gather(live.append(b"1"), killed.append(b"2"))
    with journal_files.orphans(tmp_path) as groups:
        assert groups == []
    name = killed.files[0].name
    kill(killed)
    with journal_files.orphans(tmp_path) as groups:
        assert [[file.name for file in files] for files in groups] == [[name]]
        with journal_files.orphans(tmp_path) as again:
            assert again == []  # one adopter at a time


async def test_one_process_makes_one_file_and_leaves_no_other_traces(
    make: Make, tmp_path: Path
) -> None:
    journal = make()
    assert files_in(tmp_path) == [journal.files[0].name]
