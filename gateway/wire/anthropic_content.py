"""Anthropic's messages to OpenAI's: what is said, from blocks to messages with parts.

Text stays the caller's own JSON-escaped bytes: blocks are cut apart and put together, not decoded.

    user       text, image                 one user message; a string where there is only text
               document, search_result     text, where they hold text
               tool_result                 a tool message each, before that user message
    assistant  text                        content
               thinking                    reasoning_content and reasoning: providers differ
               tool_use                    tool_calls
               redacted_thinking           left out, as only Anthropic can read it

The shapes are those of Anthropic's Python SDK 2.12 (read 2026-11-22).
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple, NoReturn

import msgspec
from msgspec import Raw, Struct

from gateway.wire import tool_ids
from gateway.wire.anthropic_fields import ABSENT, escaped, given, read, refuse, text, tool_name
from gateway.wire.media import IMAGE, NO_MEDIA, Media, source_of

_JOIN = b"\\n"  # between blocks of text; vLLM puts it between text parts too
_NO_OUTPUT = b"(no output)"  # of a tool that returned nothing: Moonshot refuses empty messages
_ERROR = b"Error: "  # before the result of a tool that failed: OpenAI's form has no flag for it
_MOST_SHOWN = 60
_ROLES = frozenset({"user", "assistant", "system"})
# Which blocks may stand where. No kind may stand in itself, so that nothing is nested deeply.
_TEXT = ("text",)
_IN_DOCUMENT = ("text", "image")
_SAID = ("text", "image", "document", "search_result")

_quote = msgspec.json.Encoder().encode

Escaped = bytes | memoryview  # large texts are not copied before they are put together


class _Message(Struct):
    role: str
    content: Raw


class _Block(Struct):
    type: str
    text: Raw = ABSENT
    source: Raw = ABSENT
    id: Raw = ABSENT
    name: Raw = ABSENT
    input: Raw = ABSENT
    tool_use_id: Raw = ABSENT
    content: Raw = ABSENT
    is_error: bool | None = None
    thinking: Raw = ABSENT
    title: Raw = ABSENT
    context: Raw = ABSENT
    citations: Raw = ABSENT
    cache_control: Raw = ABSENT


class _Source(Struct):
    type: str
    media_type: Raw = ABSENT
    data: Raw = ABSENT
    url: Raw = ABSENT
    content: Raw = ABSENT


_decode_messages = msgspec.json.Decoder(list[_Message]).decode
_decode_blocks = msgspec.json.Decoder(list[_Block]).decode
_decode_source = msgspec.json.Decoder(_Source).decode


class _Part(NamedTuple):
    """A piece of content: text as JSON-escaped bytes, or an image's URL as such."""

    value: Escaped
    image: bool = False


