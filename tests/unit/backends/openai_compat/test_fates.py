"""Fields whose fate depends on their value, the model and the call; and what is said beforehand of it."""

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
    UNASKED,
    Call,
    Endpoint,
    Mode,
    profile_of,
    unsupported,
)
from backends.openai_compat.messages import adapted
from backends.openai_compat.quirks import GATEWAY_ONLY, REFUSED, WRITTEN
from backends.openai_compat.request import body, form
from backends.profiles import PROFILES

K26, K27, K3 = "moonshotai/kimi-k2.6", "moonshotai/kimi-k2.7-code", "moonshotai/kimi-k3"
K2 = "moonshotai/kimi-k2-0905"
OFF = Mode(thinking=False)
NAMED = {"type": "function", "function": {"name": "look"}}
TOOLS = [{"type": "function", "function": {"name": "look"}}]
ADAPTERS = sorted(KINDS)


def endpoint(kind: str = "moonshot", model: str = K26, **more: Any) -> Endpoint:
    return Endpoint(
        id="e",
        provider="p",
        kind=kind,
        base_url="u",
        model="m",
        profile=profile_of(model),
        **more,
    )


def sent(
    to: Endpoint, fields: dict[str, Any], mode: Mode = UNASKED, **more: Any
) -> tuple[dict[str, Any], tuple[str, ...]]:
    raw = {name: Raw(msgspec.json.encode(value)) for name, value in fields.items()}
    call = Call(fields=raw, stream=False, output_cap=9, request_id="g", mode=mode, **more)
    slices, dropped = body(call, form(to, KINDS[to.kind].quirks), stream=False)
    assert unsupported(to, raw, mode, zdr=call.zdr) == dropped
    decoded = json.loads(b"".join(slices))
    return {name: decoded[name] for name in decoded if name in fields}, dropped


@pytest.mark.parametrize(
    ("model", "mode", "choice", "arrives", "dropped"),
    [
        *(
            (model, UNASKED, word, word, False)
            for model in (K26, K27, K3, K2)
            for word in ("auto", "none")
        ),
        (K26, UNASKED, "required", None, True),
        (K26, Mode(thinking=True), "required", None, True),
        (K26, OFF, "required", "required", False),
        (K26, OFF, NAMED, NAMED, False),
        (K26, UNASKED, NAMED, None, True),
        (K27, OFF, "required", None, True),  # it thinks all the same
        (K3, UNASKED, "required", "required", False),
        (K3, UNASKED, NAMED, "required", False),  # there is no other tool
        (K3, UNASKED, {"type": "function", "function": {"name": "other"}}, None, True),
        (K3, UNASKED, {"type": "allowed_tools"}, None, True),
        (K3, OFF, NAMED, NAMED, False),
        (K2, UNASKED, "required", "required", False),
        ("other/model", UNASKED, "required", "required", False),
    ],
)
def test_moonshot_forces_a_tool_only_where_the_model_takes_that_while_it_thinks(
    *, model: str, mode: Mode, choice: Any, arrives: Any, dropped: bool
) -> None:
    for kind in ("moonshot", "moonshot_cn"):
        fields = {"messages": [], "tools": TOOLS, "tool_choice": choice}
        decoded, left_out = sent(endpoint(kind, model), fields, mode)
        assert decoded.get("tool_choice") == arrives
        assert ("tool_choice" in left_out) is dropped
        assert decoded["tools"] == TOOLS


def test_a_named_function_of_several_is_left_to_the_model() -> None:
    two = [*TOOLS, {"type": "function", "function": {"name": "b"}}]
    for fields in (
        {"tools": two},
        {},
        {"tools": [{"type": "builtin_function", "function": {"name": "look"}}]},
        {"tools": TOOLS, "messages": [{"role": "system", "tools": two}]},
    ):
        decoded, dropped = sent(endpoint(model=K3), fields | {"tool_choice": NAMED})
        assert "tool_choice" not in decoded
        assert dropped == ("tool_choice",)


