"""Where a call may go, in which order, and why not elsewhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from backends import Mode, profile_of
from backends.profiles import UNKNOWN
from gateway.routing.plan import Needs, Parameters, UsualPlan, output_cap, plan, prompt_bound
from gateway.values import Candidate, EndpointHealth, Exclusion, Plan
from gateway.wire.media import NO_MEDIA, Media
from tests.builders import MODEL, book, candidate

NOW = 1000.0
TEXT_ONLY = profile_of("moonshotai/kimi-k2-0905")
IMAGE = Media(frozenset({"image"}), frozenset({"data"}))
REMOTE_IMAGE = Media(frozenset({"image"}), frozenset({"remote"}))
AUDIO = Media(frozenset({"audio"}), frozenset({"data"}))
SEED = {"messages": Raw(b"[]"), "seed": Raw(b"7")}


def planned(
    *candidates: Candidate,
    needs: Needs | None = None,
    health: dict[str, EndpointHealth] | None = None,
    max_attempts: int = 4,
) -> Plan:
    return plan(
        MODEL,
        candidates,
        needs or Needs(prompt_bytes=100),
        health or {},
        now=NOW,
        max_attempts=max_attempts,
    )


def names(result: Plan) -> list[str]:
    return [entry.candidate.endpoint.provider for entry in result.entries]


@pytest.mark.parametrize(
    ("unfit", "needs", "reason"),
    [
        (candidate("x", price=None), Needs(prompt_bytes=1), "unpriced"),
        (
            candidate("x", currency="CNY"),
            Needs(prompt_bytes=1, currency="USD"),
            "budget_currency",
        ),
        (candidate("x", kind="moonshot"), Needs(prompt_bytes=1, choices=2), "multiple_choices"),
        (candidate("x", context_length=10), Needs(prompt_bytes=161), "context_length"),
        (candidate("x", max_output=10), Needs(prompt_bytes=1, max_tokens=11), "max_output"),
        (candidate("x", profile=TEXT_ONLY), Needs(prompt_bytes=1, media=IMAGE), "modality"),
        (candidate("x", profile=profile_of(MODEL)), Needs(prompt_bytes=1, media=AUDIO), "modality"),
        (
            candidate("x", kind="moonshot"),
            Needs(prompt_bytes=1, media=REMOTE_IMAGE),
            "remote_media",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unfit_endpoint_is_left_out_with_its_reason(
    unfit: Candidate, needs: Needs, reason: str
) -> None:
    result = planned(unfit, candidate("fit"), needs=needs)
    assert names(result) == ["fit"]
    assert result.excluded == (Exclusion("x/kimi", reason),)


@pytest.mark.parametrize(
    ("barely", "needs"),
    [
        (candidate("x", currency="CNY"), Needs(prompt_bytes=1)),
        (candidate("x", kind="moonshot"), Needs(prompt_bytes=1, choices=1)),
        (candidate("x", context_length=10), Needs(prompt_bytes=160)),
        (candidate("x", context_length=10), Needs(prompt_bytes=161, media=IMAGE)),
        (candidate("x", max_output=10), Needs(prompt_bytes=1, max_tokens=10)),
        (candidate("x", profile=TEXT_ONLY), Needs(prompt_bytes=1, media=NO_MEDIA)),
        (candidate("x"), Needs(prompt_bytes=1, media=AUDIO)),
        (candidate("x", kind="moonshot"), Needs(prompt_bytes=1, media=IMAGE)),
        (candidate("x"), Needs(prompt_bytes=1, parameters=Parameters(SEED))),
    ],
)
def test_an_endpoint_that_barely_fits_is_in(barely: Candidate, needs: Needs) -> None:
    assert names(planned(barely, needs=needs)) == ["x"]


def test_who_does_not_take_every_parameter_is_out_with_their_names() -> None:
    strict = Parameters(SEED, Mode(thinking=False))
    result = planned(
        candidate("x", kind="moonshot", profile=profile_of(MODEL)),
        candidate("y", profile=profile_of(MODEL)),
        candidate("z", kind="vllm", profile=profile_of(MODEL)),
        needs=Needs(prompt_bytes=1, parameters=strict),
    )
    assert names(result) == ["z"]
    assert result.excluded == (
        Exclusion("x/kimi", "require_parameters", ("seed",)),
        Exclusion("y/kimi", "require_parameters", ("thinking",)),
    )


def test_where_none_writes_as_much_as_asked_all_are_in_with_what_they_can() -> None:
    needs = Needs(prompt_bytes=1, max_tokens=500)
    assert names(planned(candidate("a"), candidate("b"), needs=needs)) == ["a", "b"]


def test_an_endpoint_that_is_out_anyhow_sets_no_measure_for_output() -> None:
    roomy_but_unpriced = candidate("x", price=None, max_output=1000)
    needs = Needs(prompt_bytes=1, max_tokens=500)
    assert names(planned(roomy_but_unpriced, candidate("a"), needs=needs)) == ["a"]


def test_the_given_order_is_kept() -> None:
    result = planned(candidate("a"), candidate("b"), candidate("c"))
    assert names(result) == ["a", "b", "c"]
    assert {entry.reason for entry in result.entries} == {"cheapest first"}


def test_an_endpoint_that_failed_lately_goes_last_until_its_time_is_over() -> None:
    health = {
        "a/kimi": EndpointHealth(open_until=NOW + 1),
        "b/kimi": EndpointHealth(open_until=NOW),
    }
    result = planned(candidate("a"), candidate("b"), candidate("c"), health=health)
    assert names(result) == ["b", "c", "a"]
    assert result.entries[-1].reason == "failed lately: tried last"


K26 = profile_of("moonshotai/kimi-k2.6")


@pytest.mark.parametrize(
    ("mode", "order"),
    [
        (Mode(), ["novita", "moonshot", "vllm"]),
        (Mode(exclude=True), ["novita", "moonshot", "vllm"]),
        (Mode(thinking=False), ["moonshot", "vllm", "novita"]),
        # None of them has efforts for this model, but it thinks at all of them.
        (Mode(effort="high"), ["novita", "moonshot", "vllm"]),
    ],
)
def test_who_can_be_told_how_much_to_think_comes_first(mode: Mode, order: list[str]) -> None:
    kinds = [candidate(kind, kind=kind, profile=K26) for kind in ("novita", "moonshot", "vllm")]
    result = planned(*kinds, needs=Needs(prompt_bytes=100, mode=mode))
    assert names(result) == order
    reasons = {entry.candidate.endpoint.provider: entry.reason for entry in result.entries}
    told = "cannot be told how much to think" if order[-1] == "novita" else "cheapest first"
    assert reasons["novita"] == told


def test_who_cannot_be_told_how_much_to_think_comes_before_who_failed_lately() -> None:
    kinds = [candidate(kind, kind=kind, profile=K26) for kind in ("novita", "moonshot")]
    needs = Needs(prompt_bytes=100, mode=Mode(thinking=False))
    result = planned(*kinds, needs=needs, health={"moonshot/kimi": EndpointHealth(NOW + 1)})
    assert names(result) == ["novita", "moonshot"]


def test_endpoints_beyond_the_attempts_are_named() -> None:
    result = planned(candidate("a"), candidate("b"), candidate("c"), max_attempts=2)
    assert names(result) == ["a", "b"]
    assert result.excluded == (Exclusion("c/kimi", "max_attempts"),)


def test_an_endpoint_that_failed_lately_does_not_crowd_out_a_good_one() -> None:
    health = {"a/kimi": EndpointHealth(open_until=NOW + 1)}
    result = planned(candidate("a"), candidate("b"), health=health, max_attempts=1)
    assert names(result) == ["b"]


candidates = st.lists(
    st.builds(
        candidate,
        st.sampled_from(["a", "b", "c"]),
        price=st.sampled_from([("1", "2"), ("1", "2"), None]),
        currency=st.sampled_from(["USD", "USD", "CNY"]),
        kind=st.sampled_from(["openai_compat", "moonshot"]),
        context_length=st.sampled_from([10, 1000]),
        max_output=st.sampled_from([5, 100]),
        profile=st.sampled_from([UNKNOWN, profile_of(MODEL), TEXT_ONLY]),
    ),
    min_size=1,
    max_size=4,
)
needs_of_a_call = st.builds(
    Needs,
    prompt_bytes=st.sampled_from([0, 160, 161, 16_000, 16_001]),
    max_tokens=st.sampled_from([None, 5, 6, 100, 101]),
    choices=st.sampled_from([1, 2]),
    currency=st.sampled_from([None, "USD", "CNY"]),
    media=st.sampled_from([NO_MEDIA, IMAGE, REMOTE_IMAGE, AUDIO]),
    parameters=st.sampled_from([None, None, Parameters({}), Parameters(SEED)]),
)


@given(found=candidates, needs=needs_of_a_call, attempts=st.integers(1, 4))
def test_the_usual_plan_is_only_used_where_it_is_the_plan(
    found: list[Candidate], needs: Needs, attempts: int
) -> None:
    usual = UsualPlan(MODEL, tuple(found), max_attempts=attempts)
    if usual.fits(needs):
        assert usual.plan == planned(*found, needs=needs, max_attempts=attempts)


def test_the_usual_plan_is_used_for_media_that_all_read() -> None:
    reading = candidate("a", profile=profile_of(MODEL))
    usual = UsualPlan(MODEL, (reading, candidate("b")), max_attempts=4)
    assert usual.fits(Needs(prompt_bytes=9, media=REMOTE_IMAGE))
    assert not usual.fits(Needs(prompt_bytes=9, media=AUDIO))


def test_a_plan_without_entries_is_never_the_usual_one() -> None:
    unpriced = UsualPlan(MODEL, (candidate("a", price=None),), max_attempts=4)
    assert not unpriced.fits(Needs(prompt_bytes=1))


def test_a_book_knows_a_model_by_its_name_with_one_suffix_of_a_mode() -> None:
    made = book(candidate(), candidate(model="own/model:thinking"))
    for suffix in (":thinking", ":instant"):
        assert made.resolve(MODEL + suffix) == MODEL
    assert made.resolve("own/model:thinking") == "own/model:thinking"
    assert made.resolve("own/model:thinking:instant") == "own/model:thinking"
    for name in (f"{MODEL}:free", f"{MODEL}:thinking:instant", "own/model:instant", ":instant"):
        assert made.resolve(name) is None


def test_the_usual_plan_is_used_for_a_usual_call() -> None:
    usual = UsualPlan(MODEL, (candidate("a"), candidate("b")), max_attempts=4)
    assert usual.fits(Needs(prompt_bytes=900, max_tokens=100, currency="USD"))


@pytest.mark.parametrize(("asked", "cap"), [(None, 50), (1, 1), (50, 50), (100, 100), (101, 100)])
def test_the_output_cap_is_what_is_asked_for_as_far_as_it_can_go(
    asked: int | None, cap: int
) -> None:
    assert output_cap(candidate(default_output=50, max_output=100), asked) == cap


def test_a_default_above_the_most_is_cut() -> None:
    assert output_cap(candidate(default_output=200, max_output=100), None) == 100


def test_a_prompt_is_bound_by_its_bytes_and_by_the_context() -> None:
    narrow = candidate(context_length=1000)
    assert prompt_bound(narrow, 10, media=False) == 10
    assert prompt_bound(narrow, 2000, media=False) == 1000
    assert prompt_bound(narrow, 10, media=True) == 1000


def test_a_book_puts_the_cheapest_first_and_the_unpriced_last() -> None:
    made = book(
        candidate("unpriced", price=None),
        candidate("dear-prompt", price=("2", "1")),  # 7: a prompt weighs three times its output
        candidate("dear-output", price=("1", "3")),  # 6
        candidate("same-b", price=("1", "1")),
        candidate("same-a", price=("1", "1")),
    )
    order = [c.endpoint.provider for c in made.candidates(MODEL)]
    assert order == ["same-a", "same-b", "dear-output", "dear-prompt", "unpriced"]


def test_a_book_knows_only_what_is_served() -> None:
    made = book(candidate(), candidate(model="own/model"))
    assert made.resolve("own/model") == "own/model"
    assert made.resolve("other/model") is None
    assert made.candidates("other/model") == ()
    assert list(made.models) == [MODEL, "own/model"]
