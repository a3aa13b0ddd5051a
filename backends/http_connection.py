"""One HTTP/1.1 connection to an upstream: what stands between a transport and a `Response`.

    unused ──send──▶ write ──▶ first_byte ──▶ idle (the body) ──end──▶ back to its owner, or closed

Everything here runs in callbacks of the event loop. One timer per connection watches all deadlines: it
is armed for the earliest moment at which any of them could pass, and looks at the state when it fires.
So most exchanges on a busy connection set no timer at all: the one of an earlier exchange is due soon
enough.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade
from typing_extensions import override

from backends.errors import BackendError, BadReply, ConnectionLost, UpstreamTimeout
from backends.http_outgoing import Outgoing, Owner
from backends.http_reply import DONE, HEAD, SURPLUS, ReplyParser
from backends.http_response import Response
from backends.http_values import ClientLimits

# Up to here one joined write is cheaper than several buffers; beyond, copying is what costs.
SMALL = 16_384
# TLS encrypts a write at once and in full, so a large body goes in steps, as the socket takes it.
TLS_STEP = 262_144
# uvloop counts in milliseconds and may fire a timer that much too early.
TICK = 0.001

# Phases, by their names in `UpstreamTimeout`.
WRITE = "write"
FIRST_BYTE = "first_byte"
IDLE = "idle"


class Connection(asyncio.Protocol):
    """A transport, its parser, and the exchange that is under way on it, if any.

    Attributes:
        closed: whether it was closed by either side.
        expires: when it is too old to be used again, on the client's clock.
        idle_since: when it was last given back.
        pooled: whether it lies in its owner's idle list.
        reading_paused: whether the socket is left unread because the reader lags.
        received: bytes that came with or before the head of the current reply, in whole reads; 0: none.
        reused: whether it has carried an exchange before.
    """

    __slots__ = (
        "_clock",
        "_handed",
        "_left",
        "_limits",
        "_loop",
        "_outgoing",
        "_overhead",
        "_owner",
        "_phase",
        "_reply",
        "_response",
        "_since",
        "_timer",
        "_timer_due",
        "_tls",
        "_torn",
        "_unsent",
        "_writing",
        "closed",
        "expires",
        "idle_since",
        "pooled",
        "reading_paused",
        "received",
        "reused",
        "transport",
    )

    transport: asyncio.Transport
    _outgoing: Outgoing  # of the exchange under way; valid while `_response` is not None

    def __init__(
        self,
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        limits: ClientLimits,
        *,
        tls: bool,
    ) -> None:
        self._owner = owner
        self._loop = loop
        self._clock = clock
        self._limits = limits
        self._tls = tls
        self._reply = ReplyParser()
        self._response: Response | None = None
        self._unsent: deque[memoryview] = deque()
        self._writing = False  # part of the request is still in this process
        self._torn = False  # the request could not be written in full
        self._left = 0  # bytes the transport still held when last seen
        self._phase = FIRST_BYTE
        self._handed = 0.0  # when all of the request was out
        self._since = 0.0  # when something last moved
        self._overhead = 0  # bytes since the last that brought something for the reader
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self.received = 0
        self.idle_since = self.expires = 0.0
        self.pooled = self.reused = self.closed = self.reading_paused = False

    # -- the client's side -------------------------------------------------------------------------

    def send(self, response: Response, outgoing: Outgoing) -> None:
        """Begin an exchange. The connection is unused and its transport is not closing.

        `response` is woken when its head is complete, or when it failed.
        """
        now = self._clock()
        self._response = response
        self._outgoing = outgoing
        self._reply.start(response, bodiless=outgoing.bodiless)
        self.received = self._overhead = 0
        self._handed = self._since = now
        self._phase = FIRST_BYTE
        transport = self.transport
        if outgoing.length < SMALL:
            transport.write(b"".join((outgoing.head, *outgoing.body)))
        elif self._tls:
            transport.write(outgoing.head)
            for piece in outgoing.body:
                view = memoryview(piece)
                steps = range(0, len(view), TLS_STEP)
                self._unsent.extend(view[at : at + TLS_STEP] for at in steps)
            self._pump()
        else:
            transport.writelines([outgoing.head, *outgoing.body])
        if transport.is_closing():
            self._torn = True  # a write that fails does so at once; `connection_lost` follows
        elif self._writing:
            self._phase = WRITE
        deadlines = outgoing.deadlines
        wait = min(deadlines.first_byte, deadlines.idle, outgoing.timeout)
        if self._timer is None or now + wait < self._timer_due:
            self._arm(now, wait)

    def fail(self, error: BackendError) -> None:
        """End the exchange under way with `error` and close the connection at once."""
        response = self._response
        if response is not None:
            self._response = None
            response.connection = None
            response.error = error
            self._owner.drop(self)
            response.wake()

    def close(self) -> None:
        """Close the socket at once; slots and lists are the owner's affair."""
        self.closed = True
        self._unsent.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # Never `close()`: that waits for unsent data, and under TLS for the peer's farewell.
        self.transport.abort()

    def resume_reading(self) -> None:
        """The reader has caught up: read on. The silence until now was not the upstream's."""
        self.reading_paused = False
        self._since = self._clock()
        self.transport.resume_reading()

    # -- the transport's side ----------------------------------------------------------------------

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        # "Paused" then means that part of the request is still here, "resumed" that all of it is out.
        # asyncio's TLS transport pauses when its buffer *reaches* the mark: 0 would mean always.
        self.transport.set_write_buffer_limits(high=1 if self._tls else 0, low=0)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._lose("connection lost" if exc is None else f"connection lost: {exc}")
        self._reply.discard()
        self._owner.lost(self)

    @override
    def eof_received(self) -> None:
        response = self._response
        if response is not None and self._reply.may_end_now:
            self._end(response)
        else:
            self._lose("closed by the upstream")

    @override
    def pause_writing(self) -> None:
        self._writing = True
        self._left = self.transport.get_write_buffer_size()

    @override
    def resume_writing(self) -> None:
        self._writing = False
        self._pump()
        if self._phase is WRITE:
            self._since = self._handed = self._clock()
            if not self._writing:
                self._phase = FIRST_BYTE

    @override
    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None:
            self._lose("bytes that nobody asked for")
            return
        reply = self._reply
        in_head = reply.stage == HEAD
        self._since = self._clock()
        try:
            reply.feed(data)
        except (HttpParserError, HttpParserUpgrade) as exc:
            if reply.stage < DONE:
                self.fail(reply.fault(exc))
                return
            reply.stage = SURPLUS
        if in_head:
            if reply.begun:  # an interim reply does not end the wait for the answer's first byte
                self._phase = IDLE
            if not self._head_fits(response, len(data)):
                return
        if reply.stage >= DONE:
            self._end(response)
        elif response.parts:
            self._overhead = 0
            if response.sink is None:
                self._deliver(response)
            else:
                self._pour(response, response.sink)
        elif not in_head:
            self._overhead += len(data)  # chunk sizes and extensions, trailers
            if self._overhead > self._limits.max_head_bytes:
                self.fail(BadReply("framing without a body", status=response.status))
        elif reply.stage != HEAD:
            response.wake()

    # -- inside ------------------------------------------------------------------------------------

    def _deliver(self, response: Response) -> None:
        if response.collected is not None:
            # Joined read by read: a body in tiny chunks must not become millions of objects.
            response.collected.append(b"".join(response.parts))
            response.parts.clear()
            if response.size > self._limits.max_body_bytes:
                self.fail(response.too_large())
        elif response.waiter is not None:
            response.wake()
        elif response.size > self._limits.high_water and not self.reading_paused:
            self.reading_paused = True
            self.transport.pause_reading()

    def _pour(self, response: Response, sink: Callable[[bytes], bool]) -> None:
        parts = response.parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        response.size = 0
        if not sink(data):
            response.sink = None
            response.wake()

    def _end(self, response: Response) -> None:
        """The reply is complete: give the connection back if both sides can go on with it."""
        reply = self._reply
        self._response = None
        response.connection = None
        reply.stop()
        if reply.keep_alive and reply.stage == DONE and self._sent_in_full():
            if self.reading_paused:
                self.resume_reading()
            self._owner.release(self, self._since)
        else:
            self._owner.drop(self)
        response.wake()

    def _lose(self, detail: str) -> None:
        """The transport has ended, or is of no more use."""
        if self._response is not None:
            if self._tls and not (self.reused or self.received):
                # TLS 1.3 has the client's certificate judged after the handshake, from which none is told.
                detail += " before any reply: so do servers that miss the right client certificate"
            self.fail(ConnectionLost(detail, sent_in_full=self._sent_in_full()))
        elif self.pooled:
            self._owner.drop(self)
        elif not self.closed:
            self.close()

    def _sent_in_full(self) -> bool:
        return not (self._writing or self._torn or self._unsent)

    def _head_fits(self, response: Response, size: int) -> bool:
        self.received += size
        limit = self._limits.max_head_bytes
        if self.received <= limit:
            return True
        if self._reply.stage != HEAD:  # this read may hold some of the body: count the head itself
            head = sum(len(name) + len(value) + 4 for name, value in response.headers)
            if head <= limit:
                return True
        response.status = 0
        self.fail(BadReply(f"head over {limit} bytes"))
        return False

    def _pump(self) -> None:
        while self._unsent and not self._writing and not self.transport.is_closing():
            self.transport.write(self._unsent.popleft())

    def _arm(self, now: float, wait: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = now + wait
        self._timer = self._loop.call_later(wait, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._response is None:
            return  # the next exchange arms it anew
        now = self._clock()
        phase, seconds, due = self._next_deadline(now)
        if due - now < TICK:
            self.fail(UpstreamTimeout(phase, seconds))
            return
        # A phase that begins in the meantime may be shorter than what is left of this one.
        deadlines = self._outgoing.deadlines
        self._arm(now, min(due - now, deadlines.idle, deadlines.first_byte))

    def _next_deadline(self, now: float) -> tuple[str, float, float]:
        """Which deadline passes next: phase, seconds, and when."""
        outgoing = self._outgoing
        phase = self._phase
        seconds = outgoing.deadlines.idle
        due = self._since + seconds
        if phase is WRITE:
            left = self.transport.get_write_buffer_size()
            if left < self._left:  # it moves: wait anew
                self._left = left
                self._since = now
                due = now + seconds
        elif phase is FIRST_BYTE:
            seconds = outgoing.deadlines.first_byte
            due = self._handed + seconds
        elif self._reply.stage == HEAD:
            # A head that comes byte by byte is never idle: all of it must be here when its first had to.
            whole = self._handed + outgoing.deadlines.first_byte
            if whole < due:
                phase, seconds, due = FIRST_BYTE, outgoing.deadlines.first_byte, whole
        elif self.reading_paused:
            due = outgoing.give_up
        if due >= outgoing.give_up:
            return "total", outgoing.timeout, outgoing.give_up
        return phase, seconds, due