@pytest.mark.parametrize("kind", sorted(set(ADAPTERS) - {"moonshot", "moonshot_cn"}))
def test_others_force_a_tool_as_they_are_asked(kind: str) -> None:
    for choice in ("required", NAMED):
        decoded, dropped = sent(endpoint(kind), {"tools": TOOLS, "tool_choice": choice})
        assert (decoded["tool_choice"], dropped) == (choice, ())


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("temperature", 1, False),
        ("temperature", 1.0, False),
        ("temperature", None, False),
        ("temperature", 0.6, True),
        ("temperature", 0, True),
        ("temperature", "1", True),
        ("top_p", 0.95, False),
        ("top_p", 1, True),
        ("n", 1, False),
        ("n", 2, True),
        ("presence_penalty", 0, False),
        ("frequency_penalty", 0.1, True),
    ],
)
def test_a_fixed_parameter_is_not_sent_and_told_of_unless_it_is_that_value(
    *, field: str, value: Any, told: bool
) -> None:
    for model in (K26, K27, K3):
        decoded, dropped = sent(endpoint(model=model), {field: value})
        assert decoded == {}
        assert dropped == ((field,) if told else ())


def test_k26_has_another_temperature_while_it_does_not_think() -> None:
    for value, at_rest, thinking in ((0.6, (), ("temperature",)), (1, ("temperature",), ())):
        assert sent(endpoint(model=K26), {"temperature": value}, OFF)[1] == at_rest
        assert sent(endpoint(model=K26), {"temperature": value})[1] == thinking
        assert sent(endpoint(model=K3), {"temperature": value}, OFF)[1] == thinking


@pytest.mark.parametrize(
    ("stop", "fits"),
    [
        ("x" * 32, True),
        ("x" * 33, False),
        ("é" * 16, True),
        ("é" * 17, False),
        (["a"] * 5, True),
        (["a"] * 6, False),
        (["a", "x" * 33], False),
        (None, True),
        (7, True),  # nonsense is for the provider to refuse
    ],
)
def test_stop_sequences_that_moonshot_would_refuse_are_dropped_by_name(
    *, stop: Any, fits: bool
) -> None:
    decoded, dropped = sent(endpoint(), {"stop": stop})
    assert dropped == (() if fits else ("stop",))
    assert ("stop" in decoded) is fits
    assert sent(endpoint("novita"), {"stop": stop})[0] == {"stop": stop}


def test_further_fields_pass_by_the_endpoints_row_but_not_under_zero_retention() -> None:
    to = endpoint("openai_compat", extra_fields=frozenset({"separate_reasoning", "thinking"}))
    fields = {"separate_reasoning": True, "messages": []}
    assert sent(to, fields) == (fields, ())
    assert sent(to, fields, zdr=True) == ({"messages": []}, ("separate_reasoning",))
    assert sent(to, fields) == (fields, ())


def test_zero_retention_counts_where_the_same_fields_were_let_through_before() -> None:
    to = endpoint("openai_compat", extra_fields=frozenset({"separate_reasoning"}))
    made = form(to, KINDS["openai_compat"].quirks)
    fields = {"separate_reasoning": Raw(b"true")}
    for zdr in (False, True, False):
        call = Call(fields=fields, stream=True, output_cap=9, request_id="g", zdr=zdr)
        slices, dropped = body(call, made, stream=True)
        assert (b"separate_reasoning" in b"".join(slices)) is not zdr
        assert dropped == (("separate_reasoning",) if zdr else ())


@pytest.mark.parametrize("field", sorted(MODE_FIELDS))
def test_no_row_lets_the_callers_own_words_of_thinking_pass(field: str) -> None:
    to = endpoint("openai_compat", extra_fields=MODE_FIELDS, thinking_switch="none")
    assert sent(to, {field: {"type": "x"}}) == ({}, ())


def test_no_row_lets_a_caller_write_what_decides_on_retention() -> None:
    named = frozenset({"store", "provider", "usage"})
    hub = endpoint("openrouter", extra_fields=named)
    fields = {"provider": {"zdr": False}, "usage": {"include": False}, "store": True}
    assert sent(hub, fields) == ({"usage": {"include": True}}, ())
    plain = endpoint("openai_compat", extra_fields=named)
    assert "store" not in sent(plain, fields)[0]


def test_no_row_lets_a_field_pass_to_vllm() -> None:
    to = endpoint("vllm", extra_fields=frozenset({"priority"}))
    assert sent(to, {"priority": 1}) == ({}, ("priority",))


