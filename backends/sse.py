"""Reader of server-sent event streams: tolerant in framing, strict in size.

Follows the WHATWG HTML standard, section 9.2 "Server-sent events" (read 2026-11-22), as far as model
providers use it: `data` fields count, comments and all other fields are skipped. It departs from the
standard, each time to lose nothing that was meant, in these:

- an event whose blank line is missing at the end of the stream is taken;
- so is each JSON document on a `data` line of its own where a provider forgets the blank line between;
- empty `data` lines are left out of a payload of several lines: in JSON they mean nothing;
- a byte order mark is skipped before any event, not just before the first;
- an event named `error` is marked as one, whatever its data.
"""

from backends.errors import BadReply

_DATA = b"data:"
_ERROR_NAMES = frozenset({b"event: error", b"event:error"})
_MARK = b"\xef\xbb\xbf"


class ErrorPayload(bytes):
    """The payload of an event that is named `error`."""

    __slots__ = ()


class EventReader:
    """Cuts bytes as they arrive into the payloads of events.

    However the network cuts the stream into reads, each byte is looked at and copied a fixed number of
    times, and no more is held than one unfinished event.
    """

    __slots__ = ("_after_cr", "_max_event", "_rest")

    def __init__(self, max_event: int = 4 * 1024 * 1024) -> None:
        """`max_event`: bytes that one event may have."""
        self._rest = bytearray()  # the unfinished event
        self._after_cr = False  # the last read ended in CR: an LF that comes next belongs to it
        self._max_event = max_event

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of all events that `data` completes, in order.

        Raises:
            BadReply: an event is larger than the limit.
        """
        if self._after_cr or b"\r" in data:
            data = self._line_feeds(data)
        rest = self._rest
        if not rest:
            if data.endswith(b"\n\n") and data.find(b"\n") == len(data) - 2:
                # One event of one line, which is what a live stream mostly brings in a read.
                return [data[6:-2]] if data.startswith(b"data: ") else _payloads(data[:-2])
        elif b"\n\n" in data or (data.startswith(b"\n") and rest.endswith(b"\n")):
            rest += data
            data = bytes(rest)
            rest.clear()
        else:
            self._hold(data)
            return []
        events = data.split(b"\n\n")
        self._hold(events.pop())
        payloads: list[bytes] = []
        for event in events:
            if event.startswith(b"data: ") and b"\n" not in event:
                payloads.append(event[6:])
            elif event:
                payloads += _payloads(event)
        return payloads

    def flush(self) -> list[bytes]:
        """What is left at the end of the stream: an event that lacks its blank line."""
        rest = bytes(self._rest)
        self._rest.clear()
        return _payloads(rest)

    def _hold(self, data: bytes) -> None:
        rest = self._rest
        rest += data
        if len(rest) > self._max_event:
            rest.clear()
            raise BadReply(f"an event is larger than {self._max_event} bytes")

    def _line_feeds(self, data: bytes) -> bytes:
        """`data` with every end of a line as LF."""
        if not data:
            return data
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _payloads(event: bytes) -> list[bytes]:
    lines: list[bytes] = []
    failed = False
    for line in event.lstrip(b"\n").removeprefix(_MARK).split(b"\n"):
        if line.startswith(_DATA):
            lines.append(line[len(_DATA) :].removeprefix(b" "))
        elif line in _ERROR_NAMES:
            failed = True
    if len(lines) > 1:
        lines = [line for line in lines if line] or [b""]
        if not all(line.startswith((b"{", b"[DONE]")) for line in lines):
            lines = [b"\n".join(lines)]
    if failed:
        return [ErrorPayload(line) for line in lines or [b""]]
    return lines
