"""Tool calls of an answer, put together from the fragments that OpenAI-style providers send."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec import Raw, Struct

from backends.errors import BadReply

_ABSENT = Raw(b"")  # a default, as `Raw | None` would take nothing but null
_NOTHING = (b"", b"null", b'""')


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
        native_id: the provider's id of it.
        name: the function; empty until it is known.
        input: its arguments as a JSON object, once `Calls.check` has let it pass.
        started: whether it has begun to be told.
    """

    __slots__ = ("_pieces", "_told", "input", "name", "native_id", "started")

    def __init__(self) -> None:
        self.native_id = ""
        self.name = ""
        self.input = b"{}"
        self.started = False
        self._told = 0  # pieces that were given out
        self._pieces: list[bytes] = []

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
        self._pieces.append(raw[1:-1])

    def untold(self) -> list[bytes]:
        """Pieces of the arguments, JSON-escaped, that were not given out before."""
        pieces = self._pieces[self._told :]
        self._told = len(self._pieces)
        return pieces

    @property
    def complete(self) -> bool:
        """Whether no more can come. Without any arguments that is not known before the end."""
        return bool(self._pieces) and self.parsed() is not None

    def parsed(self) -> bytes | None:
        """The arguments as the JSON of an object; None if that is not what they are."""
        if not self._pieces:
            return b"{}"
        try:
            text = _decode_text(b'"%b"' % b"".join(self._pieces)).strip()
            value = _decode_any(text)
        except _UNREADABLE:
            return None
        if value is None:
            return b"{}"
        return text.encode() if isinstance(value, dict) else None


def _says(piece: bytes) -> bool:
    """Whether a piece of arguments is more than white space."""
    return bool(piece.replace(b"\\n", b"").replace(b"\\t", b"").strip())


class Calls:
    """The tool calls of one answer.

    Attributes:
        told: those that `check` let pass.
    """

    __slots__ = ("_calls", "_open", "told")

    def __init__(self) -> None:
        self._calls: dict[int, ToolCall] = {}  # by the provider's index
        self._open: ToolCall | None = None  # the one that is being told
        self.told: list[ToolCall] = []

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self._calls)

    @property
    def fault(self) -> BadReply | None:
        """Why the calls cannot be told as they stand, if they cannot."""
        if all(call.name for call in self._calls.values()):
            return None
        return BadReply("a tool call without a name")

    def add(self, parts: Iterable[_Fragment]) -> None:
        """Take in fragments.

        Raises:
            BadReply: one is in no known form, or comes after its call was over.
        """
        for position, part in enumerate(parts):
            index = position if part.index is None else part.index
            call = self._calls.get(index)
            if call is None:
                call = self._calls[index] = ToolCall()
            call.add(part)
            if call.started and call is not self._open and any(map(_says, call.untold())):
                raise BadReply("a piece of a tool call came after the call had ended")

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
            if not call.name or not (ended or self._open is None or self._open.complete):
                return
            call.started = True
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
                self.told.append(call)
            elif not cut:
                raise BadReply("a tool call whose arguments are not a JSON object")
