"""One choice of an answer in OpenAI's dialect: what it is made of, and how it is written.

Text stays the JSON-escaped bytes in which it came.
"""

from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Raw, Struct

from backends import Finish, Piece, Text
from backends.errors import BadReply
from gateway.wire.web_search import BUILTIN

_json = msgspec.json.Encoder().encode


_OWN_DETAILS = "reasoning_details"  # of a provider that writes them itself


class Thoughts(Struct, frozen=True):
    """How reasoning is told: under which names.

    Attributes:
        around: what stands around its text, a JSON string that comes between each two of these; empty if
            nothing is told, as the caller wants none.
        details: whether there are details among it.
    """

    around: tuple[bytes, ...]
    details: bool = False

    def framed(self, lead: bytes, tail: bytes) -> tuple[bytes, ...]:
        """The same for text without its quotation marks, between `lead` and `tail`."""
        if not self.around:
            return ()
        first, *between, last = self.around
        inner = [b'"' + part + b'"' for part in between]
        return lead + first + b'"', *inner, b'"' + last + tail

    def members(self, text: bytes | Raw) -> bytes:
        """The members that tell it, each with a comma before it.

        Args:
            text: the JSON of its text: a string, with its quotation marks, or null.
        """
        if not self.around:
            return b""
        if self.details and bytes(memoryview(text)[:1]) != b'"':
            return PLAIN.members(text)
        return b"," + bytes(text).join(self.around)


# The two names in use: OpenRouter's and newer vLLM's, and Moonshot's and DeepSeek's. OpenRouter's details
# have the type `reasoning.text` and the format `unknown` where a model signs nothing (its contract of
# 2026-08-22).
PLAIN = Thoughts((b'"reasoning":', b',"reasoning_content":', b""))
DETAILED = Thoughts(
    (
        b'"reasoning":',
        b',"reasoning_content":',
        b',"reasoning_details":[{"type":"reasoning.text","text":',
        b',"format":"unknown","index":0}]',
    ),
    details=True,
)
EXCLUDED = Thoughts(())


def choice_end(finish: Finish) -> bytes:
    """Why a choice ended: the two members that say so."""
    return b'"finish_reason":%b,"native_finish_reason":%b' % (
        _json(finish.reason),
        _json(finish.native_reason),
    )


def thinks(piece: Piece) -> bool:
    """Whether a piece has reasoning, or room for it."""
    return "reasoning" in piece.delta or _OWN_DETAILS in piece.delta


def members(items: Mapping[str, Raw], thoughts: Thoughts) -> Iterator[bytes | Raw]:
    """The members of a delta or a message, each with a comma before it, and reasoning as it is told."""
    for name, raw in items.items():
        if name == "reasoning":
            yield (PLAIN if _OWN_DETAILS in items and thoughts.details else thoughts).members(raw)
        elif name != _OWN_DETAILS or thoughts.around:
            yield b",%b:" % _json(name)
            yield raw


_NULL = Raw(b"null")
_ABSENT = Raw(b"")  # a default, as `Raw | None` would take nothing but null


class _Function(Struct, omit_defaults=True):
    name: str | None = None
    arguments: Raw = _ABSENT


class _ToolCall(Struct, omit_defaults=True):
    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: _Function | None = None


_decode_tools = msgspec.json.Decoder(list[_ToolCall]).decode


