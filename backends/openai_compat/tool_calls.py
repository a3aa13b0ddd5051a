"""The tool calls of one answer, whatever habits its provider has of telling them.

What goes on is what OpenAI's clients put together: each fragment has the index of its call, counting from
0; id, type and name come once, in the first. Met in the wild and set right here: no index at all; index 0
for each of several calls; a new id with every fragment (vLLM up to 0.8); name or id said again and again;
ids that were given to another call before.
"""

import re
from collections.abc import Set as AbstractSet

import msgspec
from msgspec import Raw

from backends.openai_compat.failure_bodies import UNREADABLE
from backends.openai_compat.reasoning import is_text
from backends.openai_compat.tool_ids import FreshIds
from backends.values import Finish, Piece

_LONGEST_INDEX = 9  # digits
_BEGINNING = re.compile(rb'"(?:id|name|type)"').search  # members of a call's first fragment

Part = dict[str, Raw]

_decode_parts = msgspec.json.Decoder(list[Part]).decode
_decode_part = msgspec.json.Decoder(Part).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


class _Call:
    """One call: the id and the name that the provider gave it, as raw JSON strings."""

    __slots__ = ("id", "index", "name")

    def __init__(self, index: int, theirs: bytes | None, name: bytes | None) -> None:
        self.index = index
        self.id = theirs
        self.name = name


class _Choice:
    """The calls of one choice."""

    __slots__ = ("calls", "finished", "fresh", "given", "ids", "indices", "straight")

    def __init__(self, held: AbstractSet[str]) -> None:
        self.calls: list[_Call] = []
        self.indices: dict[int, _Call] = {}  # the provider's
        self.ids: dict[bytes, _Call] = {}  # the provider's; the first call of each
        self.given: set[str] = set()  # ids, as the caller has them
        self.fresh = FreshIds(held, self.given)
        self.straight = True  # all indices go on as they come
        self.finished = False

    def open(self, index: int | None, theirs: bytes | None, name: bytes | None) -> _Call:
        call = _Call(len(self.calls), theirs, name)
        self.calls.append(call)
        if index is not None:
            self.indices[index] = call
        if theirs is not None:
            self.ids.setdefault(theirs, call)
        self.straight = self.straight and index == call.index
        return call

    def continued(
        self, index: int | None, theirs: bytes | None, name: bytes | None, place: int | None
    ) -> _Call | None:
        """The call that a fragment belongs to; None if it begins one.

        `place`: of the fragment among several in one delta.
        """
        if index is not None:
            call = self.indices.get(index)
            another = call is not None and theirs is not None and name is not None
            return None if another and call is not None and call.id != theirs else call
        if theirs is not None:
            return self.ids.get(theirs)
        if place is not None:
            return self.calls[place] if place < len(self.calls) else None
        last = self.calls[-1] if self.calls else None
        return last if last is not None and name in {None, last.name} else None


