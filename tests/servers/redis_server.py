"""A real Redis (or Valkey), for tests."""

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from typing_extensions import override

from tests.servers import binaries
from tests.servers.watched import WatchedServer


class RedisServer(WatchedServer):
    """A server of its own, on a free port and a Unix socket, with a folder of its own.

    Args:
        folder: where it keeps its own; None: one of its own in the system's folder for such.
        persistence: whether what is written outlives `kill()` and `stop()` (an append-only file, synced
            at each write); else a restart finds it empty.
        replica_of: the server that it copies.
        settings: more lines of its configuration, such as `{"requirepass": "secret"}`.

    Attributes:
        url: `redis://127.0.0.1:PORT/0`.
        unix_socket: the path of its socket.

    Raises:
        Missing: there is none on this machine.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        persistence: bool = False,
        replica_of: "RedisServer | None" = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._program = binaries.redis()
        super().__init__("redis", folder=folder)
        self._persistence = persistence
        self._replica_of = replica_of
        self._settings = dict(settings or {})
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.unix_socket = self.folder / "s"

    @override
    def command(self) -> Sequence[str]:
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": "s",  # in its folder: the names of sockets are limited to 107 bytes
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes" if self._persistence else "no",
            "appendfsync": "always",
            "repl-diskless-sync-delay": "0",
            "enable-debug-command": "local",
            **self._settings,
        }
        if self._replica_of is not None:
            options["replicaof"] = f"127.0.0.1 {self._replica_of.port}"
        given = [part for name, value in options.items() for part in (f"--{name}", *_words(value))]
        return [str(self._program.path), *given]

    @override
    def variables(self) -> Mapping[str, str]:
        return self._program.variables

    @override
    def answers(self) -> bool:
        # One that wants a password first refuses: it serves all the same.
        return self.call("PING").startswith(("+PONG", "-NOAUTH"))

    def call(self, *words: str) -> str:
        """The first lines of the answer to one command, as Redis writes them (`+OK`, `-ERR …`, `:1`).

        Empty if nothing answers within a second.
        """
        sent = [f"*{len(words)}", *(part for word in words for part in (f"${len(word)}", word)), ""]
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall("\r\n".join(sent).encode())
                return connection.recv(65536).decode(errors="replace")
        except OSError:
            return ""

    def empty(self) -> None:
        """Remove all that it holds.

        Raises:
            RuntimeError: it does not answer so.
        """
        if not (said := self.call("FLUSHALL")).startswith("+OK"):
            raise RuntimeError(f"FLUSHALL: {said!r}")

    def is_synchronised(self) -> bool:
        """Whether this replica has all that its primary had when it joined."""
        return "master_link_status:up" in self.call("INFO", "replication")


def _words(value: str) -> list[str]:
    return value.split() or [""]
