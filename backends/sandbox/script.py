"""A reply as a list of steps: what to send, when to wait, where to break. `http` performs them."""

import zlib
from collections.abc import Iterable, Sequence
from http import HTTPStatus

from msgspec import Struct

from backends.sandbox.dialect import Frame, Refusal
from backends.sandbox.faults import Fault, FaultName

_SLOW_S = 0.05
_SLOW_FIRST_S = 0.2
_TRICKLE_BYTES = 7
_SLICES = 8  # of a slow reply that is no stream
_LAST_CHUNK = b"0\r\n\r\n"
_DONE = b"data: [DONE]\n\n"
_COMMENTS = 3
_GZIP = 16 + zlib.MAX_WBITS


class Send(Struct, frozen=True, gc=False):
    """Bytes to write."""

    data: bytes


class Wait(Struct, frozen=True, gc=False):
    """Seconds to let pass."""

    seconds: float


class Hang(Struct, frozen=True):
    """Nothing more will come; the connection stays open."""


class Break(Struct, frozen=True):
    """The connection dies: by reset, or else by an orderly close at the wrong place."""

    reset: bool


Step = Send | Wait | Hang | Break
Headers = Iterable[tuple[str, str]]


def head(status: int, content_type: str, headers: Headers, length: int | None) -> bytes:
    """The head of a reply; a `length` of None announces chunks."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unassigned"
    lines = [f"HTTP/1.1 {status} {phrase}"]
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    lines += [f"{name}: {value}" for name, value in headers]
    if length is None:
        lines.append("Transfer-Encoding: chunked")
    else:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def refusal_steps(refusal: Refusal, headers: Headers, fault: Fault | None = None) -> list[Step]:
    """An error reply, with the status and Retry-After that `fault` asks for."""
    status, extra = refusal.status, refusal.headers
    steps: list[Step] = []
    if fault is not None:
        status = fault.status or status
        if fault.retry_after is not None:
            extra = (("Retry-After", f"{fault.retry_after:g}"),)
        steps += _pause(fault.delay_s)
    start = head(status, refusal.content_type, (*headers, *extra), len(refusal.body))
    return [*steps, Send(start + refusal.body)]


def whole_steps(
    body: bytes, content_type: str, headers: Headers, fault: Fault | None, error: bytes
) -> list[Step]:
    """A reply of status 200 that is no stream, as `fault` makes it.

    `error` is the provider's error object inside a 200.
    """
    name = fault.name if fault else None
    if name in {FaultName.ERROR_EVENT, FaultName.BILLED_ERROR}:
        body = error
    elif name is FaultName.MALFORMED_EVENT:
        body = body[: len(body) // 2]
    elif name is FaultName.COMMENTS_ONLY:
        body = b""
    elif name is FaultName.CRLF:
        body += b"\r\n"
    elif name is FaultName.GZIP:
        body = zlib.compress(body, wbits=_GZIP)
        headers = (*headers, ("Content-Encoding", "gzip"))
    start = head(200, content_type, headers, len(body))
    if fault is None:
        return [Send(start + body)]
    match name:
        case FaultName.STALL:
            return [Hang()]
        case FaultName.STALL_AFTER_HEAD:
            return [*_pause(fault.delay_s), Send(start), Hang()]
        case FaultName.CUT | FaultName.CUT_NONSTREAM:
            half = Send(start + body[: len(body) // 2])
            return [half, *_pause(fault.delay_s), _death(fault)]
        case FaultName.SLOW_FIRST:
            return [Send(start), Wait(fault.delay_s or _SLOW_FIRST_S), Send(body)]
        case FaultName.SLOW:
            size = -(-len(body) // _SLICES) or 1
            return [Send(start), *_slices(body, size, fault.delay_s or _SLOW_S)]
        case FaultName.TRICKLE:
            return _slices(start + body, fault.size or _TRICKLE_BYTES, fault.delay_s)
    return [*_pause(fault.delay_s), Send(start + body)]


def stream_steps(
    frames: Sequence[Frame],
    start: bytes,
    *,
    fault: Fault | None,
    pace_s: float,
    error: bytes,
    done_after_error: bool,
    comment: bytes = b"",
) -> list[Step]:
    """A stream of server-sent events in HTTP chunks, as `fault` makes it.

    Args:
        frames: the events, without the end mark.
        start: the head.
        fault: what goes wrong, if anything.
        pace_s: seconds between events.
        error: the provider's error object inside a stream.
        done_after_error: whether the provider sends its end mark after that.
        comment: a line that stands before the first event, and goes on while that is awaited.
    """
    name = fault.name if fault else None
    if fault is not None and name is FaultName.SLOW:
        pace_s = fault.delay_s or _SLOW_S
    events = [event(frame.data) for frame in frames]
    lead = chunk(comment + b"\n\n") if comment else b""
    end = chunk(_DONE) + _LAST_CHUNK
    if fault is None or name is FaultName.SLOW:
        return _paced(start + lead, [*events, end], pace_s)
    at = strike(frames, _after(fault))
    pause = _pause(fault.delay_s)
    match name:
        case FaultName.STALL:
            return [Hang()]
        case FaultName.STALL_AFTER_HEAD:
            return [*_paced(start, events[:at], pace_s), Hang()]
        case FaultName.CUT | FaultName.CUT_NONSTREAM:
            return [*_paced(start, events[:at], pace_s), *pause, _death(fault)]
        case FaultName.ERROR_EVENT | FaultName.BILLED_ERROR:
            end = (chunk(_DONE) if done_after_error else b"") + _LAST_CHUNK
            return [*_paced(start, events[:at], pace_s), *pause, Send(event(error) + end)]
        case FaultName.MALFORMED_EVENT:
            broken = frames[min(at, len(frames) - 1)].data
            events.insert(at, event(broken[: len(broken) // 2]))
        case FaultName.COMMENTS_ONLY:
            line = chunk((comment or b": still at work") + b"\n\n")
            return [*pause, Send(start + line * _COMMENTS + _LAST_CHUNK)]
        case FaultName.SLOW_FIRST:
            pause = [Wait((fault.delay_s or _SLOW_FIRST_S) / _COMMENTS)]
            waiting: list[Step] = [Send(lead), *pause] if lead else pause
            return [Send(start), *(waiting * _COMMENTS), *_paced(b"", [*events, end], pace_s)]
        case _:
            everything = [lead, *events, end] if lead else [*events, end]
            return [*pause, *_spoilt(start, everything, fault, pace_s)]
    return [*pause, *_paced(start + lead, [*events, end], pace_s)]


def _spoilt(start: bytes, events: list[bytes], fault: Fault, pace_s: float) -> list[Step]:
    """A complete stream whose bytes are not as they should be; its last event is the end mark."""
    match fault.name:
        case FaultName.NO_DONE:
            events[-1] = _LAST_CHUNK
        case FaultName.DOUBLE_DONE:
            events[-1] = chunk(_DONE) * 2 + _LAST_CHUNK
        case FaultName.TRICKLE:
            everything = b"".join((start, *events))
            return _slices(everything, fault.size or _TRICKLE_BYTES, fault.delay_s)
        case FaultName.CRLF:
            texts = [unchunked(one).replace(b"\n", b"\r\n") for one in events]
            events = [*map(chunk, texts), _LAST_CHUNK]
        case FaultName.GZIP:
            start = start.removesuffix(b"\r\n") + b"Content-Encoding: gzip\r\n\r\n"
            packer = zlib.compressobj(wbits=_GZIP)
            texts = [
                packer.compress(unchunked(one)) + packer.flush(zlib.Z_SYNC_FLUSH) for one in events
            ]
            events = [*map(chunk, texts), chunk(packer.flush()), _LAST_CHUNK]
    return _paced(start, events, pace_s)


def strike(frames: Sequence[Frame], after: int) -> int:
    """The place in `frames` that follows `after` pieces; 0 pieces still lets the opening pass."""
    if after < 0:
        return 0
    pieces = [place for place, frame in enumerate(frames) if frame.piece]
    if not pieces:
        return len(frames)
    if after == 0:
        return pieces[0]
    return pieces[min(after, len(pieces)) - 1] + 1


def chunk(data: bytes) -> bytes:
    """`data` as one HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(data: bytes) -> bytes:
    """`data` as one server-sent event in an HTTP chunk of its own."""
    return b"%x\r\ndata: %b\n\n\r\n" % (len(data) + 8, data)


