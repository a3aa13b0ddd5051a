"""One wish, to think more, less or not at all, in the words of each endpoint and model."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from backends import (
    EFFORTS,
    KINDS,
    MODE_FIELDS,
    THINKING_SWITCHES,
    UNASKED,
    Call,
    Endpoint,
    Mode,
    profile_of,
    unsupported,
)
from backends.openai_compat.modes import nearest, said, wanted
from backends.openai_compat.request import body, form
from backends.profiles import PROFILES, UNKNOWN

ON = {"thinking": {"type": "enabled"}}
OFF = {"thinking": {"type": "disabled"}}
K26, K27, K3 = "moonshotai/kimi-k2.6", "moonshotai/kimi-k2.7-code", "moonshotai/kimi-k3"
K2, K25, OTHER = "moonshotai/kimi-k2-0905", "moonshotai/kimi-k2.5", "other/model"
EFFORT, BUDGET = Mode(effort="medium"), Mode(max_tokens=900)
YES, NO = Mode(thinking=True), Mode(thinking=False)

# model, mode, what is sent, what is dropped
Row = tuple[str, Mode, dict[str, Any], tuple[str, ...]]
UNSWITCHED: list[Row] = [
    (K26, YES, {}, ()),  # it does unless told not to
    (K26, NO, {}, ("thinking",)),
    (K26, EFFORT, {}, ("reasoning_effort",)),
    (K3, EFFORT, {}, ("reasoning_effort",)),
    (K3, Mode(effort="xhigh"), {}, ()),  # max is what it does unasked
    (K3, BUDGET, {}, ("reasoning.max_tokens",)),
    (OTHER, YES, {}, ("thinking",)),
    (OTHER, NO, {}, ("thinking",)),
]
# the same, after the kind
TABLE: list[tuple[str, str, Mode, dict[str, Any], tuple[str, ...]]] = [
    ("moonshot", K26, YES, ON, ()),
    ("moonshot", K26, NO, OFF, ()),
    ("moonshot", K26, EFFORT, ON, ("reasoning_effort",)),
    ("moonshot", K26, BUDGET, ON, ("reasoning.max_tokens",)),
    ("moonshot_cn", K25, NO, OFF, ()),
    ("moonshot", K27, YES, {}, ()),
    ("moonshot", K27, NO, {}, ("thinking",)),
    ("moonshot", K27, EFFORT, {}, ("reasoning_effort",)),
    ("moonshot", K3, YES, {}, ()),
    ("moonshot", K3, NO, OFF, ()),
    ("moonshot", K3, EFFORT, {"reasoning_effort": "high"}, ()),
    ("moonshot_cn", K3, Mode(effort="minimal"), {"reasoning_effort": "low"}, ()),
    ("moonshot", K3, Mode(effort="max"), {"reasoning_effort": "max"}, ()),
    ("moonshot", K3, BUDGET, {}, ("reasoning.max_tokens",)),
    ("moonshot", OTHER, YES, ON, ()),
    ("moonshot", OTHER, EFFORT, {"reasoning_effort": "medium"}, ()),
    ("openrouter", K26, YES, {"reasoning": {"enabled": True}}, ()),
    ("openrouter", K26, NO, {"reasoning": {"effort": "none"}}, ()),
    ("openrouter", K26, EFFORT, {"reasoning": {"effort": "medium"}}, ()),
    ("openrouter", K26, BUDGET, {"reasoning": {"max_tokens": 900}}, ()),
    (
        "openrouter",
        K26,
        Mode(effort="low", max_tokens=900),
        {"reasoning": {"effort": "low"}},
        ("reasoning.max_tokens",),
    ),
    ("openrouter", K27, YES, {}, ()),
    ("openrouter", K27, NO, {}, ("thinking",)),  # `none` is answered 400 by models that must think
    ("openrouter", K3, NO, {}, ("thinking",)),
    ("openrouter", K3, EFFORT, {"reasoning": {"effort": "high"}}, ()),
    ("openrouter", OTHER, NO, {"reasoning": {"effort": "none"}}, ()),
    ("vllm", K25, YES, {"chat_template_kwargs": {"thinking": True}}, ()),
    ("vllm", K26, NO, {"chat_template_kwargs": {"thinking": False}}, ()),
    (
        "vllm",
        K26,
        EFFORT,
        {"chat_template_kwargs": {"thinking": True}},
        ("reasoning_effort",),
    ),
    ("vllm", K27, NO, {}, ("thinking",)),
    ("vllm", K3, NO, {}, ("thinking",)),
    ("vllm", K3, EFFORT, {"reasoning_effort": "high"}, ()),
    (
        "vllm",
        OTHER,
        NO,
        {"chat_template_kwargs": {"thinking": False, "enable_thinking": False}},
        (),
    ),
    *((kind, *row) for kind in ("novita", "openai_compat", "litellm") for row in UNSWITCHED),
    *(
        (kind, model, mode, {}, dropped)
        for kind in sorted(KINDS)
        for model in (K2, "moonshotai/kimi-linear-48b-a3b-instruct")
        for mode, dropped in (
            (NO, ()),
            (YES, ("thinking",)),
            (EFFORT, ("reasoning_effort",)),
            (Mode(thinking=True, max_tokens=1), ("thinking", "reasoning.max_tokens")),
        )
    ),
    *(
        (kind, model, mode, {}, ())
        for kind in sorted(KINDS)
        for model in (*PROFILES, OTHER)
        for mode in (UNASKED, Mode(exclude=True), Mode())
    ),
]


def sent(
    kind: str, model: str, mode: Mode, switch: str | None = None, **fields: Any
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What of a body is about thinking, and what was dropped."""
    endpoint = Endpoint(
        id="e",
        provider="p",
        kind=kind,
        base_url="u",
        model="m",
        profile=profile_of(model),
        thinking_switch=switch,
    )
    raw = {name: Raw(msgspec.json.encode(value)) for name, value in fields.items()}
    call = Call(fields=raw, stream=True, output_cap=9, request_id="gen-1", mode=mode)
    slices, dropped = body(call, form(endpoint, KINDS[kind].quirks), stream=True)
    assert unsupported(endpoint, raw, mode) == dropped
    decoded = json.loads(b"".join(slices))
    about = MODE_FIELDS | {"chat_template_kwargs", "enable_thinking"}
    return {name: value for name, value in decoded.items() if name in about}, dropped


