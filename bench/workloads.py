"""The four workloads, and one gateway's way through them.

W1  whole requests: a prompt of 900 characters, an answer of 1.1 kB, at 1, 16 and 64 connections
W2  streams of 200 chunks as fast as they can be written, 4 at a time: relaying in bulk
W3  streams of 100 chunks 10 ms apart, 200 at a time (20,000 chunks/s): what a live chunk costs
W4  whole requests with prompts of 1 MB and 4 MB, 2 at a time
"""

import time
from collections.abc import Mapping

import msgspec

from bench import load, upstream
from bench.bodies import Bodies, write_bodies
from bench.gateways import Gateway, Started, StartFailed, running
from bench.load import LoadFailed
from bench.paths import BUILD
from bench.procfs import Meter, footprint
from bench.results import RequestRun, Row, StreamRun

ALL = ("W1", "W2", "W3", "W4")
CONNECTIONS = (1, 16, 64)


class Course(msgspec.Struct, frozen=True):
    """What is run, for how long, and where.

    Attributes:
        workloads: names out of `ALL`.
        repeats: of W1, whose sizes take turns.
        seconds: that each stretch of W1 lasts; one of W4 lasts twice as long.
    """

    workloads: tuple[str, ...]
    repeats: int
    seconds: int
    gateway_core: int
    load_core: int


class Bench:
    """Measures a gateway that is running, into a row."""

    def __init__(
        self,
        course: Course,
        started: Started,
        bodies: Bodies,
        upstream_pid: int,
        row: Row,
        *,
        beside: Mapping[str, int],
    ) -> None:
        self._course = course
        self._started = started
        self._bodies = bodies
        self._upstream = upstream_pid
        self._row = row
        self._beside = beside

    def run(self) -> None:
        """Every workload of the course, in order."""
        self._row.start_s = round(self._started.seconds, 2)
        time.sleep(1.0)  # what is still being set up after the first answer is not "idle"
        self._row.rss_idle_mb = self._memory()
        steps = {
            "W1": self._small_requests,
            "W2": self._fast_streams,
            "W3": self._live_streams,
            "W4": self._large_prompts,
        }
        for name in self._course.workloads:
            steps[name]()
        self._row.rss_end_mb = self._memory()

    def _memory(self) -> float:
        return round(footprint(self._started.pid).rss_mb, 1)

    def _meter(self) -> Meter:
        return Meter(self._started.pid, self._upstream, self._beside)

    def _requests(self, size: int | None, *, connections: int, seconds: int) -> RequestRun:
        body = self._bodies.small if size is None else self._bodies.large[size]
        before = upstream.counters()
        with self._meter() as meter:
            report = load.requests(
                self._started.target,
                body,
                core=self._course.load_core,
                connections=connections,
                seconds=seconds,
            )
        after = upstream.counters()
        return RequestRun(
            report=report,
            reading=meter.reading,
            # The later question is itself a request on a connection of its own.
            upstream_connections=after.connections - before.connections - 1,
            upstream_requests=after.requests - before.requests - 1,
        )

    def _streams(self, *, live: bool, at_once: int, total: int) -> StreamRun:
        with self._meter() as meter:
            report = load.streams(
                self._started.target,
                self._bodies.live_stream if live else self._bodies.fast_stream,
                core=self._course.load_core,
                at_once=at_once,
                total=total,
                # Streams in step would write all their chunks in the same millisecond.
                ramp_ms=5 if live else 0,
            )
        return StreamRun(report=report, reading=meter.reading)

    def _small_requests(self) -> None:
        seconds = self._course.seconds
        self._requests(None, connections=4, seconds=seconds)  # warm-up
        for connections in CONNECTIONS * self._course.repeats:
            run = self._requests(None, connections=connections, seconds=seconds)
            self._row.w1.setdefault(connections, []).append(run)

    def _fast_streams(self) -> None:
        trial = self._streams(live=False, at_once=4, total=12).report
        # About three seconds' worth of streams, whatever this gateway's speed.
        total = int(min(3000, max(12, 3.0 * 12 / trial.seconds)))
        self._row.w2 = self._streams(live=False, at_once=4, total=total)

    def _live_streams(self) -> None:
        self._row.w3 = self._streams(live=True, at_once=200, total=600)
        self._row.rss_streams_mb = self._memory()

    def _large_prompts(self) -> None:
        for megabytes in self._bodies.large:
            self._row.w4[megabytes] = self._requests(
                megabytes, connections=2, seconds=2 * self._course.seconds
            )


def measure(gateway: Gateway, course: Course, upstream_pid: int) -> Row:
    """Start the gateway, run the course, stop it. What goes wrong is in the row's `error`."""
    row = Row(
        name=gateway.name,
        when=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        note=gateway.note,
    )
    bodies = write_bodies(BUILD / "bodies" / gateway.name, gateway.model)
    small = bodies.small.read_bytes()
    try:
        with running(gateway, small, core=course.gateway_core) as started:
            Bench(course, started, bodies, upstream_pid, row, beside=gateway.beside).run()
    except (StartFailed, LoadFailed) as error:
        row.error = f"{error}"[:500]
    return row
