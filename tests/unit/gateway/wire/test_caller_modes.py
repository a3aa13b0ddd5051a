"""How much a model shall think: every spelling means one mode, and none contradicts another in silence."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import EFFORTS, UNASKED, Mode
from gateway.errors import InvalidRequest
from gateway.wire import anthropic_messages, openai_chat
from gateway.wire.modes import base_of
from gateway.wire.request import ChatRequest
from tests.builders import MODEL, anthropic, chat

ON, OFF = Mode(thinking=True), Mode(thinking=False)


def read(**fields: Any) -> ChatRequest:
    return openai_chat.parse(chat(**fields), usage_always=False)


def mode(**fields: Any) -> Mode:
    return read(**fields).mode


def refusal(**fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read(**fields)
    return caught.value


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({}, UNASKED),
        ({"thinking": True}, ON),
        ({"thinking": False}, OFF),
        ({"thinking": {"type": "enabled"}}, ON),
        ({"thinking": {"type": "disabled"}}, OFF),
        ({"thinking": {"type": "adaptive"}}, UNASKED),
        ({"thinking": {"type": None}}, UNASKED),
        ({"thinking": {}}, UNASKED),
        ({"thinking": {"type": "enabled", "keep": "all"}}, ON),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, Mode(thinking=True, max_tokens=9)),
        ({"thinking": {"budget_tokens": 9}}, Mode(max_tokens=9)),
        ({"thinking": {"effort": "low"}}, Mode(effort="low")),
        ({"reasoning": {}}, UNASKED),
        ({"reasoning": {"effort": "xhigh"}}, Mode(effort="xhigh")),
        ({"reasoning": {"effort": "none"}}, OFF),
        ({"reasoning": {"effort": None, "max_tokens": None, "enabled": None}}, UNASKED),
        ({"reasoning": {"max_tokens": 2000}}, Mode(max_tokens=2000)),
        ({"reasoning": {"enabled": True}}, ON),
        ({"reasoning": {"enabled": False}}, OFF),
        ({"reasoning": {"exclude": True}}, Mode(exclude=True)),
        ({"reasoning": {"exclude": False}}, UNASKED),
        ({"reasoning": {"effort": "low", "exclude": True}}, Mode(effort="low", exclude=True)),
        ({"reasoning_effort": "none"}, OFF),
        *[({"reasoning_effort": word}, Mode(effort=word)) for word in EFFORTS],
        ({"reasoning_effort": {"effort": "high"}}, Mode(effort="high")),
        ({"reasoning_effort": {"effort": "none"}}, OFF),
        ({"reasoning_effort": {}}, UNASKED),
        ({"include_reasoning": True}, UNASKED),
        ({"include_reasoning": False}, Mode(exclude=True)),
        ({"enable_thinking": True}, ON),
        ({"enable_thinking": False}, OFF),
        ({"chat_template_kwargs": {"thinking": False}}, OFF),
        ({"chat_template_kwargs": {"enable_thinking": True}}, ON),
        ({"chat_template_kwargs": {"preserve_thinking": True}}, UNASKED),
        ({"model": f"{MODEL}:thinking"}, ON),
        ({"model": f"{MODEL}:instant"}, OFF),
        ({"model": f"{MODEL}:free"}, UNASKED),
        # said twice, in agreement
        ({"reasoning_effort": "low", "reasoning": {"effort": "low"}}, Mode(effort="low")),
        ({"reasoning_effort": "none", "thinking": {"type": "disabled"}}, OFF),
        ({"thinking": True, "reasoning_effort": "high"}, Mode(thinking=True, effort="high")),
        (
            {"model": f"{MODEL}:thinking", "reasoning_effort": "low"},
            Mode(thinking=True, effort="low"),
        ),
        ({"model": f"{MODEL}:instant", "reasoning_effort": "none"}, OFF),
        ({"include_reasoning": False, "reasoning": {"exclude": True}}, Mode(exclude=True)),
    ],
)
def test_every_spelling_means_its_mode(fields: dict[str, Any], meant: Mode) -> None:
    assert mode(**fields) == meant


@pytest.mark.parametrize(
    "field",
    [
        "thinking",
        "reasoning",
        "reasoning_effort",
        "include_reasoning",
        "enable_thinking",
        "chat_template_kwargs",
    ],
)
def test_null_says_nothing(field: str) -> None:
    body = chat()[:-1] + b', "%b": null}' % field.encode()
    assert openai_chat.parse(body, usage_always=False).mode == UNASKED


@pytest.mark.parametrize(
    ("fields", "one", "other"),
    [
        (
            {"reasoning_effort": "low", "reasoning": {"effort": "high"}},
            "reasoning.effort 'high'",
            "reasoning_effort 'low'",
        ),
        (
            {"reasoning": {"effort": "low", "max_tokens": 9}},
            "reasoning.effort 'low'",
            "reasoning.max_tokens 9",
        ),
        (
            {"thinking": {"budget_tokens": 9}, "reasoning_effort": "low"},
            "reasoning_effort 'low'",
            "thinking.budget_tokens 9",
        ),
        (
            {"thinking": {"type": "disabled"}, "reasoning_effort": "low"},
            "thinking.type 'disabled'",
            "reasoning_effort 'low'",
        ),
        (
            {"thinking": {"type": "disabled", "budget_tokens": 9}},
            "thinking.type 'disabled'",
            "thinking.budget_tokens 9",
        ),
        (
            {"thinking": {"budget_tokens": 9}, "reasoning": {"max_tokens": 8}},
            "thinking.budget_tokens 9",
            "reasoning.max_tokens 8",
        ),
        ({"thinking": True, "enable_thinking": False}, "thinking true", "enable_thinking false"),
        (
            {"thinking": True, "reasoning_effort": "none"},
            "thinking true",
            "reasoning_effort 'none'",
        ),
        (
            {"reasoning": {"enabled": False, "effort": "low"}},
            "reasoning.enabled false",
            "reasoning.effort 'low'",
        ),
        (
            {"reasoning": {"enabled": False}, "chat_template_kwargs": {"thinking": True}},
            "reasoning.enabled false",
            "chat_template_kwargs.thinking true",
        ),
        (
            {"chat_template_kwargs": {"thinking": True, "enable_thinking": False}},
            "chat_template_kwargs.thinking true",
            "chat_template_kwargs.enable_thinking false",
        ),
        (
            {"model": f"{MODEL}:instant", "reasoning_effort": "high"},
            "model ':instant'",
            "reasoning_effort 'high'",
        ),
        (
            {"model": f"{MODEL}:instant", "reasoning": {"max_tokens": 9}},
            "model ':instant'",
            "reasoning.max_tokens 9",
        ),
        ({"model": f"{MODEL}:thinking", "thinking": False}, "model ':thinking'", "thinking false"),
        (
            {"include_reasoning": True, "reasoning": {"exclude": True}},
            "reasoning.exclude true",
            "include_reasoning true",
        ),
    ],
)
def test_a_contradiction_is_refused_and_names_both_fields(
    fields: dict[str, Any], one: str, other: str
) -> None:
    error = refusal(**fields)
    assert (error.code, error.status) == ("conflicting_parameters", 400)
    for said in (one, other):
        where, _, value = said.partition(" ")
        assert f"'{where}' says {value}" in error.message
    assert error.param == other.partition(" ")[0]


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"thinking": "yes"}, "thinking", "invalid_type"),
        ({"thinking": 1}, "thinking", "invalid_type"),
        ({"thinking": {"type": "often"}}, "thinking.type", "invalid_value"),
        ({"thinking": {"type": True}}, "thinking.type", "invalid_type"),
        ({"thinking": {"budget_tokens": 0}}, "thinking.budget_tokens", "invalid_value"),
        ({"thinking": {"budget_tokens": "9"}}, "thinking.budget_tokens", "invalid_type"),
        ({"thinking": {"effort": "huge"}}, "thinking.effort", "invalid_value"),
        ({"reasoning": True}, "reasoning", "invalid_type"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "invalid_value"),
        ({"reasoning": {"effort": ""}}, "reasoning.effort", "invalid_value"),
        ({"reasoning": {"max_tokens": -1}}, "reasoning.max_tokens", "invalid_value"),
        ({"reasoning": {"max_tokens": 10**30}}, "reasoning.max_tokens", "invalid_value"),
        ({"reasoning": {"enabled": "true"}}, "reasoning.enabled", "invalid_type"),
        ({"reasoning": {"exclude": 1}}, "reasoning.exclude", "invalid_type"),
        ({"reasoning_effort": 3}, "reasoning_effort", "invalid_type"),
        ({"reasoning_effort": "HIGH"}, "reasoning_effort", "invalid_value"),
        ({"reasoning_effort": {"effort": 3}}, "reasoning_effort.effort", "invalid_type"),
        ({"include_reasoning": "no"}, "include_reasoning", "invalid_type"),
        ({"enable_thinking": 1}, "enable_thinking", "invalid_type"),
        ({"chat_template_kwargs": []}, "chat_template_kwargs", "invalid_type"),
        (
            {"chat_template_kwargs": {"thinking": "on"}},
            "chat_template_kwargs.thinking",
            "invalid_type",
        ),
    ],
)
def test_what_is_no_mode_is_refused_by_its_path(
    fields: dict[str, Any], param: str, code: str
) -> None:
    error = refusal(**fields)
    assert (error.param, error.code, error.status) == (param, code, 400)
    assert f"'{param}'" in error.message


def test_what_of_it_means_nothing_here_is_told() -> None:
    request = read(
        reasoning={"effort": "low", "summary": "auto", "context": None, "mode": "pro"},
        thinking={"type": "enabled", "display": "x", "keep": "all"},
    )
    assert request.dropped == ("thinking.display", "reasoning.summary", "reasoning.mode")
    # The adapter reads `thinking.keep` from the field, which stays where it is.
    assert {"thinking", "reasoning"} <= request.fields.keys()


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({}, UNASKED),
        ({"thinking": {"type": "enabled"}}, ON),
        ({"thinking": {"type": "disabled"}}, OFF),
        ({"thinking": {"type": "adaptive"}}, UNASKED),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, Mode(thinking=True, max_tokens=9)),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, Mode(exclude=True)),
        ({"thinking": {"type": "adaptive", "display": "summarized"}}, UNASKED),
        *[({"output_config": {"effort": word}}, Mode(effort=word)) for word in EFFORTS],
        # both may be sent there, as effort is about more than thinking
        (
            {
                "thinking": {"type": "enabled", "budget_tokens": 9},
                "output_config": {"effort": "low"},
            },
            Mode(thinking=True, effort="low", max_tokens=9),
        ),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "max"}}, OFF),
        ({"model": f"{MODEL}:instant", "output_config": {"effort": "max"}}, OFF),
        ({"model": f"{MODEL}:thinking"}, ON),
        ({"chat_template_kwargs": {"thinking": False}}, OFF),
    ],
)
def test_anthropics_spellings_mean_the_same_modes(fields: dict[str, Any], meant: Mode) -> None:
    assert anthropic_messages.parse(anthropic(**fields)).mode == meant


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        (
            {"model": f"{MODEL}:instant", "thinking": {"type": "enabled"}},
            "thinking.type",
            "conflicting_parameters",
        ),
        (
            {"thinking": {"type": "disabled", "budget_tokens": 9}},
            "thinking.budget_tokens",
            "conflicting_parameters",
        ),
        ({"output_config": {"effort": "huge"}}, "output_config.effort", "invalid_value"),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 0}},
            "thinking.budget_tokens",
            "invalid_value",
        ),
    ],
)
def test_anthropics_contradictions_are_refused(
    fields: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        anthropic_messages.parse(anthropic(**fields))
    assert (caught.value.param, caught.value.code) == (param, code)


def test_a_name_has_one_suffix_at_most() -> None:
    assert base_of("a/b:thinking") == "a/b"
    assert base_of("a/b:instant") == "a/b"
    assert base_of("a/b:thinking:instant") == "a/b:thinking"
    assert base_of("a/b:free") == "a/b:free"
    assert base_of("a/b") == "a/b"


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([*EFFORTS, "none", "", "enabled"]),
    lambda inner: (
        st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "effort",
                    "max_tokens",
                    "budget_tokens",
                    "enabled",
                    "exclude",
                    "thinking",
                    "keep",
                ]
            ),
            inner,
            max_size=3,
        )
        | st.lists(inner, max_size=2)
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "thinking",
                "reasoning",
                "reasoning_effort",
                "include_reasoning",
                "enable_thinking",
                "chat_template_kwargs",
                "provider",
                "providerOptions",
            ]
        ),
        ANY,
    ),
    st.sampled_from(["", ":thinking", ":instant"]),
)
def test_no_combination_is_anything_but_read_or_refused(
    fields: dict[str, Any], suffix: str
) -> None:
    refused: InvalidRequest | None = None
    found = UNASKED
    try:
        found = mode(model=MODEL + suffix, **fields)
    except InvalidRequest as error:
        refused = error
    if refused is not None:
        assert refused.status == 400
        assert refused.param is not None
    assert found.effort in {None, *EFFORTS}
    assert found.effort is None or found.max_tokens is None
    if found.thinking is False:
        assert (found.effort, found.max_tokens) == (None, None)
