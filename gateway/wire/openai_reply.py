"""OpenAI's chat dialect, on the caller's side: events to bytes.

Text arrives as JSON-escaped bytes and leaves as the same bytes, between a head and a tail that are made
once for each answer. Reasoning is given under both names that clients read: `reasoning` (OpenRouter,
newer vLLM) and `reasoning_content` (Moonshot, DeepSeek).
"""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Raw, Struct

from backends import Event, Finish, Piece, Text, Usage
from backends.errors import BadReply
from gateway.values import UsageView
from gateway.wire.costs import cost_members

_json = msgspec.json.Encoder().encode
_TEXT_TAIL = b'"},"finish_reason":null}]}\n\n'
DONE = b"data: [DONE]\n\n"
_NO_FINISH = Finish(0, "stop", "stop")  # of a provider that does not say why its answer ended
KEEP_ALIVE = b": TIDEGATE PROCESSING\n\n"  # a comment: event-stream clients skip it


def usage_json(view: UsageView) -> bytes:
    """The `usage` object: OpenAI's fields, and what it cost."""
    usage = view.usage
    return (
        b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,%b,'
        b'"prompt_tokens_details":{"cached_tokens":%d,"cache_write_tokens":%d},'
        b'"completion_tokens_details":{"reasoning_tokens":%d}}'
    ) % (
        usage.prompt,
        usage.completion,
        usage.prompt + usage.completion,
        cost_members(view),
        usage.cached,
        usage.cache_write + usage.cache_write_1h,
        usage.reasoning,
    )


def _choice_end(finish: Finish) -> bytes:
    return b'"finish_reason":%b,"native_finish_reason":%b' % (
        _json(finish.reason),
        _json(finish.native_reason),
    )


class StreamEncoder:
    """Encodes one streamed answer.

    Attributes:
        deltas: pieces of answer that were encoded.
        size: bytes of these.
        finishes: the ends of choices that were seen.
        usage: the provider's last statement; later ones replace earlier ones.
        fault: None, as there is no answer that this dialect could not tell.
    """

    fault: BadReply | None = None

    __slots__ = (
        "_content",
        "_head",
        "_reasoning",
        "_started",
        "deltas",
        "finishes",
        "size",
        "usage",
    )

    def __init__(self, *, generation_id: str, created: int, model: str, provider: str) -> None:
        """`created` is in epoch seconds."""
        self._head = (
            b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"provider":%b,'
            % (_json(generation_id), created, _json(model), _json(provider))
        )
        self._content = self._head + b'"choices":[{"index":0,"delta":{"content":"'
        self._reasoning = self._head + b'"choices":[{"index":0,"delta":{"reasoning":"'
        self._started = False
        self.deltas = 0
        self.size = 0
        self.finishes: list[Finish] = []
        self.usage: Usage | None = None

    def encode(self, events: Sequence[Event]) -> bytes:
        """The bytes that carry `events`; ends and usage are kept for `end`."""
        parts: list[bytes | Raw] = []
        if not self._started:
            self._started = True
            parts.append(self._head)
            parts.append(
                b'"choices":[{"index":0,"delta":{"role":"assistant","content":""},'
                b'"finish_reason":null}]}\n\n'
            )
        for event in events:
            if isinstance(event, Text):
                text = event.text
                self.deltas += 1
                self.size += len(text)
                if event.reasoning:
                    told = b'%b%b","reasoning_content":"%b%b'
                    told %= (self._reasoning, text, text, _TEXT_TAIL)
                else:
                    told = self._content + text + _TEXT_TAIL
                if len(events) == 1 and not parts:
                    return told  # as nearly every time in a live stream
                parts.append(told)
            elif isinstance(event, Piece):
                self.deltas += event.meaningful
                self.size += sum(map(len, event.delta.values()))
                self._piece(event, parts)
            elif isinstance(event, Finish):
                self.finishes.append(event)
            elif isinstance(event, Usage):
                self.usage = event
        return b"".join(parts)

    def _piece(self, piece: Piece, parts: list[bytes | Raw]) -> None:
        parts.append(self._head)
        parts.append(b'"choices":[{"index":%d,"delta":' % piece.index)
        _members(piece.delta.items(), parts)
        if piece.logprobs is not None:
            parts += (b',"logprobs":', piece.logprobs)
        parts.append(b',"finish_reason":null}]}\n\n')

    def end(self, view: UsageView | None) -> bytes:
        """The ends of all choices, usage if wanted, and `[DONE]`."""
        parts: list[bytes] = []
        for finish in self.finishes or [_NO_FINISH]:
            parts += (
                self._head,
                b'"choices":[{"index":%d,"delta":{},' % finish.index,
                _choice_end(finish),
                b"}]}\n\n",
            )
        if view is not None:
            parts += (self._head, b'"choices":[],"usage":', usage_json(view), b"}\n\n")
        parts.append(DONE)
        return b"".join(parts)

    def failure(self, error: bytes) -> bytes:
        """The event that tells of a failure after the answer began; no `[DONE]` follows it.

        `error` is the JSON of the error object.
        """
        return (
            self._head
            + b'"error":'
            + error
            + b',"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}\n\n'
        )


def _members(items: Iterable[tuple[str, Raw | bytes]], parts: list[bytes | Raw]) -> None:
    comma = b"{"
    for name, raw in items:
        parts += (comma, _json(name), b":", raw)
        if name == "reasoning":
            parts += (b',"reasoning_content":', raw)
        comma = b","
    parts.append(b"{}" if comma == b"{" else b"}")


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


_decode_text = msgspec.json.Decoder(str).decode
_decode_any = msgspec.json.Decoder(Raw).decode
_decode_tools = msgspec.json.Decoder(list[_ToolCall]).decode


