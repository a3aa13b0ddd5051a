"""Provider counts to disjoint buckets, and what happens when the counts are wrong."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backends import Usage
from gateway.usage.quantify import MAX_COUNT, InconsistentUsage, estimate, quantify
from pricing import Quantities, own_card, total_pico

CARD = own_card(
    provider="p",
    model="m",
    prices={
        "input": "1",
        "output": "4",
        "cache_read": "0.1",
        "cache_write_5m": "1.25",
        "cache_write_1h": "2",
    },
)
counts = st.integers(0, 10**7)
wild = st.integers(-10, 200)


@given(fresh=counts, cached=counts, write_5m=counts, write_1h=counts, text=counts, reasoning=counts)
def test_buckets_are_disjoint_and_sum_to_the_providers_totals(
    *, fresh: int, cached: int, write_5m: int, write_1h: int, text: int, reasoning: int
) -> None:
    found = quantify(
        Usage(
            prompt=fresh + cached + write_5m + write_1h,
            completion=text + reasoning,
            cached=cached,
            cache_write=write_5m,
            cache_write_1h=write_1h,
            reasoning=reasoning,
        )
    )
    assert found == Quantities(
        fresh_input=fresh,
        cache_read=cached,
        cache_write_5m=write_5m,
        cache_write_1h=write_1h,
        output=text + reasoning,
        requests=1,
    )


@given(prompt=wild, completion=wild, cached=wild, write_5m=wild, write_1h=wild, reasoning=wild)
def test_whatever_a_provider_says_no_bucket_is_negative_and_the_prompt_total_is_kept(
    *, prompt: int, completion: int, cached: int, write_5m: int, write_1h: int, reasoning: int
) -> None:
    usage = Usage(
        prompt=prompt,
        completion=completion,
        cached=cached,
        cache_write=write_5m,
        cache_write_1h=write_1h,
        reasoning=reasoning,
    )
    faults: tuple[str, ...] = ()
    try:
        found: Quantities | None = quantify(usage)
    except InconsistentUsage as fault:
        faults = fault.faults
        found = fault.repaired
    parts = (cached, write_5m, write_1h)
    wrong = (
        min(*parts, prompt, completion, reasoning) < 0
        or sum(parts) > prompt
        or reasoning > completion
    )
    assert bool(faults) == wrong
    if found is None:
        assert prompt < 0 or completion < 0
        return
    assert found.input_total == prompt
    assert min(found.fresh_input, found.cache_read, found.output) >= 0
    assert min(found.cache_write_5m, found.cache_write_1h) >= 0
    assert found.output >= completion


@given(prompt=st.integers(0, 60), cached=wild, write_5m=wild, write_1h=wild)
def test_a_repair_is_never_cheaper_than_any_reading_with_the_same_prompt_total(
    *, prompt: int, cached: int, write_5m: int, write_1h: int
) -> None:
    assume(max(cached, 0) + max(write_5m, 0) + max(write_1h, 0) > prompt)
    with pytest.raises(InconsistentUsage) as caught:
        quantify(
            Usage(
                prompt=prompt,
                completion=0,
                cached=cached,
                cache_write=write_5m,
                cache_write_1h=write_1h,
            )
        )
    assert caught.value.repaired is not None
    cost = total_pico(caught.value.repaired, CARD)
    # Every way to give each part at most what was stated of it, and the rest to fresh input.
    for one_hour in range(min(max(write_1h, 0), prompt) + 1):
        for five_minutes in range(min(max(write_5m, 0), prompt - one_hour) + 1):
            rest = prompt - one_hour - five_minutes
            for read in {0, min(max(cached, 0), rest)}:
                reading = Quantities(
                    fresh_input=rest - read,
                    cache_read=read,
                    cache_write_5m=five_minutes,
                    cache_write_1h=one_hour,
                )
                assert cost >= total_pico(reading, CARD)


@pytest.mark.parametrize(
    ("usage", "repaired", "said"),
    [
        (
            Usage(prompt=100, completion=5, cached=150),
            Quantities(fresh_input=100, output=5, requests=1),
            "cached and cache-written tokens exceed the prompt",
        ),
        (
            Usage(prompt=100, completion=5, cached=50, cache_write=60),
            Quantities(fresh_input=40, cache_write_5m=60, output=5, requests=1),
            "exceed the prompt",
        ),
        (
            Usage(prompt=100, completion=5, cache_write=80, cache_write_1h=70),
            Quantities(cache_write_1h=70, cache_write_5m=30, output=5, requests=1),
            "exceed the prompt",
        ),
        (
            Usage(prompt=100, completion=5, cached=-3),
            Quantities(fresh_input=100, output=5, requests=1),
            "cached is -3, below zero",
        ),
        (
            Usage(prompt=100, completion=5, reasoning=9),
            Quantities(fresh_input=100, output=9, requests=1),
            "reasoning exceeds the completion",
        ),
        (Usage(prompt=-1, completion=5), None, "prompt is -1, below zero"),
        (Usage(prompt=1, completion=-5), None, "completion is -5, below zero"),
        (Usage(prompt=MAX_COUNT + 1, completion=5), None, "prompt is above"),
        (Usage(prompt=1, completion=2**70), None, "completion is above"),
        (Usage(prompt=1, completion=1, reasoning=2**70), None, "reasoning is above"),
    ],
)
def test_counts_that_cannot_be_are_flagged_with_what_to_bill_instead(
    usage: Usage, repaired: Quantities | None, said: str
) -> None:
    with pytest.raises(InconsistentUsage) as caught:
        quantify(usage)
    assert caught.value.repaired == repaired
    assert said in str(caught.value)


@pytest.mark.parametrize(("size", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (4_000_000, 10**6)])
def test_an_estimate_takes_four_bytes_for_a_token_rounded_up(size: int, tokens: int) -> None:
    found = estimate(size, 7, context_length=10**6)
    assert found == Quantities(fresh_input=tokens, output=7, requests=1)


def test_an_estimate_is_never_more_than_the_context() -> None:
    assert estimate(4_000_000, 7, context_length=262_144).fresh_input == 262_144
