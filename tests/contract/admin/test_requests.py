"""What every request to the administrative API has in common: revisions, pages, refusals, headers."""

import json
from typing import Any

import pytest

from gateway.api.admin.edge import MAX_BODY_BYTES
from tests.fakes.administration import Populated


@pytest.fixture
def team(on: Populated) -> str:
    return f"/teams/{on.own['team_id']}"


async def test_what_was_made_is_where_it_says(on: Populated) -> None:
    path = f"/organisations/{on.own['organisation_id']}/teams"
    made = await on.api.ask("POST", path, on.root, json={"name": "new", "zdr": True})
    assert made.status == 201
    assert made.headers["location"] == f"/admin/v1/teams/{made.json['id']}"
    found = await on.api.at("GET", made.headers["location"], on.root)
    assert found.json == made.json
    assert found.json["zdr"] is True
    assert found.headers["etag"] == made.headers["etag"] == '"1"'


async def test_a_change_needs_the_revision_that_was_read(on: Populated, team: str) -> None:
    read = (await on.api.ask("GET", team, on.root)).headers["etag"]
    change: dict[str, Any] = {"json": {"name": "found"}}
    missing = await on.api.ask("PATCH", team, on.root, **change)
    assert (missing.status, missing.code) == (428, "revision_required")
    done = await on.api.ask("PATCH", team, on.root, revision=read, **change)
    assert done.status == 200
    late = await on.api.ask("PATCH", team, on.root, revision=read, json={"name": "lost"})
    assert (late.status, late.code) == (412, "revision_conflict")
    assert late.json["error"]["metadata"]["revision"] == done.json["revision"]
    forced = await on.api.ask("PATCH", team, on.root, revision="*", json={"name": "forced"})
    assert forced.json["name"] == "forced"


async def test_an_if_match_that_is_no_revision_is_refused(on: Populated, team: str) -> None:
    for sent in ("1", 'W/"1"', '"1", "2"', '"x"', '""', '"-1"'):
        answer = await on.api.ask("PATCH", team, on.root, revision=sent, json={"name": "x"})
        assert (answer.status, answer.code) == (400, "invalid_header"), sent
        assert answer.json["error"]["param"] == "If-Match"


async def test_a_patch_leaves_what_it_does_not_name_and_null_clears_where_it_may(
    on: Populated, team: str
) -> None:
    key = f"/keys/{on.own['key_id']}"
    soon = "2099-01-31T12:00:00+01:00"
    set_ = await on.api.ask("PATCH", key, on.root, revision="*", json={"expires_at": soon})
    assert set_.json["expires_at"] == "2099-01-31T11:00:00.000Z"
    kept = await on.api.ask("PATCH", key, on.root, revision="*", json={"zdr": True})
    assert (kept.json["expires_at"], kept.json["zdr"]) == (set_.json["expires_at"], True)
    cleared = await on.api.ask("PATCH", key, on.root, revision="*", json={"expires_at": None})
    assert (cleared.json["expires_at"], cleared.json["zdr"]) == (None, True)
    named = await on.api.ask("PATCH", key, on.root, revision="*", json={"name": None})
    assert (named.status, named.json["error"]["param"]) == (400, "name")


async def test_settings_are_replaced_whole_and_patched_member_by_member(
    on: Populated, team: str
) -> None:
    path = f"{team}/settings"
    whole = {
        "models": ["moonshotai/kimi-k2.6"],
        "presets": {"code": {"parameters": {"temperature": 0.2}}, "chat": {"system": "Be kind."}},
        "limits": [{"what": "requests", "amount": 600, "per": "minute"}],
    }
    put = await on.api.ask("PUT", path, on.root, revision="*", json=whole)
    assert put.json["settings"] == whole
    patch = {"models": None, "presets": {"chat": None, "code": {"model": "moonshotai/kimi-k2.6"}}}
    patched = await on.api.ask("PATCH", path, on.root, revision=put.headers["etag"], json=patch)
    code = {"parameters": {"temperature": 0.2}, "model": "moonshotai/kimi-k2.6"}
    assert patched.json["settings"] == {"presets": {"code": code}, "limits": whole["limits"]}
    assert (await on.api.ask("GET", path, on.root)).json == patched.json
    bad = {
        "limits": [
            {"what": "requests", "amount": 1, "per": "minute"},
            {"what": "tokens", "amount": 1},
        ]
    }
    refused = await on.api.ask("PUT", path, on.root, revision="*", json=bad)
    assert (refused.status, refused.json["error"]["param"]) == (400, "limits[1].per")


