"""Counters of this process, in Prometheus' text format.

Counting is an addition to a plain integer; names, labels and text are made when somebody reads. Labels
never hold a key, a user or a request. Every name here is described in `docs/reference/metrics.md`.
"""

from collections.abc import Callable, Iterable, Iterator

REQUESTS = "tidegate_requests_total"
ERRORS = "tidegate_request_errors_total"
ATTEMPTS = "tidegate_upstream_attempts_total"
FAILOVERS = "tidegate_failovers_total"
TOKENS = "tidegate_tokens_total"
CHARGED = "tidegate_charge_total"
COST = "tidegate_cost_total"
TTFT_SUM = "tidegate_time_to_first_token_seconds_sum"
TTFT_COUNT = "tidegate_time_to_first_token_seconds_count"
DURATION_SUM = "tidegate_request_duration_seconds_sum"
DURATION_COUNT = "tidegate_request_duration_seconds_count"
MALFORMED = "tidegate_malformed_events_total"
NO_USAGE = "tidegate_replies_without_usage_total"
TOOL_CALLS = "tidegate_tool_calls_total"
TOOL_FAULTS = "tidegate_tool_call_faults_total"
RATE_LIMITED = "tidegate_rate_limited_total"
IN_FLIGHT = "tidegate_inflight_requests"
UPSTREAM_CONNECTIONS = "tidegate_upstream_connections"
JOURNAL_HEALTHY = "tidegate_journal_healthy"
ACCOUNT_BALANCE = "tidegate_account_balance"
DATA_POLICY_DAYS = "tidegate_data_policy_days_left"
LEDGER_QUEUE = "tidegate_ledger_queue_depth"
HOLDS = "tidegate_budget_holds"
ENDPOINT_SET_ASIDE = "tidegate_endpoint_set_aside"
STATE_UP = "tidegate_state_up"
STATE_EPOCHS = "tidegate_state_epoch_changes_total"
STATE_LEASES = "tidegate_state_leases"
STATE_QUEUED = "tidegate_state_queued_settlements"
STATE_ESTIMATED = "tidegate_state_estimated_holds_total"
RELOAD_FAILED = "tidegate_config_reload_failed"
WORKERS = "tidegate_workers"
WORKER_RESTARTS = "tidegate_worker_restarts_total"

Labels = tuple[tuple[str, str], ...]
Sample = tuple[str, Labels, float]
Written = tuple[str, Labels, str]  # with its value as it is shown: sums of money stay exact

# Name to (type, help). Sum and count of one summary share a family.
FAMILIES: dict[str, tuple[str, str]] = {
    REQUESTS: ("counter", "Requests let in and settled, by API, HTTP status and result."),
    ERRORS: ("counter", "Requests that were answered with an error, by API, code and status."),
    ATTEMPTS: ("counter", "Attempts at endpoints, by provider, model and outcome."),
    FAILOVERS: ("counter", "Attempts that followed a failed one, by what had failed."),
    TOKENS: ("counter", "Tokens settled, by provider, model and type."),
    CHARGED: ("counter", "What callers were charged, in units of the currency."),
    COST: ("counter", "What providers bill, in units of the currency."),
    "tidegate_time_to_first_token_seconds": (
        "summary",
        "From a request's arrival to its first meaningful token.",
    ),
    "tidegate_request_duration_seconds": ("summary", "From a request's arrival to its end."),
    MALFORMED: ("counter", "Events in upstream streams that could not be read and were skipped."),
    NO_USAGE: ("counter", "Good replies that stated no usage; their tokens were estimated."),
    TOOL_CALLS: ("counter", "Tool calls in answers, by provider and model."),
    TOOL_FAULTS: ("counter", "Tool calls that were at fault, by provider, model and fault."),
    RATE_LIMITED: ("counter", "Requests that a limit refused, by whose limit it is and of what."),
    IN_FLIGHT: ("gauge", "Inference requests under way."),
    UPSTREAM_CONNECTIONS: ("gauge", "Connections to upstreams, by origin and state."),
    JOURNAL_HEALTHY: ("gauge", "1 while the journal can be written."),
    LEDGER_QUEUE: ("gauge", "Settled requests that are not in the database yet."),
    HOLDS: ("gauge", "Reservations that are held now."),
    STATE_UP: (
        "gauge",
        "1 while this process reaches the shared counters and they know all it holds.",
    ),
    STATE_EPOCHS: ("counter", "Times that the shared counters were found emptied or replaced."),
    STATE_LEASES: ("gauge", "Budgets of which this process has leased a part."),
    STATE_QUEUED: ("gauge", "Settlements that the shared counters have not been told of."),
    STATE_ESTIMATED: ("counter", "Holds of dead processes that were booked in full, as estimates."),
    ENDPOINT_SET_ASIDE: (
        "gauge",
        "Endpoints that are tried last: failed lately, or at a limit of their account.",
    ),
    RELOAD_FAILED: (
        "gauge",
        "1 while the settings file is not good, so that earlier ones are served.",
    ),
    WORKERS: ("gauge", "Processes that serve."),
    WORKER_RESTARTS: ("counter", "Processes that were started again after they had died."),
    DATA_POLICY_DAYS: (
        "gauge",
        "Days for which evidence of what an endpoint does with data holds.",
    ),
    ACCOUNT_BALANCE: ("gauge", "What accounts at providers may still spend, as the provider says."),
}

