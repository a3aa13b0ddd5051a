"""Ways to more than one has, each of which must lead nowhere."""

import itertools
from typing import Any
from urllib.parse import unquote

import pytest

from gateway.accounts.roles import SCOPES
from gateway.errors import GatewayError
from tests.contract.admin.operations import OPERATIONS, request_of
from tests.fakes.administration import Populated


async def _managing(on: Populated, caller: str, **body: Any) -> Any:
    path = f"/organisations/{on.own['organisation_id']}/management-keys"
    return await on.api.ask("POST", path, on.callers[caller], json={"name": "x", **body})


async def test_nobody_gives_a_key_more_than_he_has(on: Populated) -> None:
    narrow = await _managing(on, "admin", scopes=["management_keys:write", "teams:read"])
    assert narrow.status == 201
    secret = narrow.json["secret"]
    path = f"/organisations/{on.own['organisation_id']}/management-keys"
    wider = await on.api.ask("POST", path, secret, json={"name": "x", "scopes": ["teams:write"]})
    assert wider.status == 403
    owned = {"name": "x", "scopes": sorted(SCOPES), "member_id": on.world.members["owner"].id}
    assert (await on.api.ask("POST", path, on.callers["admin"], json=owned)).status == 403
    for caller in ("member", "viewer", "billing", "team admin", "service"):
        assert (await _managing(on, caller, scopes=["teams:read"])).status == 403


async def test_nobody_raises_himself_or_others_above_himself(on: Populated) -> None:
    admin, owner = on.world.members["admin"].id, on.world.members["owner"].id
    for caller, member, change in (
        ("admin", admin, {"role": "owner"}),
        ("admin", owner, {"role": "viewer"}),
        ("admin", owner, {"disabled": True}),
        ("member", on.world.members["member"].id, {"role": "admin"}),
        ("team admin", on.world.members["team admin"].id, {"role": "admin"}),
    ):
        answer = await on.api.ask(
            "PATCH", f"/members/{member}", on.callers[caller], revision="*", json=change
        )
        assert answer.status == 403, (caller, change)
    path = f"/organisations/{on.own['organisation_id']}/members"
    new = {"name": "x", "role": "owner"}
    assert (await on.api.ask("POST", path, on.callers["admin"], json=new)).status == 403
    other = f"/teams/{on.world.ads.id}/members/{on.world.members['team admin'].id}"
    answer = await on.api.ask(
        "PUT", other, on.callers["team admin"], revision="*", json={"role": "admin"}
    )
    assert answer.status == 403


async def test_the_last_owner_stays(on: Populated) -> None:
    owner = on.world.members["owner"].id
    for change in ({"role": "admin"}, {"disabled": True}):
        answer = await on.api.ask(
            "PATCH", f"/members/{owner}", on.callers["owner"], revision="*", json=change
        )
        assert (answer.status, answer.code) == (409, "last_owner")


FOREIGN_FIELDS = [
    "id",
    "organisation_id",
    "team_id",
    "revision",
    "created_by",
    "created_at",
    "key_hash",
    "secret",
]


async def test_no_body_sets_what_is_not_the_callers_to_set(on: Populated) -> None:
    bodies = [operation for operation in OPERATIONS if operation.takes_body]
    for operation, field in itertools.product(bodies, FOREIGN_FIELDS):
        asked = request_of(operation)
        asked["content"] = asked["content"].replace(b"{", b'{"%b": "x", ' % field.encode(), 1)
        answer = await on.api.ask(operation.method, operation.at(on.own), on.root, **asked)
        assert answer.status == 400, operation.id
        assert field in answer.json["error"]["message"], operation.id


PATHS = (
    "//admin/v1/organisations",
    "/admin//v1/organisations",
    "/admin/v1//organisations",
    "/admin/v1/organisations/",
    "/admin/v1/../v1/organisations",
    "/admin/v1/%2e%2e/v1/organisations",
    "/admin/v1/organisations;a=b",
    "/admin/v1/organisations%2f",
    "/admin/v1/organisations%00",
    "/Admin/V1/organisations",
    "/admin/v1/ORGANISATIONS",
    "/v1/../admin/v1/organisations",
    "/admin/v1",
    "/admin/v1/",
    "/admin",
)


