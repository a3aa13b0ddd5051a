"""A caller's request and the way back to it, as the request path sees them.

The edge implements these; whatever serves a request knows nothing of a web framework.
"""

from typing import Protocol


class Head(Protocol):
    """The head of a caller's request."""

    def header(self, name: bytes, /) -> bytes | None:
        """The value of a header by its lower-case name.

        Raises:
            GatewayError: it is there more than once.
        """

    def first(self, name: bytes, /) -> bytes | None:
        """The same, but the first of several: for headers that decide nothing."""


class Exchange(Protocol):
    """One request of a caller and the way back to it; what `flow` sees instead of a web framework.

    A caller who leaves cancels the task that serves the exchange.
    """

    head: Head

    async def body(self) -> bytes | bytearray:
        """The whole body.

        Raises:
            GatewayError: too large, too slow, or the caller left.
        """

    def start(self, status: int, headers: bytes, length: int | None) -> None:
        r"""Send the head of the answer; `length` None means chunked.

        `headers` are whole lines, each with its `\r\n`; those of framing are not among them.
        """

    def write(self, data: bytes) -> None:
        """Send a piece of the answer. Dropped in silence once the caller left."""

    async def drain(self) -> None:
        """Wait until the caller has read enough to go on.

        Raises:
            GatewayError: it read nothing for too long.
        """

    def finish(self, data: bytes = b"") -> None:
        """Send the last piece and end the answer."""

    @property
    def congested(self) -> bool:
        """Whether `drain` would wait."""

    @property
    def gone(self) -> bool:
        """Whether the caller has left."""
