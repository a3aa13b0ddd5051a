"""Values for tests, with everything filled in that a test does not care about."""

import json
from typing import Any

from msgspec import Raw

from backends import Endpoint, Finish, Piece, Profile, Text, Usage
from backends.profiles import UNKNOWN
from gateway.routing.candidates import Book
from gateway.values import UNKNOWN_POLICY, BudgetRule, Candidate, DataPolicy, Principal
from pricing import Catalogue, Money, own_card

MODEL = "moonshotai/kimi-k2.6"
END = Finish(0, "stop", "stop")
USAGE = Usage(prompt=10, completion=5)
# An endpoint as settings have it.
OWN_ENDPOINT: dict[str, Any] = {
    "id": "own/kimi",
    "provider": "own",
    "base_url": "https://own.example/v1",
    "model": "kimi",
    "serves": "moonshotai/kimi-k2.6",
    "price": {"input": "0.1", "output": "0.5"},
    "context_length": 1000,
    "max_output": 100,
}


def candidate(
    name: str = "a",
    *,
    price: tuple[str, str] | None = ("1", "2"),
    currency: str = "USD",
    model: str = MODEL,
    kind: str = "openai_compat",
    account: str = "",
    context_length: int = 1000,
    max_output: int = 100,
    default_output: int = 50,
    sandbox: bool = False,
    policy: DataPolicy = UNKNOWN_POLICY,
    profile: Profile = UNKNOWN,
    reaches: tuple[str, ...] = (),
    per_search: str | None = None,
) -> Candidate:
    """An endpoint called `name`; `price` is input and output per million tokens."""
    card = None
    if price is not None:
        prices = {"input": price[0], "output": price[1]}
        if per_search is not None:
            prices["per_search"] = per_search
        card = own_card(provider=name, model=model, prices=prices, currency=currency)
    return Candidate(
        endpoint=Endpoint(
            id=f"{name}/kimi",
            provider=name,
            kind=kind,
            base_url="http://127.0.0.1:9/v1",
            account=account or name,
            local=True,
            model="kimi",
            sandbox=sandbox,
            profile=profile,
            reaches=reaches,
        ),
        model=model,
        card=card,
        context_length=context_length,
        max_output=max_output,
        default_output=default_output,
        policy=policy,
    )


def book(*candidates: Candidate) -> Book:
    """A book of just these."""
    return Book(Catalogue(models=(), listings=()), candidates)


def budget(
    limit: str, *, scope: str = "key", currency: str = "USD", period: str = "total"
) -> BudgetRule:
    """A budget of `limit` units."""
    pico = Money.parse(limit, currency).pico
    return BudgetRule(f"bud-{scope}", scope, pico, currency, period)


def principal(*budgets: BudgetRule, zdr: bool = False, no_training: bool = False) -> Principal:
    """A caller with these budgets and demands."""
    return Principal(
        key_id="key-1",
        key_name="web",
        team_id="team-1",
        team_name="search",
        organisation_id="org-1",
        budgets=budgets,
        zdr=zdr,
        no_training=no_training,
    )


def chat(**fields: Any) -> bytes:
    """The body of a chat request; a field that is None is left out."""
    whole = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}], **fields}
    return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()


def anthropic(**fields: Any) -> bytes:
    """The body of a Messages request; a field that is None is left out."""
    hello = {"role": "user", "content": "Hello!"}
    whole = {"model": MODEL, "max_tokens": 20, "messages": [hello], **fields}
    return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()


def text(content: str, *, reasoning: bool = False) -> Text:
    """A piece of answer text."""
    return Text(json.dumps(content)[1:-1].encode(), reasoning)


def piece(index: int = 0, *, meaningful: bool = True, logprobs: Any = None, **delta: Any) -> Piece:
    """Any other delta."""
    return Piece(
        index,
        {name: Raw(json.dumps(value).encode()) for name, value in delta.items()},
        meaningful,
        None if logprobs is None else Raw(json.dumps(logprobs).encode()),
    )
