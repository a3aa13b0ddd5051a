"""`tidegate backends`: what the settings make of providers and endpoints, and whether they answer."""

import datetime as dt
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from msgspec import Struct

from gateway.cli.administration import run
from gateway.cli.backend_listing import columns, grouped, listing, row

if TYPE_CHECKING:
    from backends import Dialer, HttpClient
    from gateway.cli.backend_probes import Step
    from gateway.routing.accounts import Account
    from gateway.settings import Settings
    from gateway.values import Candidate
    from pricing import Catalogue

Result = TypeVar("Result")

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file; tidegate.yaml in this folder if there is one.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class _Known(Struct, frozen=True):
    """What the settings make: all endpoints, and their accounts by name."""

    settings: "Settings"
    catalogue: "Catalogue"
    candidates: "tuple[Candidate, ...]"
    accounts: "Mapping[str, Account]"
    today: dt.date

    def named(self, name: str) -> "tuple[Candidate, ...]":
        """The endpoints that a name means: of an endpoint, a provider or an account.

        Raises:
            click.ClickException: there are none.
        """
        for attribute in ("id", "provider", "account"):
            found = tuple(c for c in self.candidates if getattr(c.endpoint, attribute) == name)
            if found:
                return found
        known = sorted({c.endpoint.provider for c in self.candidates})
        raise click.ClickException(
            f"there is no endpoint, provider or account {name!r}; providers are"
            f" {', '.join(known)}: see `tidegate backends list`"
        )


@click.group()
def backends() -> None:
    """Providers and endpoints of the settings: what they are, and whether they answer."""


@backends.command("list")
@config_option
@click.option("--offline", is_flag=True, help="Ask no provider for its balance.")
@json_option
def list_backends(config: Path | None, *, offline: bool, as_json: bool) -> None:
    """List the endpoints with prices, accounts, limits, balances and data policies."""
    known = _known(config)
    balances = {} if offline else run(_with_client(known, lambda c, _: _balances(c, known)))
    rows = [row(known.accounts, candidate, balances, known.today) for candidate in known.candidates]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        click.echo("\n".join(listing(rows)))


@backends.command("models")
@config_option
@json_option
@click.argument("name")
def models(config: Path | None, name: str, *, as_json: bool) -> None:
    """Ask the provider NAME which models it lists, and compare with the settings.

    NAME is a provider, an endpoint or an account. Exit status 1 if a configured model is not listed.
    """
    from gateway.cli.backend_probes import explain

    known = _known(config)
    chosen = _reached_from_here(known.named(name))

    async def work(client: "HttpClient", _: "Dialer") -> list[dict[str, Any]]:
        from backends import BackendError
        from backends.account_api import models as listed_models

        rows: list[dict[str, Any]] = []
        others: dict[str, None] = {}
        for where, group in grouped(chosen, lambda c: (c.endpoint.base_url, c.endpoint.account)):
            try:
                listed = await listed_models(client, group[0].endpoint)
            except BackendError as error:
                raise click.ClickException(f"{where[0]}/models: {explain(error)}") from error
            rows += [_compared(known, candidate, listed) for candidate in group]
            others |= dict.fromkeys(listed)
        configured = {row["model"] for row in rows}
        return rows + [_unused(known, model) for model in others if model not in configured]

    rows = run(_with_client(known, work))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        table = [(row["model"], row["endpoint"] or "-", row["state"]) for row in rows]
        click.echo("\n".join(columns([("MODEL THERE", "ENDPOINT HERE", "STATE"), *table])))
    if any(row["endpoint"] and not row["listed"] for row in rows):
        raise SystemExit(1)


@backends.command("test")
@config_option
@click.option("--yes", is_flag=True, help="Send the billed request without asking.")
@json_option
@click.argument("name")
def test(config: Path | None, name: str, *, yes: bool, as_json: bool) -> None:
    """Try the endpoint NAME: what is free first, then one billed token if you agree.

    NAME is an endpoint; of a provider or an account, the cheapest endpoint is tried. Exit status 1 if
    something failed.
    """
    from gateway.cli import backend_probes as probes

    known = _known(config)
    candidate = min(_reached_from_here(known.named(name)), key=_price_order)

    async def work(client: "HttpClient", dialer: "Dialer") -> "list[Step]":
        endpoint = candidate.endpoint
        account = known.accounts[endpoint.account]
        steps: list[Step] = []

        def note(step: "Step") -> None:
            steps.append(step)
            if not as_json:
                mark = {True: "ok", False: "FAILED", None: "?"}[step.good]
                click.echo(f"  {step.name:<12} {mark:<7} {step.said}")

        if not as_json:
            click.echo(f"{endpoint.id}  {endpoint.base_url}")
        async for step in probes.free_steps(client, dialer, candidate, account):
            note(step)
        reachable = all(step.good is not False for step in steps if step.name != "balance")
        if reachable and _agreed(candidate, yes=yes, as_json=as_json):
            note(await probes.chat(client, candidate))
        return steps

    steps = run(_with_client(known, work))
    if as_json:
        click.echo(
            json.dumps(
                {
                    "endpoint": candidate.endpoint.id,
                    "steps": [
                        {"step": step.name, "ok": step.good, "detail": step.said} for step in steps
                    ],
                },
                indent=2,
            )
        )
    if any(step.good is False for step in steps):
        raise SystemExit(1)