class ToolCalls:
    """What was called in an answer so far."""

    __slots__ = ("_choices", "_held")

    def __init__(self, held: AbstractSet[str] = frozenset()) -> None:
        """`held`: ids that the caller has for earlier calls."""
        self._held = held
        self._choices: dict[int, _Choice] = {}

    def delta(self, piece: Piece) -> Piece:
        """A piece of a stream with its `tool_calls` set right; what is no list of objects stays."""
        raw = piece.delta["tool_calls"]
        text = bytes(raw)
        choice = self._choice(piece.index)
        if choice.straight and choice.calls and b'"index"' in text and _BEGINNING(text) is None:
            return piece  # more arguments, as nearly all fragments are
        try:
            parts = _decode_parts(raw)
        except UNREADABLE:
            return piece
        told = [
            self._fragment(choice, part, place if len(parts) > 1 else None)
            for place, part in enumerate(parts)
        ]
        return piece if told == parts else _with_calls(piece, told)

    def whole(self, piece: Piece) -> Piece:
        """A piece that holds all calls of a choice, with ids that are no other call's."""
        choice = self._choice(piece.index)
        try:
            parts = _decode_parts(piece.delta["tool_calls"])
        except UNREADABLE:
            return piece
        told = []
        for part in parts:
            theirs = _text_in(part, "id")
            choice.open(None, theirs, None)
            told.append(part if theirs is None else part | {"id": self._given(choice, theirs)})
        return piece if told == parts else _with_calls(piece, told)

    def leaked(self, index: int, identity: str, name: bytes, arguments: bytes) -> Piece:
        """A call that came as text.

        Args:
            index: of the choice.
            identity: its id.
            name: JSON-escaped, without quotes.
            arguments: the same.
        """
        choice = self._choice(index)
        theirs = _encode(identity)
        call = choice.open(None, theirs, name)
        function = b'{"name":"%b","arguments":"%b"}' % (name, arguments)
        told = b'[{"index":%d,"id":%b,"type":"function","function":%b}]' % (
            call.index,
            self._given(choice, theirs),
            function,
        )
        return Piece(index, {"tool_calls": Raw(told)}, meaningful=True)

    def finish(self, finish: Finish) -> Finish:
        """The end of a choice; some hosts say `stop` where the model called tools."""
        choice = self._choices.get(finish.index)
        if choice is None:
            return finish
        choice.finished = True
        if finish.reason != "stop" or not choice.calls:
            return finish
        return Finish(finish.index, "tool_calls", finish.native_reason)

    def unfinished(self) -> list[Finish]:
        """Ends for the choices that called tools and were not told to have ended; each once."""
        return [
            self.finish(Finish(index, "stop", "stop"))
            for index, choice in self._choices.items()
            if choice.calls and not choice.finished
        ]

    def _choice(self, index: int) -> _Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice(self._held)
        return choice

    def _fragment(self, choice: _Choice, part: Part, place: int | None) -> Part:
        index, theirs = _number(part.get("index")), _text_in(part, "id")
        function = _function(part)
        name = _text_in(function, "name")
        call = choice.continued(index, theirs, name, place)
        if call is None:
            call = choice.open(index, theirs, name)
            told = part if theirs is None else part | {"id": self._given(choice, theirs)}
        else:
            told = self._more(choice, call, part, function)
        number = Raw(b"%d" % call.index)
        return told | {"index": number} if "index" in told else {"index": number} | told

    def _more(self, choice: _Choice, call: _Call, part: Part, function: Part) -> Part:
        """A further fragment without what the call's first one said already."""
        told = {name: raw for name, raw in part.items() if name not in {"id", "type"}}
        theirs, name = _text_in(part, "id"), _text_in(function, "name")
        if call.id is None and theirs is not None:
            call.id = theirs
            choice.ids.setdefault(theirs, call)
            told["id"] = self._given(choice, theirs)
        if name is not None and name == call.name:
            rest = {member: raw for member, raw in function.items() if member != "name"}
            told["function"] = Raw(_encode(rest))
        elif call.name is None:
            call.name = name
        return told

    def _given(self, choice: _Choice, theirs: bytes) -> Raw:
        try:
            text = _decode_text(theirs)
        except UNREADABLE:
            return Raw(theirs)
        if text in self._held or text in choice.given:
            text = choice.fresh.of(text)
            theirs = _encode(text)
        choice.given.add(text)
        return Raw(theirs)


def _with_calls(piece: Piece, parts: list[Part]) -> Piece:
    delta = {**piece.delta, "tool_calls": Raw(_encode(parts))}
    return Piece(piece.index, delta, piece.meaningful, piece.logprobs)


def _number(raw: Raw | None) -> int | None:
    text = b"" if raw is None else bytes(raw)
    return int(text) if text.isdigit() and len(text) <= _LONGEST_INDEX else None


def _text_in(part: Part, name: str) -> bytes | None:
    """A member that is a JSON string and not empty."""
    raw = part.get(name)
    if raw is None or not is_text(raw) or bytes(raw) == b'""':
        return None
    return bytes(raw)


def _function(part: Part) -> Part:
    try:
        return _decode_part(part.get("function", b"{}"))
    except UNREADABLE:
        return {}