class Message:
    """One choice as it grows."""

    __slots__ = ("details", "finish", "index", "logprobs", "lone", "other", "texts", "tools")

    def __init__(self, index: int) -> None:
        self.index = index
        # A whole reply comes in one piece, whose members need no putting together.
        self.lone: Piece | None = None
        self.texts: dict[str, list[bytes]] = {}
        self.details: list[bytes] = []  # of a provider that writes them itself
        self.other: dict[str, Raw] = {}
        self.tools: dict[int, _ToolCall] = {}
        self.logprobs: list[tuple[bool, Raw]] = []  # whether they may be of reasoning, and these
        self.finish = Finish(index, "stop", "stop")

    def add(self, piece: Piece) -> None:
        """Take in another piece.

        Raises:
            BadReply: a tool call in it is in no known form.
        """
        if self.lone is not None:
            before, self.lone = self.lone, None
            self._take(before)
        elif not (self.texts or self.other or self.tools or "tool_calls" in piece.delta):
            self.lone = piece
            return
        self._take(piece)

    def add_text(self, text: Text) -> None:
        """Take in more text."""
        if self.lone is not None:
            before, self.lone = self.lone, None
            self._take(before)
        name = "reasoning" if text.reasoning else "content"
        self.texts.setdefault(name, []).append(text.text)

    def _take(self, piece: Piece) -> None:
        for name, raw in piece.delta.items():
            if name == "tool_calls":
                self._add_tools(raw)
            elif name == _OWN_DETAILS and bytes(raw)[:1] == b"[":
                self.details.append(bytes(raw)[1:-1])
            elif name in {"content", "reasoning", "refusal"} and bytes(raw)[:1] == b'"':
                self.texts.setdefault(name, []).append(bytes(raw)[1:-1])
            else:
                self.other[name] = raw
        if piece.logprobs is not None:
            self.logprobs.append((thinks(piece), piece.logprobs))

    def _add_tools(self, raw: Raw) -> None:
        try:
            fragments = _decode_tools(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadReply(f"a tool call in no known form: {error}") from None
        for position, part in enumerate(fragments):
            index = position if part.index is None else part.index
            whole = self.tools.get(index)
            if whole is None:
                whole = self.tools[index] = _ToolCall(index, type="function", function=_Function())
            whole.id = whole.id or part.id
            if part.type == BUILTIN:
                whole.type = BUILTIN  # a search that comes back as anything else is not known there
            if part.function is not None and whole.function is not None:
                whole.function.name = whole.function.name or part.function.name
                more = part.function.arguments
                if bytes(more) not in {b"", b"null"}:
                    if bytes(more)[:1] != b'"':
                        raise BadReply("the arguments of a tool call are not a string")
                    before = bytes(whole.function.arguments)
                    joined = before[:-1] + bytes(more)[1:] if before else bytes(more)
                    whole.function.arguments = Raw(joined)

    def encode(self, parts: list[bytes | Raw], thoughts: Thoughts) -> None:
        """Write the choice. `thoughts`: how its reasoning is told."""
        parts.append(b'{"index":%d,"message":{"role":"assistant","content":' % self.index)
        lone = self.lone
        if lone is not None:
            delta = dict(lone.delta)
            parts.append(delta.pop("content", _NULL))
            if delta:
                parts += members(delta, thoughts)
            hidden = not thoughts.around and thinks(lone)
            logprobs = None if hidden else lone.logprobs
            parts += (b'},"logprobs":', logprobs or _NULL, b",", choice_end(self.finish), b"}")
            return
        content = self.texts.pop("content", None)
        if content is None:
            parts.append(self.other.pop("content", _NULL))
        else:
            parts += (b'"', *content, b'"')
        whole = {name: Raw(b'"%b"' % b"".join(texts)) for name, texts in self.texts.items()}
        details = [one for one in self.details if one.strip()]
        if details:
            whole[_OWN_DETAILS] = Raw(b"[%b]" % b",".join(details))
        parts += members(whole | self.other, thoughts)
        if self.tools:
            calls = [self.tools[index] for index in sorted(self.tools)]
            parts += (b',"tool_calls":', _json(calls))
        # The probabilities of reasoning have its words in them.
        told = [one for of_thoughts, one in self.logprobs if thoughts.around or not of_thoughts]
        parts += (b'},"logprobs":', _joined(told), b",", choice_end(self.finish), b"}")


class _LogProbs(Struct):
    content: list[Raw] | None = None
    refusal: list[Raw] | None = None


_decode_logprobs = msgspec.json.Decoder(_LogProbs).decode


def _joined(pieces: list[Raw]) -> bytes | Raw:
    """The log probabilities of all pieces of a choice as one object."""
    if len(pieces) <= 1:
        return pieces[0] if pieces else b"null"
    whole = _LogProbs()
    for piece in pieces:
        try:
            part = _decode_logprobs(piece)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # not worth an answer that is complete and paid for
        if part.content is not None:
            whole.content = (whole.content or []) + part.content
        if part.refusal is not None:
            whole.refusal = (whole.refusal or []) + part.refusal
    return _json(whole)