class _Message:
    """One choice as it grows."""

    __slots__ = ("finish", "index", "logprobs", "lone", "other", "texts", "tools")

    def __init__(self, index: int) -> None:
        self.index = index
        # A whole reply comes in one piece, whose members need no putting together.
        self.lone: Piece | None = None
        self.texts: dict[str, list[bytes]] = {}
        self.other: dict[str, Raw] = {}
        self.tools: dict[int, _ToolCall] = {}
        self.logprobs: list[Raw] = []
        self.finish = Finish(index, "stop", "stop")

    def add(self, piece: Piece) -> None:
        if self.lone is not None:
            before, self.lone = self.lone, None
            self._take(before)
        elif not (self.texts or self.other or self.tools or "tool_calls" in piece.delta):
            self.lone = piece
            return
        self._take(piece)

    def add_text(self, text: Text) -> None:
        if self.lone is not None:
            before, self.lone = self.lone, None
            self._take(before)
        name = "reasoning" if text.reasoning else "content"
        self.texts.setdefault(name, []).append(text.text)

    def _take(self, piece: Piece) -> None:
        for name, raw in piece.delta.items():
            if name == "tool_calls":
                self._add_tools(raw)
            elif name in {"content", "reasoning", "refusal"} and bytes(raw)[:1] == b'"':
                self.texts.setdefault(name, []).append(bytes(raw)[1:-1])
            else:
                self.other[name] = raw
        if piece.logprobs is not None:
            self.logprobs.append(piece.logprobs)

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
            if part.function is not None and whole.function is not None:
                whole.function.name = whole.function.name or part.function.name
                more = part.function.arguments
                if bytes(more) not in {b"", b"null"}:
                    if bytes(more)[:1] != b'"':
                        raise BadReply("the arguments of a tool call are not a string")
                    before = bytes(whole.function.arguments)
                    joined = before[:-1] + bytes(more)[1:] if before else bytes(more)
                    whole.function.arguments = Raw(joined)

    def encode(self, parts: list[bytes | Raw]) -> None:
        parts.append(b'{"index":%d,"message":{"role":"assistant","content":' % self.index)
        if self.lone is not None:
            delta = self.lone.delta
            parts.append(delta.get("content", _NULL))
            for name, raw in delta.items():
                if name != "content":
                    parts += (b",", _json(name), b":", raw)
                    if name == "reasoning":
                        parts += (b',"reasoning_content":', raw)
            parts += (b'},"logprobs":', self.lone.logprobs or _NULL, b",")
            parts += (_choice_end(self.finish), b"}")
            return
        content = self.texts.pop("content", None)
        if content is None:
            parts.append(self.other.pop("content", _NULL))
        else:
            parts += (b'"', *content, b'"')
        for name, texts in self.texts.items():
            text = b'"%b"' % b"".join(texts)
            parts += (b",", _json(name), b":", text)
            if name == "reasoning":
                parts += (b',"reasoning_content":', text)
        for name, raw in self.other.items():
            parts += (b",", _json(name), b":", raw)
        if self.tools:
            calls = [self.tools[index] for index in sorted(self.tools)]
            parts += (b',"tool_calls":', _json(calls))
        parts += (b'},"logprobs":', _joined(self.logprobs), b",", _choice_end(self.finish), b"}")


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


class WholeEncoder:
    """Collects one answer and encodes it in one piece.

    Attributes:
        deltas: pieces of answer that came.
        size: bytes of these.
        usage: the provider's last statement; later ones replace earlier ones.
    """

    __slots__ = ("_messages", "deltas", "size", "usage")

    def __init__(self) -> None:
        self._messages: dict[int, _Message] = {}
        self.deltas = 0
        self.size = 0
        self.usage: Usage | None = None

    @property
    def finishes(self) -> list[Finish]:
        """The ends of the choices, as far as they were seen."""
        return [message.finish for message in self._messages.values()]

    def add(self, events: Iterable[Event]) -> None:
        """Take in more of the answer.

        Raises:
            BadReply: a tool call is in no form that could be put together.
        """
        for event in events:
            if isinstance(event, Piece):
                self.deltas += event.meaningful
                self.size += sum(map(len, event.delta.values()))
                self._message(event.index).add(event)
            elif isinstance(event, Text):
                self.deltas += 1
                self.size += len(event.text)
                self._message(0).add_text(event)
            elif isinstance(event, Finish):
                self._message(event.index).finish = event
            else:
                self.usage = event

    def _message(self, index: int) -> _Message:
        message = self._messages.get(index)
        if message is None:
            message = self._messages[index] = _Message(index)
        return message

    def check(self) -> None:
        """See that the tool calls, put together, can be parsed.

        Raises:
            BadReply: the arguments of one are not JSON.
        """
        for message in self._messages.values():
            for call in message.tools.values():
                arguments = _ABSENT if call.function is None else call.function.arguments
                try:
                    if bytes(arguments) not in {b"", b'""'}:
                        _decode_any(_decode_text(arguments))
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    raise BadReply(f"a tool call that is not JSON: {error}") from None

    def end(
        self, *, generation_id: str, created: int, model: str, provider: str, view: UsageView
    ) -> bytes:
        """The whole answer. `created` is in epoch seconds."""
        parts: list[bytes | Raw] = [
            b'{"id":%b,"object":"chat.completion","created":%d,"model":%b,"provider":%b,"choices":['
            % (_json(generation_id), created, _json(model), _json(provider))
        ]
        comma = b""
        for index in sorted(self._messages):
            parts.append(comma)
            self._messages[index].encode(parts)
            comma = b","
        parts += (b'],"system_fingerprint":null,"usage":', usage_json(view), b"}")
        return b"".join(parts)
