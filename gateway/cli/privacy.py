"""The options by which organisations, teams and keys demand privacy, and how lists show it."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.cli.administration import SEEN

if TYPE_CHECKING:
    from gateway.accounts.privacy import Change, Privacy

Command = TypeVar("Command", bound=Callable[..., Any])

_COLLECTION = click.Choice(["allow", "deny"])
_MEANING = (
    "`deny`: only endpoints that neither train on what they are sent nor keep it; `allow`: this"
    " level does not ask for that."
)


def setting_options(command: Command) -> Command:
    """`--zdr/--no-zdr` and `--data-collection`, of a verb that changes what there is."""
    command = click.option("--data-collection", type=_COLLECTION, help=_MEANING)(command)
    return click.option(
        "--zdr/--no-zdr",
        default=None,
        help="Whether it demands endpoints that retain nothing.",
    )(command)


def making_options(command: Command) -> Command:
    """The same of a verb that makes something."""
    command = click.option(
        "--data-collection", type=_COLLECTION, default="allow", show_default=True, help=_MEANING
    )(command)
    return click.option("--zdr", is_flag=True, help="Only endpoints that retain nothing.")(command)


def privacy(*, zdr: bool, data_collection: str) -> "Privacy":
    """What `making_options` say."""
    from gateway.accounts.privacy import Privacy

    return Privacy(zdr, data_collection == "deny")


def change(*, zdr: bool | None, data_collection: str | None) -> "Change":
    """What `setting_options` say."""
    from gateway.accounts.privacy import Change

    return Change(zdr, None if data_collection is None else data_collection == "deny")


def columns(levels: "Mapping[str, Privacy]") -> Mapping[str, str | None]:
    """What is in force for a row of a list, and which levels demand it: `yes (team, key)`."""
    from gateway.accounts.privacy import demanded_by

    zdr, no_training = (", ".join(demanded_by(levels, what)) for what in ("zdr", "no_training"))
    return {
        "zdr": f"yes ({zdr})" if zdr else "no",
        "data_collection": f"deny ({no_training})" if no_training else "allow",
    }


def told(name: str, levels: "Mapping[str, Privacy]") -> str:
    """What is in force after a change, for stderr."""
    row = columns(levels)
    return f"{name}: zdr {row['zdr']}, data collection {row['data_collection']}; {SEEN}"
