"""The server around a worker's parts: signals, drain, reload."""

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from typing_extensions import override

from gateway.api.edge import EdgeProtocol
from gateway.app.start import check_all
from gateway.app.worker import Scrape, Worker
from gateway.processes import reload
from gateway.processes.accepting import Acceptor
from gateway.settings import Settings
from gateway.telemetry import metrics
from gateway.uptime.standing import Standing


class Server(uvicorn.Server):
    """A server that says when it listens, and that leaves in steps.

    First `/readyz` says that it leaves, while connections are still taken for `delay` seconds, so that load
    balancers look elsewhere before anybody is refused. Then nothing new is taken and what runs may end.

    Args:
        config: uvicorn's.
        ready: called once the gateway answers.
        standing: told that the process leaves.
        delay: seconds.
        alone: whether this process has its socket for itself, and heeds Ctrl-C, which a terminal sends
            to a whole group.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        ready: Callable[[], None],
        standing: Standing,
        delay: float,
        *,
        alone: bool = True,
    ) -> None:
        super().__init__(config)
        self.delay = delay
        self._ready = ready
        self._standing = standing
        self._alone = alone

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        shared = [] if self._alone or not sockets else sockets
        await super().startup([] if shared else sockets)
        for listener in shared:
            listener.listen(self.config.backlog)
            acceptor: Any = Acceptor(listener, self._protocol, EdgeProtocol.shutdown)
            self.servers.append(acceptor)
        if self.started:
            self._ready()

    def _protocol(self) -> EdgeProtocol:
        return EdgeProtocol(self.config, self.server_state, self.lifespan.state)

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGINT and not self._alone:
            return  # the supervisor got it as well, and says what to do
        self._captured_signals.append(sig)
        if self._standing.draining:  # a second one does not wait
            if self.should_exit and sig == signal.SIGINT:
                self.force_exit = True
            self.should_exit = True
            return
        self.leave()

    def leave(self) -> None:
        """Begin to leave. Harmless twice."""
        if self._standing.draining:
            return
        self._standing.draining = True
        if self.delay and self.started:
            asyncio.get_running_loop().call_later(self.delay, self._stop)
        else:
            self.should_exit = True

    def _stop(self) -> None:
        self.should_exit = True


class Serving:
    """One process that serves: its parts and its server.

    Args:
        settings: already through `prepare`.
        ready: called once the gateway answers.
        scrape: as of `Worker`.
        alone: as of `Server`.
    """

    def __init__(
        self,
        settings: Settings,
        ready: Callable[[], None],
        scrape: Scrape | None = None,
        *,
        alone: bool = True,
    ) -> None:
        self.settings = settings
        standing = Standing()
        self.worker = Worker(settings, standing, scrape)
        server = settings.server
        self._config = uvicorn.Config(
            self.worker.application(),
            http=EdgeProtocol,
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            # Whoever else calls could say in the audit log where from.
            proxy_headers=bool(server.trusted_proxies),
            forwarded_allow_ips=list(server.trusted_proxies),
            timeout_keep_alive=server.keep_alive,  # type: ignore[arg-type] # it takes fractions too
            timeout_graceful_shutdown=server.drain_timeout,  # type: ignore[arg-type] # as above
            backlog=2048,
        )
        self.server = Server(self._config, ready, standing, server.drain_delay, alone=alone)

    async def run(self, listener: socket.socket) -> bool:
        """Serve until it is told to leave; whether it ever served."""
        await self.server.serve(sockets=[listener])
        return self.server.started

    async def change(self, settings: Settings) -> None:
        """Go on with other settings, as far as they can change: `gateway.processes.reload` says which.

        Raises:
            ConfigurationError: nothing changed.
        """
        await self.worker.reload(settings)
        self.settings = settings
        server = settings.server
        self._config.timeout_keep_alive = server.keep_alive  # type: ignore[assignment] # as above
        self._config.timeout_graceful_shutdown = server.drain_timeout  # type: ignore[assignment] # as above
        self.server.delay = server.drain_delay


async def serve(
    settings: Settings,
    listener: socket.socket,
    ready: Callable[[], None],
    reread: Callable[[], Settings] | None = None,
) -> bool:
    """Serve in this process alone until a signal ends it.

    Args:
        settings: already through `prepare`.
        listener: from `bind`.
        ready: called once the gateway answers.
        reread: reads the settings anew, for a SIGHUP; without it there is no reload.

    Returns:
        Whether it ever did.
    """
    serving = Serving(settings, ready)
    if reread is not None:
        _on_hangup(serving, reread)
    return await serving.run(listener)


def _on_hangup(serving: Serving, reread: Callable[[], Settings]) -> None:
    reloading = reload.Reloading(
        reread,
        lambda: serving.settings,
        check_all,
        serving.change,
    )
    counted = serving.worker.metrics
    counted.collect(lambda: [(metrics.RELOAD_FAILED, (), float(reloading.failed))])
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloading.begin)
