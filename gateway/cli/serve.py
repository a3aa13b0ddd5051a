"""`tidegate serve`: the production entry."""

import functools
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.server import StartRefused, before_serving, run_server
from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from gateway.settings import Settings


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file; tidegate.yaml in this folder if there is one.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Processes that serve, whatever `server.workers` says.",
)
@click.option("--check", is_flag=True, help="Check the settings and stop.")
def serve(config: Path | None, workers: int | None, *, check: bool) -> None:
    """Serve as the settings say; on bad ones, say what is wrong with each and stop.

    SIGTERM and Ctrl-C let running requests end. SIGHUP reads the settings anew: good ones hold from the
    next request on, of bad ones nothing is taken.
    """
    from gateway.settings import load

    overrides = {} if workers is None else {"server": {"workers": workers}}
    reread = functools.partial(load, config, overrides=overrides)
    try:
        settings = reread()
        if check:
            from gateway import app

            app.check(settings)
            click.echo("the settings are good")
            return
    except ConfigurationError as fault:
        raise StartRefused(fault) from None

    if settings.server.workers == 1:
        run_server(functools.partial(_alone, settings, reread))
    else:
        # The parent of many is light: it imports nothing of what they need.
        from gateway.processes.supervisor import supervise

        def all_ready(listener: socket.socket) -> None:
            _tell(listener, f", {settings.server.workers} processes")

        run_server(functools.partial(supervise, settings, reread, all_ready))


async def _alone(settings: "Settings", reread: "functools.partial[Settings]") -> bool:
    from gateway import app

    await app.prepare(settings)
    listener = app.bind(settings.server)
    before_serving()
    return await app.serve(settings, listener, functools.partial(_tell, listener), reread)


def _tell(listener: socket.socket, more: str = "") -> None:
    host, port = listener.getsockname()[:2]
    click.echo(f"tidegate: listening on http://{host}:{port}{more}", err=True)
