"""Counters of this process, in Prometheus' text format.

Counting is an addition to a plain integer; names, labels and text are made when somebody reads. Labels
never hold a key, a user or a request. Every name here is described in `docs/reference/metrics.md`.
"""

from collections.abc import Callable, Iterable

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
IN_FLIGHT = "tidegate_inflight_requests"
UPSTREAM_CONNECTIONS = "tidegate_upstream_connections"
JOURNAL_HEALTHY = "tidegate_journal_healthy"
LEDGER_QUEUE = "tidegate_ledger_queue_depth"
HOLDS = "tidegate_budget_holds"
ENDPOINT_SET_ASIDE = "tidegate_endpoint_set_aside"

Labels = tuple[tuple[str, str], ...]
Sample = tuple[str, Labels, float]

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
    IN_FLIGHT: ("gauge", "Inference requests under way."),
    UPSTREAM_CONNECTIONS: ("gauge", "Connections to upstreams, by origin and state."),
    JOURNAL_HEALTHY: ("gauge", "1 while the journal can be written."),
    LEDGER_QUEUE: ("gauge", "Settled requests that are not in the database yet."),
    HOLDS: ("gauge", "Reservations that are held now."),
    ENDPOINT_SET_ASIDE: ("gauge", "Endpoints that failed lately and are tried last."),
}

_PICO = 10**12


class Metrics:
    """Counters by name and label values.

    Attributes:
        in_flight: inference requests under way; moved by the request path itself.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self._counts: dict[tuple[str, Labels], int] = {}
        self._collectors: list[Callable[[], Iterable[Sample]]] = []

    def add(self, name: str, labels: Labels, amount: int = 1) -> None:
        """Count `amount`: of a sum of seconds in microseconds, of money in picos."""
        key = (name, labels)
        counts = self._counts
        counts[key] = counts.get(key, 0) + amount

    def value(self, name: str, labels: Labels) -> int:
        """What was counted so far, in the unit of `add`."""
        return self._counts.get((name, labels), 0)

    def collect(self, collector: Callable[[], Iterable[Sample]]) -> None:
        """Have gauges read whenever somebody asks."""
        self._collectors.append(collector)

    def render(self) -> str:
        """Prometheus' text exposition format 0.0.4."""
        samples: list[tuple[str, Labels, str]] = [
            (name, labels, _number(name, amount)) for (name, labels), amount in self._counts.items()
        ]
        samples.append((IN_FLIGHT, (), str(self.in_flight)))
        for collector in self._collectors:
            samples += [(name, labels, f"{value:g}") for name, labels, value in collector()]
        samples.sort()
        lines: list[str] = []
        family = None
        for name, labels, value in samples:
            base = name
            if base not in FAMILIES:
                base = name.removesuffix("_sum").removesuffix("_count")
            if base != family:
                family = base
                kind, text = FAMILIES[base]
                lines += [f"# HELP {base} {text}", f"# TYPE {base} {kind}"]
            shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
            lines.append(f"{name}{{{shown}}} {value}" if shown else f"{name} {value}")
        return "\n".join(lines) + "\n"


def _number(name: str, amount: int) -> str:
    if name in {CHARGED, COST}:
        return f"{amount // _PICO}.{amount % _PICO:012d}"
    if name in {TTFT_SUM, DURATION_SUM}:
        return f"{amount // 1_000_000}.{amount % 1_000_000:06d}"
    return str(amount)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
