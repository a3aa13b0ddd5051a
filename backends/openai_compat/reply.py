"""From the bytes of an OpenAI-style reply to neutral events.

A stream's text deltas nearly always repeat one shape, with only the text changing between a fixed
head and a fixed tail. `ChunkReader` learns that shape from the first such chunk, and cuts the text
out of each further one by comparing both ends; JSON is decoded only where the shape does not fit:
at the first chunk of a kind, at tool calls, at the end, at errors.
"""

import msgspec
from msgspec import Raw, Struct

from backends.errors import BadReply, UpstreamFault
from backends.openai_compat.failures import UNREADABLE, classify_event
from backends.values import Event, Finish, Piece, Text, Usage

_QUOTE = 0x22
_BACKSLASH = 0x5C
_EMPTY = frozenset({b"null", b'""', b"[]"})
_ABSENT = Raw(b"")  # a default, as `Raw | None` would take nothing but null
_NOTHING = (b"", b"null")
_MEANINGFUL = frozenset({"content", "reasoning", "reasoning_content", "tool_calls", "refusal"})

# Names under which providers stream reasoning text: Moonshot and Novita `reasoning_content`
# (recordings of 2026-08 and 2026-09), vLLM 0.32 and OpenRouter `reasoning` (measured 2026-11-22).
_REASONING_KEYS = ("reasoning_content", "reasoning")

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