def _reached_from_here(candidates: "Sequence[Candidate]") -> "Sequence[Candidate]":
    """The candidates that are no matter of litellm's worker.

    Raises:
        click.ClickException: there are none.
    """
    found = [one for one in candidates if one.endpoint.kind != "litellm"]
    if not found:
        raise click.ClickException(
            f"{candidates[0].endpoint.id} is reached by the litellm worker, which only a running"
            " gateway has: send that a request"
        )
    return found


def _agreed(candidate: "Candidate", *, yes: bool, as_json: bool) -> bool:
    from gateway.cli.backend_probes import worst_cost

    most = worst_cost(candidate)
    question = (
        f"  Send a chat request for one token? It is billed: by the rate card at most {most}."
    )
    if yes:
        if not as_json:
            click.echo(f"  a chat request for one token is billed: by the rate card at most {most}")
        return True
    try:
        agreed = click.confirm(question, default=False, err=True)
    except click.Abort:  # nobody there to ask
        agreed = False
        click.echo(err=True)
    if not agreed:
        click.echo("  no chat request was sent; `--yes` sends it without asking", err=True)
    return agreed


def _known(config: Path | None) -> _Known:
    from gateway.cli.server import StartRefused
    from gateway.errors import ConfigurationError
    from gateway.routing.accounts import accounts_from
    from gateway.routing.endpoints import candidates_from
    from gateway.settings import load
    from gateway.store.prices import PriceFolder

    today = dt.datetime.now(dt.UTC).date()
    try:
        settings = load(config)
        catalogue = PriceFolder(settings.data, settings.prices.file).catalogue()
        candidates = candidates_from(settings, catalogue, today)
    except ConfigurationError as fault:
        raise StartRefused(fault) from None
    accounts = {account.name: account for account in accounts_from(settings, candidates)}
    return _Known(settings, catalogue, candidates, accounts, today)


async def _with_client(
    known: _Known, work: "Callable[[HttpClient, Dialer], Coroutine[Any, Any, Result]]"
) -> Result:
    from gateway.app import upstream_client, upstream_dialer
    from gateway.clock import SystemClock

    dialer = upstream_dialer(known.settings)
    client = upstream_client(known.settings, SystemClock(), dialer)
    try:
        return await work(client, dialer)
    finally:
        await client.aclose()


async def _balances(client: "HttpClient", known: _Known) -> dict[str, str]:
    """What each account may still spend, or why that is not known."""
    import asyncio

    from backends import BackendError
    from backends.account_api import balance, tells_balance
    from gateway.cli.backend_probes import explain

    async def of(account: "Account") -> str:
        try:
            found = await balance(client, account.endpoint)
        except BackendError as error:
            return f"not known: {explain(error)}"
        return "not told" if found is None else f"{found.amount:f} {found.currency}"

    asked = [one for one in known.accounts.values() if tells_balance(one.endpoint.kind)]
    told = await asyncio.gather(*map(of, asked))
    return dict(zip((one.name for one in asked), told, strict=True))


def _compared(known: _Known, candidate: "Candidate", listed: Sequence[str]) -> dict[str, Any]:
    """A configured model, and whether the provider lists it."""
    there = candidate.endpoint.model
    return {
        "model": there,
        "endpoint": candidate.endpoint.id,
        "serves": candidate.model,
        "listed": there in listed,
        "state": "listed" if there in listed else _why_not_listed(known, candidate),
    }


def _unused(known: _Known, model: str) -> dict[str, Any]:
    """A model that the provider lists and no endpoint here is for."""
    return {
        "model": model,
        "endpoint": None,
        "serves": known.catalogue.resolve(model),
        "listed": True,
        "state": "listed, not configured",
    }


def _why_not_listed(known: _Known, candidate: "Candidate") -> str:
    from backends import KINDS

    endpoint = candidate.endpoint
    host = KINDS[endpoint.kind].catalogue
    cards = [
        card
        for card in known.catalogue.cards
        if (card.provider, card.provider_model_id) == (host, endpoint.model)
    ]
    if host is not None and cards:
        offers = known.catalogue.offers(host, known.today)
        if endpoint.model not in {offer.provider_model_id for offer in offers}:
            until = max((card.valid_to for card in cards if card.valid_to), default=None)
            when = f", priced until {until}" if until else ""
            return f"NOT LISTED: retired by the provider{when}; remove the endpoint"
    return "NOT LISTED: check the model's id, and whether the key may use it"


def _price_order(candidate: "Candidate") -> tuple[bool, int, str]:
    card = candidate.card
    price = 0 if card is None else 3 * card.input + card.output
    return card is None, price, candidate.endpoint.id
