"""The history of a conversation goes to each kind of endpoint as it must have it, no more changed."""

import json as jsonlib
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw

from backends.kinds.moonshot import QUIRKS as MOONSHOT
from backends.kinds.novita import QUIRKS as NOVITA
from backends.kinds.openai_compat import QUIRKS as OPENAI_COMPAT
from backends.kinds.openrouter import QUIRKS as OPENROUTER
from backends.kinds.vllm import QUIRKS as VLLM
from backends.openai_compat.messages import Adapted, History, adapted, thinks
from backends.openai_compat.quirks import Quirks
from backends.profiles import PROFILES, UNKNOWN, Profile, profile_of
from backends.values import UNASKED, Call, Mode

K2 = profile_of("moonshotai/kimi-k2-0905")  # does not think
K26 = profile_of("moonshotai/kimi-k2.6")  # thinks unless told not to
K3 = profile_of("moonshotai/kimi-k3")  # always thinks, and has ids of its own
KINDS = {
    "moonshot": MOONSHOT,
    "novita": NOVITA,
    "vllm": VLLM,
    "openai_compat": OPENAI_COMPAT,
    "openrouter": OPENROUTER,
}
USER = {"role": "user", "content": "Weather?"}


def call_of(raw: bytes, mode: Mode = UNASKED, **fields: bytes) -> Call:
    return Call(
        fields={"messages": Raw(raw)} | {name: Raw(value) for name, value in fields.items()},
        stream=True,
        output_cap=9,
        request_id="g",
        mode=mode,
    )


def changed(
    messages: object, quirks: Quirks = NOVITA, profile: Profile = K2, mode: Mode = UNASKED
) -> Adapted | None:
    return adapted(call_of(msgspec.json.encode(messages), mode), profile, quirks.history)


def sent(
    messages: list[Any], quirks: Quirks = NOVITA, profile: Profile = K2, mode: Mode = UNASKED
) -> Any:
    """The messages that go out."""
    found = changed(messages, quirks, profile, mode)
    if found is None or found.messages is None:
        return messages
    return msgspec.json.decode(found.messages)


def tool(identity: Any, name: str = "f", **more: Any) -> dict[str, Any]:
    return {
        "id": identity,
        "type": "function",
        "function": {"name": name, "arguments": "{}"},
    } | more


def says(*calls: Any, **more: Any) -> dict[str, Any]:
    tools = {"tool_calls": list(calls)} if calls else {}
    return {"role": "assistant", "content": None} | tools | more


