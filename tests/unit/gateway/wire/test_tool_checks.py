"""Tool calls are held against the tools that the request offers, and against nothing else."""

import json
from contextlib import suppress
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway.wire.tool_checks import ToolCall, ToolChecker, ToolFault, put_together

_WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "array", "items": {"type": "integer", "minimum": 1}},
    },
    "required": ["city"],
    "additionalProperties": False,
}


def _tools(parameters: Any = None, **members: Any) -> Raw:
    function = {"name": "get_weather", **members}
    if parameters is not None:
        function["parameters"] = parameters
    return Raw(json.dumps([{"type": "function", "function": function}]).encode())


def _call(arguments: str, name: str = "get_weather") -> ToolCall:
    return ToolCall(0, 0, name, arguments)


def _fault(tools: Raw, arguments: str, name: str = "get_weather") -> tuple[ToolFault, str] | None:
    found = ToolChecker().findings(tools, [_call(arguments, name)])
    return (found[0].fault, found[0].where) if found else None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"city": "Paris"}', None),
        ('{"city": "Paris", "days": [1, 2]}', None),
        ('{"city": 1}', (ToolFault.SCHEMA_MISMATCH, "/city")),
        ("{}", (ToolFault.SCHEMA_MISMATCH, "")),
        ("", (ToolFault.SCHEMA_MISMATCH, "")),
        ('{"city": "Paris", "days": [1, 0]}', (ToolFault.SCHEMA_MISMATCH, "/days/1")),
        ('{"city": "Paris", "more": 1}', (ToolFault.SCHEMA_MISMATCH, "")),
        ('{"city": "Par', (ToolFault.INVALID_JSON, "")),
        ('"Paris"', (ToolFault.INVALID_JSON, "")),
        ('{"city": "Paris"} {"city": "Rome"}', (ToolFault.INVALID_JSON, "")),
    ],
)
def test_arguments_are_held_against_the_schema(
    arguments: str, expected: tuple[ToolFault, str] | None
) -> None:
    assert _fault(_tools(_WEATHER), arguments) == expected


def test_a_tool_that_was_not_offered_is_unknown() -> None:
    assert _fault(_tools(_WEATHER), "{}", "get_wether") == (ToolFault.UNKNOWN_TOOL, "")


def test_a_call_without_arguments_fits_a_tool_without_parameters() -> None:
    assert _fault(_tools(), "") is None
    assert _fault(_tools({}), "") is None
    assert _fault(_tools(_WEATHER | {"required": []}), "") is None


def test_a_finding_says_whether_the_caller_asked_for_strictness() -> None:
    found = ToolChecker().findings(_tools(_WEATHER, strict=True), [_call("{}")])
    assert [finding.strict for finding in found] == [True]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strnig"},
        {"$ref": "#/nowhere"},
        {"$schema": "http://schemas.invalid/x", "type": "string"},
        {"properties": {"city": {"pattern": "^(?=x)x"}}},
        [1],
        "text",
    ],
)
def test_a_schema_at_fault_checks_nothing(schema: Any) -> None:
    assert _fault(_tools(schema), '{"city": 1}') is None


@pytest.mark.parametrize(
    "reference", ["http://127.0.0.1:9/schema.json", "file:///etc/passwd", "other.json"]
)
def test_what_a_schema_refers_to_elsewhere_is_never_fetched(reference: str) -> None:
    # Sockets are off in these tests: one that was opened would raise.
    schema = {"properties": {"city": {"$ref": reference}}}
    assert _fault(_tools(schema), '{"city": 1}') is None


def _doubling(levels: int) -> dict[str, Any]:
    definitions: dict[str, Any] = {
        f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)
    }
    return {"$defs": definitions | {f"d{levels}": {"type": "object"}}, "$ref": "#/$defs/d0"}


def _unevaluated(levels: int, keyword: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"properties": {"city": {}}}
    for _ in range(levels):
        schema = {keyword: [schema], "unevaluatedProperties": False}
    return schema


