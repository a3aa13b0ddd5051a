"""Whether a model's tool calls are what the request allows: known names, readable arguments that fit.

The check is this gateway's own work on bytes that strangers wrote: the schema is the caller's, the
arguments are a model's. So nothing is fetched that a schema refers to, patterns run in time that grows
with the text and no faster, and what is too large to look at is left alone.

A schema that is itself at fault checks nothing: whether it is fit for the provider is for the provider
to say.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import jsonschema_rs
import msgspec
from msgspec import Raw, Struct

from gateway.wire.schema_cost import size_of, steps_per_value
from gateway.wire.web_search import BUILTIN

MAX_SCHEMA = 262_144  # bytes of one tool's schema
MAX_ARGUMENTS = 4_194_304  # bytes of one call's arguments
MAX_STEPS = 200_000  # schemas tried on values; measured 2026-11-22: below half a microsecond each
# The same where a mismatch is to be found in a schema of branches: each that was tried is explained, at 40
# microseconds or more (10,000 of `anyOf`, measured 2026-11-22).
MAX_EXPLAINED = 4_000
_BRANCHES = (b'"anyOf"', b'"oneOf"')
_REMEMBERED = 256  # schemas: agents send the same tools with each request
_MAX_PATH = 200
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1 << 20)

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class ToolFault(StrEnum):
    """What can be wrong with a tool call."""

    INVALID_JSON = "invalid_json"  # its arguments are not a JSON object
    UNKNOWN_TOOL = "unknown_tool"  # no tool of that name was offered
    SCHEMA_MISMATCH = "schema_mismatch"  # its arguments do not fit the tool's schema


class ToolFinding(Struct, frozen=True):
    """One fault of one call.

    `where` is a JSON pointer into the arguments, empty where it is all of them or takes long to tell; never
    a value of theirs.
    """

    choice: int
    index: int
    name: str
    fault: ToolFault
    where: str = ""
    strict: bool = False  # whether the caller had asked for strict conformity to the schema


class ToolCall(Struct, frozen=True):
    """One call, put together."""

    choice: int
    index: int
    name: str
    arguments: str


class _Function(Struct):
    name: str | None = None
    parameters: Raw = Raw(b"")
    strict: bool | None = None


class _Tool(Struct):
    type: str | None = None
    function: _Function | None = None


_RUN_THERE = _Function()  # a function that its provider runs, and whose arguments are its own


class _CalledFunction(Struct):
    name: str | None = None
    arguments: str | None = None


class _Delta(Struct):
    index: int | None = None
    function: _CalledFunction | None = None


_decode_tools = msgspec.json.Decoder(list[_Tool] | None).decode
_decode_deltas = msgspec.json.Decoder(list[_Delta]).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def put_together(deltas: Iterable[tuple[int, Raw]]) -> list[ToolCall]:
    """The calls that were made.

    Args:
        deltas: index of the choice, and the JSON of a `tool_calls` delta; or of a whole list.

    Raises:
        ValueError: one is in no known form.
    """
    names: dict[tuple[int, int], str] = {}
    arguments: dict[tuple[int, int], list[str]] = {}
    for choice, raw in deltas:
        try:
            parts = _decode_deltas(raw)
        except UNREADABLE as error:
            raise ValueError(f"a tool call in no known form: {error}") from None
        for position, part in enumerate(parts):
            key = choice, position if part.index is None else part.index
            pieces = arguments.setdefault(key, [])
            if part.function is not None:
                names[key] = names.get(key) or part.function.name or ""
                if part.function.arguments:
                    pieces.append(part.function.arguments)
    return [
        ToolCall(choice, index, names.get((choice, index), ""), "".join(pieces))
        for (choice, index), pieces in arguments.items()
    ]


class ToolChecker:
    """Checks calls against the tools of their requests. Keeps compiled schemas from request to request."""

    def __init__(self) -> None:
        self._schemas: dict[bytes, _Schema | None] = {}

    def findings(self, tools: Raw | None, calls: Iterable[ToolCall]) -> list[ToolFinding]:
        """The first fault of each call that has one.

        Args:
            tools: the request's field of that name, if it has one.
            calls: what the model called.
        """
        offered: dict[str, _Function] | None = None
        found = []
        for call in calls:
            if offered is None:
                offered = {} if tools is None else _offered(tools)
            finding = self._finding(offered, call)
            if finding is not None:
                found.append(finding)
        return found

    def _finding(self, offered: dict[str, _Function], call: ToolCall) -> ToolFinding | None:
        function = offered.get(call.name)
        if function is _RUN_THERE:
            return None
        strict = function is not None and bool(function.strict)

        def fault(which: ToolFault, where: str = "") -> ToolFinding:
            return ToolFinding(call.choice, call.index, call.name, which, where, strict)

        if len(call.arguments) > MAX_ARGUMENTS:
            return None
        try:
            # A function without parameters is called with "" as often as with "{}".
            arguments = _decode_object(call.arguments) if call.arguments else {}
        except UNREADABLE:
            return fault(ToolFault.INVALID_JSON)
        if function is None:
            return fault(ToolFault.UNKNOWN_TOOL)
        schema = self._schema(function.parameters)
        steps = None if schema is None else schema.steps(arguments)
        if schema is None or steps is None or steps > MAX_STEPS:
            return None
        try:
            if schema.validator.is_valid(arguments):
                return None
            if schema.branches and steps > MAX_EXPLAINED:
                return fault(ToolFault.SCHEMA_MISMATCH)
            schema.validator.validate(arguments)
        except jsonschema_rs.ValidationError as error:
            return fault(ToolFault.SCHEMA_MISMATCH, _pointer(error.instance_path))
        except ValueError:  # a pattern that gave up
            pass
        return None

    def _schema(self, raw: Raw) -> "_Schema | None":
        """A compiled schema; None if there is none, or none that can be used."""
        key = bytes(raw)
        if not key or key == b"null" or len(key) > MAX_SCHEMA:
            return None
        if key in self._schemas:
            return self._schemas[key]
        try:
            schema = _Schema(key)
        except (*UNREADABLE, ValueError, jsonschema_rs.ReferencingError):
            schema = None
        if len(self._schemas) >= _REMEMBERED:
            self._schemas.clear()
        self._schemas[key] = schema
        return schema


class _Schema:
    """One schema, and how much it makes of values of each depth."""

    __slots__ = ("_parsed", "_steps", "branches", "validator")

    def __init__(self, raw: bytes) -> None:
        self._parsed = msgspec.json.decode(raw)
        self._steps: dict[int, int | None] = {}
        plain = msgspec.json.encode(self._parsed)  # keys may have been escaped
        self.branches = any(word in plain for word in _BRANCHES)
        self.validator = jsonschema_rs.validator_for(
            self._parsed, offline=True, pattern_options=_PATTERNS, validate_formats=False
        )

    def steps(self, arguments: dict[str, Any]) -> int | None:
        """The most schemas that may be tried to validate them; None: nobody can tell."""
        count, depth = size_of(arguments)
        if depth not in self._steps:
            self._steps[depth] = steps_per_value(self._parsed, depth)
        each = self._steps[depth]
        return None if each is None else each * count


def _offered(tools: Raw) -> dict[str, _Function]:
    try:
        listed = _decode_tools(tools)
    except UNREADABLE:
        return {}
    return {
        tool.function.name: _RUN_THERE if tool.type == BUILTIN else tool.function
        for tool in listed or ()
        if tool.function is not None and tool.function.name
    }


def _pointer(path: Iterable[str | int]) -> str:
    """A JSON pointer (RFC 6901). Its keys may be the model's own words: no longer than need be."""
    steps = [str(step).replace("~", "~0").replace("/", "~1") for step in path]
    return "".join("/" + step for step in steps)[:_MAX_PATH]