def result(identity: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": identity, "content": "ok"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("profile", [UNKNOWN, *PROFILES.values()])
def test_a_conversation_of_plain_turns_is_left_alone(kind: str, profile: Profile) -> None:
    messages = [
        {"role": "system", "content": 'say "tool_calls" and "reasoning" and "developer"'},
        USER,
        {"role": "assistant", "content": "x" * 30_000},
        USER,
    ]
    assert changed(messages, KINDS[kind], profile) is None
    assert changed(messages[:2], KINDS[kind], profile) is None


REASONING = [
    {"reasoning": "Hm"},
    {"reasoning_content": "Hm"},
    {"reasoning": "Hm", "reasoning_content": "Hm"},
    {"reasoning": "", "reasoning_content": "Hm"},
    {"reasoning": None, "reasoning_content": "Hm"},
    {"reasoning": "Other", "reasoning_content": "Hm"},
]
DETAILS = [
    {"type": "reasoning.text", "text": "H", "signature": "s"},
    {"type": "reasoning.encrypted", "data": "x"},
    {"type": "reasoning.summary", "summary": "m"},
]
NAMES = {
    "moonshot": ["reasoning_content"],
    "novita": ["reasoning_content"],
    "openai_compat": ["reasoning_content"],
    "vllm": ["reasoning", "reasoning_content"],
    "openrouter": ["reasoning"],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("told", REASONING)
def test_reasoning_goes_on_once_under_the_endpoints_names(
    kind: str, told: dict[str, str | None]
) -> None:
    (_, answer) = sent([USER, says(content="ok") | told], KINDS[kind])
    assert answer == says(content="ok") | dict.fromkeys(NAMES[kind], "Hm")


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_of_details_goes_on_where_nothing_else_is(kind: str) -> None:
    (_, answer) = sent([USER, says(content="ok", reasoning_details=DETAILS)], KINDS[kind])
    if kind == "openrouter":
        assert answer["reasoning_details"] == DETAILS
        assert "reasoning" not in answer
    else:
        assert answer == says(content="ok") | dict.fromkeys(NAMES[kind], "Hm")


def test_details_stand_beside_the_text_only_where_they_are_read() -> None:
    told = [USER, says(content="ok", reasoning="Hm", reasoning_details=DETAILS)]
    assert sent(told, OPENROUTER) == told
    assert sent(told, MOONSHOT)[1] == says(content="ok", reasoning_content="Hm")


def test_reasoning_that_is_no_text_is_left_for_the_endpoint_to_judge() -> None:
    assert changed([USER, says(content="ok", reasoning={"a": 1})]) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("profile", "mode", "thinking"),
    [
        (K3, UNASKED, True),
        (K3, Mode(thinking=False), True),
        (K26, UNASKED, True),
        (K26, Mode(effort="high"), True),
        (K26, Mode(thinking=False), False),
        (K2, UNASKED, False),
        (UNKNOWN, UNASKED, False),
    ],
)
@pytest.mark.parametrize("lacking", [{}, {"reasoning_content": ""}, {"reasoning": None}])
def test_a_thinking_models_tool_calls_never_lack_reasoning(
    kind: str, profile: Profile, mode: Mode, lacking: dict[str, Any], *, thinking: bool
) -> None:
    assert thinks(profile, mode) is thinking
    told = [USER, says(tool("functions.f:0"), **lacking), result("functions.f:0")]
    answer = sent(told, KINDS[kind], profile, mode)[1]
    found = {answer.get(name) for name in NAMES[kind]}
    assert (found == {" "}) is thinking


def test_no_blank_is_put_where_reasoning_is_or_no_tool_was_called() -> None:
    for answer in (
        says(content="ok"),
        says(content="ok", tool_calls=[]),
        says(content="ok", tool_calls=None),
        says(tool("functions.f:0"), reasoning_content="Hm"),
    ):
        assert sent([USER, answer], MOONSHOT, K26) == [USER, answer]
    encrypted = says(tool("functions.f:0"), reasoning_details=DETAILS[1:2])
    assert sent([USER, encrypted], OPENROUTER, K26) == [USER, encrypted]


CONVERSATION = [
    USER,
    says(tool("call_a", "weather"), tool("call_b", "time")),
    result("call_b"),
    result("call_a"),
    says(content="Sunny"),
    USER,
    says(tool("search:0", "search")),
    result("search:0"),
]


@pytest.mark.parametrize("kind", ["novita", "vllm", "openai_compat", "openrouter"])
def test_ids_count_over_the_conversation_as_the_model_writes_them(kind: str) -> None:
    out = sent(CONVERSATION, KINDS[kind])
    assert [[c["id"] for c in m["tool_calls"]] for m in out if "tool_calls" in m] == [
        ["functions.weather:0", "functions.time:1"],
        ["functions.search:2"],
    ]
    assert [m["tool_call_id"] for m in out if m["role"] == "tool"] == [
        "functions.time:1",
        "functions.weather:0",
        "functions.search:2",
    ]


def test_ids_stay_where_the_service_or_the_model_wants_no_others() -> None:
    assert sent(CONVERSATION, MOONSHOT) == CONVERSATION
    assert sent(CONVERSATION, NOVITA, UNKNOWN) == CONVERSATION
    assert changed(CONVERSATION, MOONSHOT) is None


def test_ids_that_are_right_stay_as_they_are_and_are_known() -> None:
    told = [USER, says(tool("functions.f:0"), tool("functions.g:1", "g")), result("functions.g:1")]
    found = changed(told)
    assert found == Adapted(None, held=frozenset({"functions.f:0", "functions.g:1"}))


def test_an_id_of_two_turns_means_the_call_of_the_latest() -> None:
    told = [USER]
    for _ in range(2):
        told += [says(tool("functions.f:0")), result("functions.f:0")]
    out = sent(told)
    assert [m["tool_call_id"] for m in out if m["role"] == "tool"] == [
        "functions.f:0",
        "functions.f:1",
    ]


def test_results_of_calls_that_share_an_id_follow_in_their_order() -> None:
    out = sent([USER, says(tool("x"), tool("x", "g")), result("x"), result("x"), result("x")])
    assert [m["tool_call_id"] for m in out[2:]] == [
        "functions.f:0",
        "functions.g:1",
        "functions.g:1",
    ]


@pytest.mark.parametrize(
    "odd",
    [
        tool(None),
        tool(7),
        {"type": "function", "function": {"name": "f"}},
        {"id": "x"},
        {"id": "x", "function": None},
        {"id": "x", "function": {"name": None}},
        {"id": "x", "function": {"name": ""}},
        {"id": "x", "function": "f"},
    ],
)
def test_calls_without_id_or_name_keep_what_they_have_but_count(odd: Any) -> None:
    out = sent([USER, says(odd, tool("call_b", "g")), result("unknown"), result(None)])
    assert out[1]["tool_calls"][0] == odd
    assert out[1]["tool_calls"][1]["id"] == "functions.g:1"
    assert out[2:] == [result("unknown"), result(None)]


@pytest.mark.parametrize("calls", [{}, "x", 7, [1], ["x"], [[]]])
def test_tool_calls_in_no_known_form_are_left_alone(calls: Any) -> None:
    told = [USER, says(tool_calls=calls), result("x")]
    assert sent(told) == told


@pytest.mark.parametrize("kind", KINDS)
def test_a_developer_is_the_system_where_that_role_is_unknown(kind: str) -> None:
    told = [{"role": "developer", "content": "Be brief."}, USER]
    role = sent(told, KINDS[kind])[0]["role"]
    assert role == ("developer" if kind in {"openai_compat", "openrouter"} else "system")


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_to_be_continued_is_told_in_each_endpoints_way(kind: str) -> None:
    begun = says(content="It is", partial=True)
    found = changed([USER, begun], KINDS[kind])
    if kind == "moonshot":
        assert found is None
        return
    assert found is not None
    assert found.messages == Raw(msgspec.json.encode([USER, says(content="It is")]))
    assert found.dropped == (() if kind in {"vllm", "openrouter"} else ("messages.partial",))
    told = b',"continue_final_message":true,"add_generation_prompt":false'
    assert found.extra == (told if kind == "vllm" else b"")


@pytest.mark.parametrize(
    "messages",
    [
        [USER, says(content="It is", partial=False)],
        [USER, says(content="It is", partial=True), USER],
    ],
)
def test_a_mark_that_means_nothing_is_taken_out_without_a_word(messages: list[Any]) -> None:
    for quirks in (NOVITA, VLLM):
        found = changed(messages, quirks)
        assert found is not None
        assert (found.extra, found.dropped) == (b"", ())
        assert b"partial" not in bytes(found.messages or b"")
    assert changed(messages, MOONSHOT) is None


def test_a_caller_who_speaks_vllms_own_words_is_not_repeated() -> None:
    raw = msgspec.json.encode([USER, says(content="It is", partial=True)])
    found = adapted(call_of(raw, continue_final_message=b"true"), K2, VLLM.history)
    assert found is not None
    assert found.extra == b""


def test_an_answer_that_ends_the_history_unmarked_is_left_alone() -> None:
    for quirks in KINDS.values():
        assert changed([USER, says(content="It is")], quirks) is None


def test_tools_that_are_declared_on_the_way_pass_as_they_are() -> None:
    told = [{"role": "system", "tools": [{"type": "function", "function": {"name": "f"}}]}, USER]
    assert changed(told, MOONSHOT, K3) is None
    mixed = [*told, says(tool("f_0"), reasoning="Hm"), result("f_0")]
    assert sent(mixed, MOONSHOT, K3)[0] == told[0]


def test_content_goes_on_in_the_bytes_it_came_in() -> None:
    content = rb'[ {"type":"text", "text":"\u00e9 \ud83c\udf0a \/"} ,1e400]'
    raw = b'[{"role" : "user", "content" :%b, "x":\t1.50},{"role":"developer","content":"d"}]'
    found = adapted(call_of(raw % content), K2, NOVITA.history)
    assert found is not None
    assert found.messages == Raw(
        b'[{"role":"user","content":%b,"x":1.50},{"role":"system","content":"d"}]' % content
    )


TEXTS = st.sampled_from(["", "Hm", 'a "b"\n', "é🌊", "\\", "tool_calls"])
IDS = st.sampled_from(["call_1", "call_2", "functions.f:0", "functions.g:1", "f:0", "", None, 7])
CALLS = st.fixed_dictionaries(
    {"id": IDS, "function": st.fixed_dictionaries({"name": st.sampled_from(["f", "g", "é\n"])})}
)
ODD: st.SearchStrategy[Any] = st.sampled_from([None, 7, True, [], {}, "x", [None], [{}]])
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["assistant", "assistant", "tool", "user", "developer", "x", None])},
    optional={
        "content": TEXTS | ODD,
        "reasoning": TEXTS | ODD,
        "reasoning_content": TEXTS | ODD,
        "reasoning_details": ODD | st.just(DETAILS),
        "tool_calls": st.lists(CALLS, max_size=3) | ODD,
        "tool_call_id": IDS,
        "partial": st.booleans() | ODD,
        "name": TEXTS,
    },
)
RULES = st.sampled_from([quirks.history for quirks in KINDS.values()])
PROFILE = st.sampled_from([UNKNOWN, K2, K26, K3])


