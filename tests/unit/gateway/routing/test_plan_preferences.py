"""What a caller asks of providers and prices: a filter, and never more than that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.plan import Needs, UsualPlan, plan
from gateway.values import NO_PREFERENCES, Candidate, Exclusion, MaxPrice, Plan, Preferences
from tests.builders import MODEL, candidate

NEEDS = Needs(prompt_bytes=100)


def planned(*candidates: Candidate, preferences: Preferences, max_attempts: int = 9) -> Plan:
    needs = Needs(prompt_bytes=100, preferences=preferences)
    return plan(MODEL, candidates, needs, {}, now=0.0, max_attempts=max_attempts)


def names(result: Plan) -> list[str]:
    return [entry.candidate.endpoint.provider for entry in result.entries]


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        (("a",), ["a"]),
        (("b",), ["b", "b/fp8"]),
        (("b/fp8",), ["b/fp8"]),
        (("b/kimi",), ["b"]),  # an endpoint's own id
        (("a", "b/fp8"), ["a", "b/fp8"]),
        (("b/",), []),
        (("A",), []),
        (("",), []),
        (("c",), []),
    ],
)
def test_only_the_providers_that_are_named_are_asked(
    wanted: tuple[str, ...], kept: list[str]
) -> None:
    all_of_them = [candidate("a"), candidate("b"), candidate("b/fp8")]
    result = planned(*all_of_them, preferences=Preferences(only=wanted))
    assert names(result) == kept
    assert {exclusion.reason for exclusion in result.excluded} == {"allowed_providers"}
    ignoring = planned(*all_of_them, preferences=Preferences(ignore=wanted))
    assert names(ignoring) == [
        n for n in names(planned(*all_of_them, preferences=NO_PREFERENCES)) if n not in kept
    ]
    assert {exclusion.reason for exclusion in ignoring.excluded} <= {"ignored_providers"}


def test_an_aggregator_that_may_use_an_ignored_host_is_ignored() -> None:
    wide = candidate("a", kind="openrouter", reaches=("moonshotai/int4", "novita"))
    other = candidate("b", kind="openrouter", reaches=("fireworks",))
    result = planned(wide, other, preferences=Preferences(ignore=("moonshotai",)))
    assert names(result) == ["b"]


@pytest.mark.parametrize(
    ("most", "kept"),
    [
        (MaxPrice(prompt=1_000_000), ["a"]),
        (MaxPrice(prompt=999_999), []),
        (MaxPrice(prompt=2_000_000), ["a", "b"]),
        (MaxPrice(completion=2_000_000), ["a", "b"]),
        (MaxPrice(completion=1_999_999), ["b"]),
        (MaxPrice(prompt=1_000_000, completion=1_999_999), []),
        (MaxPrice(request=0), ["a", "b"]),
        (MaxPrice(), ["a", "b"]),
    ],
)
def test_a_price_above_the_most_keeps_an_endpoint_out(most: MaxPrice, kept: list[str]) -> None:
    cheap_prompt, cheap_output = candidate("a", price=("1", "2")), candidate("b", price=("2", "1"))
    result = planned(cheap_prompt, cheap_output, preferences=Preferences(max_price=most))
    assert names(result) == kept
    assert {exclusion.reason for exclusion in result.excluded} <= {"max_price"}


def test_prices_that_cannot_be_held_against_dollars_are_out() -> None:
    result = planned(
        candidate("yuan", price=("0", "0"), currency="CNY"),
        candidate("unknown", price=None),
        candidate("told", kind="openrouter"),
        preferences=Preferences(max_price=MaxPrice(prompt=10**9)),
    )
    assert names(result) == ["told"]
    assert result.excluded == (
        Exclusion("yuan/kimi", "max_price"),
        Exclusion("unknown/kimi", "unpriced"),
    )


def test_without_fallbacks_there_is_one_attempt() -> None:
    result = planned(
        candidate("a"), candidate("b"), candidate("c"), preferences=Preferences(fallbacks=False)
    )
    assert names(result) == ["a"]
    assert result.excluded == (
        Exclusion("b/kimi", "allow_fallbacks"),
        Exclusion("c/kimi", "allow_fallbacks"),
    )


slugs = st.lists(st.sampled_from(["a", "b", "b/fp8", "c", "a/kimi"]), max_size=3).map(tuple)
limits = st.sampled_from([None, 0, 999_999, 1_000_000, 2_000_000])
preferences_of_a_caller = st.builds(
    Preferences,
    only=st.one_of(st.none(), slugs),
    ignore=slugs,
    max_price=st.one_of(st.none(), st.builds(MaxPrice, prompt=limits, completion=limits)),
    fallbacks=st.booleans(),
)
found_endpoints = st.lists(
    st.builds(
        candidate,
        st.sampled_from(["a", "b", "b/fp8", "c"]),
        price=st.sampled_from([("1", "2"), ("2", "1"), None]),
        currency=st.sampled_from(["USD", "USD", "CNY"]),
        kind=st.sampled_from(["openai_compat", "openrouter"]),
    ),
    max_size=5,
    unique_by=lambda made: made.endpoint.id,
)


@given(found=found_endpoints, preferences=preferences_of_a_caller, attempts=st.integers(1, 5))
def test_a_filter_never_adds_an_endpoint_nor_changes_the_order(
    found: list[Candidate], preferences: Preferences, attempts: int
) -> None:
    without = names(planned(*found, preferences=NO_PREFERENCES))
    result = planned(*found, preferences=preferences, max_attempts=attempts)
    kept = names(result)
    assert kept == [name for name in without if name in kept]
    assert len(kept) <= (attempts if preferences.fallbacks else min(1, attempts))
    told = [exclusion.endpoint_id for exclusion in result.excluded]
    entries = [entry.candidate.endpoint.id for entry in result.entries]
    assert sorted(told + entries) == sorted(c.endpoint.id for c in found)
    for entry in result.entries:
        card = entry.candidate.card
        assert card is not None
        if preferences.max_price is not None:
            assert card.currency == "USD"
            assert card.input <= (10**9 if (p := preferences.max_price.prompt) is None else p)


@given(preferences=preferences_of_a_caller)
def test_the_usual_plan_is_not_for_callers_with_preferences(preferences: Preferences) -> None:
    usual = UsualPlan(MODEL, (candidate("a"), candidate("b")), max_attempts=4)
    assert usual.fits(NEEDS)
    assert not usual.fits(Needs(prompt_bytes=100, preferences=preferences))
