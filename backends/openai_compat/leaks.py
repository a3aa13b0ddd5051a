r"""Tool calls that a server left in the text: Kimi's own tokens, read where it did not read them.

    <|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>
    {"city":"Paris"}<|tool_call_end|><|tool_calls_section_end|>

This is how the K2 family calls tools (tokens 163595 to 163599; the vendor's note on tool calling). Hosts of
the weights let them through now and then, in content or in reasoning (vLLM's changes 28543 of 2025-11 and
33646 of 2026-02; its parser also knows `tool_call_section`, read 2026-11-22).

All text here is as it stands in JSON: quotes are `\"`, and `<` and `>` may be `\u003c` and `\u003e`. Only
what can still become a call is held back; what does not become one is given out as the text that it was.
"""

import re

from msgspec import Raw

from backends.openai_compat.reasoning import is_text
from backends.openai_compat.tool_calls import ToolCalls
from backends.values import Event, Piece, Text

_SECTION_BEGINS = (b"<|tool_calls_section_begin|>", b"<|tool_call_section_begin|>")
_SECTION_ENDS = (b"<|tool_calls_section_end|>", b"<|tool_call_section_end|>")
_CALL_BEGIN = b"<|tool_call_begin|>"
_ARGUMENTS = b"<|tool_call_argument_begin|>"
_CALL_END = b"<|tool_call_end|>"
_BEGINS = (*_SECTION_BEGINS, _CALL_BEGIN)
_WITHIN = (_CALL_BEGIN, *_SECTION_ENDS)
_LONGEST = max(map(len, _BEGINS))
_MAX_HELD = 4 * 1024 * 1024  # bytes of one call
_MAX_SPACE = 1024  # bytes of white space before one: a model that is stuck writes it without end

_ESCAPE = re.compile(rb"\\u003[cC]|\\u003[eE]|\\.")  # `\\u003c` is an escaped backslash, and text
_PLAIN = {rb"\u003c": b"<", rb"\u003e": b">"}
_SPACE = re.compile(rb"(?:\s|\\[nrt])*")
_HEADER = re.compile(
    rb"(?:\s|\\[nrt])*((?:functions\.)?([A-Za-z0-9_.-]{1,128}?)(?::[0-9]{1,9})?)(?:\s|\\[nrt])*"
)


def _unescaped(match: re.Match[bytes]) -> bytes:
    return _PLAIN.get(match[0].lower(), match[0])


def suspicious(text: bytes) -> bool:
    """Whether escaped text may hold the beginning of a token."""
    return b"<|" in text or b"\\u003" in text or text.endswith(b"<")


class _Channel:
    """The text of one choice that is held back. `inside`: `held` begins with a token of a call."""

    __slots__ = ("held", "inside", "reasoning", "seen", "spaced")

    def __init__(self, *, reasoning: bool) -> None:
        self.reasoning = reasoning
        self.held = bytearray()
        self.inside = False
        self.seen = 0  # bytes of it in which no end was found
        self.spaced = 0  # bytes of it up to the end of the white space behind a token


