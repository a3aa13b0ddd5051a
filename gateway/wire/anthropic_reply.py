"""Anthropic's Messages dialect, on the caller's side: events to a message, or to a stream of events.

    message_start
    content_block_start  content_block_delta …  content_block_stop      one block after the other
    message_delta        why it ended, and usage
    message_stop

Shapes and order are those of Anthropic's streaming reference and of its Python SDK 2.12 (read
2026-11-22). Text arrives as JSON-escaped bytes and leaves as the same bytes. Blocks are thinking, text
and tool_use; where a provider sends pieces of several tool calls in turn, the later ones wait until the
one before is complete.

`signature` of a thinking block is the generation id: clients send only signed thinking back, and this
gateway takes back any. Input tokens in `message_start` are 0, as nobody has counted them yet: those of
`message_delta` replace them.
"""

from collections.abc import Iterable

import msgspec
from msgspec import Raw

from backends import Event, Finish, Piece, Text, Usage
from backends.errors import BadReply
from gateway.values import UsageView
from gateway.wire import tool_ids
from gateway.wire.anthropic_tools import Calls, ToolCall, fragments
from gateway.wire.costs import cost_members
from gateway.wire.notes import NO_NOTES, Notes

_json = msgspec.json.Encoder().encode
_TAIL = b'"}}\n\n'
_NO_FINISH = Finish(0, "stop", "stop")  # of a provider that does not say why its answer ended
KEEP_ALIVE = b'event: ping\ndata: {"type": "ping"}\n\n'
_REASONS = {
    "stop": b'"end_turn"',
    "length": b'"max_tokens"',
    "tool_calls": b'"tool_use"',
    "content_filter": b'"refusal"',
}


def message_id(generation_id: str) -> str:
    """The id of the message that answers a request; `generation_id` reads it back."""
    return "msg_" + generation_id.removeprefix("gen-")


def generation_id(message: str) -> str:
    """The generation that a message's id stands for; any other id as it is."""
    return "gen-" + message.removeprefix("msg_") if message.startswith("msg_") else message


def usage_json(view: UsageView) -> bytes:
    """The `usage` object: Anthropic's fields, and what it cost.

    `input_tokens` leaves out what was read from or written to a cache.
    """
    usage = view.usage
    written = usage.cache_write + usage.cache_write_1h
    return (
        b'{"input_tokens":%d,"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,'
        b'"cache_creation":{"ephemeral_5m_input_tokens":%d,"ephemeral_1h_input_tokens":%d},'
        b'"output_tokens":%d,"output_tokens_details":{"thinking_tokens":%d},'
        b'"service_tier":"standard",%b}'
    ) % (
        usage.prompt - usage.cached - written,
        written,
        usage.cached,
        usage.cache_write,
        usage.cache_write_1h,
        usage.completion,
        usage.reasoning,
        cost_members(view),
    )


def _ending(finishes: list[Finish], *, called: bool) -> bytes:
    """Why the message ended: the two members that say so."""
    finish = next((f for f in finishes if f.index == 0), _NO_FINISH)
    reason = _REASONS.get(finish.reason, b'"end_turn"')
    if finish.reason == "stop" and called:
        reason = b'"tool_use"'  # some providers say "stop" after a tool call as well
    elif finish.native_reason == "stop_sequence":
        reason = b'"stop_sequence"'
    # Which of the stop sequences it was, OpenAI's form does not say.
    return b'"stop_reason":%b,"stop_sequence":null' % reason


def _is_cut(finishes: list[Finish]) -> bool:
    """Whether the answer was cut at its cap."""
    return any(finish.index == 0 and finish.reason == "length" for finish in finishes)


def _lead(generation: str, model: str, provider: str) -> bytes:
    """The beginning of a message, up to its content."""
    return b'{"id":%b,"type":"message","role":"assistant","model":%b,"provider":%b,"content":' % (
        _json(message_id(generation)),
        _json(model),
        _json(provider),
    )


def _texts(piece: Piece) -> Iterable[tuple[bytes, bool]]:
    """The text that a piece holds besides tool calls, reasoning first, with whether it is that."""
    for name in ("reasoning", "content", "refusal"):
        raw = bytes(piece.delta.get(name, b""))
        if raw[:1] == b'"' and len(raw) > 2:  # noqa: PLR2004 - more than the quotation marks
            yield raw[1:-1], name == "reasoning"


