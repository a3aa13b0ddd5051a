"""The way back to the caller, with what every answer carries."""

import asyncio
from collections.abc import Sequence

import msgspec

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.flow.attempt import Chosen
from gateway.flow.dialects import Dialect, StreamEncoder
from gateway.store.state import RateLeft
from gateway.wire.errors import error_header_lines
from gateway.wire.notes import NO_NOTES, Notes
from gateway.wire.tool_checks import ToolFinding

_STREAM = b"content-type: text/event-stream; charset=utf-8\r\n"
_WHOLE = b"content-type: application/json\r\n"
_MAX_REQUEST_ID = 128
_MAX_DROPPED = 1024


class Answer:
    """One answer in its caller's dialect: a head that is sent once, then a whole body or a stream.

    While a stream is silent, a comment or the like goes out every `interval` seconds, so that neither
    the caller nor a proxy between gives up. The first of them sends the head; from then on failures can
    only be told inside the stream.
    """

    __slots__ = (
        "_exchange",
        "_headers",
        "_interval",
        "_last",
        "_loop",
        "_timer",
        "dialect",
        "encoder",
        "generation_id",
        "notes",
        "request_id",
        "status",
        "streaming",
    )

    def __init__(self, exchange: Exchange, dialect: Dialect, generation_id: str) -> None:
        self.dialect = dialect
        self.generation_id = generation_id
        theirs = exchange.head.first(b"x-request-id")
        self.request_id = generation_id if theirs is None else _echoed(theirs) or generation_id
        self.status: int | None = None  # HTTP status sent; None until the head went out
        self.streaming = False
        self.encoder: StreamEncoder | None = None  # once a stream is being relayed
        self.notes: Notes = NO_NOTES  # what its end tells the caller
        self._exchange = exchange
        self._headers = (
            f"x-generation-id: {generation_id}\r\nx-request-id: {self.request_id}\r\n"
            "cache-control: no-store\r\n"
        )
        if dialect.request_id_header is not None:
            self._headers += f"{dialect.request_id_header}: {generation_id}\r\n"
        self._interval = 0.0
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def keep_alive(self, interval: float) -> None:
        """From now on, let no `interval` seconds pass in silence."""
        self._loop = loop = asyncio.get_running_loop()
        self._interval = interval
        self._last = loop.time()
        self._timer = loop.call_later(interval, self._tick)

    def _tick(self) -> None:
        loop = self._loop
        if loop is None or self._exchange.gone:
            return
        silent = loop.time() - self._last
        if silent >= self._interval - 0.001:
            if not self._exchange.congested:
                self.stream(self.dialect.keep_alive)
            silent = 0.0
        self._timer = loop.call_later(self._interval - silent, self._tick)

    def stop(self) -> None:
        """Nothing more goes out in silence."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def describe(self, chosen: Chosen, dropped: Sequence[str]) -> None:
        """Say who answers, as far as the head has not gone out yet, and what was left out.

        `dropped`: what of the request was left out before any endpoint was known.
        """
        names: tuple[str, ...] = ()
        if dropped or chosen.reply.dropped:
            named = self.dialect.field_names
            theirs = [named.get(name, name) for name in chosen.reply.dropped]
            names = tuple(dict.fromkeys([*dropped, *theirs]))
            self.notes = Notes(dropped=names)
        if self.status is not None:
            return
        endpoint = chosen.attempt.entry.candidate.endpoint
        self._headers += f"x-tidegate-provider: {endpoint.provider}\r\n"
        if chosen.attempt.ordinal > 1:
            self._headers += f"x-tidegate-attempts: {chosen.attempt.ordinal}\r\n"
        if endpoint.sandbox:
            self._headers += "x-tidegate-sandbox: true\r\n"
        if names:
            self._headers += f"x-tidegate-dropped: {_header_text(names)}\r\n"

    def note_limits(self, rates: Sequence[RateLeft], now: float) -> None:
        """Say what is left of the caller's limits. `now` is in epoch seconds."""
        self._headers += self.dialect.limit_lines(rates, now)

    def note_tools(self, findings: tuple[ToolFinding, ...]) -> None:
        """Have the end of the answer tell what is wrong with its tool calls."""
        if findings:
            self.notes = msgspec.structs.replace(self.notes, tool_calls=findings)

    def stream(self, data: bytes) -> None:
        """Send a piece of a stream; the head first, if need be."""
        exchange = self._exchange
        if self.status is None:
            self.status = 200
            self.streaming = True
            exchange.start(200, _STREAM + self._headers.encode(), None)
        if self._loop is not None:
            self._last = self._loop.time()
        exchange.write(data)

    def end_stream(self, data: bytes) -> None:
        """Send the last piece of a stream."""
        self.stop()
        self._exchange.finish(data)

    def whole(self, body: bytes) -> None:
        """Send a whole good answer."""
        self.stop()
        self.status = 200
        self._exchange.start(200, _WHOLE + self._headers.encode(), len(body))
        self._exchange.finish(body)

    def fail(self, error: GatewayError) -> None:
        """Tell of a failure: as a reply of its own, or inside a stream that has begun.

        A stream that fails ends without its dialect's good end.
        """
        self.stop()
        dialect = self.dialect
        if self.status is None:
            self.status = error.status
            body = dialect.error_body(error, self.generation_id)
            headers = error_header_lines(error) + self._headers.encode()
            self._exchange.start(error.status, headers, len(body))
            self._exchange.finish(body)
        elif self.encoder is not None:
            self._exchange.finish(self.encoder.failure(dialect.error_object(error)))
        else:
            body = dialect.error_body(error, self.generation_id)
            self._exchange.finish(dialect.error_lead + body + b"\n\n")


def _header_text(names: Sequence[str]) -> str:
    """Names of fields as a header's value: they are the caller's own words, so not to be trusted."""
    fit = [name for name in names if name.isascii() and name.isprintable() and "," not in name]
    return ", ".join(fit)[:_MAX_DROPPED]


def _echoed(value: bytes) -> str | None:
    """A caller's own request id, if it is fit to be echoed."""
    if not 0 < len(value) <= _MAX_REQUEST_ID:
        return None
    text = value.decode("latin-1")
    return text if text.isascii() and text.isprintable() else None