class _PromptDetails(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _CompletionDetails(Struct):
    reasoning_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None  # Moonshot
    cost: Raw = _ABSENT  # OpenRouter
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Choice(Struct):
    index: int = 0
    delta: dict[str, Raw] | None = None
    message: dict[str, Raw] | None = None
    finish_reason: str | None = None
    logprobs: Raw = _ABSENT
    usage: _Usage | None = None  # Moonshot puts it here as well


class _Chunk(Struct):
    id: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Raw = _ABSENT


class _Function(Struct):
    arguments: str | None = None


class _ToolCall(Struct):
    function: _Function | None = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_decode_tools = msgspec.json.Decoder(list[_ToolCall]).decode
_decode_any = msgspec.json.Decoder(Raw).decode


def _usage(found: _Usage) -> Usage | None:
    if found.prompt_tokens is None or found.completion_tokens is None:
        return None
    prompt = found.prompt_tokens_details or _PromptDetails()
    completion = found.completion_tokens_details or _CompletionDetails()
    cost = bytes(found.cost).decode("ascii", "replace").strip('"')
    return Usage(
        prompt=found.prompt_tokens,
        completion=found.completion_tokens,
        cached=found.cached_tokens or prompt.cached_tokens or 0,
        cache_write=prompt.cache_write_tokens or 0,
        reasoning=completion.reasoning_tokens or 0,
        reported_cost=None if cost in {"", "null"} else cost,
    )


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
    logprobs = None if bytes(scores) in _NOTHING else scores
    if not kept and logprobs is None:
        return None
    return Piece(index, kept, meaningful, logprobs)


def _finish(choice: _Choice, native: str) -> Finish:
    reason = _FINISH.get(native, "stop")
    if reason == "error":
        raise UpstreamFault(f"the provider ended the answer with finish_reason {native!r}")
    return Finish(choice.index, reason, native)


class ChunkReader:
    """Turns the payloads of a chat stream into events.

    Attributes:
        upstream_id: the provider's id of the answer, once seen.
        done: `[DONE]` was seen.
        malformed: payloads that were not a chunk; they are skipped.
    """

    __slots__ = ("_shapes", "done", "malformed", "upstream_id")

    def __init__(self) -> None:
        self._shapes: list[tuple[bytes, bytes, int, int, bool]] = []
        self.upstream_id: str | None = None
        self.done = False
        self.malformed = 0

    def read(self, payload: bytes, events: list[Event]) -> None:
        """Append what `payload` says to `events`.

        Raises:
            BackendError: the payload is an error event, or an end that is a failure.
        """
        for head, tail, ends, least, reasoning in self._shapes:
            if len(payload) > least and payload.startswith(head) and payload.endswith(tail):
                text = payload[len(head) : ends]
                # An escaped quote, or one that only looks like the closing one: decode instead.
                if b'"' not in text and text[-1] != _BACKSLASH:
                    events.append(Text(text, reasoning))
                    return
                break
        self._decode(payload, events)

    def _decode(self, payload: bytes, events: list[Event]) -> None:
        if payload == b"[DONE]":
            self.done = True
            return
        try:
            chunk = _decode_chunk(payload)
        except UNREADABLE:
            self.malformed += 1
            return
        if bytes(chunk.error) not in _NOTHING:
            raise classify_event(chunk.error)
        if self.upstream_id is None:
            self.upstream_id = chunk.id
        if chunk.choices is None and chunk.usage is None:
            self.malformed += 1  # JSON, but nothing that a stream of chat chunks may hold
            return
        for choice in chunk.choices or []:
            piece = _piece(choice.index, choice.delta or {}, choice.logprobs)
            if piece is not None:
                events.append(self._text(payload, chunk, choice, piece) or piece)
            if choice.finish_reason is not None:
                events.append(_finish(choice, choice.finish_reason))
            if choice.usage is not None and (usage := _usage(choice.usage)):
                events.append(usage)
        if chunk.usage is not None and (usage := _usage(chunk.usage)):
            events.append(usage)

    def _text(self, payload: bytes, chunk: _Chunk, choice: _Choice, piece: Piece) -> Text | None:
        """A plain text delta, whose shape is remembered if nothing else is in the chunk."""
        if len(piece.delta) != 1 or piece.index != 0 or piece.logprobs is not None:
            return None
        ((name, raw),) = piece.delta.items()
        quoted = bytes(raw)
        if name not in {"content", "reasoning"} or quoted[0] != _QUOTE:
            return None
        text = quoted[1:-1]
        reasoning = name == "reasoning"
        # A usage object changes from chunk to chunk, and must be seen: no shape holds one.
        alone = len(chunk.choices or ()) == 1 and chunk.usage is None
        if alone and choice.finish_reason is None and choice.usage is None:
            self._learn(payload, quoted, reasoning=reasoning)
        return Text(text, reasoning)

    def _learn(self, payload: bytes, quoted: bytes, *, reasoning: bool) -> None:
        delta = payload.find(b'"delta"')
        for key in _REASONING_KEYS if reasoning else ("content",):
            name = b'"%b"' % key.encode()
            at = payload.find(name, delta)
            if at < 0:
                continue
            at = payload.find(quoted, at + len(name))
            head, tail = payload[: at + 1], payload[at + len(quoted) - 1 :]
            if delta < 0 or at < 0:
                continue
            shape = (head, tail, -len(tail), len(head) + len(tail), reasoning)
            self._shapes = [s for s in self._shapes if s[4] is not reasoning]
            self._shapes.insert(0, shape)
            return


def read_whole(body: bytes) -> tuple[str | None, list[Event]]:
    """The id and events of a reply that was not streamed.

    Raises:
        BadReply: it is not a chat completion, or a tool call's arguments are not JSON.
        BackendError: it holds an error.
    """
    try:
        reply = _decode_chunk(body)
    except UNREADABLE as error:
        raise BadReply(f"not a chat completion: {error}") from None
    if bytes(reply.error) not in _NOTHING:
        raise classify_event(reply.error)
    events: list[Event] = []
    for choice in reply.choices or []:
        piece = _piece(choice.index, choice.message or {}, choice.logprobs)
        if piece is not None:
            _check_tool_calls(piece)
            events.append(piece)
        events.append(_finish(choice, choice.finish_reason or "stop"))
        if choice.usage is not None and (usage := _usage(choice.usage)):
            events.append(usage)
    if reply.usage is not None and (usage := _usage(reply.usage)):
        events.append(usage)
    if not reply.choices:
        raise BadReply("a chat completion without choices")
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