class StreamEncoder:
    """Encodes one streamed answer. Reasoning that is not told is counted all the same.

    Attributes:
        deltas: pieces of answer that were encoded.
        size: bytes of these.
        finishes: the ends of choices that were seen.
        usage: the provider's last statement; later ones replace earlier ones.
        tool_deltas: deltas of tool calls, each with the index of its choice.
        told: whether anything of the answer itself was encoded.
    """

    __slots__ = (
        "_block",
        "_calls",
        "_exclude",
        "_fault",
        "_generation_id",
        "_head",
        "_index",
        "_start",
        "deltas",
        "finishes",
        "size",
        "told",
        "tool_deltas",
        "usage",
    )

    def __init__(
        self,
        *,
        generation_id: str,
        created: int,
        model: str,
        provider: str,
        exclude: bool = False,
    ) -> None:
        """`created`, in epoch seconds, has no place in this dialect; `exclude` leaves reasoning out."""
        del created
        self._exclude = exclude
        self._start: bytes | None = (
            b'event: message_start\ndata: {"type":"message_start","message":'
            + _lead(generation_id, model, provider)
            + b'[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,'
            b'"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}\n\n'
        )
        self._generation_id = generation_id
        self._block = ""  # the kind of the open block; empty where none is
        self._index = -1  # its place
        self._head = b""  # what goes before each piece of it
        self._calls = Calls()
        self.told = False
        self.deltas = 0
        self.size = 0
        self.finishes: list[Finish] = []
        self.usage: Usage | None = None
        self.tool_deltas: list[tuple[int, Raw]] = []
        self._fault: BadReply | None = None

    def encode(self, events: Iterable[Event]) -> bytes:
        """The bytes that carry `events`; ends and usage are kept for `end`."""
        parts: list[bytes] = [] if self._start is None else [self._start]
        self._start = None
        begun = len(parts)
        for event in events:
            if isinstance(event, Text):
                self.deltas += 1
                self.size += len(event.text)
                self._text(event.text, event.reasoning, parts)
            elif isinstance(event, Piece):
                self.deltas += event.meaningful
                self.size += sum([len(raw) for raw in event.delta.values()])
                if "tool_calls" in event.delta:
                    self.tool_deltas.append((event.index, event.delta["tool_calls"]))
                if event.index == 0:  # one answer is all that this dialect can ask for
                    self._piece(event, parts)
            elif isinstance(event, Finish):
                self.finishes.append(event)
            else:
                self.usage = event
        self.told |= len(parts) > begun
        return b"".join(parts)

    @property
    def fault(self) -> BadReply | None:
        """Why the answer cannot be told, if it cannot: ask once all of it has come."""
        return self._fault or self._calls.fault(cut=_is_cut(self.finishes))

    def _text(self, text: bytes, reasoning: bool, parts: list[bytes]) -> None:  # noqa: FBT001 - as the event has it
        if self._fault is not None or (reasoning and self._exclude):
            return
        kind = "thinking" if reasoning else "text"
        if self._block != kind:
            self._calls.leave()
            self._open(kind, b'"%b":""' % kind.encode(), parts)
            if reasoning:
                self._head += b'{"type":"thinking_delta","thinking":"'
            else:
                self._head += b'{"type":"text_delta","text":"'
        parts += (self._head, text, _TAIL)

    def _piece(self, piece: Piece, parts: list[bytes]) -> None:
        for text, reasoning in _texts(piece):
            self._text(text, reasoning, parts)
        raw = piece.delta.get("tool_calls")
        if raw is None or self._fault is not None:
            return
        try:
            self._calls.add(fragments(raw))
        except BadReply as fault:
            self._fault = fault
            return
        self._tell_calls(parts, ended=False)

    def _tell_calls(self, parts: list[bytes], *, ended: bool) -> None:
        for call, started, pieces in self._calls.tellable(ended=ended):
            if started:
                name = _json(call.name)
                identity = _json(tool_ids.outgoing(call.id, self._generation_id))
                self._open("tool_use", b'"id":%b,"name":%b,"input":{}' % (identity, name), parts)
                self._head += b'{"type":"input_json_delta","partial_json":"'
            for piece in pieces:
                parts += (self._head, piece, _TAIL)

    def _open(self, kind: str, members: bytes, parts: list[bytes]) -> None:
        self._close(parts)
        self._block = kind
        self._index += 1
        signature = b',"signature":""' if kind == "thinking" else b""
        parts.append(
            b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,'
            b'"content_block":{"type":"%b",%b%b}}\n\n'
            % (self._index, kind.encode(), members, signature)
        )
        self._head = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":'
            % self._index
        )

    def _close(self, parts: list[bytes]) -> None:
        if not self._block:
            return
        if self._block == "thinking":
            parts.append(
                b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
                b'"delta":{"type":"signature_delta","signature":%b}}\n\n'
                % (self._index, _json(self._generation_id))
            )
        parts.append(
            b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
            % self._index
        )
        self._block = ""

    def end(self, view: UsageView | None, notes: Notes = NO_NOTES) -> bytes:
        """The end of the last block, why the message ended, its usage, notes, and `message_stop`."""
        parts: list[bytes] = []
        if self._start is not None:
            parts.append(self._start)
        self._tell_calls(parts, ended=True)
        self._close(parts)
        usage = b'{"output_tokens":0}' if view is None else usage_json(view)
        ending = _ending(self.finishes, called=self._calls.any)
        parts += (
            b'event: message_delta\ndata: {"type":"message_delta","delta":{%b},"usage":' % ending,
            usage,
            notes.member(),
            b'}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n',
        )
        return b"".join(parts)

    def failure(self, error: bytes) -> bytes:
        """The event that tells of a failure after the answer began; no `message_stop` follows it.

        `error` is the JSON of the error object.
        """
        return b'event: error\ndata: {"type":"error","error":%b,"request_id":%b}\n\n' % (
            error,
            _json(self._generation_id),
        )


