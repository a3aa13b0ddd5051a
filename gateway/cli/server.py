"""Running the gateway in this process: what `serve` and `demo` share."""

import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import IO, Any

import click
import uvloop
from typing_extensions import override

from gateway.errors import ConfigurationError


def run_server(work: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    """Run to the end of the gateway; a clean stop by SIGTERM or Ctrl-C is exit status 0.

    Raises:
        click.ClickException: it could not start; one line for each fault.
    """
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        started = uvloop.run(work())
    except ConfigurationError as fault:
        raise StartRefused(fault) from None
    if not started:
        raise SystemExit(1)


def before_serving() -> None:
    """See that a clean stop is told from a crash.

    The server takes both signals while it runs and raises them again after a clean stop: that second
    one shall not end the process with a signal's status. Not earlier: until it serves, a signal ends
    the process as it should.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignore)


def _ignore(_number: int, _frame: object) -> None:
    """The stop was clean already."""


class StartRefused(click.ClickException):
    """The settings cannot be served."""

    exit_code = 2

    def __init__(self, fault: ConfigurationError) -> None:
        super().__init__("\n".join(fault.faults))

    @override
    def show(self, file: IO[Any] | None = None) -> None:
        """One line for each fault, on stderr unless another file is given."""
        for line in self.message.splitlines():
            click.echo(f"tidegate: {line}", err=file is None, file=file)