class Prompt:
    """The messages of one request, as they are put together.

    Attributes:
        dropped: what was left out, in order.
        repeated: bytes that stand in it twice, so that they do not count twice.
    """

    def __init__(self) -> None:
        self.dropped: dict[str, None] = {}
        self.repeated = 0
        self._images: set[str | None] | None = None  # how images are given, once there are any
        self._written: list[Escaped] = []  # what goes out, each message after a comma
        self._calls: dict[str, str] = {}  # of the last answer: the caller's ids to native ones
        self._natives: set[str] = set()  # these

    @property
    def media(self) -> Media:
        """The media that came."""
        if self._images is None:
            return NO_MEDIA
        return Media(frozenset({IMAGE}), frozenset([one for one in self._images if one]))

    def encode(self) -> bytes:
        """The JSON of the messages."""
        return b"".join((b"[", *self._written[1:], b"]"))

    def _write(self, *pieces: Escaped) -> None:
        self._written.append(b",")
        self._written += pieces

    def add_system(self, raw: Raw, path: str) -> None:
        """Add instructions: a string or blocks of text.

        Raises:
            InvalidRequest: they are neither.
        """
        parts = _nonempty(self._parts(raw, path, _TEXT))
        if parts:
            self._write(b'{"role":"system","content":', *_content(parts), b"}")

    def add_messages(self, raw: Raw) -> None:
        """Add the conversation. Messages of one role that follow each other are one.

        Raises:
            InvalidRequest: a message or block is not what it must be, or cannot be served here.
        """
        messages = read(_decode_messages, raw, "messages")
        for place, message in enumerate(messages):
            if message.role not in _ROLES:
                refuse(
                    f"messages.{place}.role",
                    f"must be 'user' or 'assistant', not {message.role[:_MOST_SHOWN]!r}",
                )
        if not any(message.role == "user" for message in messages):
            refuse("messages", "must hold at least one message of the user")
        for answers, turn in groupby(enumerate(messages), lambda item: item[1].role == "assistant"):
            if answers:
                self._add_assistant(turn)
            else:
                self._add_turn(turn)
        if messages[-1].role == "assistant":
            refuse(
                f"messages.{len(messages) - 1}",
                "an answer cannot be begun for the model here: the last message must be the user's",
                "unsupported_parameter",
            )

    def _add_turn(self, turn: Iterable[tuple[int, _Message]]) -> None:
        """What comes between two answers: results of tools first, as OpenAI's form has it."""
        rest: list[tuple[str, Raw, list[_Part]]] = []  # path, and instructions or a user's parts
        for place, message in turn:
            path = f"messages.{place}.content"
            if message.role == "system":
                rest.append((path, message.content, []))
                continue
            parts = self._user_parts(message.content, path)
            if parts and rest and rest[-1][2]:
                rest[-1][2].extend(parts)
            elif parts:
                rest.append((path, ABSENT, parts))
        for path, instructions, parts in rest:
            if parts:
                self._write(b'{"role":"user","content":', *_content(parts), b"}")
            else:
                self.add_system(instructions, path)

    def _user_parts(self, raw: Raw, path: str) -> list[_Part]:
        """What a user says; the results of tools that stand in it are added at once."""
        parts: list[_Part] = []
        results = False
        if bytes(memoryview(raw)[:1]) == b"[":
            for place, block in enumerate(read(_decode_blocks, raw, path)):
                where = f"{path}.{place}"
                if block.type == "tool_result":
                    self._add_result(block, where)
                    results = True
                else:
                    parts += self._part(block, where, _SAID, also="tool_result")
        else:
            parts = self._parts(raw, path, _SAID)
        if not parts and results:
            return []
        parts = _nonempty(parts)
        if not parts:
            refuse(path, "must not be empty")
        return parts

    def _add_result(self, block: _Block, path: str) -> None:
        self._note(block)
        native = self._calls.get(text(block.tool_use_id, f"{path}.tool_use_id"))
        if native is None:
            refuse(
                f"{path}.tool_use_id",
                "no tool_use block of the assistant message before it has this id",
            )
        where = f"{path}.content"
        parts = self._parts(block.content, where, _SAID) if given(block.content) else []
        parts = _nonempty(parts) or [_Part(_NO_OUTPUT)]
        if block.is_error and parts[0].image:
            parts.insert(0, _Part(_ERROR.rstrip()))
        elif block.is_error:
            parts[0] = _Part(b"".join((_ERROR, parts[0].value)))
        self._write(
            b'{"role":"tool","tool_call_id":%b,"content":' % _quote(native), *_content(parts), b"}"
        )

    def _add_assistant(self, run: Iterable[tuple[int, _Message]]) -> None:
        self._calls = {}
        self._natives = set()
        said: list[bytes] = []  # of each message
        thought: list[bytes] = []
        calls: list[bytes] = []
        for place, message in run:
            words, thinking = self._answer(message.content, f"messages.{place}.content", calls)
            said += [words] if words else []
            thought += [thinking] if thinking else []
        content, reasoning = _JOIN.join(said), _JOIN.join(thought)
        if not content and not calls:  # it says nothing, and providers refuse such a message
            if reasoning:
                self.dropped["thinking"] = None
            return
        self._write(b'{"role":"assistant","content":', b'"%b"' % content if content else b"null")
        if reasoning:
            self._written.append(
                b',"reasoning_content":"%b","reasoning":"%b"' % (reasoning, reasoning)
            )
            self.repeated += len(reasoning)
        if calls:
            self._written.append(b',"tool_calls":[%b]' % b",".join(calls))
        self._written.append(b"}")

    def _answer(self, raw: Raw, path: str, calls: list[bytes]) -> tuple[bytes, bytes]:
        """What one message of the assistant says and thinks; its calls are added to `calls`."""
        if bytes(memoryview(raw)[:1]) != b"[":
            return bytes(escaped(raw, path)), b""
        said: list[Escaped] = []
        thought: list[Escaped] = []
        for place, block in enumerate(read(_decode_blocks, raw, path)):
            where = f"{path}.{place}"
            self._note(block)
            if block.type == "text":
                said.append(escaped(block.text, f"{where}.text"))
            elif block.type == "thinking":
                thought.append(escaped(block.thinking, f"{where}.thinking"))
            elif block.type == "tool_use":
                calls.append(self._call(block, where))
            elif block.type == "redacted_thinking":
                self.dropped["redacted_thinking"] = None
            else:
                _unknown(block, where, ("text", "thinking", "tool_use"))
        return b"".join(said), b"".join(thought)

    def _call(self, block: _Block, path: str) -> bytes:
        theirs = text(block.id, f"{path}.id")
        native = tool_ids.incoming(theirs)
        if native in self._natives:  # of two answers that were put together
            native = theirs
        name = tool_name(block.name, f"{path}.name")
        given_input = bytes(block.input)
        if not given_input:
            refuse(f"{path}.input", "Field required", "missing_field")
        if given_input[:1] != b"{":
            refuse(f"{path}.input", "must be an object", "invalid_type")
        self._calls[theirs] = native
        self._natives.add(native)
        return b'{"id":%b,"type":"function","function":{"name":"%b","arguments":%b}}' % (
            _quote(native),
            name,
            _quote(given_input.decode()),
        )

    def _parts(self, raw: Raw, path: str, kinds: Sequence[str]) -> list[_Part]:
        """The pieces of a string or a list of blocks, which may be of these kinds."""
        if bytes(memoryview(raw)[:1]) != b"[":
            return [_Part(escaped(raw, path))]
        parts: list[_Part] = []
        for place, block in enumerate(read(_decode_blocks, raw, path)):
            parts += self._part(block, f"{path}.{place}", kinds)
        return parts

    def _part(
        self, block: _Block, path: str, kinds: Sequence[str], *, also: str = ""
    ) -> list[_Part]:
        if block.type not in kinds:
            _unknown(block, path, (*kinds, also) if also else kinds)
        self._note(block)
        if block.type == "text":
            return [_Part(escaped(block.text, f"{path}.text"))]
        if block.type == "image":
            return [self._image(block, path)]
        if block.type == "document":
            return self._document(block, path)
        head = [
            _Part(escaped(block.title, f"{path}.title")),
            _Part(escaped(block.source, f"{path}.source")),
        ]
        return head + self._parts(block.content, f"{path}.content", _TEXT)

    def _image(self, block: _Block, path: str) -> _Part:
        path = f"{path}.source"
        source = _source(block, path)
        if source.type == "base64":
            kind = escaped(source.media_type, f"{path}.media_type")
            data = escaped(source.data, f"{path}.data")
            url: Escaped = b"".join((b"data:", kind, b";base64,", data))
        elif source.type == "url":
            url = escaped(source.url, f"{path}.url")
        else:
            refuse(
                f"{path}.type",
                f"images come as 'base64' or 'url' here, not {source.type[:_MOST_SHOWN]!r}",
                "unsupported_parameter",
            )
        if self._images is None:
            self._images = set()
        self._images.add(source_of(url))
        return _Part(url, image=True)

    def _document(self, block: _Block, path: str) -> list[_Part]:
        parts = [
            _Part(escaped(raw, f"{path}.{name}"))
            for name, raw in (("title", block.title), ("context", block.context))
            if given(raw)
        ]
        if given(block.citations):
            self.dropped["citations"] = None
        path = f"{path}.source"
        source = _source(block, path)
        if source.type not in {"text", "content"}:
            refuse(
                f"{path}.type",
                "only documents of plain text are supported ('text' or 'content'), not"
                f" {source.type[:_MOST_SHOWN]!r}: send the text that is in it",
                "unsupported_parameter",
            )
        if source.type == "text":
            return [*parts, _Part(escaped(source.data, f"{path}.data"))]
        return parts + self._parts(source.content, f"{path}.content", _IN_DOCUMENT)

    def _note(self, block: _Block) -> None:
        if given(block.cache_control):
            self.dropped["cache_control"] = None


def _source(block: _Block, path: str) -> _Source:
    if not given(block.source):
        refuse(path, "Field required", "missing_field")
    return read(_decode_source, block.source, path)


def _nonempty(parts: Sequence[_Part]) -> list[_Part]:
    return [part for part in parts if part.value]


def _content(parts: Sequence[_Part]) -> list[Escaped]:
    """The JSON of a message's content: a string where that will do, which every provider takes."""
    pieces: list[Escaped] = []
    if not any(part.image for part in parts):
        for value, _ in parts:
            pieces += (_JOIN, value)
        return [b'"', *pieces[1:], b'"']
    for value, image in parts:
        lead = b'{"type":"image_url","image_url":{"url":"' if image else b'{"type":"text","text":"'
        pieces += (b",", lead, value, b'"}}' if image else b'"}')
    return [b"[", *pieces[1:], b"]"]


def _unknown(block: _Block, path: str, known: Sequence[str]) -> NoReturn:
    refuse(
        f"{path}.type",
        f"blocks of type {block.type[:_MOST_SHOWN]!r} are not supported here; those that are:"
        f" {', '.join(known)}",
        "unsupported_parameter",
    )
