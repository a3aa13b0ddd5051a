"""What every adapter offers."""

from collections.abc import Callable
from typing import Protocol

from backends.values import Call, Endpoint, Event

Take = Callable[[list[Event]], bool]


class Reply(Protocol):
    """An answer under way at one endpoint."""

    dropped: tuple[str, ...]  # fields of the request that this endpoint was not sent

    @property
    def upstream_id(self) -> str | None:
        """The provider's own id of the answer, once known."""

    @property
    def malformed(self) -> int:
        """Events that could not be read and were skipped."""

    async def next(self, take: Take | None = None) -> list[Event]:
        """The events that have arrived, at least one; an empty list once the reply ended well.

        Args:
            take: offered events as they arrive, from within the connection's callback, which saves
                waking the task for each of them. What it takes (True) is not returned; with what it
                refuses (False) this returns. It must not wait and must not raise.

        Raises:
            BackendError: the reply failed; nothing more will come.
        """

    def abort(self) -> None:
        """Stop at once and free the connection. Harmless after the end, or twice."""


class Backend(Protocol):
    """One dialect of one kind of provider. Holds no per-request state."""

    async def open(self, call: Call, endpoint: Endpoint, *, timeout: float) -> Reply:
        """Send `call` to `endpoint` and return when its answer begins well.

        Args:
            call: the request.
            endpoint: where to send it.
            timeout: seconds that are left for the whole exchange, the reply included.

        Raises:
            BackendError: no good answer began.
        """
