"""CPU time and memory of process trees, read from Linux's `/proc` (proc(5))."""

import os
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

from bench.results import Reading

TICKS = os.sysconf("SC_CLK_TCK")  # 100 a second: the grain of every CPU figure is 10 ms
PAGE = os.sysconf("SC_PAGE_SIZE")

# Positions in /proc/PID/stat after the command's name, which may itself hold spaces and brackets.
PPID, UTIME, STIME, CUTIME, CSTIME, RSS = 1, 11, 12, 13, 14, 21


class Footprint(NamedTuple):
    """CPU seconds used since the start, and resident megabytes now."""

    cpu_s: float
    rss_mb: float


class _Moment(NamedTuple):
    gateway_s: float
    beside_s: dict[str, float]
    other_s: float
    at: float


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None  # it ended meanwhile
    return text.rsplit(")", 1)[1].split()


def footprint(root: int | None) -> Footprint:
    """What `root` and all its descendants use; nothing where there is no process."""
    if root is None:
        return Footprint(0.0, 0.0)
    stats = {
        int(entry.name): stat
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) is not None
    }
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(int(stat[PPID]), []).append(pid)
    ticks = pages = 0
    pending = [root]
    while pending:
        pid = pending.pop()
        pending += children.get(pid, [])
        if (found := stats.get(pid)) is not None:
            # With the time of children that were waited for: a worker that ended still counts.
            ticks += sum(int(found[i]) for i in (UTIME, STIME, CUTIME, CSTIME))
            pages += int(found[RSS])
    return Footprint(ticks / TICKS, pages * PAGE / 1e6)


class Meter:
    """Measures the CPU use of a gateway between `with` and its end; then `reading` holds it.

    The load must be a child of this process that was waited for inside the block.
    """

    reading: Reading

    def __init__(self, gateway: int | None, upstream: int, beside: Mapping[str, int]) -> None:
        self._gateway = gateway
        self._upstream = upstream
        self._beside = beside

    def _moment(self) -> _Moment:
        with Path("/proc/stat").open() as lines:
            ticks = [int(field) for field in lines.readline().split()[1:]]
        # user nice system (idle iowait) irq softirq steal; guest time is inside user time
        busy = (sum(ticks[:3]) + sum(ticks[5:8])) / TICKS
        load = resource.getrusage(resource.RUSAGE_CHILDREN)
        gateway = footprint(self._gateway).cpu_s
        beside = {name: footprint(pid).cpu_s for name, pid in self._beside.items()}
        ours = gateway + footprint(self._upstream).cpu_s + load.ru_utime + load.ru_stime
        return _Moment(gateway, beside, busy - ours - sum(beside.values()), time.monotonic())

    def __enter__(self) -> Self:
        self._start = self._moment()
        return self

    def __exit__(self, *_: object) -> None:
        start, end = self._start, self._moment()
        wall = end.at - start.at
        self.reading = Reading(
            cpu_s=round(end.gateway_s - start.gateway_s, 3),
            wall_s=round(wall, 3),
            other=round((end.other_s - start.other_s) / wall, 2),
            beside_s={
                name: round(used - start.beside_s[name], 3) for name, used in end.beside_s.items()
            },
        )