async def test_effective_settings_say_which_level_each_came_from(on: Populated, team: str) -> None:
    organisation = f"/organisations/{on.own['organisation_id']}"
    for path, models in ((organisation, ["a", "b"]), (team, ["b", "c"])):
        await on.api.ask(
            "PATCH", f"{path}/settings", on.root, revision="*", json={"models": models}
        )
    found = await on.api.ask("GET", f"/keys/{on.own['key_id']}/settings/effective", on.root)
    (models_,) = [value for value in found.json["values"] if value["name"] == "models"]
    assert models_["value"] == ["b"]
    assert [source["level"] for source in models_["sources"]] == ["organisation", "team"]
    budgets = [value for value in found.json["values"] if value["name"] == "budget"]
    assert [one["sources"][0]["level"] for one in budgets] == ["organisation", "team", "key"]


async def test_a_budget_is_set_once_where_there_must_be_none(on: Populated, team: str) -> None:
    path, body = f"{team}/budget", {"amount": "12.50", "period": "daily"}
    assert (await on.api.ask("DELETE", path, on.root, revision="*")).status == 204
    gone = await on.api.ask("GET", path, on.root)
    assert (gone.status, gone.code) == (404, "budget_not_found")
    first = await on.api.ask("PUT", path, on.root, revision='"0"', json=body)
    assert (first.json["amount"], first.json["currency"]) == ("12.5", "USD")
    again = await on.api.ask("PUT", path, on.root, revision='"0"', json=body)
    assert again.status == 412
    changed = await on.api.ask(
        "PUT", path, on.root, revision=first.headers["etag"], json={**body, "amount": "0.000001"}
    )
    assert (changed.json["id"], changed.json["amount"]) == (first.json["id"], "0.000001")


async def test_lists_come_in_parts_that_together_are_the_whole(on: Populated) -> None:
    path = f"/organisations/{on.own['organisation_id']}/members"
    whole = (await on.api.ask("GET", path, on.root)).json
    assert whole["next_cursor"] is None
    found: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        part = (await on.api.ask("GET", f"{path}?limit=3{cursor}", on.root)).json
        assert len(part["data"]) <= 3
        found += part["data"]
        after = part["next_cursor"]
        cursor = None if after is None else f"&cursor={after}"
    assert found == whole["data"]
    assert len(found) == 7


async def test_a_page_that_cannot_be_is_refused(on: Populated) -> None:
    for query in ("limit=0", "limit=x", "limit=1001", "cursor=!"):
        answer = await on.api.ask("GET", f"/organisations?{query}", on.root)
        assert (answer.status, answer.json["error"]["param"]) == (400, query.partition("=")[0])


async def test_every_answer_has_an_id_and_is_not_kept(on: Populated, team: str) -> None:
    for method, path, key in (
        ("GET", team, on.root),
        ("GET", team, None),
        ("GET", "/nothing", on.root),
        ("PUT", team, on.root),
        ("GET", "/openapi.json", None),
    ):
        mine = await on.api.ask(method, path, key, headers={"x-request-id": "mine-1"})
        assert mine.headers["x-request-id"] == "mine-1"
        assert mine.headers["cache-control"] == "no-store"
        assert (await on.api.ask(method, path, key)).headers["x-request-id"].startswith("gen-")


async def test_the_audit_log_has_what_was_done_by_whom_and_from_where(on: Populated) -> None:
    team = f"/teams/{on.own['team_id']}"
    await on.api.ask(
        "PATCH",
        team,
        on.callers["admin"],
        revision="*",
        json={"name": "sought"},
        headers={"x-request-id": "mine-2", "x-forwarded-for": "203.0.113.9"},
    )
    path = f"/organisations/{on.own['organisation_id']}/audit"
    found = await on.api.ask("GET", f"{path}?target={on.own['team_id']}&limit=1", on.root)
    (line,) = found.json["data"]
    assert (line["action"], line["via"], line["request_id"]) == ("team.update", "api", "mine-2")
    assert (line["before"], line["after"]) == ({"name": "search"}, {"name": "sought"})
    assert line["source"] == "127.0.0.1"
    none = await on.api.ask("GET", f"{path}?until=2000-01-01T00:00:00Z", on.root)
    assert none.json == {"data": [], "next_cursor": None}


async def test_a_body_must_be_json_of_bounded_size(on: Populated, team: str) -> None:
    async def sent(content: bytes, kind: str | None = "application/json") -> tuple[int, Any]:
        head = {} if kind is None else {"content-type": kind}
        answer = await on.api.ask(
            "PATCH", team, on.root, revision="*", content=content, headers=head
        )
        return answer.status, answer.code

    assert await sent(b"{") == (400, "invalid_json")
    assert await sent(b"[]") == (400, "invalid_type")
    assert await sent(b"") == (400, "missing_field")
    assert await sent(b"[" * 200_000) == (400, "invalid_json")
    assert await sent(b'{"name": "\xff"}') == (400, "invalid_json")
    assert await sent(b"{}", "text/plain") == (415, "unsupported_media_type")
    assert await sent(b"{}", None) == (415, "unsupported_media_type")
    assert await sent(b" " * (MAX_BODY_BYTES + 1)) == (413, "body_too_large")
    merge = await on.api.ask(
        "PATCH",
        team,
        on.root,
        revision="*",
        content=json.dumps({"zdr": True}).encode(),
        headers={"content-type": "application/merge-patch+json; charset=utf-8"},
    )
    assert merge.json["zdr"] is True


async def test_methods_are_those_of_the_path(on: Populated, team: str) -> None:
    head = await on.api.ask("HEAD", team, on.root)
    get = await on.api.ask("GET", team, on.root)
    assert (head.status, head.body, head.headers["etag"]) == (200, b"", get.headers["etag"])
    assert head.headers["content-length"] == get.headers["content-length"]
    for method in ("OPTIONS", "POST", "DELETE", "TRACE"):
        answer = await on.api.ask(method, team, on.root)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, PATCH")
        assert "access-control-allow-origin" not in answer.headers


async def test_a_fault_of_the_gateway_is_masked(
    on: Populated, team: str, caplog: pytest.LogCaptureFixture
) -> None:
    on.api.office.database = None  # type: ignore[assignment] # something that no code expects
    answer = await on.api.ask("GET", team, on.root, headers={"x-request-id": "mine-3"})
    assert (answer.status, answer.code) == (500, "internal_error")
    assert "NoneType" not in answer.body.decode()
    assert "mine-3" in answer.json["error"]["message"]
    assert "mine-3 failed inside the gateway" in caplog.text


async def test_a_secret_is_told_once(on: Populated) -> None:
    made = await on.api.ask(
        "POST", f"/teams/{on.own['team_id']}/keys", on.root, json={"name": "shown"}
    )
    secret = made.json["secret"]
    assert secret.startswith(made.json["prefix"])
    assert secret.endswith(made.json["last4"])
    for path in (
        f"/keys/{made.json['id']}",
        f"/organisations/{on.own['organisation_id']}/keys",
        "/audit",
    ):
        answer = await on.api.ask("GET", path, on.root)
        assert secret not in answer.body.decode()
        assert secret[10:30] not in answer.body.decode()


async def test_whoami_says_what_the_key_may_do(on: Populated) -> None:
    lead = (await on.api.ask("GET", "/whoami", on.callers["team admin"])).json
    assert (lead["role"], lead["team_roles"]) == ("viewer", {on.own["team_id"]: "admin"})
    assert "keys:write" not in lead["scopes"]
    assert "keys:write" in lead["team_scopes"][on.own["team_id"]]
    root = (await on.api.ask("GET", "/whoami", on.root)).json
    assert (root["organisation_id"], root["member_id"]) == (None, None)


async def test_the_gateway_says_how_it_is_to_who_administers_all_of_it(on: Populated) -> None:
    found = await on.api.ask("GET", "/status", on.root)
    assert (found.json["database"], found.json["counters"]) == ("sqlite", "memory")
    assert (await on.api.ask("GET", "/status", on.callers["owner"])).status == 403
