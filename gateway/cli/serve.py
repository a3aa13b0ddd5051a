"""`tidegate serve`: the production entry."""

from pathlib import Path

import click

from gateway.cli.server import StartRefused, before_serving, run_server
from gateway.errors import ConfigurationError


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file; tidegate.yaml in this folder if there is one.",
)
@click.option("--check", is_flag=True, help="Check the settings and stop.")
def serve(config: Path | None, *, check: bool) -> None:
    """Serve as the settings say; on bad ones, say what is wrong with each and stop."""
    from gateway import app
    from gateway.settings import load

    try:
        settings = load(config)
        if check:
            app.check(settings)
            click.echo("the settings are good")
            return
    except ConfigurationError as fault:
        raise StartRefused(fault) from None

    async def work() -> bool:
        await app.prepare(settings)
        listener = app.bind(settings.server)
        host, port = listener.getsockname()[:2]

        def ready() -> None:
            click.echo(f"tidegate: listening on http://{host}:{port}", err=True)

        before_serving()
        return await app.serve(settings, listener, ready)

    run_server(work)
