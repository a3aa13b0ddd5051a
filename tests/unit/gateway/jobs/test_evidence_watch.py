"""That evidence ends is told of in time: in the log, once a day, and as a metric."""

import datetime as dt

import pytest

from gateway.jobs.evidence import EvidenceWatch
from gateway.telemetry import metrics
from gateway.values import DataPolicy
from tests.builders import book, candidate
from tests.fakes.clock import HandClock

NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC).timestamp()
DAY = 86_400


def policy(valid_until: str | None) -> DataPolicy:
    return DataPolicy(
        trains=False,
        retains=False,
        source="an agreement",
        date="2026-10-01",
        valid_until=valid_until,
    )


ENDPOINTS = book(
    candidate("far", policy=policy("2026-12-06")),
    candidate("near", policy=policy("2026-12-05")),
    candidate("also", policy=policy("2026-12-05")),
    candidate("last", policy=policy("2026-11-22")),
    candidate("over", policy=policy("2026-11-21")),
    candidate("open", policy=policy(None)),
    candidate("bare", policy=DataPolicy(valid_until="2026-11-22")),
)


@pytest.fixture
def clock() -> HandClock:
    made = HandClock()
    made.advance(NOON - made.now())
    return made


def test_whose_evidence_ends_soon_is_told_once_a_day(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    watch = EvidenceWatch(lambda: ENDPOINTS, clock)
    watch.look()
    watch.look()
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    over, last, near = [record.getMessage() for record in caplog.records]
    assert over.startswith("the evidence of what over/kimi does with data has ended (")
    assert last.startswith("the evidence of what last/kimi does with data ends in 1 day (")
    assert near.startswith("the evidence of what also/kimi, near/kimi do with data ends in 14 days")
    assert "data_policy.valid_until: 2026-12-05" in near
    caplog.clear()
    clock.advance(DAY)
    watch.look()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 4
    assert "far/kimi does with data ends in 14 days" in told[-1]


def test_the_days_that_are_left_are_a_metric(clock: HandClock) -> None:
    samples = list(EvidenceWatch(lambda: ENDPOINTS, clock).samples())
    assert {name for name, _, _ in samples} == {metrics.DATA_POLICY_DAYS}
    assert {labels[0][1]: days for _, labels, days in samples} == {
        "far/kimi": 15,
        "near/kimi": 14,
        "also/kimi": 14,
        "last/kimi": 1,
        "over/kimi": 0,
    }
