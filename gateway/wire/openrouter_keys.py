"""OpenRouter's key API: its bodies read, and its answers written. Pure.

Its contract (OpenAPI document of 2026-08-22, and the schemas of its Python package 1.3.84 of 2026-10-27)
calls a team a workspace and knows one limit for each key, in credits: here the key's budget. Amounts are
exact JSON numbers. What does not exist here has the value that says so: no share of one's own provider keys
(`byok_*`: 0), no free tier, no requests free of charge.
"""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from gateway.errors import InvalidRequest
from pricing import Money

_json = msgspec.json.Encoder().encode
_is_number = re.compile(r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,12})?([eE][+-]?[0-9])?").fullmatch
_RESETS = {"daily": "daily", "weekly": "weekly", "monthly": "monthly", None: "total"}
_NULL, _ABSENT = Raw(b"null"), Raw()
_NOTE = "This field is deprecated and says nothing; limits are told by the headers x-ratelimit-*."
# What their contract calls the levels of budgets. It knows no organisation's.
_SCOPES = {
    "key": "api_key",
    "member": "member",
    "team": "workspace",
    "organisation": "organization",
}


class NewKey(Struct, frozen=True):
    """`POST /keys`; other members of the body are not read, as theirs are added without notice."""

    name: str
    limit: Raw = _NULL
    limit_reset: str | None = None
    expires_at: str | None = None
    workspace_id: str | None = None
    creator_user_id: str | None = None
    include_byok_in_limit: bool | None = None


class KeyChange(Struct, frozen=True):
    """`PATCH /keys/{hash}`."""

    name: str | None = None
    disabled: bool | None = None
    limit: Raw = _ABSENT
    limit_reset: str | UnsetType | None = UNSET
    include_byok_in_limit: bool | None = None


class KeyBudget(Struct, frozen=True, kw_only=True):
    """One budget that a key is under, and what of it is gone; `resets_at` in epoch seconds, None: never."""

    id: str
    scope: str
    currency: str
    limit_pico: int
    spent_pico: int
    held_pico: int
    period: str
    resets_at: float | None

    @property
    def remaining_pico(self) -> int:
        """What could be spent at once."""
        return max(0, self.limit_pico - self.spent_pico - self.held_pico)


class KeyFacts(Struct, frozen=True, kw_only=True):
    """A key as this contract tells it.

    Attributes:
        currency: of all its amounts: that of its own budget, dollars if it has none.
        charged: in picos, by period.
        limit: its own budget.
        created_ms, updated_ms, expires_ms, last_used_ms: epoch milliseconds.
    """

    hash: str
    name: str
    label: str
    team_id: str | None
    organisation_id: str | None
    creator: str | None
    disabled: bool
    created_ms: int
    updated_ms: int | None
    expires_ms: int | None
    last_used_ms: int | None
    currency: str
    charged: Mapping[str, int]
    limit: KeyBudget | None


def new_key(body: bytes) -> NewKey:
    """The body of `POST /keys`.

    Raises:
        InvalidRequest: it cannot be read; codes invalid_json, invalid_value.
    """
    return _read(body, _new)


def key_change(body: bytes) -> KeyChange:
    """The body of `PATCH /keys/{hash}`; raises as `new_key`."""
    return _read(body, _change)


def is_absent(limit: Raw) -> bool:
    """Whether a body has no limit, not even null."""
    return not bytes(limit)


def stated(limit: Raw) -> Raw | None:
    """A limit that is there and not null."""
    return None if bytes(limit).strip() in {b"", b"null"} else limit


def amount(limit: Raw) -> str:
    """A limit as plain decimal notation, exact as it was written.

    Raises:
        InvalidRequest: it is no number, or below zero; code invalid_value.
    """
    text = bytes(limit).decode().strip()
    if not _is_number(text):
        raise InvalidRequest(
            "limit must be a number of dollars, 0 or more", code="invalid_value", param="limit"
        )
    return f"{Decimal(text):f}"


def period(limit_reset: str | None) -> str:
    """The period of a budget that begins anew as `limit_reset` says; null: never.

    Raises:
        InvalidRequest: unknown; code invalid_value.
    """
    try:
        return _RESETS[limit_reset]
    except KeyError:
        raise InvalidRequest(
            "limit_reset must be daily, weekly, monthly or null",
            code="invalid_value",
            param="limit_reset",
        ) from None


