"""OpenAI's chat dialect, on the caller's side: events to bytes.

Text arrives as JSON-escaped bytes and leaves as the same bytes, between a head and a tail that are made
once for each answer. Reasoning is given under both names that clients read: `reasoning` (OpenRouter,
newer vLLM) and `reasoning_content` (Moonshot, DeepSeek); in OpenRouter's dialect in details too.
"""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Raw

from backends import Event, Finish, Piece, Text, Usage
from backends.errors import BadReply
from gateway.values import UsageView
from gateway.wire.costs import cost_members
from gateway.wire.notes import NO_NOTES, Notes
from gateway.wire.openai_message import (
    DETAILED,
    EXCLUDED,
    PLAIN,
    Message,
    Thoughts,
    choice_end,
    members,
    thinks,
)

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


def _thoughts(*, details: bool, exclude: bool) -> Thoughts:
    if exclude:
        return EXCLUDED
    return DETAILED if details else PLAIN


class StreamEncoder:
    """Encodes one streamed answer. Reasoning that is not told is counted all the same.

    Attributes:
        deltas: pieces of answer that were encoded.
        size: bytes of these.
        finishes: the ends of choices that were seen.
        usage: the provider's last statement; later ones replace earlier ones.
        tool_deltas: deltas of tool calls, each with the index of its choice.
        fault: None, as there is no answer that this dialect could not tell.
    """

    fault: BadReply | None = None

    __slots__ = (
        "_content",
        "_head",
        "_reasoning",
        "_started",
        "_thoughts",
        "_unseen",
        "deltas",
        "finishes",
        "size",
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
        details: bool = False,
    ) -> None:
        """Make the encoder of one answer.

        Args:
            generation_id: the id of each chunk.
            created: epoch seconds.
            model: the canonical name.
            provider: who answers.
            exclude: leave reasoning out.
            details: tell it as `reasoning_details` too.
        """
        self._head = (
            b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"provider":%b,'
            % (_json(generation_id), created, _json(model), _json(provider))
        )
        # A piece of text goes between each two of these.
        self._content = (self._head + b'"choices":[{"index":0,"delta":{"content":"', _TEXT_TAIL)
        self._thoughts = _thoughts(details=details, exclude=exclude)
        self._reasoning = self._thoughts.framed(
            self._head + b'"choices":[{"index":0,"delta":{', _TEXT_TAIL[1:]
        )
        self._started = False
        self._unseen = 0  # of the deltas, those that were left out
        self.deltas = 0
        self.size = 0
        self.finishes: list[Finish] = []
        self.usage: Usage | None = None
        self.tool_deltas: list[tuple[int, Raw]] = []

    @property
    def told(self) -> bool:
        """Whether anything of the answer itself was encoded: not its role, nor reasoning left out."""
        return self.deltas > self._unseen

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
                    around = self._reasoning
                    self._unseen += not around
                else:
                    around = self._content
                told = text.join(around)
                if len(events) == 1 and not parts:
                    return told  # as nearly every time in a live stream
                parts.append(told)
            elif isinstance(event, Piece):
                self.deltas += event.meaningful
                self.size += sum(map(len, event.delta.values()))
                if "tool_calls" in event.delta:
                    self.tool_deltas.append((event.index, event.delta["tool_calls"]))
                self._piece(event, parts)
            elif isinstance(event, Finish):
                self.finishes.append(event)
            elif isinstance(event, Usage):
                self.usage = event
        return b"".join(parts)

    def _piece(self, piece: Piece, parts: list[bytes | Raw]) -> None:
        told = list(members(piece.delta, self._thoughts))
        logprobs = piece.logprobs
        if not self._thoughts.around and thinks(piece):
            logprobs = None  # they have the words of the reasoning in them
            if not any(told):
                self._unseen += piece.meaningful
                return
        parts.append(self._head)
        parts.append(b'"choices":[{"index":%d,"delta":{' % piece.index)
        parts.append(b"".join(told)[1:])
        if logprobs is not None:
            parts += (b'},"logprobs":', logprobs, b',"finish_reason":null}]}\n\n')
        else:
            parts.append(b'},"finish_reason":null}]}\n\n')

    def end(self, view: UsageView | None, notes: Notes = NO_NOTES) -> bytes:
        """The ends of all choices, what there is to tell, usage if wanted, and `[DONE]`."""
        parts: list[bytes] = []
        for finish in self.finishes or [_NO_FINISH]:
            parts += (
                b"}\n\n" if parts else b"",
                self._head,
                b'"choices":[{"index":%d,"delta":{},' % finish.index,
                choice_end(finish),
                b"}]",
            )
        parts += (notes.member(), b"}\n\n")
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


class WholeEncoder:
    """Collects one answer and encodes it in one piece.

    Attributes:
        deltas: pieces of answer that came.
        size: bytes of these.
        usage: the provider's last statement; later ones replace earlier ones.
    """

    __slots__ = ("_messages", "_thoughts", "deltas", "size", "usage")

    def __init__(self, *, exclude: bool = False, details: bool = False) -> None:
        """`exclude` and `details` as for a stream."""
        self._thoughts = _thoughts(details=details, exclude=exclude)
        self._messages: dict[int, Message] = {}
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
        messages = self._messages
        for event in events:
            if isinstance(event, Usage):
                self.usage = event
                continue
            index = 0 if isinstance(event, Text) else event.index
            message = messages.get(index)
            if message is None:
                message = messages[index] = Message(index)
            if isinstance(event, Piece):
                self.deltas += event.meaningful
                self.size += sum(map(len, event.delta.values()))
                message.add(event)
            elif isinstance(event, Text):
                self.deltas += 1
                self.size += len(event.text)
                message.add_text(event)
            else:
                message.finish = event

    def check(self) -> None:
        """Nothing of what could be put together is unfit for this dialect."""

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
        """The whole answer. `created` is in epoch seconds."""
        parts: list[bytes | Raw] = [
            b'{"id":%b,"object":"chat.completion","created":%d,"model":%b,"provider":%b,"choices":['
            % (_json(generation_id), created, _json(model), _json(provider))
        ]
        comma = b""
        for index in sorted(self._messages):
            parts.append(comma)
            self._messages[index].encode(parts, self._thoughts)
            comma = b","
        parts += (b'],"system_fingerprint":null,"usage":', usage_json(view), notes.member(), b"}")
        return b"".join(parts)
