"""From the bytes of an OpenAI-style reply to neutral events.

A stream's text deltas nearly always repeat one shape, with only the text changing between a fixed
head and a fixed tail. `ChunkReader` learns that shape from the first such chunk, and cuts the text
out of each further one by comparing both ends; JSON is decoded only where the shape does not fit:
at the first chunk of a kind, at tool calls, at the end, at errors.

Raw JSON goes on to the caller: each piece of it is seen to be valid, in UTF-8 and on one line.
"""

import msgspec
from msgspec import Raw, Struct

from backends.errors import BackendError, BadReply, UpstreamFault
from backends.openai_compat.chunks import (
    NOTHING,
    Choice,
    Chunk,
    decode_chunk,
    fault_in,
    mended,
    on_one_line,
    usage_of,
)
from backends.openai_compat.failures import UNREADABLE, ClassifyEvent, classify_event
from backends.sse import ErrorPayload
from backends.values import Event, Finish, Piece, Text

_QUOTE = 0x22
_EMPTY = frozenset({b"null", b'""', b"[]"})
_MEANINGFUL = frozenset({"content", "reasoning", "reasoning_content", "tool_calls", "refusal"})

# Names under which providers stream reasoning text: Moonshot and Novita `reasoning_content`
# (recordings of 2026-08 and 2026-09), older vLLM too; vLLM 0.32 and OpenRouter `reasoning` (measured
# 2026-11-22). Where both come they say the same, and one counts.
_REASONING_KEYS = ("reasoning_content", "reasoning")

_PLACES = 8  # at which a text is looked for in its chunk
_PROBE = b"-tidegate-probe-"  # no provider's text, key or id

_FINISH = {
    "stop": "stop",
    "eos": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
    "abort": "error",  # vLLM, when it is shut down in the middle of an answer
}


class _Function(Struct):
    arguments: str | None = None


class _ToolCall(Struct):
    function: _Function | None = None


_decode_tools = msgspec.json.Decoder(list[_ToolCall]).decode
_decode_any = msgspec.json.Decoder(Raw).decode
_decode_text = msgspec.json.Decoder(str).decode


def _readable(document: bytes) -> tuple[Chunk, bytes]:
    """A chunk, and the document that its raw parts come from: `document`, or what was made of it.

    Raises:
        UNREADABLE: it is no chunk.
    """
    str(document, "utf-8")  # msgspec takes raw values as they are
    try:
        chunk = decode_chunk(document)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        document = mended(document)
        chunk = decode_chunk(document)
    if b"\n" in document or b"\r" in document:
        document = on_one_line(document)
        chunk = decode_chunk(document)
    return chunk, document


def _piece(index: int, delta: dict[str, Raw], scores: Raw) -> Piece | None:
    """A delta with empty members left out and reasoning under one name; None if nothing is left."""
    kept: dict[str, Raw] = {}
    meaningful = False
    for name, raw in delta.items():
        if name == "role" or bytes(raw) in _EMPTY:  # the role is always the assistant's
            continue
        if name in _MEANINGFUL:
            meaningful = True
            if name == "reasoning_content":
                kept.setdefault("reasoning", raw)
                continue
        kept[name] = raw
    logprobs = None if bytes(scores) in NOTHING else scores
    if not kept and logprobs is None:
        return None
    return Piece(index, kept, meaningful, logprobs)


def _finish(choice: Choice, native: str) -> Finish:
    """The end of a choice.

    Raises:
        UpstreamFault: it is not one that the model came to.
    """
    reason = _FINISH.get(native, "stop")
    if reason == "error":
        raise UpstreamFault(
            f"the provider ended the answer with finish_reason {native!r}",
            public="the provider broke the answer off",
            native_code=native,
        )
    return Finish(choice.index, reason, native)


