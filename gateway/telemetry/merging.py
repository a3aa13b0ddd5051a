"""The metrics of several processes as those of one gateway."""

from collections.abc import Iterable
from decimal import Decimal

from gateway.telemetry import metrics
from gateway.telemetry.metrics import FAMILIES, Labels, Written, family_of

# Gauges that add up are those of what each process has of its own; of these every process sees the same,
# and the one that sees it worst is believed.
_LEAST = frozenset(
    {
        metrics.JOURNAL_HEALTHY,
        metrics.STATE_UP,
        metrics.DATA_POLICY_DAYS,
        metrics.ACCOUNT_BALANCE,
    }
)
_MOST = frozenset({metrics.ENDPOINT_SET_ASIDE, metrics.RELOAD_FAILED})


def merged(parts: Iterable[Iterable[Written]]) -> list[Written]:
    """One sample for each name and labels: counters and most gauges add up."""
    found: dict[tuple[str, Labels], Decimal] = {}
    for part in parts:
        for name, labels, value in part:
            key, amount = (name, labels), Decimal(value)
            before = found.get(key)
            if before is None:
                found[key] = amount
            elif name in _LEAST:
                found[key] = min(before, amount)
            elif name in _MOST:
                found[key] = max(before, amount)
            else:
                found[key] = before + amount
    return [(name, labels, f"{value:f}") for (name, labels), value in found.items()]


def counters(samples: Iterable[Written]) -> list[Written]:
    """Those samples that only ever grow: what a process that has ended leaves behind."""
    return [sample for sample in samples if FAMILIES[family_of(sample[0])][0] != "gauge"]
