"""Prometheus' text format 0.0.4, as its documentation (read November 2026) has it."""

import re

from gateway.telemetry import metrics
from gateway.telemetry.metrics import FAMILIES, Metrics

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
_SAMPLE = re.compile(
    rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (-?\d+(?:\.\d+)?(?:e[+-]\d+)?)"
)


def parsed(text: str) -> dict[str, str]:
    """Every sample by its name and labels; each family must have its head, once, before them."""
    assert text.endswith("\n")
    values: dict[str, str] = {}
    headed: list[str] = []
    lines = text.splitlines()
    while lines:
        line = lines.pop(0)
        if line.startswith("# HELP "):
            name = line.split(" ")[2]
            assert name not in headed
            headed.append(name)
            assert lines.pop(0) == f"# TYPE {name} {FAMILIES[name][0]}"
            continue
        match = _SAMPLE.fullmatch(line)
        assert match, line
        base = match[1]
        if base not in FAMILIES:
            base = base.removesuffix("_sum").removesuffix("_count")
            assert FAMILIES[base][0] == "summary"
        assert headed[-1] == base
        key = line.rpartition(" ")[0]
        assert key not in values
        values[key] = match[3]
    return values


def test_a_fresh_process_renders_valid_text() -> None:
    assert parsed(Metrics().render())["tidegate_inflight_requests"] == "0"


def test_requests_are_counted_with_their_time() -> None:
    counted = Metrics()
    counted.request("chat.completions", 200, "success", 0.25, 120)
    counted.request("chat.completions", 200, "success", 0.5)
    counted.request("chat.completions", 402, "refused", 0.0)
    values = parsed(counted.render())
    name = 'tidegate_requests_total{api="chat.completions",status="200",result="success"}'
    assert values[name] == "2"
    assert float(values["tidegate_request_duration_seconds_sum"]) == 0.75
    assert values["tidegate_request_duration_seconds_count"] == "3"
    assert float(values["tidegate_time_to_first_token_seconds_sum"]) == 0.12


def test_attempts_are_summed_over_outcomes_and_money_is_exact() -> None:
    counted = Metrics()
    for outcome, charge in (("success", 79_800_000), ("connection_lost", 0)):
        series = counted.attempts("m/k", "novita", outcome, "USD")
        series.count += 1
        series.fresh_input += 10
        series.output += 5
        series.cost_pico += 79_800_000
        series.charge_pico += charge
    values = parsed(counted.render())
    where = 'model="m/k",provider="novita"'
    assert values[f'tidegate_upstream_attempts_total{{{where},outcome="success"}}'] == "1"
    assert values[f'tidegate_tokens_total{{{where},type="input"}}'] == "20"
    assert values['tidegate_cost_total{currency="USD"}'] == "0.000159600000"
    assert values['tidegate_charge_total{currency="USD"}'] == "0.000079800000"


def test_labels_are_escaped() -> None:
    counted = Metrics()
    counted.add(metrics.FAILOVERS, (("reason", 'a"b\\c\nd'),))
    assert 'tidegate_failovers_total{reason="a\\"b\\\\c\\nd"}' in parsed(counted.render())


def test_gauges_are_read_when_somebody_asks() -> None:
    counted = Metrics()
    depth = 1.0
    counted.collect(lambda: [(metrics.LEDGER_QUEUE, (), depth)])
    assert parsed(counted.render())["tidegate_ledger_queue_depth"] == "1"
    depth = 2.0
    counted.in_flight = 3
    values = parsed(counted.render())
    assert values["tidegate_ledger_queue_depth"] == "2"
    assert values["tidegate_inflight_requests"] == "3"


def test_large_gauges_keep_their_digits() -> None:
    counted = Metrics()
    counted.collect(lambda: [(metrics.LEDGER_QUEUE, (), 1_234_567.0)])
    assert float(parsed(counted.render())["tidegate_ledger_queue_depth"]) == 1_234_567


def test_every_family_has_a_name_a_type_and_a_meaning() -> None:
    for name, (kind, text) in FAMILIES.items():
        assert re.fullmatch(r"tidegate_[a-z_]+", name)
        assert kind in {"counter", "gauge", "summary"}
        assert name.endswith("_total") == (kind == "counter")
        assert text.endswith(".")