def test_a_null_says_nothing_and_is_not_told_as_dropped() -> None:
    for kind in ADAPTERS:
        assert sent(endpoint(kind), {"service_tier": None, "plugins": None, "x": None})[1] == ()


def test_what_bears_retention_or_decides_the_route_is_never_sent() -> None:
    fields = {"store": True, "metadata": {"a": "b"}, "user": "u", "session_id": "s"}
    for kind in ADAPTERS:
        assert sent(endpoint(kind), fields) == ({}, ())


def test_rewritten_messages_replace_the_callers_and_further_members_go_in() -> None:
    for size, mode in ((3, UNASKED), (30_000, UNASKED), (3, OFF), (30_000, OFF)):
        theirs = Raw(msgspec.json.encode(["x" * size]))
        call = Call(
            fields={"messages": theirs, "tools": Raw(b"[]")},
            stream=True,
            output_cap=9,
            request_id="g",
            mode=mode,
        )
        made = form(endpoint(), KINDS["moonshot"].quirks)
        slices, _ = body(call, made, stream=True, messages=Raw(b'["y"]'), extra=b',"a":1')
        decoded = json.loads(b"".join(slices))
        assert (decoded["messages"], decoded["a"], decoded["tools"]) == (["y"], 1, [])


def provider(*, zdr: bool, no_training: bool, **more: Any) -> Any:
    call = Call(
        fields={}, stream=True, output_cap=9, request_id="g", zdr=zdr, no_training=no_training
    )
    made = form(endpoint("openrouter", **more), KINDS["openrouter"].quirks)
    decoded = json.loads(b"".join(body(call, made, stream=True)[0]))
    assert decoded["usage"] == {"include": True}
    return decoded.get("provider")


def test_an_aggregator_is_told_which_hosts_it_may_use() -> None:
    assert provider(zdr=False, no_training=False) is None
    assert provider(zdr=True, no_training=False) == {"zdr": True}
    assert provider(zdr=False, no_training=True) == {"data_collection": "deny"}
    told = provider(
        zdr=True, no_training=True, reaches=("moonshotai", "novita"), max_price=("0.95", "4")
    )
    assert told == {
        "only": ["moonshotai", "novita"],
        "allow_fallbacks": True,
        "max_price": {"prompt": "0.95", "completion": "4"},
        "zdr": True,
        "data_collection": "deny",
    }
    one = provider(zdr=False, no_training=False, reaches=("novita",))
    assert one == {"only": ["novita"], "allow_fallbacks": False}


def test_vercel_is_told_in_its_own_words_which_hosts_it_may_use() -> None:
    def told(**more: Any) -> Any:
        flags = {name: more.pop(name, False) for name in ("zdr", "no_training")}
        call = Call(fields={}, stream=True, output_cap=9, request_id="g", **flags)
        made = form(endpoint("vercel", **more), KINDS["vercel"].quirks)
        decoded = json.loads(b"".join(body(call, made, stream=True)[0]))
        assert not decoded.keys() & {"provider", "usage"}
        return decoded["providerOptions"]

    assert told() == {
        "gateway": {"sort": "cost"}
    }  # it has no word for the most that may be charged
    assert told(max_price=("0.95", "4")) == told()
    assert told(zdr=True, no_training=True, reaches=("fireworks",)) == {
        "gateway": {
            "sort": "cost",
            "only": ["fireworks"],
            "zeroDataRetention": True,
            "disallowPromptTraining": True,
        }
    }
    theirs = {"providerOptions": {"gateway": {"zeroDataRetention": False}}}
    hub = endpoint("vercel", extra_fields=frozenset({"providerOptions"}))
    assert sent(hub, theirs)[0]["providerOptions"] == {"gateway": {"sort": "cost"}}


USER = {"role": "user", "content": "Weather?"}
BEGUN = {"role": "assistant", "content": "It is", "partial": True}


def left_out_of(to: Endpoint, call: Call) -> tuple[str, ...]:
    """What the reply names as dropped, from all that writes a request."""
    quirks = KINDS[to.kind].quirks
    history = adapted(call, to.profile, quirks.history)
    _, dropped = body(call, form(to, quirks), stream=True)
    return dropped if history is None else dropped + history.dropped


