"""How `tidegate backends` shows endpoints: for programs, and for people."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from gateway.routing.accounts import Account
    from gateway.values import Candidate

_PER_MILLION = Decimal(10) ** 6
_CENTS = 2  # decimals that every price is shown with


def row(
    accounts: "Mapping[str, Account]",
    candidate: "Candidate",
    balances: Mapping[str, str],
    today: dt.date,
) -> dict[str, Any]:
    """What matters of an endpoint, for programs.

    Args:
        accounts: all, by name.
        candidate: the endpoint.
        balances: what is known of the accounts' balances, by name.
        today: the day on which data policies count.
    """
    from backends import KINDS
    from gateway.policies import data_policy

    endpoint, card = candidate.endpoint, candidate.card
    keys = [key for key in (endpoint.api_key, *endpoint.spare_keys) if key is not None]
    limits = accounts[endpoint.account].limits
    price: dict[str, str] | None = None
    if card is not None:
        price = {"currency": card.currency}
        for name in ("input", "output", "cache_read"):
            if (value := getattr(card, name)) is not None:
                price[name] = f"{Decimal(value) / _PER_MILLION:f}"
    return {
        "endpoint": endpoint.id,
        "provider": endpoint.provider,
        "kind": endpoint.kind,
        "base_url": endpoint.base_url,
        "local": endpoint.local,
        "sandbox": endpoint.sandbox,
        "model": candidate.model,
        "model_there": endpoint.model,
        "context_length": candidate.context_length,
        "max_output": candidate.max_output,
        "price_per_million": price,
        "account": endpoint.account,
        "keys": [key.fingerprint for key in keys],
        "limits": limits.model_dump(exclude_none=True),
        "balance": balances.get(endpoint.account),
        "data_policy": data_policy.describe(candidate.policy, today),
        "thinking": endpoint.profile.thinking,
        "thinking_switch": endpoint.thinking_switch or KINDS[endpoint.kind].quirks.thinking_switch,
    }


def listing(rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """Endpoints below their providers, with a heading for what they have in common."""
    common = ("provider", "kind", "base_url", "account", "data_policy")
    for at, (_, group) in enumerate(grouped(rows, lambda row: tuple(row[name] for name in common))):
        first = group[0]
        marks = [name for name in ("local", "sandbox") if first[name]]
        if at:
            yield ""
        yield f"{first['provider']}  ({', '.join(['kind ' + first['kind'], *marks])})"
        yield f"  address  {first['base_url'] or 'known to litellm'}"
        yield f"  account  {_account(first)}"
        yield f"  data     {first['data_policy']}"
        table = [
            ("ENDPOINT", "MODEL", "INPUT", "OUTPUT", "CACHE READ", "PER", "CONTEXT", "THINKING")
        ]
        for row in group:
            price = row["price_per_million"] or {}
            table.append(
                (
                    row["endpoint"],
                    row["model"],
                    *(_money(price.get(name)) for name in ("input", "output", "cache_read")),
                    f"{price['currency']}/M" if price else "unpriced",
                    f"{row['context_length']:,}",
                    _thinking(row),
                )
            )
        yield from (f"  {line}" for line in columns(table, right={2, 3, 4, 6}))


def _account(row: Mapping[str, Any]) -> str:
    keys = row["keys"]
    parts = [row["account"]]
    parts.append(f"key{'s'[: len(keys) > 1]} {', '.join(keys)}" if keys else "no key")
    names = {
        "concurrency": "{:,} at a time",
        "requests_per_minute": "{:,} requests/min",
        "tokens_per_minute": "{:,} tokens/min",
    }
    limits = [
        text.format(row["limits"][name]) for name, text in names.items() if name in row["limits"]
    ]
    parts.append(", ".join(limits) or "no limits set")
    if row["balance"] is not None:
        parts.append(f"balance {row['balance']}")
    return "; ".join(parts)


def _thinking(row: Mapping[str, Any]) -> str:
    kind = row["thinking"]
    if kind is None:
        return "not known"
    if kind == "toggle":
        switch = row["thinking_switch"]
        return "toggle, no switch" if switch == "none" else f"toggle by {switch}"
    return {"none": "never", "always": "always"}[kind]


def _money(text: str | None) -> str:
    return (
        "-"
        if text is None
        else f"{Decimal(text):.2f}"
        if Decimal(text) == round(Decimal(text), 2)
        else text
    )


Item = TypeVar("Item")


def grouped(
    items: Iterable[Item], key: Callable[[Item], tuple[Any, ...]]
) -> list[tuple[tuple[Any, ...], list[Item]]]:
    """Items with the same key together, in the order of their first."""
    groups: dict[tuple[Any, ...], list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.items())


def columns(table: Sequence[Sequence[str]], right: set[int] | None = None) -> list[str]:
    """Rows of text in aligned columns; those whose numbers are in `right` to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = [
            cell.rjust(width) if right and at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