@given(st.lists(MESSAGES, max_size=6), RULES, PROFILE)
@example([says(tool("a"), reasoning="x"), result("a")], VLLM.history, K26)
def test_contents_and_order_stay_and_a_second_time_changes_nothing(
    messages: list[dict[str, Any]], rules: History, profile: Profile
) -> None:
    found = adapted(call_of(jsonlib.dumps(messages).encode()), profile, rules)
    if found is None or found.messages is None:
        return
    out = msgspec.json.decode(found.messages)
    ours = {"reasoning", "reasoning_content", "reasoning_details", "tool_calls", "tool_call_id"}
    ours |= {"partial", "role"}
    for before, after in zip(messages, out, strict=True):
        assert {k: v for k, v in before.items() if k not in ours} == {
            k: v for k, v in after.items() if k not in ours
        }
        assert after.get("role") == before["role"] or before["role"] == "developer"
    again = adapted(call_of(bytes(found.messages)), profile, rules)
    assert again is None or again.messages is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | TEXTS,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["role", "tool_calls", "id", "function", "reasoning"]), inner
            )
        ),
        max_leaves=12,
    ),
    RULES,
)
def test_what_is_no_list_of_messages_goes_on_untouched(value: Any, rules: History) -> None:
    if not (isinstance(value, list) and all(isinstance(item, dict) for item in value)):
        assert adapted(call_of(jsonlib.dumps(value).encode()), K26, rules) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b'"tool_calls"',
        b'{"tool_calls":1}',
        b'[{"tool_calls":',
        b'[{"role":"developer"},7]',
        b'[{"role":"developer","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}]",
    ],
)
def test_what_cannot_be_read_goes_on_untouched(raw: bytes) -> None:
    assert adapted(call_of(raw), K26, NOVITA.history) is None


def test_a_request_without_messages_is_left_alone() -> None:
    call = Call(fields={}, stream=True, output_cap=9, request_id="g")
    assert adapted(call, K26, NOVITA.history) is None
