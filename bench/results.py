"""The values that one run of the bench produces: a `Row` for each gateway, kept as a JSON line."""

from msgspec import Struct


class Reading(Struct, frozen=True):
    """What `/proc` said about a stretch of time.

    `cpu_s` is user and system time of the gateway's process tree. `other` is the cores' worth of
    CPU that anything but gateway, upstream and load used, stolen time included: the noise. `beside_s` is
    that of the servers that the gateway needs, by name, which count neither as its own nor as noise.
    """

    cpu_s: float
    wall_s: float
    other: float
    beside_s: dict[str, float] = {}

    @property
    def utilisation(self) -> float:
        """The gateway's share of one core."""
        return self.cpu_s / self.wall_s


class RequestReport(Struct, frozen=True):
    """What wrk saw: the RESULT line of post.lua. Latencies are microseconds.

    `bad_status` counts answers of 400 and above, which is all that wrk counts.
    """

    requests: int
    duration_s: float
    rps: float
    mean_us: float
    p50_us: int
    p90_us: int
    p99_us: int
    max_us: int
    bad_status: int
    socket_errors: int


class StreamReport(Struct, frozen=True):
    """What the streaming client saw. Latencies are microseconds.

    `lateness` is how long after the upstream wrote a chunk it came here.
    """

    total: int
    finished: int
    not_ok: int  # ended with a status other than 200, or before [DONE]
    seconds: float
    events: int
    reads: int
    ttft_p50_us: float | None
    ttft_p99_us: float | None
    lateness_p50_us: float | None
    lateness_p99_us: float | None
    client_cpu_s: float


class RequestRun(Struct, frozen=True):
    """One stretch of whole requests."""

    report: RequestReport
    reading: Reading
    upstream_connections: int
    upstream_requests: int

    @property
    def cpu_us(self) -> float:
        """The gateway's CPU time per request, microseconds."""
        return self.reading.cpu_s * 1e6 / max(1, self.report.requests)

    @property
    def not_ok(self) -> int:
        """Requests without a 200 from the upstream: must be 0.

        An answer that never reached the upstream is no 200 of its, whatever its status.
        """
        unseen = self.report.requests - self.upstream_requests
        return max(self.report.bad_status, unseen) + self.report.socket_errors


class StreamRun(Struct, frozen=True):
    """One stretch of streams."""

    report: StreamReport
    reading: Reading

    @property
    def cpu_us_chunk(self) -> float:
        """The gateway's CPU time per event relayed, microseconds."""
        return self.reading.cpu_s * 1e6 / max(1, self.report.events)

    @property
    def not_ok(self) -> int:
        """Streams that did not end with 200 and [DONE]: must be 0."""
        return self.report.not_ok + self.report.total - self.report.finished


class Row(Struct, kw_only=True):
    """Everything measured of one gateway. Filled workload by workload: an error keeps the rest.

    `w1` is keyed by connections and holds every repeat; `w4` by megabytes of prompt. Memory is
    resident, in megabytes, of the whole process tree; `start_s` is seconds to the first 200.
    """

    name: str
    when: str  # ISO 8601, local time
    note: str = ""
    error: str = ""
    start_s: float | None = None
    rss_idle_mb: float | None = None
    rss_streams_mb: float | None = None
    rss_end_mb: float | None = None
    w1: dict[int, list[RequestRun]] = {}
    w2: StreamRun | None = None
    w3: StreamRun | None = None
    w4: dict[int, RequestRun] = {}

    def quietest(self, connections: int) -> RequestRun | None:
        """The repeat of W1 during which the machine did least else."""
        repeats = self.w1.get(connections)
        return min(repeats, key=lambda run: run.reading.other) if repeats else None

    def request_runs(self) -> list[RequestRun]:
        """Every stretch of whole requests."""
        return [*(run for repeats in self.w1.values() for run in repeats), *self.w4.values()]

    def stream_runs(self) -> list[StreamRun]:
        """Every stretch of streams."""
        return [run for run in (self.w2, self.w3) if run is not None]

    def failed(self) -> bool:
        """Whether anything at all was not answered as it should be."""
        bad = sum(run.not_ok for run in self.request_runs())
        bad += sum(run.not_ok for run in self.stream_runs())
        return bool(self.error) or bad > 0
