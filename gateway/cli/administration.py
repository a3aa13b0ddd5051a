"""What the administrative verbs have in common: the data folder, how errors are told, tables."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.errors import ConfigurationError, GatewayError

if TYPE_CHECKING:
    from gateway.store.database import Database

Answer = TypeVar("Answer")

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("tidegate-data"),
    show_default=True,
    help="Folder of the database and the pepper.",
)
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


def with_database(data: Path, work: Callable[["Database"], Awaitable[Answer]]) -> Answer:
    """Run `work` on the database of the data folder.

    Raises:
        click.ClickException: as `run`; also where there is no database.
    """
    from gateway.accounts.opening import opened

    async def opened_work() -> Answer:
        async with opened(data) as db:
            return await work(db)

    return run(opened_work())


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
