"""The edges of the administrative API of a real gateway process; `test_guides.py` has a day of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.accounts import management_keys
from gateway.accounts.office import Office
from gateway.accounts.roles import SCOPES
from gateway.clock import SystemClock
from tests.builders import OWN_ENDPOINT
from tests.fakes.accounts import OPERATOR
from tests.fakes.gateway_process import GatewayProcess


class Play:
    """A gateway, and a management key of the whole installation."""

    def __init__(self, gateway: GatewayProcess, key: str) -> None:
        self.gateway = gateway
        self.key = key

    async def send(self, target: str, *lines: str, method: str = "GET", body: str = "") -> Any:
        """Status and body of a request whose target goes as it is."""
        reader, writer = await asyncio.open_connection(self.gateway.host, self.gateway.port)
        head = [f"{method} {target} HTTP/1.1", "host: gateway.test", "connection: close", *lines]
        if body:
            head += ["content-type: application/json", f"content-length: {len(body)}"]
        writer.write("\r\n".join([*head, "", body]).encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        head_, _, content = answer.partition(b"\r\n\r\n")
        return int(head_.split()[1]), json.loads(content)

    async def ask(self, target: str, *lines: str, **more: str) -> Any:
        """The same with the key."""
        return await self.send(target, f"authorization: Bearer {self.key}", *lines, **more)


@asynccontextmanager
async def _played(folder: Path, **server: Any) -> AsyncIterator[Play]:
    row = {**OWN_ENDPOINT, "api_key": "sk-own"}
    async with GatewayProcess(folder, {"endpoints": [row], "server": server}) as gateway:
        await gateway.first_key()
        database = gateway.installation.database()
        office = Office(database, gateway.installation.pepper(), SystemClock())
        _, key = await management_keys.create(office, OPERATOR, name="root", scopes=SCOPES)
        await database.aclose()
        await gateway.start()
        yield Play(gateway, key)
        assert await gateway.stop() == 0
        assert not [line for line in gateway.log if "Traceback" in line]


@pytest.fixture
async def play(tmp_path: Path) -> AsyncIterator[Play]:
    async with _played(tmp_path) as play:
        yield play


async def test_no_other_target_leads_to_it(play: Play) -> None:
    status, whoami = await play.ask("/admin/v1/whoami")
    assert (status, whoami["name"]) == (200, "root")
    for target in (
        "//admin/v1/whoami",
        "/admin/v1/whoami/",
        "/admin/v1/../v1/whoami",
        "/admin/v1/%2e%2e/v1/whoami",
        "/admin/v1;x/whoami",
        "/ADMIN/v1/whoami",
        "/v1/chat/completions/../../../admin/v1/whoami",
        "/admin/v1/whoami%20",
    ):
        assert (await play.ask(target))[0] == 404, target
        assert (await play.send(target))[0] == 404, target
    # An absolute target is the same path, whatever host it names; and so no way around the key.
    assert (await play.ask("http://other.test/admin/v1/whoami"))[0] == 200
    assert (await play.send("http://localhost/admin/v1/whoami"))[0] == 401
    assert (await play.send("/admin/v1/whoami", "x-forwarded-for: 127.0.0.1"))[0] == 401


async def test_who_did_something_from_where_is_not_for_the_caller_to_say(play: Play) -> None:
    body = json.dumps({"name": "new"})
    status, made = await play.ask(
        "/admin/v1/organisations", "x-forwarded-for: 203.0.113.9", method="POST", body=body
    )
    assert status == 201
    _, found = await play.ask(f"/admin/v1/audit?target={made['id']}")
    assert [line["source"] for line in found["data"]] == ["127.0.0.1"]


async def test_a_key_that_is_made_is_taken_at_once_and_one_of_its_kind_only(play: Play) -> None:
    _, found = await play.ask("/admin/v1/organisations")
    (organisation,) = found["data"]
    _, teams = await play.ask(f"/admin/v1/organisations/{organisation['id']}/teams")
    path = f"/admin/v1/teams/{teams['data'][0]['id']}/keys"
    _, made = await play.ask(path, method="POST", body='{"name": "web"}')
    bearer = f"authorization: Bearer {made['secret']}"
    assert (await play.send("/v1/models", bearer))[0] == 200
    assert (await play.send("/api/v1/key", bearer))[0] == 200
    assert (await play.send("/admin/v1/whoami", bearer))[0] == 403
    assert (await play.ask("/v1/models"))[0] in {401, 403}
    chat = json.dumps({"model": "kimi", "messages": [{"role": "user", "content": "Hi"}]})
    status, _ = await play.ask("/v1/chat/completions", method="POST", body=chat)
    assert status in {401, 403}


async def test_only_a_trusted_proxy_says_where_an_act_came_from(tmp_path: Path) -> None:
    body = json.dumps({"name": "far"})
    told = []
    for trusted in ((), ("127.0.0.1",)):
        folder = tmp_path / f"trusts-{len(trusted)}"
        folder.mkdir()
        async with _played(folder, trusted_proxies=list(trusted)) as play:
            forwarded = "x-forwarded-for: 203.0.113.9"
            made = await play.ask("/admin/v1/organisations", forwarded, method="POST", body=body)
            assert made[0] == 201
            _, lines = await play.ask("/admin/v1/audit?action=organisation.create")
            told.append(lines["data"][0]["source"])
    assert told == ["127.0.0.1", "203.0.113.9"]