class WholeEncoder:
    """Collects one answer and encodes it in one piece.

    Attributes:
        deltas: pieces of answer that came.
        size: bytes of these.
        finishes: the ends of choices that were seen.
        usage: the provider's last statement; later ones replace earlier ones.
    """

    __slots__ = ("_blocks", "_calls", "_exclude", "deltas", "finishes", "size", "usage")

    def __init__(self, *, exclude: bool = False) -> None:
        """`exclude` leaves reasoning out."""
        self._exclude = exclude
        self._blocks: list[tuple[bool, list[bytes]]] = []  # whether it is reasoning, and its text
        self._calls = Calls()
        self.deltas = 0
        self.size = 0
        self.finishes: list[Finish] = []
        self.usage: Usage | None = None

    def add(self, events: Iterable[Event]) -> None:
        """Take in more of the answer.

        Raises:
            BadReply: a tool call is in no form that could be put together.
        """
        for event in events:
            if isinstance(event, Text):
                self.deltas += 1
                self.size += len(event.text)
                self._text(event.text, event.reasoning)
            elif isinstance(event, Piece):
                self.deltas += event.meaningful
                self.size += sum([len(raw) for raw in event.delta.values()])
                if event.index == 0:
                    self._piece(event)
            elif isinstance(event, Finish):
                self.finishes.append(event)
            else:
                self.usage = event

    def _text(self, text: bytes, reasoning: bool) -> None:  # noqa: FBT001 - as the event has it
        if reasoning and self._exclude:
            return
        if not self._blocks or self._blocks[-1][0] is not reasoning:
            self._blocks.append((reasoning, []))
        self._blocks[-1][1].append(text)

    def _piece(self, piece: Piece) -> None:
        for text, reasoning in _texts(piece):
            self._text(text, reasoning)
        raw = piece.delta.get("tool_calls")
        if raw is not None:
            self._calls.add(fragments(raw))

    def check(self) -> None:
        """See that the arguments of each tool call are an object.

        Where the output cap cut the answer, a call that it cut is left out: `max_tokens` says why.

        Raises:
            BadReply: the arguments of one are not.
        """
        self._calls.check(cut=_is_cut(self.finishes))

    def end(
        self,
        *,
        generation_id: str,
        created: int,
        model: str,
        provider: str,
        view: UsageView,
        notes: Notes = NO_NOTES,
    ) -> bytes:
        """The whole answer. `created`, in epoch seconds, has no place in this dialect."""
        del created
        blocks = [
            b'{"type":"thinking","thinking":"%b","signature":%b}'
            % (b"".join(texts), _json(generation_id))
            if reasoning
            else b'{"type":"text","text":"%b"}' % b"".join(texts)
            for reasoning, texts in self._blocks
        ]
        blocks += [self._tool_use(call, generation_id) for call in self._calls.told]
        return b"".join(
            (
                _lead(generation_id, model, provider),
                b"[%b]," % b",".join(blocks),
                _ending(self.finishes, called=self._calls.any),
                b',"usage":',
                usage_json(view),
                notes.member(),
                b"}",
            )
        )

    @staticmethod
    def _tool_use(call: ToolCall, generation_id: str) -> bytes:
        return b'{"type":"tool_use","id":%b,"name":%b,"input":%b}' % (
            _json(tool_ids.outgoing(call.id, generation_id)),
            _json(call.name),
            call.input,
        )
