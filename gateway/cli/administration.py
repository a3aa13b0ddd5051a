"""What the administrative verbs have in common: the data folder, how errors are told, tables."""

import asyncio
import functools
import getpass
import json
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.errors import ConfigurationError, GatewayError

if TYPE_CHECKING:
    from gateway.accounts.office import Office
    from gateway.accounts.opening import Installation
    from gateway.accounts.roles import Actor
    from gateway.store.database import Database

Answer = TypeVar("Answer")


def data_option(command: Callable[..., Answer]) -> Callable[..., Answer]:
    """`--config` and `--data`: which installation a verb administers; it gets it as `data`."""

    @click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Settings file that says where the database is; tidegate.yaml in this folder if there is one.",
    )
    @click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of the database and the pepper, whatever the settings say; else as they say, or"
        " tidegate-data.",
    )
    @functools.wraps(command)
    def located(*given: Any, config: Path | None, data: Path | None, **options: Any) -> Answer:
        return command(*given, data=_installation(config, data), **options)

    return located


def _installation(config: Path | None, data: Path | None) -> "Installation":
    from gateway.accounts.opening import Installation

    if config is not None and data is not None:
        raise click.UsageError("give --config or --data, not both")
    try:
        if data is not None:
            return Installation.in_folder(data)
        from gateway.settings import load_whereabouts

        return Installation.of(load_whereabouts(config))
    except ConfigurationError as fault:
        raise click.ClickException("\n".join(fault.faults)) from fault


SEEN = "running gateways follow within `auth.poll_interval` (2 s by default), with Redis at once"
"""What to expect of a change of accounts; `docs/concepts/keys.md` has the whole of it."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, not a table.")


def run(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Run to the end; what went wrong and what to do about it goes to stderr, with exit status 1.

    Raises:
        click.ClickException: the work was refused or failed.
    """
    try:
        return asyncio.run(work)
    except ConfigurationError as fault:
        raise click.ClickException("\n".join(fault.faults)) from fault
    except GatewayError as fault:
        # Of an outage, the operator may see what no caller may.
        cause = f" ({fault.__cause__})" if fault.__cause__ is not None else ""
        raise click.ClickException(f"{fault.message}{cause}") from fault


def with_database(data: "Installation", work: Callable[["Database"], Awaitable[Answer]]) -> Answer:
    """Run `work` on the database of the data folder.

    Raises:
        click.ClickException: as `run`; also where there is no database.
    """
    from gateway.accounts.opening import opened

    async def opened_work() -> Answer:
        async with opened(data) as db:
            return await work(db)

    return run(opened_work())


def with_office(
    data: "Installation",
    work: Callable[["Office", "Actor"], Coroutine[Any, Any, Answer]],
    via: str = "cli",
) -> Answer:
    """Do administrative work on the data folder, as the operator of the installation.

    `via` is what the audit log says of the way: "cli" or "apply".

    Raises:
        click.ClickException: as `run`; also where there is no database.
    """
    from gateway.accounts.announcing import announcements, announcer
    from gateway.accounts.office import Office
    from gateway.accounts.opening import opened
    from gateway.clock import SystemClock

    async def opened_work() -> Answer:
        async with opened(data) as db, announcements(data.state) as announced:
            office = Office(db, data.pepper(), SystemClock(), announcer(None, announced))
            return await work(office, the_operator(via))

    return run(opened_work())


def the_operator(via: str = "cli") -> "Actor":
    """Whoever runs this command, by the names of its account and of the machine."""
    from gateway.accounts.roles import operator

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        name = f"uid {os.getuid()}"
    return operator(name[:60], socket.gethostname()[:64], via)


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool, empty: str) -> None:
    """Print rows to stdout: one JSON list, or columns in the order of the first row's fields.

    Args:
        rows: all with the same fields.
        as_json: whether to print JSON.
        empty: what to say on stderr where there are none.
    """
    if as_json:
        click.echo(json.dumps(list(rows), indent=2))
        return
    if not rows:
        click.echo(empty, err=True)
        return
    heads = [field.upper().replace("_", " ") for field in rows[0]]
    cells = [["-" if value is None else str(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for line in (heads, *cells):
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def utc(milliseconds: int | None) -> str | None:
    """Epoch milliseconds as ISO 8601 in UTC, to the second."""
    if milliseconds is None:
        return None
    moment = datetime.fromtimestamp(milliseconds // 1000, tz=UTC)
    return moment.isoformat().replace("+00:00", "Z")
