"""`tidegate apply`: bring organisations, teams, members and keys to what a file declares."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.administration import data_option, with_office
from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.accounts.applying import Applied
    from gateway.accounts.office import Office
    from gateway.accounts.opening import Installation
    from gateway.accounts.roles import Actor
    from gateway.accounts.steps import Step

_SIGNS = {"create": "+", "update": "~", "disable": "-"}


@click.command("apply")
@click.option(
    "-f",
    "--file",
    "file",
    type=click.File("r", encoding="utf-8", lazy=True),
    required=True,
    help="What is to be, as YAML; `-` for stdin.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option(
    "--prune", is_flag=True, help="Disable teams, members and keys that it does not name."
)
@click.option(
    "--secrets",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write new keys to this file, which must not exist, instead of printing them.",
)
@data_option
def apply(
    *, file: Any, dry_run: bool, prune: bool, secrets: Path | None, data: "Installation"
) -> None:
    """Bring the installation to what FILE declares: all of it, or nothing.

    What the file leaves out is left as it is. With --dry-run the exit status is 0 where nothing would
    change and 2 where something would. The form of the file: docs/guides/teams-as-a-file.md.
    """
    from gateway.accounts.applying import apply as carry_out
    from gateway.accounts.declared import read

    try:
        declared = read(file.read(), file.name)
    except ConfigurationError as fault:
        raise click.ClickException("\n".join(fault.faults)) from fault
    kept = None if secrets is None or dry_run else _opened(secrets)

    async def work(office: "Office", actor: "Actor") -> "Applied":
        return await carry_out(office, actor, declared, dry_run=dry_run, prune=prune)

    try:
        done = with_office(data, work, via="apply")
    except BaseException:
        if kept is not None and secrets is not None:
            os.close(kept)
            secrets.unlink()
        raise
    # First: where nobody reads the steps to the end, the keys must not be lost.
    _hand_out(done.secrets, kept, secrets)
    for step in done.steps:
        click.echo(_line(step))
    if not done.steps:
        click.echo("nothing to change", err=True)
    elif dry_run:
        click.echo(f"{len(done.steps)} to change; nothing was done (--dry-run)", err=True)
        raise SystemExit(2)
    else:
        click.echo(f"{len(done.steps)} changed", err=True)


def _line(step: "Step") -> str:
    """One step: what it is done to, and a line for each value that it gives or changes."""
    head = f"{_SIGNS[step.action]} {step.kind} {step.path}"
    fields = list(dict.fromkeys([*step.before, *step.after]))
    told: list[str] = []
    if step.action == "create":
        told = [f"    {field}: {_value(step.after, field)}" for field in fields if field != "name"]
    elif step.action == "update":
        told = [
            f"    {field}: {_value(step.before, field)} -> {_value(step.after, field)}"
            for field in fields
        ]
    return "\n".join([head, *told])


def _value(values: "Mapping[str, Any]", field: str) -> str:
    if field not in values or values[field] is None:
        return "(none)"
    value = values[field]
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _opened(secrets: Path) -> int:
    """A new file for the keys, for its owner alone; before anything is done that makes some."""
    try:
        return os.open(secrets, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as fault:
        raise click.ClickException(f"{secrets}: {fault.strerror}") from fault


def _hand_out(made: "Mapping[str, str]", kept: int | None, secrets: Path | None) -> None:
    if kept is not None and secrets is not None:
        if not made:
            os.close(kept)
            secrets.unlink()
            return
        with open(kept, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor has no path
            file.writelines(f"{path}: {secret}\n" for path, secret in made.items())
        click.echo(f"{len(made)} new keys are in {secrets}", err=True)
        return
    for path, secret in made.items():
        click.echo(f"{path}: {secret}")
    if made:
        click.echo("Keep the keys now: they cannot be shown again.", err=True)
