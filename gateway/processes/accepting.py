"""Taking connections from a socket that several processes share, one at a time.

uvloop's server takes all that wait whenever it wakes, so that of a burst one process has nearly all and the
others have none. Here each takes one, and looks at what else there is to do before it takes the next.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final, Generic, TypeVar

_PAUSE: Final = 0.1  # seconds, after the machine refused a connection: too many files, no memory

_P = TypeVar("_P", bound=asyncio.Protocol)

log = logging.getLogger(__name__)


class Acceptor(Generic[_P]):
    """Takes connections until it is closed; has what uvicorn wants of a server.

    Args:
        listener: a socket that listens; it stays open when this is closed.
        serve: makes what serves one connection.
        leave: has that end its connection, at once or when a request that runs is answered.
    """

    def __init__(
        self, listener: socket.socket, serve: Callable[[], _P], leave: Callable[[_P], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._serve = serve
        self._leave = leave
        self._opening: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._closed = False
        listener.setblocking(False)
        self._listen()

    def _listen(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return  # another process was faster, or the caller has left
        except OSError as fault:
            log.error("connections cannot be taken: %s; trying again", fault.strerror)  # noqa: TRY400 - the trace says no more
            self._loop.remove_reader(self._listener)
            self._pause = self._loop.call_later(_PAUSE, self._listen)
            return
        connection.setblocking(False)
        opening = self._loop.create_task(self._open(connection))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket) -> None:
        try:
            # As uvloop's server does: no part of an answer waits for more of it.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _, serving = await self._loop.connect_accepted_socket(self._serve, connection)
        except OSError:
            connection.close()  # the caller has left
            return
        if self._closed:  # meanwhile, so that nobody else has told this one
            self._leave(serving)

    def close(self) -> None:
        """Take no more connections; those that were taken stay. Harmless twice."""
        if self._closed:
            return
        self._closed = True
        if self._pause is None:
            self._loop.remove_reader(self._listener)
        else:
            self._pause.cancel()

    async def wait_closed(self) -> None:
        """Return once nothing that was taken is on its way to being served."""
        await asyncio.gather(*self._opening)
