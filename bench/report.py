"""Tables of what was measured, in Markdown."""

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from bench.results import RequestRun, Row, StreamRun

# docs/performance.md: what Tidegate may cost with every feature on.
BUDGET = "W1 80 µs a request, W3 30 µs a chunk, W4 5.5 ms at 4 MB, 110 MB idle"

REQUESTS = (
    "gateway",
    "W1 CPU µs/request",
    "W1 requests/s",
    "added p50/p99 µs, 1 connection",
    "added p50/p99 µs, 16",
    "W4 CPU ms, 1 MB",
    "W4 CPU ms, 4 MB",
    "W4 added p50 ms, 4 MB",
    "start s",
    "RSS MB idle/end",
    "not 200",
    "other",
)
STREAMS = (
    "gateway",
    "W2 CPU µs/chunk",
    "W3 CPU µs/chunk",
    "W3 of a core",
    "W3 TTFT added p50/p99 ms",
    "W3 chunk lateness added p50/p99 ms",
    "RSS MB after W3",
    "not 200",
    "other",
)
NONE = "-"

T = TypeVar("T")


def _of(value: T | None, read: Callable[[T], float | None]) -> float | None:
    return None if value is None else read(value)


def _figure(value: float | None, digits: int = 0) -> str:
    return NONE if value is None else f"{value:,.{digits}f}"


def _added(
    here: T | None, direct: T | None, *reads: Callable[[T], float | None], unit: int = 1
) -> str:
    """How much more than without a gateway: read in microseconds, shown in `unit` of them."""
    cells = []
    for read in reads:
        value, floor = _of(here, read), _of(direct, read)
        added = None if value is None or floor is None else (value - floor) / unit
        cells.append(_figure(added, 0 if unit == 1 else 1))
    return "/".join(cells)


def _p50(run: RequestRun) -> float:
    return run.report.p50_us


def _p99(run: RequestRun) -> float:
    return run.report.p99_us


def _cpu_ms(run: RequestRun) -> float:
    return run.cpu_us / 1000


def _noise(runs: Sequence[RequestRun | StreamRun | None]) -> str:
    return _figure(max((run.reading.other for run in runs if run is not None), default=None), 2)


def _failures(runs: Sequence[RequestRun | StreamRun]) -> str:
    return f"{sum(run.not_ok for run in runs):,}" if runs else NONE


def _beside(row: Row) -> str:
    """What the servers that a gateway needs took in W1, per request."""
    busy = row.quietest(16)
    if busy is None:
        return ""
    requests = max(1, busy.report.requests)
    return ", ".join(
        f"{name} {used * 1e6 / requests:.0f} µs/request"
        for name, used in busy.reading.beside_s.items()
    )


def _request_cells(row: Row, direct: Row) -> list[str]:
    alone, busy = row.quietest(1), row.quietest(16)
    one, four = row.w4.get(1), row.w4.get(4)
    return [
        row.name,
        _figure(_of(busy, lambda run: run.cpu_us)),
        _figure(_of(busy, lambda run: run.report.rps)),
        _added(alone, direct.quietest(1), _p50, _p99),
        _added(busy, direct.quietest(16), _p50, _p99),
        _figure(_of(one, _cpu_ms), 2),
        _figure(_of(four, _cpu_ms), 2),
        _added(four, direct.w4.get(4), _p50, unit=1000),
        _figure(row.start_s, 2),
        f"{_figure(row.rss_idle_mb)}/{_figure(row.rss_end_mb)}",
        _failures(row.request_runs()),
        _noise([alone, busy, one, four]),
    ]


def _stream_cells(row: Row, direct: Row) -> list[str]:
    live = row.w3
    here, floor = (each.w3.report if each.w3 else None for each in (row, direct))
    return [
        row.name,
        _figure(_of(row.w2, lambda run: run.cpu_us_chunk), 1),
        _figure(_of(live, lambda run: run.cpu_us_chunk), 1),
        _figure(_of(live, lambda run: run.reading.utilisation), 2),
        _added(here, floor, lambda it: it.ttft_p50_us, lambda it: it.ttft_p99_us, unit=1000),
        _added(
            here, floor, lambda it: it.lateness_p50_us, lambda it: it.lateness_p99_us, unit=1000
        ),
        _figure(row.rss_streams_mb),
        _failures(row.stream_runs()),
        _noise(row.stream_runs()),
    ]


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    marks = ["---", *("--:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, marks, *lines))


def tables(rows: Sequence[Row]) -> str:
    """Both tables, then whatever went wrong. "Added" needs a row named direct among `rows`."""
    direct = next((row for row in rows if row.name == "direct"), Row(name="direct", when=""))
    parts = [
        _table(REQUESTS, [_request_cells(row, direct) for row in rows]),
        _table(STREAMS, [_stream_cells(row, direct) for row in rows]),
        f"Tidegate's budget: {BUDGET}.",
        *(f"{row.name}, beside it: {said}." for row in rows if (said := _beside(row))),
        *(f"{row.name}: {row.error}" for row in rows if row.error),
    ]
    return "\n\n".join(parts)


def machine() -> str:
    """One line on where and when: no figure means anything without it."""
    cpu = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    return (
        f"{time.strftime('%Y-%m-%d')}: {cpu}, {os.cpu_count()} cores, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )
