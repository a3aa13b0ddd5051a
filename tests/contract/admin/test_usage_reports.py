"""The reports of the administrative API: exact, in JSON and CSV, and of nobody else's traffic."""

import csv
import io
from typing import Any

import pytest

from gateway.usage import ledger
from pricing import Money
from tests.fakes.administration import Populated
from tests.unit.gateway.usage.samples import attempt, outcome

PATH = "/reports/usage"


async def used(on: Populated, things: dict[str, str], name: str, **changes: Any) -> None:
    """A request that was shipped just now."""
    made = attempt(name, charge=changes.pop("charge", 34_000_000))
    one = outcome(
        name,
        created_ms=int(on.api.clock.now() * 1000),
        organisation_id=things["organisation_id"],
        team_id=things["team_id"],
        key_id=things["key_id"],
        attempts=(changes.pop("attempt", made),),
        **changes,
    )
    await ledger.write(on.api.database, outcomes=[one])


async def test_what_was_used_is_told_exactly(on: Populated) -> None:
    await used(on, on.own, "gen-1", charge=10**18 + 1)
    await used(on, on.own, "gen-2")
    answer = await on.api.ask("GET", f"{PATH}?by=team,model&last=1h&compare=true", on.root)
    assert answer.status == 200, answer.body
    (row,) = answer.json["rows"]
    assert row["group"] == {"team": on.own["team_id"], "model": "moonshotai/kimi-k2.6"}
    assert row["names"] == {"team": "search"}
    assert (row["charge"], row["charge_currency"]) == ("1000000.000034000001", "USD")
    assert (row["cost"], row["requests"], row["output"]) == ("0.000068", 2, 30)
    assert (row["ttft_count"], row["ttft_p50_at_most_ms"]) == (2, 500)
    assert row["before"]["requests"] == 0
    (total,) = answer.json["totals"]
    assert (total["groups"], total["charge"]) == (1, row["charge"])


async def test_nobody_sees_what_others_used(on: Populated) -> None:
    await used(on, on.own, "gen-1")
    await used(on, on.foreign, "gen-2", model="secret/model")
    for caller in ("owner", "viewer", "billing", "member", "standing alone", "team admin"):
        answer = await on.api.ask("GET", f"{PATH}?by=team,model&last=1h", on.callers[caller])
        assert [row["requests"] for row in answer.json["totals"]] == [1], caller
        assert b"secret" not in answer.body
    theirs = f"&organisation={on.foreign['organisation_id']}"
    refused = await on.api.ask("GET", f"{PATH}?last=1h{theirs}", on.callers["owner"])
    assert (refused.status, refused.code) == (404, "organisation_not_found")
    narrowed = f"&only=team={on.foreign['team_id']}"
    nothing = await on.api.ask("GET", f"{PATH}?last=1h{narrowed}", on.callers["owner"])
    assert nothing.json["rows"] == nothing.json["totals"] == []
    everything = await on.api.ask("GET", f"{PATH}?by=&last=1h", on.root)
    assert [row["requests"] for row in everything.json["totals"]] == [2]
    part = await on.api.ask("GET", f"{PATH}?by=&last=1h{theirs}", on.root)
    assert [row["requests"] for row in part.json["totals"]] == [1]


async def test_who_has_a_role_in_one_team_sees_that_team(on: Populated) -> None:
    from gateway.accounts import members, memberships  # noqa: PLC0415 - only here
    from gateway.accounts.usage_readers import reach  # noqa: PLC0415
    from tests.fakes.accounts import OPERATOR, keyed  # noqa: PLC0415

    lead = await members.create(
        on.api.office,
        OPERATOR,
        name="Only",
        role="billing",
        email="only@acme.example",
        organisation="acme",
    )
    await memberships.put(on.api.office, OPERATOR, on.own["team_id"], lead.id, "viewer")
    only_team = keyed(None, on.own["organisation_id"], team_roles={on.own["team_id"]: "viewer"})
    found = await reach(on.api.office, only_team)
    assert found.team_ids == frozenset({on.own["team_id"]})


async def test_csv_is_quoted_and_asked_for_in_either_way(on: Populated) -> None:
    await used(on, on.own, "gen-1", model='a "model", with\nall')
    path = f"{PATH}?by=model&last=1h"
    asked = await on.api.ask("GET", f"{path}&format=csv", on.root)
    accepted = await on.api.ask("GET", path, on.root, headers={"accept": "text/csv"})
    assert asked.body == accepted.body
    assert accepted.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in accepted.headers["content-disposition"]
    row, total = csv.DictReader(io.StringIO(accepted.body.decode(), newline=""))
    assert (row["kind"], row["model"]) == ("row", 'a "model", with\nall')
    assert (row["charge"], row["charge_currency"], row["fresh_input"]) == ("0.000034", "USD", "11")
    assert (total["kind"], total["model"], total["requests"]) == ("total", "", "1")
    both = await on.api.ask("GET", f"{path}&format=json", on.root, headers={"accept": "text/csv"})
    assert both.headers["content-type"] == "application/json"


async def test_stand_ins_are_apart_and_currencies_never_added(on: Populated) -> None:
    import msgspec  # noqa: PLC0415 - only here

    chinese = msgspec.structs.replace(
        attempt("gen-2"), cost=Money("CNY", 5), charge=Money("CNY", 7)
    )
    await used(on, on.own, "gen-1")
    await used(on, on.own, "gen-2", attempt=chinese)
    await used(on, on.own, "gen-3", sandbox=True)
    real = await on.api.ask("GET", f"{PATH}?by=&last=1h", on.root)
    assert [(row["charge_currency"], row["requests"]) for row in real.json["totals"]] == [
        ("CNY", 1),
        ("USD", 1),
    ]
    sandbox = await on.api.ask("GET", f"{PATH}?by=&last=1h&sandbox=true", on.root)
    assert [row["requests"] for row in sandbox.json["totals"]] == [1]


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ("by=flavour", "invalid_report", "by"),
        ("only=model", "invalid_report", "only"),
        ("last=7y", "invalid_window", "last"),
        ("to=2027-01-31T12:00:00Z", "invalid_window", "to"),
        ("from=2027-01-31T12:30:00Z", "invalid_window", "from"),
        ("from=2020-01-01T00:00:00Z", "invalid_window", "from"),
        ("last=7d&from=2026-01-31T12:00:00Z", "invalid_window", "last"),
        ("top=0", "invalid_value", "top"),
    ],
)
async def test_what_cannot_be_told_is_refused(
    on: Populated, query: str, code: str, param: str
) -> None:
    answer = await on.api.ask("GET", f"{PATH}?{query}", on.root)
    assert (answer.status, answer.code, answer.json["error"]["param"]) == (400, code, param)