_PICO = 10**12


class AttemptSeries:
    """Counters of the attempts that ended alike; added to directly. Money in picos."""

    __slots__ = (
        "cache_read",
        "cache_write",
        "charge_pico",
        "cost_pico",
        "count",
        "fresh_input",
        "output",
    )

    def __init__(self) -> None:
        self.count = self.fresh_input = self.cache_read = self.cache_write = self.output = 0
        self.cost_pico = self.charge_pico = 0


class Metrics:
    """Counters by name and label values.

    Attributes:
        in_flight: inference requests under way; moved by the request path itself.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self._counts: dict[tuple[str, Labels], int] = {}
        self._collectors: list[Callable[[], Iterable[Sample]]] = []
        self._requests: dict[tuple[str, int, str], int] = {}
        self._attempts: dict[tuple[str, str, str, str], AttemptSeries] = {}
        self._seconds = 0.0
        self._first_tokens = self._first_token_ms = 0

    def request(
        self, api: str, status: int, result: str, seconds: float, ttft_ms: int | None = None
    ) -> None:
        """Count a request that was settled.

        Args:
            api: the dialect's name.
            status: the HTTP status that the caller saw.
            result: how it ended.
            seconds: from its arrival to its end.
            ttft_ms: milliseconds to its first meaningful token, if there was one.
        """
        key = (api, status, result)
        self._requests[key] = self._requests.get(key, 0) + 1
        self._seconds += seconds
        if ttft_ms is not None:
            self._first_tokens += 1
            self._first_token_ms += ttft_ms

    def attempts(self, model: str, provider: str, outcome: str, currency: str) -> AttemptSeries:
        """The counters of attempts of this kind, to be added to."""
        key = (model, provider, outcome, currency)
        series = self._attempts.get(key)
        if series is None:
            series = self._attempts[key] = AttemptSeries()
        return series

    def add(self, name: str, labels: Labels, amount: int = 1) -> None:
        """Count `amount` of something that is not on every request's path."""
        key = (name, labels)
        counts = self._counts
        counts[key] = counts.get(key, 0) + amount

    def value(self, name: str, labels: Labels) -> int:
        """What `add` counted so far."""
        return self._counts.get((name, labels), 0)

    def collect(self, collector: Callable[[], Iterable[Sample]]) -> None:
        """Have gauges read whenever somebody asks."""
        self._collectors.append(collector)

    def _settled(self) -> Iterator[Written]:
        requests = 0
        for (api, status, result), count in self._requests.items():
            requests += count
            yield (
                REQUESTS,
                (("api", api), ("status", str(status)), ("result", result)),
                str(count),
            )
        yield DURATION_COUNT, (), str(requests)
        yield DURATION_SUM, (), f"{self._seconds:.6f}"
        yield TTFT_COUNT, (), str(self._first_tokens)
        yield TTFT_SUM, (), f"{self._first_token_ms / 1000:.3f}"
        tokens: dict[Labels, int] = {}
        money: dict[tuple[str, str], int] = {}
        for (model, provider, outcome, currency), series in self._attempts.items():
            where: Labels = (("model", model), ("provider", provider))
            yield ATTEMPTS, (*where, ("outcome", outcome)), str(series.count)
            for kind, count in (
                ("input", series.fresh_input + series.cache_read + series.cache_write),
                ("cache_read", series.cache_read),
                ("output", series.output),
            ):
                labels: Labels = (*where, ("type", kind))
                tokens[labels] = tokens.get(labels, 0) + count
            for name, pico in ((COST, series.cost_pico), (CHARGED, series.charge_pico)):
                money[name, currency] = money.get((name, currency), 0) + pico
        for labels, count in tokens.items():
            yield TOKENS, labels, str(count)
        for (name, currency), pico in money.items():
            yield name, (("currency", currency),), f"{pico // _PICO}.{pico % _PICO:012d}"

    def samples(self) -> list[Written]:
        """Every sample of now."""
        samples: list[Written] = [
            (name, labels, str(amount)) for (name, labels), amount in self._counts.items()
        ]
        samples += self._settled()
        samples.append((IN_FLIGHT, (), str(self.in_flight)))
        for collector in self._collectors:
            samples += [(name, labels, f"{value:.15g}") for name, labels, value in collector()]
        return samples

    def render(self) -> str:
        """Prometheus' text exposition format 0.0.4."""
        return rendered(self.samples())


def rendered(samples: Iterable[Written]) -> str:
    """Samples in Prometheus' text exposition format 0.0.4."""
    lines: list[str] = []
    family = None
    for name, labels, value in sorted(samples):
        base = family_of(name)
        if base != family:
            family = base
            kind, text = FAMILIES[base]
            lines += [f"# HELP {base} {text}", f"# TYPE {base} {kind}"]
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
        lines.append(f"{name}{{{shown}}} {value}" if shown else f"{name} {value}")
    return "\n".join(lines) + "\n"


def family_of(name: str) -> str:
    """The family that a sample belongs to."""
    return name if name in FAMILIES else name.removesuffix("_sum").removesuffix("_count")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