async def test_another_spelling_of_a_path_is_another_path(on: Populated) -> None:
    assert await raw(on, "GET", "/admin/v1/organisations", on.root) == 200
    for path, key in itertools.product(PATHS, (on.root, None)):
        assert await raw(on, "GET", path, key) == 404, path


async def raw(on: Populated, method: str, path: str, key: str | None) -> int:
    """The status of a request whose path goes as it is: no client of ours makes it a neater one."""
    found: list[int] = []
    target, _, query = path.partition("?")
    headers = [(b"host", b"gateway.test")]
    if key is not None:
        headers.append((b"authorization", f"Bearer {key}".encode()))

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(target),
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": ("192.0.2.1", 1),
        "server": ("gateway.test", 80),
    }
    await on.api.app(scope, receive, send)
    return found[0]


HEADERS: tuple[dict[str, str], ...] = (
    {"host": "localhost"},
    {"x-forwarded-for": "127.0.0.1"},
    {"x-forwarded-host": "localhost", "x-forwarded-proto": "https"},
    {"x-original-url": "/livez", "x-rewrite-url": "/livez"},
    {"x-http-method-override": "GET"},
    {"x-method-override": "GET", "x-http-method": "GET"},
    {"x-api-key": "sk-tg-anything"},
    {"cookie": "session=owner"},
)


async def test_no_header_stands_in_for_a_key(on: Populated) -> None:
    reads = [operation for operation in OPERATIONS if operation.method == "GET"]
    for operation, headers in itertools.product(reads, HEADERS):
        answer = await on.api.ask("GET", operation.at(on.own), None, headers=headers)
        assert (answer.status, answer.code) == (401, "missing_api_key"), operation.id


async def test_a_method_is_what_the_request_line_says(on: Populated) -> None:
    path = f"/teams/{on.own['team_id']}/budget"
    answer = await on.api.ask(
        "GET", f"{path}?_method=DELETE", on.root, headers={"x-http-method-override": "DELETE"}
    )
    assert answer.status == 200
    assert (await on.api.ask("GET", path, on.root)).status == 200


async def test_two_authorization_headers_are_none(on: Populated) -> None:
    first, second = f"Bearer {on.callers['viewer']}", f"Bearer {on.root}"
    for pair in ((first, second), (second, first), (second, second)):
        response = await on.api.client.get(
            "/admin/v1/whoami", headers=[("authorization", one) for one in pair]
        )
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "duplicate_header"


async def test_a_key_is_for_one_thing(on: Populated) -> None:
    inference, owner = on.callers["inference"], on.callers["owner"]
    for operation in OPERATIONS:
        asked = request_of(operation)
        answer = await on.api.ask(operation.method, operation.at(on.own), inference, **asked)
        assert (answer.status, answer.code) == (403, "management_key_required"), operation.id
    with pytest.raises(GatewayError) as caught:
        await on.api.directory.authenticate(f"Bearer {owner}".encode())
    assert caught.value.status in {401, 403}


async def test_who_calls_is_asked_before_what_is_sent(on: Populated) -> None:
    path = f"/teams/{on.own['team_id']}"
    for content in (b"{", b"{}", b"[" * 100_000):
        for key in (None, on.callers["inference"], "sk-tg-nothing"):
            answer = await on.api.ask("PATCH", path, key, content=content)
            assert answer.status in {401, 403}


async def test_what_is_disabled_has_no_rights(on: Populated) -> None:
    admin = on.world.members["admin"]
    assert (await on.api.ask("GET", "/whoami", on.callers["admin"])).status == 200
    await on.api.ask(
        "PATCH", f"/members/{admin.id}", on.callers["owner"], revision="*", json={"disabled": True}
    )
    assert (await on.api.ask("GET", "/whoami", on.callers["admin"])).status in {401, 403}
    made = await _managing(on, "owner", scopes=["teams:read"])
    path = f"/management-keys/{made.json['id']}"
    await on.api.ask("PATCH", path, on.root, revision="*", json={"disabled": True})
    assert (await on.api.ask("GET", "/whoami", made.json["secret"])).status == 401
