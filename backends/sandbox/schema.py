"""A value that fits a JSON Schema: what the sandbox fills tool arguments and JSON answers with.

Covers what tool definitions use in practice: const, enum, local $ref, anyOf, oneOf, allOf, objects,
arrays, strings with length or a common format, numbers with bounds. `pattern` is not honoured.
"""

from collections.abc import Mapping
from typing import Any

_MAX_DEPTH = 24
_OPTIONAL_DEPTH = 4
_PLACES = frozenset({"city", "location", "place", "town", "destination"})
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example(schema: object) -> Any:
    """A JSON value that satisfies `schema`: "Paris" or "example", 1, the first of an enum."""
    return _value(schema, schema, "", 0)


def _value(schema: object, root: object, name: str, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return "example" if schema is True else None
    schema = _resolve(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = _kind(schema)
    if kind == "object":
        return _object(schema, root, depth)
    if kind == "array":
        return _array(schema, root, name, depth)
    if kind == "string":
        return _string(schema, name)
    if kind in {"integer", "number"}:
        return _number(schema, whole=kind == "integer")
    return None if kind == "null" else True


def _resolve(schema: Mapping[str, Any], root: object) -> Mapping[str, Any]:
    """`schema` with references and combinations replaced by one branch that can be met."""
    for _ in range(_MAX_DEPTH):
        if isinstance(schema.get("$ref"), str):
            target = root
            for step in schema["$ref"].removeprefix("#").strip("/").split("/"):
                if step:
                    target = target.get(step) if isinstance(target, dict) else None
            schema = target if isinstance(target, dict) else {}
            continue
        branches = schema.get("anyOf") or schema.get("oneOf")
        if branches:
            real = [b for b in branches if isinstance(b, dict) and b.get("type") != "null"]
            rest = {key: schema[key] for key in schema if key not in {"anyOf", "oneOf"}}
            schema = _merge(rest, real[0]) if real else {"type": "null"}
            continue
        if schema.get("allOf"):
            merged: Mapping[str, Any] = {key: schema[key] for key in schema if key != "allOf"}
            for branch in schema["allOf"]:
                merged = _merge(merged, _resolve(branch, root) if isinstance(branch, dict) else {})
            schema = merged
            continue
        break
    return schema


def _merge(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**one, **other}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        merged["required"] = [*one["required"], *other["required"]]
    return merged


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema or "required" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    return "string"


def _object(schema: Mapping[str, Any], root: object, depth: int) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    names = list(schema.get("required") or ())
    if not names and depth < _OPTIONAL_DEPTH:  # deeper, a recursive schema would go round
        names = list(properties)
    return {name: _value(properties.get(name, True), root, name, depth + 1) for name in names}


def _array(schema: Mapping[str, Any], root: object, name: str, depth: int) -> list[Any]:
    fixed = [_value(one, root, name, depth + 1) for one in schema.get("prefixItems") or ()]
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    wanted = max(least, 1 if depth < _OPTIONAL_DEPTH and not fixed else 0)
    if most is not None:
        wanted = min(wanted, most)
    items = schema.get("items", True)
    return fixed + [_value(items, root, name, depth + 1) for _ in range(wanted - len(fixed))]


def _string(schema: Mapping[str, Any], name: str) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    text = "Paris" if name.lower() in _PLACES else "example"
    return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]


def _number(schema: Mapping[str, Any], *, whole: bool) -> float:
    step = schema.get("multipleOf") or 1
    value: float = step
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and value < low:
        value = -(-low // step) * step
    if above is not None and value <= above:
        value = (above // step + 1) * step
    if high is not None and value > high:
        value = high // step * step
    if below is not None and value >= below:
        value = (-(-below // step) - 1) * step
    return int(value) if whole else value
