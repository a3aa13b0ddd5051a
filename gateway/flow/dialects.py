"""The dialects that callers speak, as values: all that the spine knows of them.

A dialect is one row. The spine has no branch on which one it serves; another is another row.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

from msgspec import Raw, Struct, structs

from backends import BadReply, Event, Finish, Usage
from gateway.errors import GatewayError
from gateway.flow import limit_headers
from gateway.store.state import RateLeft
from gateway.values import UsageView
from gateway.wire import (
    anthropic_errors,
    anthropic_messages,
    anthropic_reply,
    errors,
    openai_chat,
    openai_reply,
)
from gateway.wire.notes import Notes
from gateway.wire.request import ChatRequest


class Encoder(Protocol):
    """What counts an answer while turning it into a caller's bytes.

    Attributes:
        deltas: pieces of answer that came.
        size: bytes of these.
        usage: the provider's last statement; later ones replace earlier ones.
    """

    deltas: int
    size: int
    usage: Usage | None

    @property
    def finishes(self) -> list[Finish]:
        """The ends of choices that were seen."""


class StreamEncoder(Encoder, Protocol):
    """Encodes one streamed answer.

    Attributes:
        tool_deltas: deltas of tool calls, each with the index of its choice.
    """

    tool_deltas: list[tuple[int, Raw]]

    @property
    def fault(self) -> BadReply | None:
        """Why the answer cannot be told in this dialect, if it cannot; what follows is not encoded."""

    @property
    def told(self) -> bool:
        """Whether anything of the answer itself was given out to be sent."""

    def encode(self, events: Sequence[Event], /) -> bytes:
        """The bytes that carry `events`; ends and usage are kept for `end`. Never raises."""

    def end(self, view: UsageView | None, notes: Notes, /) -> bytes:
        """The end of the stream, with usage if that is wanted, and with what there is to tell."""

    def failure(self, error: bytes, /) -> bytes:
        """The event that tells of a failure after the answer began, in place of an end.

        `error` is the JSON of the error object.
        """


class WholeEncoder(Encoder, Protocol):
    """Collects one answer and encodes it in one piece."""

    def add(self, events: Iterable[Event], /) -> None:
        """Take in more of the answer.

        Raises:
            BadReply: it is in no form that could be put together.
        """

    def check(self) -> None:
        """See that what was put together can be told.

        Raises:
            BadReply: it cannot.
        """

    def end(
        self,
        *,
        generation_id: str,
        created: int,
        model: str,
        provider: str,
        view: UsageView,
        notes: Notes,
    ) -> bytes:
        """The whole answer, with what there is to tell. `created` is in epoch seconds."""


class NewStream(Protocol):
    """Makes the encoder of one stream."""

    def __call__(
        self, *, generation_id: str, created: int, model: str, provider: str, exclude: bool
    ) -> StreamEncoder:
        """`created` is in epoch seconds; `exclude` leaves reasoning out."""


class NewWhole(Protocol):
    """Makes the encoder of one whole answer."""

    def __call__(self, *, exclude: bool) -> WholeEncoder:
        """`exclude` leaves reasoning out."""


class Dialect(Struct, frozen=True, kw_only=True):
    """One way of asking and being answered.

    Attributes:
        api: its name in records and metrics.
        parse: a body to what the spine needs of it; raises InvalidRequest.
        new_stream, new_whole: make the encoder of one answer.
        error_object: the JSON of an error object, for inside a stream that has begun.
        error_body: a whole error reply; takes the generation id too.
        error_lead: what goes before the error reply where it is an event, before any answer began.
        keep_alive: what a silent stream is kept open with.
        limit_lines: what is left of the caller's limits as lines of a head; takes the time too.
        request_id_header: the header in which this dialect's clients look for the generation id, if
            there is one besides ours.
        api_key_header: whether the key may also come in `x-api-key`.
        field_names: neutral names of request fields to this dialect's own, where they differ.
    """

    api: str
    parse: Callable[[bytes | bytearray], ChatRequest]
    new_stream: NewStream
    new_whole: NewWhole
    error_object: Callable[[GatewayError], bytes]
    error_body: Callable[[GatewayError, str], bytes]
    error_lead: bytes
    keep_alive: bytes
    limit_lines: Callable[[Sequence[RateLeft], float], str]
    request_id_header: str | None = None
    api_key_header: bool = False
    field_names: Mapping[str, str] = {}


def _openai_error(error: GatewayError, _: str) -> bytes:
    return errors.error_body(error)


def _openrouter_error(error: GatewayError, _: str) -> bytes:
    return errors.openrouter_body(error)


def _openai(*, usage_always: bool, details: bool) -> Dialect:
    return Dialect(
        api="chat.completions",
        parse=partial(openai_chat.parse, usage_always=usage_always),
        new_stream=partial(openai_reply.StreamEncoder, details=details),
        new_whole=partial(openai_reply.WholeEncoder, details=details),
        error_object=errors.error_object,
        error_body=_openai_error,
        error_lead=b"data: ",
        keep_alive=openai_reply.KEEP_ALIVE,
        limit_lines=limit_headers.openai_lines,
    )


OPENAI = _openai(usage_always=False, details=False)
# OpenAI's, in which every stream ends with usage, reasoning is told in details too, and errors have a type.
OPENROUTER = structs.replace(
    _openai(usage_always=True, details=True),
    error_object=errors.openrouter_object,
    error_body=_openrouter_error,
)
ANTHROPIC = Dialect(
    api="messages",
    parse=anthropic_messages.parse,
    new_stream=anthropic_reply.StreamEncoder,
    new_whole=anthropic_reply.WholeEncoder,
    error_object=anthropic_errors.error_object,
    error_body=anthropic_errors.error_body,
    error_lead=b"event: error\ndata: ",
    keep_alive=anthropic_reply.KEEP_ALIVE,
    limit_lines=limit_headers.anthropic_lines,
    request_id_header="request-id",
    api_key_header=True,
    field_names=anthropic_messages.FIELD_NAMES,
)
