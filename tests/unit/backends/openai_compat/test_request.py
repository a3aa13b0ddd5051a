"""A call becomes a body with the caller's fields as they came, or as the endpoint's row says."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from backends import KINDS, MODE_FIELDS, Call, Endpoint, Secret
from backends.kinds.moonshot import QUIRKS as MOONSHOT
from backends.kinds.novita import QUIRKS as NOVITA
from backends.kinds.openai_compat import QUIRKS as OPENAI_COMPAT
from backends.kinds.openrouter import QUIRKS as OPENROUTER
from backends.kinds.vercel import QUIRKS as VERCEL
from backends.kinds.vllm import QUIRKS as VLLM
from backends.openai_compat import CacheSalts, Quirks
from backends.openai_compat.quirks import GATEWAY_ONLY, WRITTEN
from backends.openai_compat.request import body, form, headers

ROWS = {
    "moonshot": MOONSHOT,
    "novita": NOVITA,
    "openai_compat": OPENAI_COMPAT,
    "openrouter": OPENROUTER,
    "vercel": VERCEL,
    "vllm": VLLM,
}
# Members that the adapter writes on its own account.
OWN = {"openrouter": {"usage"}, "vercel": {"providerOptions"}, "vllm": {"cache_salt"}}
EVERYWHERE = {
    *("messages", "tools", "tool_choice", "parallel_tool_calls", "response_format", "stop"),
    *("prompt_cache_key", "logprobs", "top_logprobs"),
}
FREE_SAMPLING = {"temperature", "top_p", "presence_penalty", "frequency_penalty", "seed"}
FATES = [  # field, the rows that forward it; all others drop it
    *((field, set(ROWS)) for field in sorted(EVERYWHERE)),
    *(
        (field, {"novita", "openai_compat", "openrouter", "vercel", "vllm"})
        for field in sorted(FREE_SAMPLING | {"logit_bias"})
    ),
    ("n", {"novita", "openai_compat", "vllm"}),
    *(
        (field, {"novita", "openrouter", "vllm"})
        for field in ("top_k", "min_p", "repetition_penalty")
    ),
    *((field, {"openrouter"}) for field in ("top_a", "structured_outputs", "verbosity")),
    *((field, {"moonshot"}) for field in ("safety_identifier", "prompt_cache_options")),
    *((field, set[str]()) for field in ("service_tier", "plugins", "anything", "é", '"')),
]


def endpoint(**more: Any) -> Endpoint:
    return Endpoint(
        **({"id": "e", "provider": "p", "kind": "k", "base_url": "u", "model": "m"} | more)
    )


def call(fields: dict[str, Any] | bytes | bytearray) -> Call:
    raw = msgspec.json.encode(fields) if isinstance(fields, dict) else fields
    decoded = msgspec.json.decode(raw, type=dict[str, Raw])
    return Call(fields=decoded, stream=True, output_cap=77, request_id="gen-1")


def sent(
    fields: dict[str, Any] | bytes,
    row: Quirks = OPENAI_COMPAT,
    *,
    stream: bool = False,
    to: Endpoint | None = None,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    slices, dropped = body(call(fields), form(to or endpoint(), row), stream=stream)
    decoded = msgspec.json.decode(b"".join(slices))
    assert isinstance(decoded, dict)
    members = json.loads(b"".join(slices), object_pairs_hook=list)
    assert len(members) == len(decoded), "a member is there twice"
    return decoded, dropped


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize(("field", "takers"), FATES)
def test_a_field_is_forwarded_or_dropped_as_the_row_says(
    name: str, field: str, takers: set[str]
) -> None:
    decoded, dropped = sent({"messages": [], field: [1, {"a": "é"}]}, ROWS[name])
    assert decoded.get(field) == ([1, {"a": "é"}] if name in takers else None)
    assert dropped == (() if name in takers else (field,))


@pytest.mark.parametrize("name", ROWS)
def test_what_is_the_gateways_business_is_not_sent_and_not_complained_of(name: str) -> None:
    decoded, dropped = sent(dict.fromkeys(GATEWAY_ONLY, "x"), ROWS[name])
    assert decoded.keys() & GATEWAY_ONLY == OWN.get(name, set()) & GATEWAY_ONLY
    assert dropped == ()


def test_the_table_of_fates_covers_every_field_of_every_row() -> None:
    for name, row in ROWS.items():
        forwarded = {field for field, takers in FATES if name in takers}
        assert row.forwarded - {"chat_template_kwargs"} == forwarded
    assert {name: KINDS[name].quirks for name in ROWS} == ROWS


@pytest.mark.parametrize(("name", "row"), ROWS.items())
def test_what_the_adapter_writes_replaces_what_the_caller_wrote(name: str, row: Quirks) -> None:
    theirs = dict.fromkeys(WRITTEN, 999_999)
    to = endpoint(model="kimi", extra_fields=WRITTEN)
    decoded, dropped = sent(theirs, row, stream=True, to=to)
    cap = "max_completion_tokens" if name == "moonshot" else "max_tokens"
    own: dict[str, dict[str, Any]] = {
        "openrouter": {"usage": {"include": True}},
        "vercel": {"providerOptions": {"gateway": {"sort": "cost"}}},
    }
    assert decoded == {
        "model": "kimi",
        "stream": True,
        "stream_options": {"include_usage": True},
        cap: 77,
        **own.get(name, {}),
    }
    assert dropped == ()


def test_a_request_for_a_whole_reply_has_no_stream_options() -> None:
    assert sent({})[0] == {"model": "m", "stream": False, "max_tokens": 77}


def test_the_endpoints_own_list_lets_further_fields_pass() -> None:
    to = endpoint(extra_fields=frozenset({"separate_reasoning"}))
    decoded, dropped = sent({"separate_reasoning": True, "other": 1}, to=to)
    assert decoded["separate_reasoning"] is True
    assert dropped == ("other",)


def test_a_value_is_sent_byte_for_byte() -> None:
    raw = rb'[ {"role":"user", "content":"\u00e9\/ 1.50"},1.10, 1E2 ]'
    slices, _ = body(call(b'{"messages":' + raw + b"}"), form(endpoint(), NOVITA), stream=True)
    assert b',"messages":' + raw in b"".join(slices)


def test_a_models_name_is_quoted() -> None:
    assert sent({}, to=endpoint(model='a"b\\é'))[0]["model"] == 'a"b\\é'


def test_a_small_body_is_one_piece() -> None:
    slices, _ = body(call({"messages": ["x" * 10_000]}), form(endpoint(), VLLM), stream=True)
    assert [type(piece) for piece in slices] == [bytes]


def test_a_large_body_is_not_copied() -> None:
    theirs = bytearray(msgspec.json.encode({"messages": ["x" * 50_000], "seed": 1}))
    slices, _ = body(call(theirs), form(endpoint(), VLLM), stream=True)
    (large,) = [piece for piece in slices if len(piece) > 1000]
    assert isinstance(large, memoryview)
    theirs[theirs.index(b"xxx")] = ord("y")
    assert bytes(large).startswith(b'["yxx')
    assert msgspec.json.decode(b"".join(slices))["messages"] == ["y" + "x" * 49_999]


def test_the_pieces_of_a_large_body_are_one_document() -> None:
    fields = {"messages": ["é" * 20_000], "tools": [{"a": "b" * 20_000}], "x": 1}
    decoded, dropped = sent(fields, stream=True)
    assert decoded["messages"] == fields["messages"]
    assert decoded["tools"] == fields["tools"]
    assert dropped == ("x",)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
NAMES = st.sampled_from(
    sorted(WRITTEN | GATEWAY_ONLY | MODE_FIELDS | {field for field, _ in FATES})
)


@given(
    st.dictionaries(NAMES | st.text(max_size=4), VALUES, max_size=8),
    st.sampled_from(sorted(ROWS)),
    st.frozensets(NAMES, max_size=4),
    st.booleans(),
)
def test_every_body_is_json_and_every_field_has_one_fate(
    fields: dict[str, Any],
    name: str,
    extra: frozenset[str],
    stream: bool,  # noqa: FBT001 - hypothesis passes by position
) -> None:
    to = endpoint(extra_fields=extra)
    decoded, dropped = sent(fields, ROWS[name], stream=stream, to=to)
    written = decoded.keys() & WRITTEN
    forwarded = decoded.keys() - WRITTEN - OWN.get(name, set()) - MODE_FIELDS
    assert {"model", "stream", ROWS[name].cap_field} <= written
    silent = WRITTEN | GATEWAY_ONLY | MODE_FIELDS | ROWS[name].fixed.keys()
    silent |= {field for field, value in fields.items() if value is None}
    assert forwarded | set(dropped) | silent >= fields.keys()
    assert not forwarded & set(dropped)
    assert {field: fields[field] for field in forwarded} == {
        field: decoded[field] for field in forwarded
    }


# Documents as callers write them: any spacing, any escapes, keys that come twice, numbers that no
# machine holds. The text of each value is kept, as that is what has to arrive.
SPACE = st.sampled_from(["", " ", "\n", "\t ", "\r\n"])
PLAIN = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\')
ESCAPES = st.sampled_from([r"\"", r"\\", r"\/", r"\n", r"\u0041", r"\u00e9", r"\ud83c\udf0a"])
STRINGS = st.lists(PLAIN | ESCAPES, max_size=6).map(lambda parts: '"' + "".join(parts) + '"')
NUMBERS = st.sampled_from(["0", "-0.0", "1e999", "-1.5E-400", "9" * 60, "0.1000", "1E+2"])
TEXTS = st.recursive(
    STRINGS | NUMBERS | st.sampled_from(["true", "false", "null", "{}", "[]"]),
    lambda inner: (
        st.tuples(SPACE, st.lists(inner, max_size=3), SPACE).map(
            lambda made: f"[{made[0]}{(',' + made[2]).join(made[1])}{made[2]}]"
        )
        | st.lists(st.tuples(STRINGS, SPACE, inner), max_size=3).map(
            lambda members: "{" + ",".join(f"{k}{s}:{s}{v}" for k, s, v in members) + "}"
        )
    ),
    max_leaves=8,
)
KEYS = NAMES.map(json.dumps) | NAMES.map(
    lambda name: '"' + "".join(f"\\u{ord(letter):04x}" for letter in name) + '"'
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """The text of a JSON object."""
    space = draw(SPACE)
    members = draw(st.lists(st.tuples(KEYS | STRINGS, SPACE, TEXTS), max_size=8))
    return "{" + ("," + space).join(f"{k}{s}:{s}{v}" for k, s, v in members) + space + "}"


@settings(max_examples=150)
@given(documents(), st.sampled_from(sorted(ROWS)), st.frozensets(NAMES, max_size=3), st.booleans())
@example('{"model":"a","m\\u006fdel":"b","stream":1,"cache_salt":"x"}', "vllm", frozenset(), True)
@example('{"messages":[1],"messages":[2]}', "vllm", frozenset(), False)
@example('{"messages":"' + "x" * 20_000 + '"}', "novita", frozenset(), True)
@example('{"messages":' + "[" * 500 + "]" * 500 + "}", "moonshot", frozenset({"a"}), True)
def test_any_object_is_spliced_into_one_valid_body_with_its_values_untouched(
    document: str,
    name: str,
    extra: frozenset[str],
    stream: bool,  # noqa: FBT001 - hypothesis passes by position
) -> None:
    theirs = call(bytearray(document.encode()))
    row, to = ROWS[name], endpoint(extra_fields=extra)
    slices, dropped = body(theirs, form(to, row, CacheSalts(bytes(32))), stream=stream)
    made = b"".join(slices)
    members = json.loads(made, object_pairs_hook=list, parse_float=str, parse_int=str)
    names = [member for member, _ in members]
    assert len(set(names)) == len(names), "a member is there twice"
    ours: dict[str, Any] = {"model": "m", "stream": stream, row.cap_field: "77"}
    if stream:
        ours["stream_options"] = [("include_usage", True)]
    assert {member: value for member, value in members if member in ours} == ours
    own = OWN.get(name, set())
    forwarded = set(names) - ours.keys() - own
    taken = row.forwarded | (extra if row.takes_extra else set())
    stopped = set(dropped) & {"stop"}
    silent = WRITTEN | MODE_FIELDS | row.fixed.keys() | own
    silent |= {"store"} | ({"provider"} if row.aggregator else set())
    assert forwarded == (theirs.fields.keys() & taken) - silent - stopped
    raw = msgspec.json.decode(made, type=dict[str, Raw])
    for field in forwarded:
        assert bytes(raw[field]) == bytes(theirs.fields[field])
    nulls = {field for field, value in theirs.fields.items() if bytes(value) == b"null"}
    quiet = forwarded | WRITTEN | MODE_FIELDS | GATEWAY_ONLY | nulls | row.fixed.keys() | own
    assert set(dropped) - row.fixed.keys() == theirs.fields.keys() - quiet


def test_the_key_goes_into_the_header_and_nowhere_else() -> None:
    to = endpoint(api_key=Secret("sk-secret"))
    assert b"Authorization: Bearer sk-secret\r\n" in headers(to)
    slices, _ = body(call({"messages": []}), form(to, OPENAI_COMPAT), stream=True)
    assert b"sk-secret" not in b"".join(slices)
    assert b"Authorization" not in headers(endpoint())


def test_headers_are_lines_without_the_empty_one() -> None:
    lines = headers(endpoint(api_key=Secret("k"))).split(b"\r\n")
    assert lines.pop() == b""
    assert all(b": " in line for line in lines)
    assert b"Content-Type: application/json" in lines
    assert b"Accept-Encoding: identity" in lines
