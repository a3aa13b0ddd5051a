"""Budgets become holds on counters of their windows."""

from datetime import UTC, datetime

import pytest

from gateway.errors import BudgetExceeded
from gateway.policies.budgets import bucket, holds, window
from gateway.values import BudgetRule
from pricing import Money


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def rule(period: str = "monthly", **changes: str) -> BudgetRule:
    return BudgetRule(
        id=changes.get("id", "bud-1"),
        scope=changes.get("scope", "key"),
        limit_pico=25 * 10**12,
        currency=changes.get("currency", "USD"),
        period=period,
    )


@pytest.mark.parametrize(
    ("period", "now", "label", "starts", "resets"),
    [
        ("daily", "2026-11-22T00:00", "2026-11-22", "2026-11-22", "2026-11-23"),
        ("daily", "2026-11-22T23:59:59.999", "2026-11-22", "2026-11-22", "2026-11-23"),
        ("daily", "2026-12-31T12:00", "2026-12-31", "2026-12-31", "2027-01-01"),
        # 22 November 2026 is a Sunday.
        ("weekly", "2026-11-22T23:59", "week-2026-11-16", "2026-11-16", "2026-11-23"),
        ("weekly", "2026-11-23T00:00", "week-2026-11-23", "2026-11-23", "2026-11-30"),
        ("weekly", "2027-01-01T00:00", "week-2026-12-28", "2026-12-28", "2027-01-04"),
        ("monthly", "2026-11-30T23:59", "2026-11", "2026-11-01", "2026-12-01"),
        ("monthly", "2026-12-01T00:00", "2026-12", "2026-12-01", "2027-01-01"),
        ("monthly", "2028-02-29T12:00", "2028-02", "2028-02-01", "2028-03-01"),
    ],
)
def test_windows_are_utc_calendar_periods(
    period: str, now: str, label: str, starts: str, resets: str
) -> None:
    found = window(period, at(now))
    assert found.label == label
    assert found.starts_at == at(starts)
    assert found.resets_at == at(resets)


def test_a_total_budget_begins_with_time_and_never_resets() -> None:
    found = window("total", at("2026-11-22T12:00"))
    assert (found.label, found.starts_at, found.resets_at) == ("total", 0, None)


def test_a_period_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ValueError, match="fortnightly"):
        window("fortnightly", 0.0)


def test_each_budget_becomes_a_hold_on_its_current_window() -> None:
    now = at("2026-11-22T12:00")
    found = holds(
        (rule("monthly", id="k"), rule("total", id="t", scope="team")), Money("USD", 1), now
    )
    assert [(hold.bucket, hold.scope, hold.resets_at) for hold in found] == [
        ("k:2026-11", "key", at("2026-12-01")),
        ("t:total", "team", None),
    ]
    assert bucket(rule("monthly", id="k"), now) == "k:2026-11"


@pytest.mark.parametrize(
    ("pico", "nano"), [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2), (10**15, 10**12)]
)
def test_the_amount_is_rounded_up_to_nano_units(pico: int, nano: int) -> None:
    (hold,) = holds((rule(),), Money("USD", pico), 0.0)
    assert hold.amount_nano == nano


def test_the_limit_is_rounded_down_to_nano_units() -> None:
    (hold,) = holds((BudgetRule("b", "key", 1999, "USD", "total"),), Money("USD", 1), 0.0)
    assert hold.limit_nano == 1


def test_windows_move_on_with_time() -> None:
    budgets = (rule("daily"),)
    first, second = (
        holds(budgets, Money("USD", 1), at(day))[0].bucket for day in ("2026-11-22", "2026-11-23")
    )
    assert (first, second) == ("bud-1:2026-11-22", "bud-1:2026-11-23")


def test_a_budget_in_another_currency_is_refused_and_says_both() -> None:
    with pytest.raises(BudgetExceeded) as caught:
        holds((rule(), rule(id="cny", scope="team", currency="CNY")), Money("USD", 1), 0.0)
    assert caught.value.status == 402
    assert caught.value.code == "budget_currency_mismatch"
    assert "team" in caught.value.message
    assert "CNY" in caught.value.message
    assert "USD" in caught.value.message
    assert caught.value.metadata == {
        "budget_id": "cny",
        "budget_currency": "CNY",
        "price_currency": "USD",
    }


def test_a_caller_without_budgets_needs_no_holds() -> None:
    assert holds((), Money("USD", 10**18), 0.0) == ()


def test_a_hold_knows_what_its_budget_says_of_lost_counters() -> None:
    lost = BudgetRule("bud-2", "team", 10**12, "USD", "total", "refuse")
    made = holds((rule("total"), lost), Money.parse("0.1", "USD"), at("2026-11-22"))
    assert [hold.on_state_loss for hold in made] == ["lease", "refuse"]
