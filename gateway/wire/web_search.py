"""Moonshot's `$web_search`, the one tool that a provider runs and that is let through.

The caller declares it, the model calls it, and the caller sends the call's `arguments` back unchanged; what
was searched for comes into the prompt of that next request, at Moonshot. Beside the tokens each call is
USD 0.005, due where the answer ends with finish reason `tool_calls` (Moonshot's tool pricing and its guide
to web search, stored copies of 2026-09-03).
"""

from collections.abc import Iterable

import msgspec
from msgspec import Raw, Struct

from backends import BadReply, Event, Finish, Piece

NAME = "$web_search"
BUILTIN = "builtin_function"

MOST_SEARCHES = 8
"""Searches that one answer may call. The money hold covers so many; with more it is broken off.

One or two are usual. It is a bound of this gateway's, as Moonshot documents none.
"""

_MARK = NAME.encode()
_DOLLAR, _BACKSLASH = 0x24, 0x5C
# How the mark could be written otherwise in JSON: the dollar sign, letters, the underscore.
_ESCAPES = (b"\\u002", b"\\u005", b"\\u006", b"\\u007")
_CUT = ("length", "content_filter")  # ends at which no search was called


class _Function(Struct):
    name: str | None = None


class _Called(Struct):
    index: int | None = None
    function: _Function | None = None


_decode_called = msgspec.json.Decoder(list[_Called]).decode


def may_name_it(text: bytes | bytearray) -> bool:
    """Whether JSON may have the tool's name in it: rather yes than no."""
    # Numbers are looked for much faster than bytes objects are.
    if _DOLLAR in text and _MARK in text:
        return True
    return _BACKSLASH in text and b"\\u00" in text and any(one in text for one in _ESCAPES)


class SearchMeter:
    """Counts the searches that an answer calls.

    Attributes:
        most: so many are held for.
    """

    __slots__ = ("_called", "_cut", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self._called: set[tuple[int, int]] = set()  # choice and index of each call
        self._cut: set[int] = set()

    @property
    def count(self) -> int:
        """Searches that were called so far, but for those of choices that were cut."""
        if not self._cut:
            return len(self._called)
        return sum(choice not in self._cut for choice, _ in self._called)

    def grows_by(self, events: Iterable[Event]) -> bool:
        """Whether there are calls in `events` that were not seen yet."""
        return not self._called.issuperset(_calls_in(events))

    def add(self, events: Iterable[Event]) -> None:
        """Count what is in `events`; harmless to do again."""
        events = list(events)
        self._called.update(_calls_in(events))
        self._cut.update(
            event.index for event in events if type(event) is Finish and event.reason in _CUT
        )

    def pass_on(self, events: Iterable[Event]) -> bool:
        """Count what is in `events`, if it can be paid for: only then is it for the caller.

        Returns:
            Whether there are calls in it that were not seen yet.

        Raises:
            BadReply: with these there are more calls than are held for. They do not count.
        """
        events = list(events)
        grows = self.grows_by(events)
        if grows and len(self._called.union(_calls_in(events))) > self.most:
            raise self._too_many()
        self.add(events)
        return grows

    def check(self) -> None:
        """See that all that was counted can be paid for.

        Raises:
            BadReply: there are more calls than are held for.
        """
        if len(self._called) > self.most:
            raise self._too_many()

    def _too_many(self) -> BadReply:
        """What an answer with more calls than `most` is."""
        return BadReply(
            f"more than {self.most} calls of {NAME}",
            public="the model called more web searches than are held for",
        )


def _calls_in(events: Iterable[Event]) -> Iterable[tuple[int, int]]:
    for event in events:
        if type(event) is not Piece or "tool_calls" not in event.delta:
            continue
        raw = event.delta["tool_calls"]
        if not may_name_it(bytes(raw)):
            continue
        for position, part in enumerate(_read(raw)):
            if part.function is not None and part.function.name == NAME:
                yield event.index, position if part.index is None else part.index


def _read(raw: Raw) -> list[_Called]:
    try:
        return _decode_called(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []  # in no form that any client could read as a call
