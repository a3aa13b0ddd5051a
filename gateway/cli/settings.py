"""`tidegate settings`: models, preferences, presets and limits of each level."""

import json
from typing import TYPE_CHECKING, Any

import click
import msgspec

from gateway.cli.administration import data_option, json_option, show, with_office

if TYPE_CHECKING:
    from gateway.accounts.office import Office
    from gateway.accounts.opening import Installation
    from gateway.accounts.owners import LevelName
    from gateway.accounts.roles import Actor
    from gateway.accounts.rows import Level

_level = click.argument("level", type=click.Choice(["organisation", "team", "member", "key"]))
_whose = click.argument("whose", metavar="ID")


@click.group()
def settings() -> None:
    """Settings of a level: which models, which providers, presets, limits.

    LEVEL is organisation, team, member or key; ID is its id, or the name of an organisation or team, or
    the email of a member. What can be set: docs/concepts/levels.md.
    """


@settings.command("show")
@_level
@_whose
@click.option("--effective", is_flag=True, help="What is in force there, and which level set it.")
@json_option
@data_option
def show_settings(
    *, level: "LevelName", whose: str, effective: bool, data: "Installation", as_json: bool
) -> None:
    """Print what LEVEL ID sets, as JSON; with --effective, what is in force and where it came from."""
    from gateway.accounts import settings as accounts

    if not effective:
        found = with_office(data, lambda office, actor: accounts.get(office, actor, level, whose))
        click.echo(json.dumps(msgspec.to_builtins(found.settings), indent=2))
        return
    told = with_office(data, lambda office, actor: accounts.effective(office, actor, level, whose))
    rows: list[dict[str, Any]] = [
        {
            "setting": value.name,
            "value": value.value if as_json else _short(value.name, value.value),
            "from": ", ".join(f"{source.level} {source.name}" for source in value.sources),
        }
        for value in told.values
    ]
    show(rows, as_json=as_json, empty=f"nothing is set for this {level}, nor above it")


@settings.command("set")
@_level
@_whose
@click.argument("changes", nargs=-1, metavar="[NAME=VALUE]...")
@click.option(
    "--file",
    "file",
    type=click.File("r", encoding="utf-8", lazy=True),
    help="Take all settings from a JSON or YAML file, `-` for stdin, instead of those that there are.",
)
@data_option
def set_settings(
    *, level: "LevelName", whose: str, changes: tuple[str, ...], file: Any, data: "Installation"
) -> None:
    """Change settings of LEVEL ID: default_model=moonshotai/kimi-k2.6 'models=["moonshotai/kimi-k2.6"]'.

    VALUE is JSON, or text; an empty one takes the setting away.
    """
    from gateway.accounts import settings as accounts

    if (file is None) == (not changes):
        raise click.UsageError("say what to set: NAME=VALUE …, or --file FILE")
    whole = None if file is None else _document(file.read())
    patch = dict(_change(change) for change in changes)

    async def work(office: "Office", actor: "Actor") -> "Level":
        if whole is not None:
            return await accounts.replace(office, actor, level, whose, whole)
        return await accounts.patch(office, actor, level, whose, patch)

    done = with_office(data, work)
    click.echo(f"{done.level} {done.name}: revision {done.revision}", err=True)


def _document(text: str) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise click.ClickException(f"the settings are neither JSON nor YAML: {error}") from error
    if not isinstance(found, dict):
        raise click.ClickException('settings are an object, as in {"models": […]}')
    return found


def _change(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"{text!r} is not NAME=VALUE")
    if not value:
        return name, None
    try:
        return name, json.loads(value)
    except json.JSONDecodeError as error:
        if value[0] in '[{"':
            raise click.UsageError(f"{name}: the value is no JSON: {error}") from error
        return name, value


def _short(name: str, value: Any) -> str:
    if name == "budget":
        told = f"{value['limit']} {value['currency']} {value['period']}"
        return told if value["on_state_loss"] == "lease" else f"{told}, {value['on_state_loss']}"
    return value if isinstance(value, str) else json.dumps(value, separators=(", ", ": "))