_MANY_BRANCHES = {
    "properties": {"city": {"items": {"anyOf": [{"const": n} for n in range(1, 5000)] + [{}]}}}
}
_BOTH = {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        (_doubling(60), {"city": "Paris"}),
        (_MANY_BRANCHES, {"city": [0] * 10_000}),
        ({"properties": {"city": {"anyOf": [{"const": n} for n in range(40_000)]}}}, {"city": -1}),
        (_unevaluated(18, "anyOf"), {"city": "Paris"}),
        (_unevaluated(18, "allOf"), {"city": "Paris"}),
        ({"properties": {"a": _BOTH}}, None),
        ({"allOf": [{"$ref": "#"}]}, {"city": 1}),
        ({"properties": {"city": {"pattern": "(a{1,100}){1,100}"}}}, {"city": "a" * 4_000_000}),
        ({"properties": {"city": {"pattern": "^(a|a)*$"}}}, {"city": "a" * 4_000_000 + "b"}),
    ],
)
def test_no_schema_can_hold_the_gateway_up(schema: Any, arguments: Any) -> None:
    if arguments is None:
        arguments = {}
        for _ in range(60):
            arguments = {"a": arguments}
    text = json.dumps(arguments)
    begun = perf_counter()
    found = _fault(_tools(schema), text)
    assert found is None or found[0] is ToolFault.SCHEMA_MISMATCH
    assert perf_counter() - begun < 1.0


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf", "allOf"])
def test_what_a_schema_leaves_unevaluated_is_looked_at_as_long_as_that_is_quick(
    keyword: str,
) -> None:
    schema = _unevaluated(2, keyword)
    assert _fault(_tools(schema), '{"city": "Paris"}') is None
    found = _fault(_tools(schema), '{"town": "Paris"}')
    assert found is not None
    assert found[0] is ToolFault.SCHEMA_MISMATCH


def test_a_mismatch_is_told_where_it_takes_long_to_say_where() -> None:
    schema = {"properties": {"city": {"anyOf": [{"const": n} for n in range(5_000)]}}}
    assert _fault(_tools(schema), '{"city": -1}') == (ToolFault.SCHEMA_MISMATCH, "")


def test_large_ordinary_calls_are_checked_all_the_same() -> None:
    schema = {
        "$defs": {
            "edit": {
                "type": "object",
                "properties": {"old": {"type": "string"}, "new": {"type": "string"}},
                "required": ["old", "new"],
            }
        },
        "type": "object",
        "properties": {"edits": {"type": "array", "items": {"$ref": "#/$defs/edit"}}},
    }
    edits = [{"old": "x" * 300, "new": "y" * 300} for _ in range(200)]
    assert _fault(_tools(schema), json.dumps({"edits": edits})) is None
    edits[-1].pop("new")
    found = _fault(_tools(schema), json.dumps({"edits": edits}))
    assert found == (ToolFault.SCHEMA_MISMATCH, "/edits/199")


def test_a_recursive_schema_checks_trees() -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "children": {"type": "array", "items": {"$ref": "#"}},
        },
        "required": ["name"],
    }
    good: dict[str, Any] = {"name": "leaf"}
    for _ in range(6):
        good = {"name": "node", "children": [good, {"name": "leaf"}]}
    assert _fault(_tools(schema), json.dumps(good)) is None
    good["children"].append({"children": []})
    assert _fault(_tools(schema), json.dumps(good)) == (ToolFault.SCHEMA_MISMATCH, "/children/2")


def test_calls_are_put_together_from_their_deltas() -> None:
    deltas = [
        (0, Raw(b'[{"index":0,"id":"a","function":{"name":"get_weather","arguments":""}}]')),
        (0, Raw(b'[{"index":0,"function":{"arguments":"{\\"city\\":"}}]')),
        (1, Raw(b'[{"index":0,"function":{"name":"other","arguments":"{}"}}]')),
        (0, Raw(b'[{"index":1,"function":{"name":"get_time"}}]')),
        (0, Raw(b'[{"index":0,"function":{"arguments":"\\"Paris\\"}"}}]')),
    ]
    assert put_together(deltas) == [
        ToolCall(0, 0, "get_weather", '{"city":"Paris"}'),
        ToolCall(1, 0, "other", "{}"),
        ToolCall(0, 1, "get_time", ""),
    ]


@pytest.mark.parametrize(
    "delta", [b'"text"', b'[{"index":"x"}]', b'[{"function":{"arguments":1}}]']
)
def test_calls_in_no_known_form_are_told(delta: bytes) -> None:
    with pytest.raises(ValueError, match="in no known form"):
        put_together([(0, Raw(delta))])


def test_calls_of_a_whole_answer_need_no_index() -> None:
    whole = Raw(b'[{"id":"a","function":{"name":"f","arguments":"{}"}},{"function":{"name":"g"}}]')
    assert put_together([(0, whole)]) == [ToolCall(0, 0, "f", "{}"), ToolCall(0, 1, "g", "")]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@given(schema=_JSON, arguments=st.text(max_size=40) | _JSON.map(json.dumps))
def test_nothing_that_strangers_write_raises(schema: Any, arguments: str) -> None:
    ToolChecker().findings(_tools(schema), [_call(arguments)])
    ToolChecker().findings(Raw(json.dumps(schema).encode()), [_call(arguments)])
    with suppress(ValueError):
        put_together([(0, Raw(json.dumps(schema).encode()))])