def unchunked(data: bytes) -> bytes:
    """What HTTP chunks hold, the last one included."""
    text = b""
    while data:
        length, _, data = data.partition(b"\r\n")
        size = int(length, 16)
        text += data[:size]
        data = data[size + 2 :]
    return text


def _after(fault: Fault) -> int:
    if fault.after is not None:
        return fault.after
    return -1 if fault.name in {FaultName.STALL_AFTER_HEAD, FaultName.CUT_NONSTREAM} else 0


def _death(fault: Fault) -> Break:
    return Break(reset=fault.how == "rst")


def _pause(seconds: float) -> list[Step]:
    return [Wait(seconds)] if seconds > 0 else []


def _paced(start: bytes, events: Sequence[bytes], pace_s: float) -> list[Step]:
    if pace_s <= 0:
        return [Send(b"".join((start, *events)))]  # one write: nobody can tell it from many
    steps: list[Step] = [Send(start)]
    for one in events:
        steps += (Send(one), Wait(pace_s))
    if events:
        steps.pop()
    return steps


def _slices(data: bytes, size: int, gap_s: float) -> list[Step]:
    steps: list[Step] = []
    for at in range(0, len(data), size):
        steps += (Send(data[at : at + size]), Wait(gap_s))
    return steps[:-1]
