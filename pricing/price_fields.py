"""The fields of a price file, and the form that each of them has."""

import datetime as dt
import re
from collections.abc import Mapping
from typing import get_args

from pricing.faults import near
from pricing.price_checks import PER_MILLION, PER_UNIT
from pricing.sources.document import Node
from pricing.sources.packaged import Status, Tier

_SOURCE_DATE = re.compile(r"20[0-9]{2}(-[0-9]{2}(-[0-9]{2})?)?")
_YEARS = range(2020, 2100)
# What a field holds, by section: text, tokens, date, source date, currency, price, list, any; or one
# of these words.
Fields = Mapping[str, str | tuple[str, ...]]
_ORIGIN: Fields = {"source": "text", "source_date": "source date"}
FILE: Fields = {
    "schema": "text",
    "about": "text",
    "generated": "date",
    "unit": "text",
    "notes": "any",
    "models": "list",
    "surcharges": "list",
    "unpriced": "list",
    "prices": "list",
    "conflicts": "any",
}
PRICE: Fields = {
    "provider": "text",
    "provider_model_id": "text",
    "model": "text",
    "variant": "text",
    "tier": get_args(Tier),
    "currency": "currency",
    "context_length": "tokens",
    "max_output": "tokens",
    **dict.fromkeys((*PER_MILLION, *PER_UNIT), "price"),
    "valid_from": "date",
    "valid_to": "date",
    "status": get_args(Status),
    **_ORIGIN,
    "note": "text",
}
MODEL: Fields = {
    "slug": "text",
    "name": "text",
    "context_length": "tokens",
    "modalities": "list",
    "license": "text",
    "hf_id": "text",
    "thinking": ("none", "toggle", "always"),
    "default_output": "tokens",
    "aliases": "list",
}
SURCHARGE: Fields = {
    "provider": "text",
    "unit": ("search",),
    "item": "text",
    "currency": "currency",
    "price": "price",
    **_ORIGIN,
    "note": "text",
}
UNPRICED: Fields = {"provider": "text", "provider_model_id": "text", "reason": "text", **_ORIGIN}
REQUIRED = {
    "": ("schema", "prices"),
    "prices": ("provider", "provider_model_id", "model", "currency", *_ORIGIN),
    "models": ("slug", "name", "context_length", "modalities"),
    "surcharges": ("provider", "unit", "item", "currency", "price", *_ORIGIN),
    "unpriced": tuple(UNPRICED),
}
MODALITIES = ("text", "image", "video")


def form_fault(node: Node, kind: str | tuple[str, ...]) -> tuple[str, str] | None:
    """What is wrong with the form of a field, and what to do; None if nothing is."""
    shown = repr(node.text[:40]) if node.text else node.kind
    if isinstance(kind, tuple):
        if node.kind == "text" and node.text in kind:
            return None
        return f"{shown} is not one of {', '.join(kind)}", near(node.text, kind)
    if kind == "text" and (node.kind != "text" or not node.text.strip()):
        scalar = node.kind in {"number", "date", "boolean"}
        return (
            f"{shown} is not text",
            "put it in quotes" if scalar else "write a text, or leave it out",
        )
    if kind == "list" and node.kind != "list":
        return f"is {'null' if node.kind == 'null' else f'a {node.kind}'}, not a list", ""
    if kind == "tokens" and not (
        node.kind == "number" and re.fullmatch(r"[1-9][0-9]{0,11}", node.text)
    ):
        return f"{shown} is not a number of tokens", "write a whole number such as 262144"
    if kind == "date" and day(node) is None:
        return f"{shown} is not a date", "write a UTC day such as 2026-11-22"
    if kind == "source date" and not (
        node.kind in {"text", "date", "number"} and _SOURCE_DATE.fullmatch(node.text)
    ):
        return (
            f"{shown} is not a date",
            "write a day, a month or a year: 2026-11-22, 2026-11 or 2026",
        )
    return None


def day(node: Node | None) -> dt.date | None:
    """A day of this century in ISO 8601, or None."""
    if node is None or node.kind not in {"text", "date"}:
        return None
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", node.text):
        return None
    try:
        found = dt.date.fromisoformat(node.text)
    except ValueError:
        return None
    return found if found.year in _YEARS else None