class ChunkReader:
    """Turns the payloads of a chat stream into events.

    Attributes:
        upstream_id: the provider's id of the answer, once seen.
        done: `[DONE]` was seen; whatever follows it is ignored.
        finished: a choice has ended as it should.
        broken_off: the provider said that it ends the answer early; usage may follow.
        malformed: payloads that were not a chunk; they are skipped.
    """

    __slots__ = (
        "_classify",
        "_shapes",
        "broken_off",
        "done",
        "finished",
        "malformed",
        "upstream_id",
    )

    def __init__(self, classify: ClassifyEvent = classify_event) -> None:
        self._classify = classify
        self._shapes: list[tuple[bytes, bytes, int, int, int, bool]] = []
        self.upstream_id: str | None = None
        self.done = False
        self.finished = False
        self.broken_off = False
        self.malformed = 0

    def read(self, payload: bytes, events: list[Event]) -> None:
        """Append what `payload` says to `events`.

        Raises:
            BackendError: the payload is an error event, or an end that is a failure.
        """
        for head, tail, begins, ends, least, reasoning in self._shapes:
            if len(payload) > least and payload.startswith(head) and payload.endswith(tail):
                quoted = payload[begins:ends]
                try:
                    _decode_text(quoted)
                except UNREADABLE:  # it only looks like one string: decode it all
                    break
                events.append(Text(quoted[1:-1], reasoning))
                return
        self._decode(payload, events)

    def _decode(self, payload: bytes, events: list[Event]) -> None:
        named = type(payload) is ErrorPayload
        if self.done or not (payload or named):  # an empty event is a sign of life
            return
        if payload == b"[DONE]":
            self.done = True
            self._shapes.clear()  # so that what follows comes here
            return
        try:
            chunk, payload = _readable(payload)
        except UNREADABLE:
            fault = _fault(payload)
            if fault is not None or named:
                raise self._classify(fault or Raw(b"null")) from None
            self.malformed += 1
            return
        if named or bytes(chunk.error) not in NOTHING:
            raise self._classify(_fault(payload) or Raw(payload))
        if not chunk.choices and chunk.usage is None:
            if (fault := _fault(payload)) is not None:
                raise self._classify(fault)
            # JSON, but nothing that a stream of chat chunks may hold, unless it is an empty list.
            self.malformed += chunk.choices is None
        if self.upstream_id is None:
            self.upstream_id = chunk.id
        self._tell(chunk, payload, events)

    def _tell(self, chunk: Chunk, payload: bytes, events: list[Event]) -> None:
        failure: BackendError | None = None
        for choice in chunk.choices or ():
            piece = _piece(choice.index, choice.delta or {}, choice.logprobs)
            if piece is not None:
                events.append(self._text(payload, chunk, choice, piece) or piece)
            if choice.finish_reason is not None:
                try:
                    events.append(_finish(choice, choice.finish_reason))
                    self.finished = True
                except UpstreamFault as error:
                    failure = error
            if choice.usage is not None and (usage := usage_of(choice.usage)):
                events.append(usage)
        if chunk.usage is not None and (usage := usage_of(chunk.usage)):
            events.append(usage)
        if failure is not None:
            self.broken_off = True
            raise failure

    def _text(self, payload: bytes, chunk: Chunk, choice: Choice, piece: Piece) -> Text | None:
        """A plain text delta, whose shape is remembered if nothing else is in the chunk."""
        if len(piece.delta) != 1 or piece.index != 0 or piece.logprobs is not None:
            return None
        ((name, raw),) = piece.delta.items()
        quoted = bytes(raw)
        if name not in {"content", "reasoning"} or quoted[0] != _QUOTE:
            return None
        reasoning = name == "reasoning"
        # A usage object changes from chunk to chunk, and must be seen: no shape holds one.
        alone = len(chunk.choices or ()) == 1 and chunk.usage is None
        if alone and choice.finish_reason is None and choice.usage is None:
            self._learn(payload, quoted, reasoning=reasoning)
        return Text(quoted[1:-1], reasoning)

    def _learn(self, payload: bytes, quoted: bytes, *, reasoning: bool) -> None:
        """Remember what surrounds `quoted`, the text of a delta.

        The same bytes may stand elsewhere too, as a key or an id: the right place is the one where
        another text changes the delta's.
        """
        at = -1
        for _ in range(_PLACES):
            at = payload.find(quoted, at + 1)
            if at < 0:
                return
            head, tail = payload[: at + 1], payload[at + len(quoted) - 1 :]
            if _is_text(head + _PROBE + tail, reasoning=reasoning):
                shape = (head, tail, at, 1 - len(tail), len(head) + len(tail), reasoning)
                self._shapes = [s for s in self._shapes if s[5] is not reasoning]
                self._shapes.insert(0, shape)
                return


def _is_text(document: bytes, *, reasoning: bool) -> bool:
    """Whether the text of the first choice's delta is `_PROBE`."""
    try:
        choices = decode_chunk(document).choices or ()
    except UNREADABLE:
        return False
    probe = b'"%b"' % _PROBE
    delta = (choices[0].delta or {}) if choices else {}
    keys = _REASONING_KEYS if reasoning else ("content",)
    return any(bytes(delta.get(key, Raw(b""))) == probe for key in keys)


def _fault(document: bytes) -> Raw | None:
    """The error that a document is, or holds, as far as it can be read."""
    try:
        return fault_in(document)
    except UNREADABLE:
        return None


def read_whole(
    body: bytes, classify: ClassifyEvent = classify_event
) -> tuple[str | None, list[Event]]:
    """The id and events of a reply that was not streamed.

    Raises:
        BadReply: it is not a chat completion, or a tool call's arguments are not JSON.
        BackendError: it holds an error.
    """
    try:
        reply, body = _readable(body)
    except UNREADABLE as error:
        if (fault := _fault(body)) is not None:
            raise classify(fault) from None
        raise BadReply(f"not a chat completion: {error}") from None
    if (not reply.choices or bytes(reply.error) not in NOTHING) and (fault := _fault(body)):
        raise classify(fault)
    if not reply.choices:
        raise BadReply("a chat completion without choices")
    events: list[Event] = []
    for choice in reply.choices:
        piece = _piece(choice.index, choice.message or {}, choice.logprobs)
        if piece is not None:
            _check_tool_calls(piece)
            events.append(piece)
        events.append(_finish(choice, choice.finish_reason or "stop"))
        if choice.usage is not None and (usage := usage_of(choice.usage)):
            events.append(usage)
    if reply.usage is not None and (usage := usage_of(reply.usage)):
        events.append(usage)
    return reply.id, events


def _check_tool_calls(piece: Piece) -> None:
    raw = piece.delta.get("tool_calls")
    if raw is None:
        return
    try:
        for call in _decode_tools(raw):
            if call.function is not None and call.function.arguments:
                _decode_any(call.function.arguments.encode())
    except UNREADABLE as error:
        raise BadReply(f"a tool call that is not JSON: {error}") from None