class Leaks:
    """Looks for leaked calls in the events of one answer.

    Attributes:
        channels: what is held back, by choice. Where it is empty, text without `<` or an escape of it
            need not be shown here.
    """

    __slots__ = ("_calls", "channels")

    def __init__(self, calls: ToolCalls) -> None:
        """`calls`: all calls of the answer, of which the leaked ones become part."""
        self._calls = calls
        self.channels: dict[int, _Channel] = {}

    def text(self, text: Text, events: list[Event]) -> None:
        """Append what a piece of text says to `events`."""
        if self.channels or suspicious(text.text):
            self._add(0, text.text, events, reasoning=text.reasoning)
        else:
            events.append(text)

    def piece(self, piece: Piece, events: list[Event]) -> None:
        """The same for any other delta."""
        rest: dict[str, Raw] = {}
        for name, raw in piece.delta.items():
            if name in {"content", "reasoning"} and is_text(raw):
                text = bytes(raw)[1:-1]
                if piece.index in self.channels or suspicious(text):
                    self._add(piece.index, text, events, reasoning=name == "reasoning")
                    continue
            rest[name] = raw
        if "tool_calls" in rest:
            self.flush(piece.index, events)
        if len(rest) == len(piece.delta):
            events.append(piece)
        elif rest or piece.logprobs is not None:
            events.append(Piece(piece.index, rest, "tool_calls" in rest, piece.logprobs))

    def flush(self, index: int, events: list[Event]) -> None:
        """Give out what is held of a choice: it has ended, or says something else."""
        channel = self.channels.pop(index, None)
        if channel is not None:
            _say(index, channel, bytes(channel.held), events)

    def end(self, events: list[Event]) -> None:
        """Give out all that is held."""
        for index in list(self.channels):
            self.flush(index, events)

    def _add(self, index: int, text: bytes, events: list[Event], *, reasoning: bool) -> None:
        channel = self.channels.get(index)
        if channel is not None and channel.reasoning is not reasoning:
            self.flush(index, events)
            channel = None
        if channel is None:
            channel = self.channels[index] = _Channel(reasoning=reasoning)
        channel.held += _ESCAPE.sub(_unescaped, text)
        while channel.held and (
            self._read_calls(index, channel, events)
            if channel.inside
            else _read_text(index, channel, events)
        ):
            pass
        if not (channel.held or channel.inside):
            del self.channels[index]

    def _read_calls(self, index: int, channel: _Channel, events: list[Event]) -> bool:
        """Read one step of what begins with a token; False if more must come first."""
        held = channel.held
        at = next((len(token) for token in _SECTION_BEGINS if held.startswith(token)), 0)
        space = _SPACE.match(held, max(at, channel.spaced))
        start = channel.spaced = at if space is None else space.end()
        rest = bytes(held[start : start + _LONGEST])
        for token in _SECTION_ENDS:
            if rest.startswith(token):
                del held[: start + len(token)]
                channel.spaced = 0
                channel.inside = False
                return True
        if rest.startswith(_CALL_BEGIN):
            return self._read_call(index, channel, start, events)
        if start - at <= _MAX_SPACE and any(token.startswith(rest) for token in _WITHIN):
            return False
        _say(index, channel, bytes(held[:at]), events)  # no call after all
        del held[:at]
        channel.spaced = 0
        channel.inside = False
        return True

    def _read_call(self, index: int, channel: _Channel, at: int, events: list[Event]) -> bool:
        held = channel.held
        end = held.find(_CALL_END, max(at, channel.seen - len(_CALL_END)))
        if end < 0:
            channel.seen = len(held)
            if channel.seen <= _MAX_HELD:
                return False
            end = channel.seen
        said = bytes(held[: end + len(_CALL_END)])
        header, found, arguments = said[at + len(_CALL_BEGIN) : end].partition(_ARGUMENTS)
        named = _HEADER.fullmatch(header)
        if _SPACE.fullmatch(arguments):
            arguments = b"{}"
        del held[: len(said)]
        channel.seen = channel.spaced = 0
        if found and named is not None and len(said) > end:
            identity, name = named.groups()
            events.append(self._calls.leaked(index, identity.decode(), name, arguments))
        else:
            channel.inside = False
            _say(index, channel, said, events)
        return True


def _read_text(index: int, channel: _Channel, events: list[Event]) -> bool:
    """Give out text up to where a call begins; False if more must come first."""
    held = channel.held
    at = held.find(b"<|")
    while at >= 0:
        rest = bytes(held[at : at + _LONGEST])
        channel.inside = rest.startswith(_BEGINS)
        if channel.inside or any(token.startswith(rest) for token in _BEGINS):
            break
        at = held.find(b"<|", at + 1)
    if at < 0:
        at = len(held) - held.endswith(b"<")
    _say(index, channel, bytes(held[:at]), events)
    del held[:at]
    return channel.inside


def _say(index: int, channel: _Channel, text: bytes, events: list[Event]) -> None:
    if not text:
        return
    if index == 0:
        events.append(Text(text, channel.reasoning))
    else:
        name = "reasoning" if channel.reasoning else "content"
        events.append(Piece(index, {name: Raw(b'"%b"' % text)}, meaningful=True))
