"""The command line: one module a verb, imported when that verb is called."""

import importlib
import os
from importlib.metadata import version

import click
from typing_extensions import override

# Verb to (module, attribute, what `tidegate --help` says of it).
_VERBS = {
    "serve": ("serve", "serve", "Serve: the production entry."),
    "demo": ("demo", "demo", "Try it: a gateway with a key, ready in seconds."),
    "sandbox": ("sandbox", "sandbox", "Stand-ins of the providers, with faults on request."),
    "backends": ("backends", "backends", "List providers and endpoints, and try them."),
    "prices": (
        "prices",
        "prices",
        "Known prices, what they come from, and whether they are right.",
    ),
    "migrate": ("migrate", "migrate", "Bring the database to this version's schema."),
    "keys": ("keys", "keys", "Make, list, change and disable API keys."),
    "management-keys": (
        "management_keys",
        "management_keys",
        "Make, list, rotate and disable keys for the administrative API.",
    ),
    "teams": ("teams", "teams", "Make, list and change teams."),
    "members": ("members", "members", "People and service accounts, and their roles."),
    "organisations": ("organisations", "organisations", "Make, list and change organisations."),
    "budgets": ("budgets", "budgets", "Set, list and remove budgets."),
    "report": ("report", "report", "Spend, tokens, requests and latency, by team, model, day …"),
    "settings": ("settings", "settings", "Models, preferences, presets and limits of each level."),
    "apply": ("apply", "apply", "Bring all of these to what a file declares."),
    "ledger": ("ledger", "ledger", "The books: whether every amount is right."),
    "audit": ("audit", "audit", "Who did what, when and from where."),
}


class _Verbs(click.Group):
    """Loads a verb's module when it is called: `--help` and `keys` need no server."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        module, attribute, _ = _VERBS[cmd_name]
        found = getattr(importlib.import_module(f"gateway.cli.{module}"), attribute)
        return found if isinstance(found, click.Command) else None

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, text) for verb, (_, _, text) in _VERBS.items()])


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("tidegate"), prog_name="tidegate")
def main() -> None:
    """Tidegate: the LLM gateway that you own."""
    os.umask(0o077)  # what goes into a data folder is its owner's alone
