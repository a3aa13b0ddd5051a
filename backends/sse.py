"""Reader of server-sent event streams: tolerant in framing, strict in size.

Follows the WHATWG HTML standard, section 9.2 "Server-sent events" (read 2026-11-22), as far as model
providers use it: `data` fields count, comments and all other fields are skipped. Beyond the standard it
takes an event whose blank line is missing at the end of the stream, and one JSON document per `data`
line where a provider forgets the blank line between two events.
"""

from backends.errors import BadReply

_DATA = b"data:"


class EventReader:
    """Cuts bytes as they arrive into the payloads of events."""

    __slots__ = ("_carriage", "_max_event", "_rest")

    def __init__(self, max_event: int = 4 * 1024 * 1024) -> None:
        """`max_event`: bytes that one event may have."""
        self._rest = b""
        self._carriage = False  # this stream ends lines with CR or CRLF
        self._max_event = max_event

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of all events that `data` completes, in order.

        Raises:
            BadReply: an event is larger than the limit.
        """
        if self._carriage or b"\r" in data:
            data = self._without_carriage(data)
        elif not self._rest and data.endswith(b"\n\n") and data.find(b"\n") == len(data) - 2:
            # One event of one line, which is what a live stream mostly brings in a read.
            return [data[6:-2]] if data.startswith(b"data: ") else _payloads(data[:-2])
        elif self._rest:
            data = self._rest + data
        events = data.split(b"\n\n")
        self._rest = rest = events.pop()
        if len(rest) > self._max_event:
            raise BadReply(f"an event is larger than {self._max_event} bytes")
        payloads: list[bytes] = []
        for event in events:
            if event.startswith(b"data: ") and b"\n" not in event:
                payloads.append(event[6:])
            elif event:
                payloads += _payloads(event)
        return payloads

    def flush(self) -> list[bytes]:
        """What is left at the end of the stream: an event that lacks its blank line."""
        rest, self._rest = self._rest, b""
        if rest.endswith(b"\r"):
            rest = rest[:-1]
        return _payloads(rest)

    def _without_carriage(self, data: bytes) -> bytes:
        self._carriage = True
        data = self._rest + data
        held = b""
        if data.endswith(b"\r"):  # its LF may come with the next read
            data, held = data[:-1], b"\r"
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") + held


def _payloads(event: bytes) -> list[bytes]:
    lines = [
        line[len(_DATA) :].removeprefix(b" ")
        for line in event.split(b"\n")
        if line.startswith(_DATA)
    ]
    if len(lines) > 1 and not all(line.startswith((b"{", b"[DONE]")) for line in lines):
        return [b"\n".join(lines)]
    return lines
