"""Tool calls of an answer, put together from the fragments that OpenAI-style providers send."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec import Raw, Struct

from backends.errors import BadReply

_ABSENT = Raw(b"")  # a default, as `Raw | None` would take nothing but null
_NOTHING = (b"", b"null", b'""')
_SPACE = " \t\n\r"  # JSON's
_NULL = "null"  # some say so of no arguments


class _Function(Struct):
    name: str | None = None
    arguments: Raw = _ABSENT


class _Fragment(Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


_decode = msgspec.json.Decoder(list[_Fragment]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_any = msgspec.json.Decoder().decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def fragments(raw: Raw) -> Sequence[_Fragment]:
    """The fragments in a delta's `tool_calls`.

    Raises:
        BadReply: they are in no known form.
    """
    try:
        return _decode(raw)
    except _UNREADABLE as error:
        raise BadReply(f"a tool call in no known form: {error}") from None


class ToolCall:
    """One tool call as it grows.

    Attributes:
        number: its place among the calls of the answer, from 0.
        native_id: the provider's id of it; empty where it gives none.
        id: the one that it goes by, distinct in this answer, once it is told.
        name: the function; empty until it is known.
        input: its arguments as a JSON object, once `Calls.check` has let it pass.
        started: whether it has begun to be told.
    """

    __slots__ = (
        "_closes",
        "_held",
        "_pieces",
        "_told",
        "id",
        "input",
        "name",
        "native_id",
        "number",
        "started",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.native_id = ""
        self.id = ""
        self.name = ""
        self.input = b"{}"
        self.started = False
        self._told = 0  # pieces that were given out
        self._pieces: list[bytes] = []
        self._held: str | None = ""  # all of them, while they say nothing yet; None once they do
        self._closes = False  # whether they may be over, as far as the last byte tells

    def add(self, fragment: _Fragment) -> None:
        """Take in another fragment.

        Raises:
            BadReply: its arguments are not a string.
        """
        self.native_id = self.native_id or fragment.id or ""
        function = fragment.function
        if function is None:
            return
        self.name = self.name or function.name or ""
        raw = bytes(function.arguments)
        if raw in _NOTHING:
            return
        if raw[:1] != b'"':
            raise BadReply("the arguments of a tool call are not a string")
        piece = raw[1:-1]
        self._pieces.append(piece)
        if self._held is not None:
            self._hold(piece)
        if _says(piece):
            self._closes = _bare(piece).endswith(b"}") or self._held == _NULL

    def _hold(self, piece: bytes) -> None:
        try:
            held = (str(self._held) + _decode_text(b'"%b"' % piece)).lstrip(_SPACE)
        except _UNREADABLE:
            self._held = None
            return
        if held.rstrip(_SPACE) == _NULL:
            held = _NULL
        self._held = held if _NULL.startswith(held) else None

    def untold(self) -> list[bytes]:
        """Pieces of the arguments, JSON-escaped, that were not given out before.

        White space and `null` at the beginning are held back until more comes: alone they stand for
        no arguments.
        """
        if self._held is not None:
            return []
        pieces = self._pieces[self._told :]
        self._told = len(self._pieces)
        return pieces

    @property
    def complete(self) -> bool:
        """Whether no more can come. Without any arguments that is not known before the end."""
        return self._closes and self.parsed() is not None

    def parsed(self) -> bytes | None:
        """The arguments as the JSON of an object; None if that is not what they are."""
        if not self._pieces:
            return b"{}"
        try:
            text = _decode_text(b'"%b"' % b"".join(self._pieces)).strip(_SPACE)
            value = _decode_any(text) if text else None
        except _UNREADABLE:
            return None
        if value is None:
            return b"{}"
        return text.encode() if isinstance(value, dict) else None


def _bare(piece: bytes) -> bytes:
    """A piece of arguments without white space at its ends."""
    return piece.replace(b"\\n", b"").replace(b"\\t", b"").replace(b"\\r", b"").strip()


def _says(piece: bytes) -> bool:
    """Whether a piece of arguments is more than white space."""
    return bool(_bare(piece))


class Calls:
    """The tool calls of one answer.

    Attributes:
        told: those that `check` let pass.
    """

    __slots__ = ("_calls", "_ids", "_lone", "_open", "told")

    def __init__(self) -> None:
        self._calls: dict[int, ToolCall] = {}  # by the provider's index
        self._lone: dict[int, int] = {}  # the index at each position, of fragments without one
        self._ids: set[str] = set()  # those that calls go by
        self._open: ToolCall | None = None  # the one that is being told
        self.told: list[ToolCall] = []

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self._calls)

    def fault(self, *, cut: bool) -> BadReply | None:
        """Why the calls of an answer that has ended cannot be told as they stand, if they cannot.

        Args:
            cut: the answer was cut at its cap, and so a call may be.
        """
        if cut:
            return None
        for call in self._calls.values():
            if not call.name:
                return BadReply("a tool call without a name")
            if call.parsed() is None:
                return _no_object()
        return None

    def add(self, parts: Iterable[_Fragment]) -> None:
        """Take in fragments.

        Raises:
            BadReply: one is in no known form, or comes after its call was over.
        """
        for position, part in enumerate(parts):
            index = self._index(position, part.id) if part.index is None else part.index
            call = self._calls.get(index)
            if call is None:
                call = self._calls[index] = ToolCall(len(self._calls))
            call.add(part)
            if call.started and call is not self._open and any(map(_says, call.untold())):
                raise BadReply("a piece of a tool call came after the call had ended")

    def _index(self, position: int, native_id: str | None) -> int:
        """The index of a fragment that has none: a new id opens a call, and an old one goes on."""
        index = self._lone.get(position, position)
        call = self._calls.get(index)
        if native_id and call is not None and call.native_id not in {"", native_id}:
            known = (n for n, call in self._calls.items() if call.native_id == native_id)
            index = self._lone[position] = next(known, max(self._calls) + 1)
        return index

    def _identify(self, call: ToolCall) -> None:
        """Give a call an id: clients find the call of a result by it, so no two are the same."""
        number = call.number
        call.id = call.native_id
        while not call.id or call.id in self._ids:
            call.id = f"functions.{call.name}:{number}"
            number += 1
        self._ids.add(call.id)

    def leave(self) -> None:
        """The call that is being told is over: something else is told."""
        self._open = None

    def tellable(self, *, ended: bool) -> Iterator[tuple[ToolCall, bool, list[bytes]]]:
        """What can be told now, a call at a time: the call, whether it begins, pieces of arguments.

        The one that is being told is over when another waits and its arguments are complete, or when
        the answer has `ended`.
        """
        if self._open is not None and (pieces := self._open.untold()):
            yield self._open, False, pieces
        for call in self._calls.values():
            if call.started:
                continue
            if not call.name and ended:
                continue  # cut before it had one
            if not call.name or not (ended or self._open is None or self._open.complete):
                return
            call.started = True
            self._identify(call)
            self._open = call
            yield call, True, call.untold()

    def check(self, *, cut: bool) -> None:
        """See that the arguments of each call are an object.

        Args:
            cut: the answer was cut at its cap: calls that cannot be parsed are left out.

        Raises:
            BadReply: the arguments of one are not.
        """
        for index in sorted(self._calls):
            call = self._calls[index]
            found = call.parsed()
            if found is not None and call.name:
                call.input = found
                self._identify(call)
                self.told.append(call)
            elif not cut:
                raise _no_object()


def _no_object() -> BadReply:
    return BadReply("a tool call whose arguments are not a JSON object")
