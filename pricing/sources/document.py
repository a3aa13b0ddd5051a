"""YAML and JSON with the line of every value, for messages that say where a fault is.

JSON is read as YAML, of which it is a part; nothing is converted: a price stays the text it was.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

import yaml
from msgspec import Struct

Kind = Literal["text", "number", "date", "boolean", "null", "list", "mapping", "other"]

# The loader in C reads the packaged file in a tenth of the time; it may be missing from a build.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST = 64
_LARGEST = 16 * 1024 * 1024
_TAGS: Mapping[str, Kind] = {
    "tag:yaml.org,2002:str": "text",
    "tag:yaml.org,2002:int": "number",
    "tag:yaml.org,2002:float": "number",
    "tag:yaml.org,2002:timestamp": "date",
    "tag:yaml.org,2002:bool": "boolean",
    "tag:yaml.org,2002:null": "null",
}
_MERGE = "tag:yaml.org,2002:merge"


class Node(Struct, frozen=True, kw_only=True):
    """A value of a document; `text` is a scalar's as it is written, `line` counts from 1.

    `repeated` are names that a mapping has more than once, with the line of the later one.
    """

    line: int
    kind: Kind
    text: str = ""
    items: "tuple[Node, ...]" = ()
    fields: "Mapping[str, Node]" = {}
    repeated: tuple[tuple[str, int], ...] = ()


class NotADocument(ValueError):
    """A text that is neither YAML nor JSON; `line` is where that shows."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.line = line


def document(data: bytes, *, is_json: bool = False) -> Node:
    """The tree of a document; of an empty one, a node of kind null.

    Args:
        data: UTF-8 text.
        is_json: whether what only YAML allows is a fault.

    Raises:
        NotADocument: it cannot be read; the message says what is wrong with it.
    """
    if len(data) > _LARGEST:
        raise NotADocument(f"is larger than {_LARGEST:,} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotADocument("is not UTF-8 text", data.count(b"\n", 0, error.start) + 1) from None
    try:
        if is_json:
            json.loads(text)
        _checked_depth(text)
        root = yaml.compose(text, Loader=_LOADER)
        return Node(line=1, kind="null") if root is None else _Reading().node(root, 0)
    except json.JSONDecodeError as error:
        raise NotADocument(f"is not valid JSON: {error.msg}", error.lineno) from None
    except yaml.YAMLError as error:
        raise _not_yaml(error, text) from None
    except RecursionError:
        raise NotADocument(f"nests deeper than {_DEEPEST} levels") from None
    except ValueError as error:
        if isinstance(error, NotADocument):
            raise
        raise NotADocument(f"cannot be read: {error}") from None


def _checked_depth(text: str) -> None:
    """Refuse what nests too deeply, before the loader in C composes it with its own stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise NotADocument(f"nests deeper than {_DEEPEST} levels", _line(event))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _line(part: yaml.Node | yaml.Event) -> int:
    return 1 if part.start_mark is None else part.start_mark.line + 1


def _not_yaml(error: yaml.YAMLError, text: str) -> NotADocument:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        problem = getattr(error, "problem", None) or "cannot be read"
        return NotADocument(f"is not valid YAML: {problem}", mark.line + 1)
    position = getattr(error, "position", None)
    line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 1
    reason = getattr(error, "reason", None) or "cannot be read"
    return NotADocument(f"is not valid YAML: {reason}", line)


class _Reading:
    """One pass over the nodes of YAML; what aliases share is read once, so that they cost nothing."""

    def __init__(self) -> None:
        self._done: dict[int, Node] = {}
        self._open: set[int] = set()

    def node(self, raw: yaml.Node, depth: int) -> Node:
        if (done := self._done.get(id(raw))) is not None:
            return done
        line = _line(raw)
        if id(raw) in self._open:
            raise NotADocument("contains itself by an alias", line)
        if depth > _DEEPEST:
            raise NotADocument(f"nests deeper than {_DEEPEST} levels", line)
        self._open.add(id(raw))
        if isinstance(raw, yaml.MappingNode):
            made = self._mapping(raw, line, depth)
        elif isinstance(raw, yaml.SequenceNode):
            items = tuple(self.node(item, depth + 1) for item in raw.value)
            made = Node(line=line, kind="list", items=items)
        else:
            made = Node(line=line, kind=_TAGS.get(raw.tag, "other"), text=str(raw.value))
        self._open.discard(id(raw))
        self._done[id(raw)] = made
        return made

    def _mapping(self, raw: yaml.MappingNode, line: int, depth: int) -> Node:
        fields: dict[str, Node] = {}
        lines: dict[str, int] = {}
        repeated: list[tuple[str, int]] = []
        merged: list[Node] = []
        for key, value in raw.value:
            at = _line(key)
            if not isinstance(key, yaml.ScalarNode):
                raise NotADocument("a name is a list or a mapping", at)
            inner = self.node(value, depth + 1)
            if key.tag == _MERGE:
                merged += inner.items if inner.kind == "list" else (inner,)
                continue
            if key.value in lines:
                repeated.append((key.value, at))
            lines[key.value] = at
            fields[key.value] = inner
        for other in merged:
            for name, inner in other.fields.items():
                fields.setdefault(name, inner)
        return Node(line=line, kind="mapping", fields=fields, repeated=tuple(repeated))