@pytest.mark.parametrize(
    ("messages", "lost"),
    [
        (b'[{"role":"assistant","partial":true}]', True),
        (b'[{"role": "assistant", "content": "%b", "partial" : true }]' % (b"x" * 20_000), True),
        (b'[{"role":"assistant","partial":true},{"role":"user"}]', False),
        (b'[{"role":"user","content":"x","partial":true}]', False),
        (b'[{"partial":true}]', False),
        (b'[{"role":"assistant","partial":false}]', False),
        (b'[{"role":"assistant","content":"\\"partial\\":true"}]', False),
        (b'[{"role":"assistant","partial":true},7]', False),
        (b'{"role":"assistant","partial":true}', False),
        (b'[{"role":"assistant","partial":true', False),
        (b"[]", False),
    ],
    ids=range(11),
)
@pytest.mark.parametrize("kind", ADAPTERS)
def test_that_an_answer_is_to_be_continued_is_a_parameter(
    kind: str, messages: bytes, *, lost: bool
) -> None:
    to = endpoint(kind)
    fields = {"messages": Raw(messages), "made_up": Raw(b"1")}
    told = unsupported(to, fields, UNASKED)
    call = Call(fields=fields, stream=True, output_cap=9, request_id="g")
    assert told == left_out_of(to, call)
    unknown = kind not in {"moonshot", "moonshot_cn", "openrouter", "vllm"}
    assert ("messages.partial" in told) is (lost and unknown)
    assert "made_up" in told


FIELDS = st.sampled_from(
    sorted(
        WRITTEN
        | GATEWAY_ONLY
        | MODE_FIELDS
        | REFUSED.keys()
        | {
            name
            for kind in KINDS.values()
            for name in kind.quirks.forwarded | kind.quirks.fixed.keys()
        }
        | {"anything", "separate_reasoning"}
    )
)
VALUES = st.sampled_from(
    [
        *(None, 0, 1, 0.6, 0.95, "auto", "required", "x" * 40),
        *(NAMED, TOOLS, {"keep": "all"}, {"thinking": True}, {"a": 1}, {}),
        *(["a"] * 9, []),
    ]
)


@given(
    fields=st.dictionaries(FIELDS, VALUES, max_size=6),
    messages=st.sampled_from([None, [USER], [USER, BEGUN], [BEGUN, USER]]),
    kind=st.sampled_from(ADAPTERS),
    model=st.sampled_from([*PROFILES, "other/model"]),
    mode=st.builds(
        Mode,
        st.sampled_from([None, True, False]),
        st.sampled_from([None, *EFFORTS]),
        st.sampled_from([None, 100]),
    ),
    zdr=st.booleans(),
    extra=st.frozensets(FIELDS, max_size=3),
)
def test_what_is_said_beforehand_is_what_the_body_leaves_out(
    *,
    fields: dict[str, Any],
    messages: list[Any] | None,
    kind: str,
    model: str,
    mode: Mode,
    zdr: bool,
    extra: frozenset[str],
) -> None:
    to = endpoint(kind, model, extra_fields=extra)
    fields = fields if messages is None else {**fields, "messages": messages}
    raw = {name: Raw(msgspec.json.encode(value)) for name, value in fields.items()}
    call = Call(fields=raw, stream=True, output_cap=9, request_id="g", mode=mode, zdr=zdr)
    slices, _ = body(call, form(to, KINDS[kind].quirks), stream=True)
    dropped = left_out_of(to, call)
    assert unsupported(to, raw, mode, zdr=zdr) == dropped
    assert len(set(dropped)) == len(dropped)
    members = json.loads(b"".join(slices), object_pairs_hook=list)
    names = [name for name, _ in members]
    assert len(set(names)) == len(names), "a member is there twice"
    decoded = json.loads(b"".join(slices))
    # Told as left out is left out; and what arrives changed is a switch's or a choice of tool.
    assert not set(dropped) & (decoded.keys() - MODE_FIELDS - {"chat_template_kwargs"})
    ours = WRITTEN | MODE_FIELDS | {"chat_template_kwargs", "tool_choice", "provider", "usage"}
    ours |= {"providerOptions"}
    for name in decoded.keys() - ours:
        assert decoded[name] == fields[name]
    if zdr or kind == "vllm":
        assert decoded.keys() - ours <= KINDS[kind].quirks.forwarded
