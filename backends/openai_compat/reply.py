"""From the bytes of an OpenAI-style reply to neutral events.

A stream's text deltas nearly always repeat one shape, with only the text changing between a fixed
head and a fixed tail. `ChunkReader` learns that shape from the first such chunk, and cuts the text
out of each further one by comparing both ends; JSON is decoded only where the shape does not fit:
at the first chunk of a kind, at tool calls, at the end, at errors.

Raw JSON goes on to the caller: each piece of it is seen to be valid, in UTF-8 and on one line.
"""

import msgspec
from msgspec import Raw, Struct

from backends.errors import BackendError, BadReply, BadToolCall
from backends.openai_compat.chunks import (
    NOTHING,
    Choice,
    Chunk,
    ClassifyEvent,
    fault_in,
    finish_of,
    identity_of,
    piece_of,
    readable,
    stated_in,
    usage_in,
    usage_of,
)
from backends.openai_compat.failure_bodies import UNREADABLE
from backends.openai_compat.failure_rows import UNMARKED
from backends.openai_compat.leaks import Leaks
from backends.openai_compat.shapes import Doubled, Shape, learn, learn_doubled, tellings
from backends.openai_compat.tool_calls import ToolCalls
from backends.sse import ErrorPayload
from backends.values import Event, Piece, Text, Usage

_QUOTE, _LESS, _BACKSLASH = 0x22, 0x3C, 0x5C
_CUT = ("length", "content_filter")  # ends at which a tool call may rightly be incomplete


class _Function(Struct):
    arguments: str | None = None


class _ToolCall(Struct):
    function: _Function | None = None


class Reading(Struct, frozen=True, kw_only=True):
    """What the answer to one request may hold.

    Attributes:
        leaks: whether tool calls may stand in its text.
        held: ids of earlier tool calls, which no call of this answer may have.
    """

    leaks: bool = False
    held: frozenset[str] = frozenset()


PLAIN = Reading()

_decode_tools = msgspec.json.Decoder(list[_ToolCall]).decode
_decode_any = msgspec.json.Decoder(Raw).decode
_decode_text = msgspec.json.Decoder(str).decode


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
        "_calls",
        "_classify",
        "_doubled",
        "_leaks",
        "_shapes",
        "broken_off",
        "done",
        "finished",
        "malformed",
        "upstream_id",
    )

    def __init__(self, classify: ClassifyEvent = UNMARKED.event, reading: Reading = PLAIN) -> None:
        self._classify = classify
        self._calls = ToolCalls(reading.held)
        self._leaks = Leaks(self._calls) if reading.leaks else None
        self._shapes: list[Shape] = []
        self._doubled: Doubled | None = None
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
                leaks = self._leaks
                # Numbers are looked for much faster than bytes objects are.
                if leaks is None or not (
                    _LESS in quoted
                    or leaks.channels
                    or (_BACKSLASH in quoted and quoted.find(b"\\u003") >= 0)
                ):
                    events.append(Text(quoted[1:-1], reasoning))
                else:
                    leaks.text(Text(quoted[1:-1], reasoning), events)
                return
        if self._doubled is None or not self._read_doubled(self._doubled, payload, events):
            self._decode(payload, events)

    def end(self, events: list[Event]) -> None:
        """Append to `events` what is left of a stream that has ended, well or not. Harmless twice."""
        if self._leaks is not None:
            self._leaks.end(events)

    def _read_doubled(self, shape: Doubled, payload: bytes, events: list[Event]) -> bool:
        head, middle, tail, fixed = shape
        size, odd = divmod(len(payload) - fixed, 2)
        begins = len(head)
        ends = begins + size
        text = payload[begins:ends]
        if (
            odd
            or size <= 0
            or not payload.startswith(head)
            or not payload.startswith(middle + text, ends)
            or not payload.endswith(tail)
        ):
            return False
        try:
            _decode_text(b'"%b"' % text)
        except UNREADABLE:
            return False
        self._add(Text(text, reasoning=True), events)
        return True

    def _add(self, event: Text | Piece, events: list[Event]) -> None:
        """Append a delta, looking for tool calls that were left in its text."""
        if self._leaks is None:
            events.append(event)
        elif isinstance(event, Text):
            self._leaks.text(event, events)
        else:
            self._leaks.piece(event, events)

    def _decode(self, payload: bytes, events: list[Event]) -> None:
        named = type(payload) is ErrorPayload
        if self.done or not (payload or named):  # an empty event is a sign of life
            return
        if payload == b"[DONE]":
            self.done = True
            self._shapes.clear()  # so that what follows comes here
            self._doubled = None
            self.end(events)
            events += self._calls.unfinished()
            return
        try:
            chunk, payload = readable(payload)
        except UNREADABLE:
            fault = _fault(payload)
            if fault is not None or named:
                raise self._classify(fault or Raw(b"null")) from None
            self.malformed += 1
            return
        if named or bytes(chunk.error) not in NOTHING:
            if (usage := stated_in(chunk)) is not None:
                events.append(usage)
            raise self._classify(_fault(payload) or Raw(payload))
        if not chunk.choices and bytes(chunk.usage) in NOTHING:
            if (fault := _fault(payload)) is not None:
                raise self._classify(fault)
            # JSON, but nothing that a stream of chat chunks may hold, unless it is an empty list.
            self.malformed += chunk.choices is None
        if self.upstream_id is None:
            self.upstream_id = identity_of(chunk.id)
        self._tell(chunk, payload, events)

    def _tell(self, chunk: Chunk, payload: bytes, events: list[Event]) -> None:
        failure: BackendError | None = None
        for choice in chunk.choices or ():
            piece = piece_of(choice.index, choice.delta or {}, choice.logprobs)
            if piece is not None:
                if "tool_calls" in piece.delta:
                    piece = self._calls.delta(piece)
                self._add(self._text(payload, chunk, choice, piece) or piece, events)
            if choice.finish_reason is not None:
                if self._leaks is not None:
                    self._leaks.flush(choice.index, events)
                try:
                    finish = finish_of(choice, choice.finish_reason, self._classify)
                    events.append(self._calls.finish(finish))
                    self.finished = True
                except BackendError as error:
                    failure = error
            if (usage := usage_of(choice.usage)) is not None:
                events.append(usage)
        if (usage := usage_in(chunk)) is not None:
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
        changing = (chunk.usage, chunk.x_groq, choice.usage)
        alone = len(chunk.choices or ()) == 1 and all(bytes(raw) in NOTHING for raw in changing)
        if alone and choice.finish_reason is None:
            self._learn(payload, quoted, tellings(choice, reasoning=reasoning), reasoning=reasoning)
        return Text(quoted[1:-1], reasoning)

    def _learn(self, payload: bytes, quoted: bytes, told: list[bytes], *, reasoning: bool) -> None:
        """Remember what surrounds `quoted`, the text of a delta, which may have it twice."""
        if told == [quoted, quoted]:
            self._doubled = learn_doubled(payload, quoted) or self._doubled
        elif told == [quoted] and (shape := learn(payload, quoted, reasoning=reasoning)):
            self._shapes = [s for s in self._shapes if s[5] is not reasoning]
            self._shapes.insert(0, shape)


