"""The metrics of several processes as those of one gateway."""

from gateway.telemetry import metrics
from gateway.telemetry.merging import counters, merged
from gateway.telemetry.metrics import Written

ONE: list[Written] = [
    (metrics.CHARGED, (("currency", "USD"),), "0.000000000001"),
    (metrics.DURATION_SUM, (), "1.5"),
    (metrics.HOLDS, (), "2"),
    (metrics.JOURNAL_HEALTHY, (), "1"),
    (metrics.ENDPOINT_SET_ASIDE, (), "0"),
]
OTHER: list[Written] = [
    (metrics.CHARGED, (("currency", "USD"),), "9007199254740993.000000000002"),
    (metrics.CHARGED, (("currency", "CNY"),), "3"),
    (metrics.HOLDS, (), "3"),
    (metrics.JOURNAL_HEALTHY, (), "0"),
    (metrics.ENDPOINT_SET_ASIDE, (), "1"),
]


def test_counters_add_up_exactly_and_of_what_all_see_the_worst_counts() -> None:
    assert set(merged([ONE, OTHER])) == {
        (metrics.CHARGED, (("currency", "USD"),), "9007199254740993.000000000003"),
        (metrics.CHARGED, (("currency", "CNY"),), "3"),
        (metrics.DURATION_SUM, (), "1.5"),
        (metrics.HOLDS, (), "5"),
        (metrics.JOURNAL_HEALTHY, (), "0"),
        (metrics.ENDPOINT_SET_ASIDE, (), "1"),
    }


def test_a_process_that_has_ended_leaves_its_counters_and_no_gauge() -> None:
    assert {name for name, _, _ in counters(ONE)} == {metrics.CHARGED, metrics.DURATION_SUM}
