"""How much work a JSON schema can make of a value: known before the work is begun.

A schema comes from a caller and the value from a model, and a small schema can ask for more steps than
there is time: `$defs` that refer twice to the next one, thirty in a row, or a thousand branches of
`anyOf` for each of ten thousand items. Validators have no time limit, so the steps are bounded here.
"""

from collections.abc import Mapping
from typing import Any

_MAX_STEPS = 20_000  # of this search itself
_BYTES_PER_STEP = 64  # of text, for patterns

# Keywords under which a schema applies to what is inside a value; under all others, to the value itself.
_INSIDE = frozenset(
    {"properties", "patternProperties", "additionalProperties", "items", "prefixItems", "contains"}
    | {"additionalItems", "propertyNames", "unevaluatedItems", "unevaluatedProperties"}
)
_ASIDE = frozenset({"$defs", "definitions", "description", "title", "default", "examples"})
# These look at all beside them once more to know what it saw, and so does each of them within: a schema of
# eighteen, each in the `anyOf` of the next, took twelve seconds (jsonschema-rs, measured 2026-11-22).
_UNEVALUATED = frozenset({"unevaluatedItems", "unevaluatedProperties"})
_LOOKED_AT_AGAIN = 4  # times; at most 3.4 were measured
_ELSEWHERE = frozenset({"$dynamicRef", "$recursiveRef", "$id", "id"})


class _Endless(Exception):
    """There is no bound, or none that could be found in reasonable time."""


def size_of(value: Any) -> tuple[int, int]:
    """How many values are in a JSON value, itself included, and how deep they lie.

    Text counts as several, by its length.
    """
    count = depth = 0
    level: list[Any] = [value]
    while level:
        count += len(level)
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
            elif isinstance(one, str):
                count += len(one) // _BYTES_PER_STEP
        depth += 1
        level = inner
    return count, depth


def steps_per_value(schema: Any, depth: int) -> int | None:
    """The most schemas that a validator may try on any one value of a document.

    Args:
        schema: JSON Schema.
        depth: how deep the document is.

    Returns:
        None where that has no bound that can be told.
    """
    try:
        return _Search(schema).cost(schema, depth)
    except _Endless:
        return None


class _Search:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._known: dict[tuple[int, int], int | None] = {}  # None: being looked at
        self._steps = 0

    def cost(self, node: Any, depth: int) -> int:
        if depth < 0 or not isinstance(node, (dict, list)):
            return 1
        key = id(node), depth
        if key in self._known:
            known = self._known[key]
            if known is None:  # refers to itself without going further into the value
                raise _Endless
            return known
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise _Endless
        self._known[key] = None
        if isinstance(node, dict):
            found = self._members(node, depth)
        else:
            found = sum([self.cost(one, depth) for one in node])
        found += 1
        self._known[key] = found
        return found

    def _members(self, node: Mapping[str, Any], depth: int) -> int:
        total = 0
        for name, value in node.items():
            if name in _ASIDE:
                continue
            if name in _ELSEWHERE and isinstance(value, str):
                raise _Endless
            if name == "$ref" and isinstance(value, str):
                total += self.cost(self._target(value), depth)
            else:
                total += self.cost(value, depth - 1 if name in _INSIDE else depth)
        return total if _UNEVALUATED.isdisjoint(node) else total * _LOOKED_AT_AGAIN

    def _target(self, reference: str) -> Any:
        """What a reference within the document points to."""
        node = self._root
        if reference == "#":
            return node
        if not reference.startswith("#/"):
            raise _Endless
        for step in reference[2:].split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict) and name in node:
                node = node[name]
            elif isinstance(node, list) and name.isdecimal() and int(name) < len(node):
                node = node[int(name)]
            else:
                raise _Endless
        return node