def _fault(document: bytes) -> Raw | None:
    """The error that a document is, or holds, as far as it can be read."""
    try:
        return fault_in(document)
    except UNREADABLE:
        return None


def read_whole(
    body: bytes,
    classify: ClassifyEvent = UNMARKED.event,
    reading: Reading = PLAIN,
) -> tuple[str | None, list[Event]]:
    """The id and events of a reply that was not streamed.

    Raises:
        BadReply: it is not a chat completion, or the arguments of a tool call are not JSON, and were not
            cut with the answer.
        BackendError: it holds an error.
    """
    try:
        reply, body = readable(body)
    except UNREADABLE as error:
        if (fault := _fault(body)) is not None:
            raise classify(fault) from None
        raise BadReply(f"not a chat completion: {error}") from None
    if (not reply.choices or bytes(reply.error) not in NOTHING) and (fault := _fault(body)):
        raise classify(fault)
    if not reply.choices:
        raise BadReply("a chat completion without choices")
    events: list[Event] = []
    calls = ToolCalls(reading.held)
    for choice in reply.choices:
        piece = piece_of(choice.index, choice.message or {}, choice.logprobs)
        finish = finish_of(choice, choice.finish_reason or "stop", classify)
        if piece is not None:
            told = _told_whole(piece, calls, leaks=reading.leaks)
            # Of a message without any, calls can only have leaked into the text.
            if (reading.leaks or "tool_calls" in piece.delta) and finish.reason not in _CUT:
                _check_tool_calls(told)
            events += told
        events.append(calls.finish(finish))
        if len(choice.usage) and (usage := usage_of(choice.usage)) is not None:
            events.append(usage)
    if (usage := usage_in(reply)) is not None:
        events.append(usage)
    return identity_of(reply.id), events


def stated_usage(body: bytes) -> Usage | None:
    """The token counts of a whole reply that is no good; None if it states none."""
    try:
        return stated_in(readable(body)[0])
    except UNREADABLE:
        return None


def _told_whole(piece: Piece, calls: ToolCalls, *, leaks: bool) -> list[Event]:
    """What a message says."""
    if "tool_calls" in piece.delta:
        piece = calls.whole(piece)
    if not leaks:
        return [piece]
    told: list[Event] = []
    reader = Leaks(calls)
    reader.piece(piece, told)
    reader.end(told)
    return told


def _check_tool_calls(events: list[Event]) -> None:
    try:
        for event in events:
            raw = event.delta.get("tool_calls") if isinstance(event, Piece) else None
            for call in _decode_tools(raw) if raw is not None else ():
                if call.function is not None and call.function.arguments:
                    _decode_any(call.function.arguments.encode())
    except UNREADABLE as error:
        raise BadToolCall(f"a tool call that is not JSON: {error}") from None
