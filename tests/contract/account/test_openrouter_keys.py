"""OpenRouter's key API: the fields that its clients require, and amounts that are true."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.accounts import budgets
from gateway.flow.spending import spending
from gateway.policies.budgets import holds
from gateway.usage import ledger
from gateway.values import BudgetRule, Reservation
from pricing import Money
from tests.fakes.accounts import OPERATOR
from tests.fakes.administration import Answer, Populated, populated
from tests.fakes.clock import NOON, HandClock
from tests.unit.gateway.usage.samples import attempt, outcome

DOLLAR = 10**12
DAY = 86_400.0

# What the package `openrouter` 1.3.84 (files of 2026-10-27) requires, by type; a trailing ? may be null.
USAGE = {
    "limit": "number?",
    "limit_remaining": "number?",
    "limit_reset": "string?",
    "include_byok_in_limit": "boolean",
    "usage": "number",
    "usage_daily": "number",
    "usage_weekly": "number",
    "usage_monthly": "number",
    "byok_usage": "number",
    "byok_usage_daily": "number",
    "byok_usage_weekly": "number",
    "byok_usage_monthly": "number",
    "creator_user_id": "string?",
    "label": "string",
}
CURRENT = USAGE | {
    "allowed_data_regions": "array",
    "budgets": "array",
    "effective_budget": "object?",
    "free_model_daily_requests": "object",
    "is_free_tier": "boolean",
    "is_management_key": "boolean",
    "is_provisioning_key": "boolean",
    "organization_id": "string?",
    "rate_limit": "object",
    "workspace_id": "string?",
}
LISTED = USAGE | {
    "created_at": "string",
    "disabled": "boolean",
    "external_user": "string?",
    "hash": "string",
    "last_used_at": "string?",
    "name": "string",
    "updated_at": "string?",
    "workspace_id": "string",
}
BUDGET = {
    "budget_id": "string?",
    "guardrail_id": "string?",
    "include_byok": "boolean",
    "limit_usd": "number",
    "remaining_usd": "number",
    "reset_interval": "string?",
    "resets_at": "string?",
    "scope": "string",
    "spend_usd": "number",
}
KINDS: dict[str, tuple[type, ...]] = {
    "number": (int, float, Decimal),
    "string": (str,),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def fits(found: dict[str, Any], contract: dict[str, str]) -> None:
    for name, kind in contract.items():
        value = found[name]
        if value is None:
            assert kind.endswith("?"), name
            continue
        assert isinstance(value, KINDS[kind.rstrip("?")]), name
        assert isinstance(value, bool) == (kind == "boolean"), name


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Populated]:
    async with populated(tmp_path, HandClock()) as made:
        yield made


@pytest.fixture(params=["/api/v1", "/v1"])
def base(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


async def spend(on: Populated, key_id: str, dollars: str, at: float, *, shipped: bool) -> None:
    """A request of that key that ended."""
    name = f"gen-{dollars}-{at}"
    charged = attempt(name, charge=Money.parse(dollars, "USD").pico)
    done = outcome(name, created_ms=int(at * 1000), attempts=(charged,), key_id=key_id)
    if shipped:
        await ledger.write(on.api.database, outcomes=[done])
    else:
        on.api.recent.put(done)


def exact(answer: Answer) -> Any:
    """The data, with numbers as they are written."""
    return json.loads(answer.body, parse_float=Decimal)["data"]


async def test_a_key_learns_what_it_is_and_may_spend(on: Populated, base: str) -> None:
    key_id = on.own["key_id"]
    await spend(on, key_id, "0.1", NOON - 1, shipped=True)  # a Sunday
    await spend(on, key_id, "0.02", NOON - 2 * DAY, shipped=True)
    await spend(on, key_id, "0.003", NOON - 8 * DAY, shipped=True)
    await spend(on, key_id, "0.000000000004", NOON - 40 * DAY, shipped=True)
    await spend(on, key_id, "1", NOON, shipped=False)
    answer = await on.api.at("GET", f"{base}/key", on.callers["inference"])
    assert answer.status == 200
    data = exact(answer)
    fits(data, CURRENT)
    assert data["usage"] == Decimal("1.123000000004")
    assert data["usage_monthly"] == Decimal("1.123")
    assert data["usage_weekly"] == Decimal("1.12")
    assert data["usage_daily"] == Decimal("1.1")
    assert (data["limit"], data["limit_reset"]) == (Decimal("7.25"), "monthly")
    assert data["limit_remaining"] == Decimal("6.127")
    assert data["is_management_key"] is data["is_provisioning_key"] is False
    assert data["organization_id"] == on.own["organisation_id"]
    assert data["workspace_id"] == on.own["team_id"]
    fits(data["free_model_daily_requests"], dict.fromkeys(("limit", "used", "remaining"), "number"))
    assert data["rate_limit"]["requests"] == -1
    for budget in [*data["budgets"], data["effective_budget"]]:
        fits(budget, BUDGET)
    scopes = {budget["scope"] for budget in data["budgets"]}
    assert {"api_key", "workspace"} <= scopes
    assert data["budgets"][0]["resets_at"] == "2026-12-01T00:00:00Z"


async def test_what_requests_under_way_hold_does_not_remain(on: Populated) -> None:
    sent = on.callers["inference"]
    principal = await on.api.directory.authenticate(f"Bearer {sent}".encode())
    held = holds(principal.budgets, Money.parse("2", "USD"), NOON)
    await on.api.state.admit(Reservation("gen-under-way", held))
    data = exact(await on.api.at("GET", "/api/v1/key", sent))
    assert data["limit_remaining"] == Decimal("5.25")
    assert data["effective_budget"]["remaining_usd"] == Decimal("5.25")
    assert on.api.state.held_count == 1
    await on.api.state.settle("gen-under-way", 10**9)
    data = exact(await on.api.at("GET", "/api/v1/key", sent))
    assert data["limit_remaining"] == Decimal("6.25")


async def test_to_ask_what_a_budget_holds_takes_nothing_of_it(on: Populated) -> None:
    rule = BudgetRule("bud_1", "key", 5 * DOLLAR, "USD", "daily")
    first = await spending(on.api.state, [rule], NOON, "look")
    assert first[0] is not None
    assert (first[0].spent_pico, first[0].held_pico) == (0, 0)
    await on.api.state.admit(Reservation("gen-1", holds((rule,), Money("USD", 5 * DOLLAR), NOON)))
    (seen,) = await spending(on.api.state, [rule], NOON, "look")
    assert seen is not None
    assert (seen.spent_pico, seen.held_pico) == (0, 5 * DOLLAR)
    assert on.api.state.held_count == 1


async def test_a_key_has_a_life(on: Populated, base: str) -> None:
    owner = on.callers["owner"]
    body = {
        "name": "from a client",
        "limit": 12.5,
        "limit_reset": "weekly",
        "expires_at": "2027-12-31T23:59:59Z",
        "workspace_id": on.own["team_id"],
    }
    made = await on.api.at("POST", f"{base}/keys", owner, json=body)
    assert made.status == 201
    fits(made.json["data"], LISTED)
    secret, name = made.json["key"], made.json["data"]["hash"]
    assert len(name) == 64
    assert int(name, 16)
    path = f"{base}/keys/{name}"
    data = exact(await on.api.at("GET", path, owner))
    assert (data["limit"], data["limit_remaining"]) == (Decimal("12.5"), Decimal("12.5"))
    assert (data["limit_reset"], data["expires_at"]) == ("weekly", "2027-12-31T23:59:59Z")
    assert secret not in (await on.api.at("GET", path, owner)).body.decode()
    mine = exact(await on.api.at("GET", f"{base}/key", secret))
    assert (mine["limit"], mine["label"]) == (Decimal("12.5"), data["label"])

    changed = await on.api.at(
        "PATCH", path, owner, json={"name": "renamed", "limit": 3, "limit_reset": None}
    )
    data = exact(changed)
    assert (data["name"], data["limit"], data["limit_reset"]) == ("renamed", 3, None)
    reset = await on.api.at("PATCH", path, owner, json={"limit_reset": "daily"})
    assert (exact(reset)["limit"], exact(reset)["limit_reset"]) == (3, "daily")
    freed = await on.api.at("PATCH", path, owner, json={"limit": None})
    assert (exact(freed)["limit"], exact(freed)["limit_remaining"]) == (None, None)
    off = await on.api.at("PATCH", path, owner, json={"disabled": True})
    assert exact(off)["disabled"] is True

    def hashes(answer: Answer) -> set[str]:
        return {one["hash"] for one in answer.json["data"]}

    assert name not in hashes(await on.api.at("GET", f"{base}/keys", owner))
    every = await on.api.at("GET", f"{base}/keys?include_disabled=true", owner)
    assert name in hashes(every)
    for one in every.json["data"]:
        fits(one, LISTED)
    await on.api.at("PATCH", path, owner, json={"disabled": False})
    gone = await on.api.at("DELETE", path, owner)
    assert (gone.status, gone.json) == (200, {"deleted": True})
    assert (await on.api.at("GET", f"{base}/key", secret)).status == 401


async def test_keys_are_told_in_hundreds(on: Populated) -> None:
    for number in range(101):
        await on.key(on.own["team_id"], f"key {number}")
    first = await on.api.at("GET", "/api/v1/keys", on.callers["owner"])
    second = await on.api.at("GET", "/api/v1/keys?offset=100", on.callers["owner"])
    names = [one["name"] for one in [*first.json["data"], *second.json["data"]]]
    assert len(first.json["data"]) == 100
    assert sorted(names) == sorted(["web", *[f"key {number}" for number in range(101)]])


async def test_another_organisations_key_has_no_hash_here(on: Populated) -> None:
    theirs = await on.api.at("GET", "/api/v1/keys", on.stranger)
    foreign = theirs.json["data"][0]["hash"]
    for caller in ("owner", "viewer", "inference", "nobody"):
        for method, body in (("GET", None), ("PATCH", {"disabled": True}), ("DELETE", None)):
            answers = [
                await on.api.at(method, f"/api/v1/keys/{name}", on.callers[caller], json=body)
                for name in (foreign, "0" * 64)
            ]
            assert answers[0].status == answers[1].status
            assert answers[0].status in {401, 403, 404}
            assert answers[0].body == answers[1].body
    mine = await on.api.at("GET", "/api/v1/keys", on.callers["owner"])
    assert foreign not in mine.body.decode()
    lent = await on.api.at(
        "POST",
        "/api/v1/keys",
        on.callers["owner"],
        json={"name": "x", "workspace_id": on.foreign["team_id"]},
    )
    assert lent.status == 404
    assert (await on.api.at("GET", "/api/v1/keys", on.stranger)).json == theirs.json


async def test_a_role_without_the_right_changes_nothing(on: Populated) -> None:
    (own,) = (await on.api.at("GET", "/api/v1/keys", on.callers["owner"])).json["data"]
    path = f"/api/v1/keys/{own['hash']}"
    for caller in ("viewer", "member", "billing"):
        for method, body in (("PATCH", {"name": "mine"}), ("DELETE", None)):
            answer = await on.api.at(method, path, on.callers[caller], json=body)
            assert (answer.status, answer.json["error"]["metadata"]["error_type"]) == (
                403,
                "permission_denied",
            )
    viewer = await on.api.at("PATCH", path, on.callers["viewer"], json={"limit": 1000})
    assert viewer.status == 403
    assert (await on.api.at("GET", "/api/v1/keys", on.callers["owner"])).json["data"] == [own]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{}", None),
        (b'{"name": 1}', "name"),
        (b'{"name": "x", "limit": -1}', "limit"),
        (b'{"name": "x", "limit": "5"}', "limit"),
        (b'{"name": "x", "limit": 1e99}', "limit"),
        (b'{"name": "x", "limit": 5, "limit_reset": "yearly"}', "limit_reset"),
        (b'{"name": "x", "expires_at": "soon"}', "expires_at"),
        (b'{"name": "x", "include_byok_in_limit": true}', "include_byok_in_limit"),
        (b"[", None),
    ],
)
async def test_a_body_that_cannot_be_is_refused(
    on: Populated, body: bytes, param: str | None
) -> None:
    answer = await on.api.at("POST", "/api/v1/keys", on.callers["owner"], content=body)
    assert (answer.status, answer.json["error"]["param"]) == (400, param)


async def test_a_limit_in_another_currency_says_so(on: Populated) -> None:
    await budgets.set_budget(
        on.api.office, OPERATOR, "key", on.own["key_id"], budgets.limit("70", "daily", "CNY")
    )
    data = exact(await on.api.at("GET", "/api/v1/key", on.callers["inference"]))
    assert (data["limit"], data["currency"]) == (70, "CNY")
    assert "api_key" not in {budget["scope"] for budget in data["budgets"]}


async def test_a_management_key_is_told_what_it_is(on: Populated) -> None:
    data = exact(await on.api.at("GET", "/api/v1/key", on.callers["owner"]))
    fits(data, CURRENT)
    assert data["is_management_key"] is data["is_provisioning_key"] is True
    assert (data["limit"], data["workspace_id"]) == (None, None)
