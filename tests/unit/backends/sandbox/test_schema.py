"""Tool arguments of the sandbox satisfy the schema that they are made from."""

from typing import Any

import pytest

from backends.sandbox.schema import example


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "example"),
        ({"type": "string", "minLength": 9}, "examplexx"),
        ({"type": "string", "maxLength": 2}, "ex"),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"type": "integer"}, 1),
        ({"type": "number"}, 1),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "minimum": 7, "multipleOf": 5}, 10),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"]}, 1),
        ({"enum": ["celsius", "fahrenheit"], "type": "string"}, "celsius"),
        ({"const": 42}, 42),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 1),
        ({"allOf": [{"properties": {"a": {"type": "integer"}}}, {"required": ["a"]}]}, {"a": 1}),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        (
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]},
            [1, "example"],
        ),
        ({"type": "object"}, {}),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}, 1),
    ],
)
def test_an_example_fits_its_schema(schema: dict[str, Any], value: object) -> None:
    assert example(schema) == value


def test_an_object_gets_what_is_required_and_no_more() -> None:
    properties = {"city": {"type": "string"}, "days": {"type": "integer"}, "x": {"type": "string"}}
    schema = {"type": "object", "properties": properties, "required": ["city", "days"]}
    assert example(schema) == {"city": "Paris", "days": 1}


def test_an_object_without_required_fields_gets_them_all() -> None:
    schema = {"type": "object", "properties": {"location": {"type": "string"}}}
    assert example(schema) == {"location": "Paris"}


def test_a_schema_that_contains_itself_comes_to_an_end() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#"}, "n": {"type": "integer"}}}
    assert example(node)["next"]["next"]["next"] == {"next": {}, "n": 1}
    demanding = {**node, "required": ["next"]}
    assert isinstance(example(demanding), dict)
