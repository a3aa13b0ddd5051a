"""Bodies of price sources in their documented shapes, made by hand; small, with rows of other families."""

import json
from decimal import Decimal
from typing import Any

from pricing import load_packaged

OTHERS = "meta-llama/llama-3.3-70b-instruct"


def openrouter(**prices: Any) -> bytes:
    """`GET /api/v1/models` with each packaged row in force, but for the pricing of ids that are given.

    Args:
        prices: `pricing` of a model by what follows "moonshotai/" in its id, with "_" for "-" and "__" for
            "."; None leaves the model out.
    """
    given = {f"moonshotai/{_spelt(name)}": value for name, value in prices.items()}
    rows: list[dict[str, Any]] = [{"id": OTHERS, "pricing": {"prompt": "-1"}}]
    for offered in packaged("openrouter"):
        pricing = {"prompt": _token(offered["input"]), "completion": _token(offered["output"])}
        if offered["cache_read"] is not None:
            pricing["input_cache_read"] = _token(offered["cache_read"])
        pricing = given.pop(offered["id"], pricing)
        if pricing is not None:
            rows.append({"id": offered["id"], "context_length": 262144, "pricing": pricing})
    rows += [{"id": name, "context_length": 1000, "pricing": one} for name, one in given.items()]
    return json.dumps({"data": rows}).encode()


def novita(**prices: Any) -> bytes:
    """`GET /v3/openai/models` in its newer form, likewise; `prices` are in dollars per million tokens."""
    given = {f"moonshotai/{_spelt(name)}": value for name, value in prices.items()}
    rows: list[dict[str, Any]] = [{"id": OTHERS, "input_token_price_per_m": 3900}]
    for offered in packaged("novita"):
        row = given.pop(offered["id"], offered)
        if row is not None:
            rows.append(novita_row(offered["id"], row))
    rows += [novita_row(name, row) for name, row in given.items()]
    return json.dumps({"data": rows}).encode()


def novita_row(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row of Novita's list, from dollars per million tokens."""
    unit = {
        field: int(Decimal(text) * 10_000) for field, text in row.items() if _is_price(field, text)
    }
    pricing = {
        "prompt": {"price_per_m": unit["input"]},
        "completion": {"price_per_m": unit["output"]},
    }
    if "cache_read" in unit:
        pricing["input_cache_read"] = {"price_per_m": unit["cache_read"]}
    return {
        "id": name,
        "input_token_price_per_m": unit["input"],
        "output_token_price_per_m": unit["output"],
        "context_size": 262144,
        "max_output_tokens": 131072,
        "pricing": pricing,
    }


def packaged(provider: str) -> list[dict[str, Any]]:
    """What the package has of a provider on the day that the tests take for today, standard or not."""
    found = []
    for listing in load_packaged().listings:
        card = listing.card
        if card.provider == provider and listing.offered and card.valid_on("2026-11-23"):
            found.append(
                {
                    "id": card.provider_model_id,
                    "input": _million(card.input),
                    "output": _million(card.output),
                    "cache_read": None if card.cache_read is None else _million(card.cache_read),
                }
            )
    return found


def _spelt(name: str) -> str:
    return name.replace("__", ".").replace("_", "-")


def _is_price(field: str, text: str | None) -> bool:
    return text is not None and field in {"input", "output", "cache_read"}


def _million(pico: int) -> str:
    return f"{Decimal(pico).scaleb(-6).normalize():f}"


def _token(text: str) -> str:
    return f"{Decimal(text).scaleb(-6):f}"