@pytest.mark.parametrize(("kind", "model", "mode", "told", "dropped"), TABLE)
def test_a_wish_is_told_in_the_endpoints_own_words_or_dropped_by_name(
    kind: str, model: str, mode: Mode, told: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    assert sent(kind, model, mode) == (told, dropped)


@pytest.mark.parametrize(
    ("switch", "model", "mode", "told", "dropped"),
    [
        ("none", K26, NO, {}, ("thinking",)),
        ("thinking", K26, NO, OFF, ()),
        ("enable_thinking", K26, NO, {"enable_thinking": False}, ()),
        ("enable_thinking", K3, EFFORT, {}, ("reasoning_effort",)),
        ("chat_template_kwargs", K26, NO, {"chat_template_kwargs": {"thinking": False}}, ()),
        ("reasoning", K26, YES, {"reasoning": {"enabled": True}}, ()),
        ("reasoning_effort", K3, EFFORT, {"reasoning_effort": "high"}, ()),
        ("reasoning_effort", K26, NO, {}, ("thinking",)),
        ("reasoning_effort", OTHER, Mode(True, "low"), {"reasoning_effort": "low"}, ()),
    ],
)
def test_a_plain_hosts_switch_is_a_row_of_settings(
    switch: str, model: str, mode: Mode, told: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    for kind in ("openai_compat", "novita"):
        assert sent(kind, model, mode, switch) == (told, dropped)


def test_kinds_know_just_the_switches_that_there_are() -> None:
    assert {kind.quirks.thinking_switch for kind in KINDS.values()} <= set(THINKING_SWITCHES)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_callers_own_words_of_thinking_never_pass(kind: str) -> None:
    theirs: dict[str, Any] = {name: {"budget": 1} for name in MODE_FIELDS}
    theirs["chat_template_kwargs"] = {"thinking": "x", "enable_thinking": "y", "tools_in": 1}
    for model in (K26, K3, OTHER):
        told, dropped = sent(kind, model, UNASKED, **theirs)
        if kind == "vllm":
            assert (told, dropped) == ({"chat_template_kwargs": {"tools_in": 1}}, ())
        else:
            assert (told, dropped) == ({}, ("chat_template_kwargs",))


def test_a_switch_joins_the_callers_other_template_words() -> None:
    told, dropped = sent("vllm", K26, NO, chat_template_kwargs={"enable_thinking": True, "a": [1]})
    assert (told, dropped) == ({"chat_template_kwargs": {"a": [1], "thinking": False}}, ())


def test_template_words_that_only_said_what_the_switch_says_are_not_told_as_dropped() -> None:
    theirs = {"thinking": False}
    assert sent("moonshot", K26, NO, chat_template_kwargs=theirs) == (OFF, ())
    assert sent("vllm", K27, UNASKED, chat_template_kwargs=None) == ({}, ())
    assert sent("vllm", K27, UNASKED, chat_template_kwargs=[1])[1] == ("chat_template_kwargs",)


@pytest.mark.parametrize("keep", [None, "all"])
def test_keep_goes_with_the_switch_of_k26(keep: str | None) -> None:
    theirs = {"type": "disabled", "keep": keep}
    told, dropped = sent("moonshot", K26, NO, thinking=theirs)
    assert (told, dropped) == ({"thinking": theirs}, ())
    told, dropped = sent("moonshot", K26, UNASKED, thinking={"keep": keep})
    assert (told, dropped) == ({"thinking": {"type": "enabled", "keep": keep}}, ())


@pytest.mark.parametrize(
    ("kind", "model", "keep", "dropped"),
    [
        ("moonshot", K27, "all", ()),  # it does anyway
        ("moonshot", K3, "all", ()),
        ("moonshot", K27, None, ("thinking.keep",)),
        ("moonshot", K25, "all", ("thinking.keep",)),
        ("moonshot", K26, "bogus", ("thinking.keep",)),
        ("moonshot", K26, ["all"], ("thinking.keep",)),
        ("openrouter", K26, "all", ("thinking.keep",)),
        ("vllm", K26, "all", ("thinking.keep",)),
    ],
)
def test_keep_is_dropped_by_name_where_it_has_no_meaning(
    kind: str, model: str, keep: Any, dropped: tuple[str, ...]
) -> None:
    _, left_out = sent(kind, model, UNASKED, thinking={"type": "enabled", "keep": keep})
    assert left_out == dropped


@pytest.mark.parametrize(
    ("effort", "word"),
    list(zip(EFFORTS, ("low", "low", "high", "high", "max", "max"), strict=True)),
)
def test_efforts_are_mapped_to_the_nearest_that_k3_knows(effort: str, word: str) -> None:
    assert nearest(profile_of(K3), effort) == word
    assert nearest(profile_of(K26), effort) is None
    assert nearest(UNKNOWN, effort) == effort


MODES = st.builds(
    Mode,
    st.sampled_from([None, True, False]),
    st.sampled_from([None, *EFFORTS]),
    st.sampled_from([None, 1, 4096]),
    st.booleans(),
)


@given(st.sampled_from(THINKING_SWITCHES), st.sampled_from([UNKNOWN, *PROFILES.values()]), MODES)
def test_a_wish_is_told_or_met_anyway_or_dropped_and_never_against_the_model(
    switch: str, profile: Any, mode: Mode
) -> None:
    told = said(switch, profile, mode)
    want = wanted(mode)
    if want is None:
        assert told.members == {}
        assert told.dropped == ()
    if switch == "none":
        assert told.members == {}
    if want is False:
        # Off, or the caller knows that it is not.
        assert (told.thinks is False) is ("thinking" not in told.dropped)
    if profile.thinking == "none":
        assert told.thinks is False
        assert told.members == {}
    if want and profile.thinking not in {None, "none"}:
        assert told.thinks is True
        assert "thinking" not in told.dropped
    for value in told.members.values():
        json.loads(value)