def moment(expires_at: str) -> int:
    """A time in epoch milliseconds; without an offset it is UTC.

    Raises:
        InvalidRequest: it is none; code invalid_value.
    """
    try:
        found = dt.datetime.fromisoformat(expires_at)
        if found.tzinfo is None:
            found = found.replace(tzinfo=dt.UTC)
        return int(found.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise InvalidRequest(
            "expires_at must be a time such as 2027-12-31T23:59:59Z",
            code="invalid_value",
            param="expires_at",
        ) from None


def key_list(keys: Sequence[KeyFacts]) -> bytes:
    """`GET /keys`."""
    return _json({"data": [_listed(facts) for facts in keys]})


def key_answer(facts: KeyFacts, plaintext: str | None = None) -> bytes:
    """One key; with the key itself, which is told once."""
    whole: dict[str, Any] = {"data": _listed(facts)}
    return _json(whole if plaintext is None else whole | {"key": plaintext})


def deleted() -> bytes:
    """`DELETE /keys/{hash}`."""
    return b'{"deleted":true}'


def current_key(facts: KeyFacts, budgets: Sequence[KeyBudget], *, manages: bool) -> bytes:
    """`GET /key`; `budgets` are those that bind it, in the order in which they are looked at."""
    in_dollars = [budget for budget in budgets if budget.currency == "USD"]
    tightest = min(in_dollars, key=lambda budget: budget.remaining_pico, default=None)
    data = _shared(facts) | {
        "label": facts.label,
        "is_free_tier": False,
        "is_management_key": manages,
        "is_provisioning_key": manages,
        "organization_id": facts.organisation_id,
        "workspace_id": facts.team_id,
        "allowed_data_regions": ["global"],
        "budgets": [_budget(budget) for budget in in_dollars],
        "effective_budget": None if tightest is None else _budget(tightest),
        "free_model_daily_requests": {"limit": 0, "used": 0, "remaining": 0},
        "rate_limit": {"requests": -1, "interval": "10s", "note": _NOTE},
    }
    return _json({"data": data})


def _listed(facts: KeyFacts) -> dict[str, Any]:
    return _shared(facts) | {
        "hash": facts.hash,
        "name": facts.name,
        "label": facts.label,
        "disabled": facts.disabled,
        "created_at": _time(facts.created_ms),
        "updated_at": _time(facts.updated_ms),
        "last_used_at": _time(facts.last_used_ms),
        "external_user": None,
        "workspace_id": facts.team_id,
    }


def _shared(facts: KeyFacts) -> dict[str, Any]:
    limit, zero = facts.limit, Raw(b"0")
    reset = None if limit is None or limit.period == "total" else limit.period
    return {
        "limit": None if limit is None else _number(limit.limit_pico),
        "limit_remaining": None if limit is None else _number(limit.remaining_pico),
        "limit_reset": reset,
        "include_byok_in_limit": False,
        "usage": _number(facts.charged.get("total", 0)),
        "usage_daily": _number(facts.charged.get("daily", 0)),
        "usage_weekly": _number(facts.charged.get("weekly", 0)),
        "usage_monthly": _number(facts.charged.get("monthly", 0)),
        "byok_usage": zero,
        "byok_usage_daily": zero,
        "byok_usage_weekly": zero,
        "byok_usage_monthly": zero,
        "creator_user_id": facts.creator,
        "expires_at": _time(facts.expires_ms),
        "currency": facts.currency,
    }


def _budget(budget: KeyBudget) -> dict[str, Any]:
    resets = None if budget.resets_at is None else int(budget.resets_at * 1000)
    return {
        "scope": _SCOPES[budget.scope],
        "limit_usd": _number(budget.limit_pico),
        "spend_usd": _number(budget.spent_pico),
        "remaining_usd": _number(budget.remaining_pico),
        "reset_interval": None if budget.period == "total" else budget.period,
        "resets_at": _time(resets),
        "include_byok": False,
        "guardrail_id": None,
        "budget_id": budget.id,
    }


def _number(pico: int) -> Raw:
    return Raw(Money("USD", pico).decimal_string().encode())


def _time(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    moment = dt.datetime.fromtimestamp(milliseconds // 1000, tz=dt.UTC)
    return moment.isoformat().replace("+00:00", "Z")


Body = TypeVar("Body", NewKey, KeyChange)


def _read(body: bytes, decoder: msgspec.json.Decoder[Body]) -> Body:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as fault:
        what, _, where = str(fault).partition(" - at `$.")
        raise InvalidRequest(what, code="invalid_value", param=where.rstrip("`") or None) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest("the body must be a JSON object", code="invalid_json") from None


_new = msgspec.json.Decoder(NewKey)
_change = msgspec.json.Decoder(KeyChange)
