"""What providers tell of our accounts: balances and models, in each one's own form."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from backends import (
    BackendError,
    BadReply,
    Call,
    Endpoint,
    HttpClient,
    Reply,
    Secret,
    open_backends,
)
from backends.account_api import Balance, balance, models, tells_balance
from backends.errors import AddressRefused, CredentialRefused
from backends.sandbox import SandboxServer, Vercel
from backends.sandbox.moonshot import Moonshot
from backends.sandbox.openrouter import Account
from tests.fakes.raw_server import Peer, serve

JSON = b"Content-Type: application/json\r\n"


@pytest.fixture
async def client(few_authorities: str | None) -> AsyncIterator[HttpClient]:
    made = HttpClient(clock=asyncio.get_running_loop().time, ca_file=few_authorities)
    yield made
    await made.aclose()


def endpoint(base_url: str, kind: str = "moonshot", *keys: str, **fields: Any) -> Endpoint:
    first, *spare = [Secret(key) for key in keys or ("sk-good",)]
    row = {"id": "e", "provider": "p", "kind": kind, "base_url": base_url, "model": "m"}
    return Endpoint(**{"local": True, **row, **fields}, api_key=first, spare_keys=tuple(spare))


class Pages:
    """A server with a page for each path, and what it was asked."""

    def __init__(self, **pages: tuple[str, bytes]) -> None:
        self.pages = {path.replace("_", "/"): page for path, page in pages.items()}
        self.asked: list[tuple[str, str | None]] = []

    async def __call__(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            path = request.head.split()[1].decode()
            self.asked.append((path, request.header("authorization")))
            status, body = self.pages.get(path, ("404 Not Found", b"{}"))
            await peer.reply(body, status=status, more=JSON)


async def test_moonshot_tells_what_is_available(client: HttpClient) -> None:
    async with SandboxServer(Moonshot(balance=49.58894), keys={"sk-good"}) as server:
        found = await balance(client, endpoint(server.base_url))
        assert found == Balance(Decimal("49.58894"), "USD")
        found = await balance(client, endpoint(server.base_url, "moonshot_cn"))
        assert found == Balance(Decimal("49.58894"), "CNY")


async def test_vercel_tells_what_is_left_of_its_credits(client: HttpClient) -> None:
    async with SandboxServer(Vercel(Account("100", "4.5")), keys={"sk-good"}) as server:
        assert await balance(client, endpoint(server.base_url, "vercel")) == Balance(
            Decimal("95.5"), "USD"
        )


async def test_novita_tells_it_in_ten_thousandths_at_its_hosts_root(client: HttpClient) -> None:
    page = b'{"availableBalance":"123456","cashBalance":"1","creditLimit":"0"}'
    script = Pages(_openapi_v1_billing_balance_detail=("200 OK", page))
    async with serve(script) as server:
        row = endpoint(f"http://{server.origin.authority}/openai/v1", "novita")
        assert await balance(client, row) == Balance(Decimal("12.3456"), "USD")
    assert script.asked == [("/openapi/v1/billing/balance/detail", "Bearer sk-good")]


@pytest.mark.parametrize(
    ("left", "account", "told"),
    [
        (b"7.5", ("200 OK", b'{"data":{"total_credits":100.5,"total_usage":90}}'), "7.5"),
        (b"17.5", ("200 OK", b'{"data":{"total_credits":100.5,"total_usage":90}}'), "10.5"),
        (b"null", ("200 OK", b'{"data":{"total_credits":1,"total_usage":2}}'), "-1"),
        (b"3", ("403 Forbidden", b'{"error":{"code":403,"message":"no"}}'), "3"),
        (b"null", ("401 Unauthorized", b'{"error":{"code":401,"message":"no"}}'), None),
    ],
)
async def test_openrouter_tells_the_keys_limit_and_the_accounts_credit_if_it_may(
    client: HttpClient, left: bytes, account: tuple[str, bytes], told: str | None
) -> None:
    page = b'{"data":{"label":"x","limit_remaining":%b}}' % left
    script = Pages(_api_v1_key=("200 OK", page), _api_v1_credits=account)
    async with serve(script) as server:
        row = endpoint(f"http://{server.origin.authority}/api/v1", "openrouter")
        found = await balance(client, row)
    assert found == (None if told is None else Balance(Decimal(told), "USD"))


async def test_others_have_no_way_to_tell(client: HttpClient) -> None:
    assert await balance(client, endpoint("http://gpu.invalid", "vllm")) is None
    assert [tells_balance(kind) for kind in ("moonshot", "vllm")] == [True, False]


async def test_the_next_key_is_used_where_one_is_refused(client: HttpClient) -> None:
    async with SandboxServer("moonshot", keys={"sk-good"}) as server:
        assert await balance(client, endpoint(server.base_url, "moonshot", "sk-bad", "sk-good"))
        with pytest.raises(CredentialRefused):
            await balance(client, endpoint(server.base_url, "moonshot", "sk-bad", "sk-worse"))


async def test_models_are_listed_as_the_provider_lists_them(client: HttpClient) -> None:
    async with SandboxServer("moonshot") as server:
        found = await models(client, endpoint(server.base_url))
    assert {"kimi-k3", "kimi-k2.6"} <= set(found)


@pytest.mark.parametrize(
    "page",
    [
        ("200 OK", b"<html>"),
        ("200 OK", b"[]"),
        ("200 OK", b'{"data":{}}'),
        ("200 OK", b'{"data":{"available_balance":"much"}}'),
        ("200 OK", b'{"data":{"available_balance":null}}'),
        ("200 OK", b'{"data":{"available_balance":NaN}}'),
        ("200 OK", b'{"data":{"available_balance":[0,[1,2],-1]}}'),
        ("200 OK", b'{"data":{"available_balance":true}}'),
        ("200 OK", b'{"data":{"available_balance":1e999999999}}'),
        ("200 OK", b'{"data":{"available_balance":"%b"}}' % (b"9" * 100)),
        ("200 OK", b"[" * 200_000),
        ("404 Not Found", b"{}"),
        ("500 Internal Server Error", b"{}"),
    ],
)
async def test_what_is_no_balance_is_an_error_and_no_balance(
    client: HttpClient, page: tuple[str, bytes]
) -> None:
    async with serve(Pages(_v1_users_me_balance=page)) as server:
        with pytest.raises(BackendError):
            await balance(client, endpoint(f"http://{server.origin.authority}/v1"))


async def test_it_is_bound_by_the_guard_on_addresses(client: HttpClient) -> None:
    async with SandboxServer("moonshot") as server:
        with pytest.raises(AddressRefused):
            await balance(client, endpoint(server.base_url, local=False))
        assert not server.record.other_paths


Use = Callable[[HttpClient, Endpoint], Awaitable[object]]


async def _chat(client: HttpClient, row: Endpoint) -> Reply:
    call = Call(fields={}, stream=True, output_cap=1, request_id="r")
    return await open_backends(client)[row.kind].open(call, row, timeout=5)


@pytest.mark.parametrize("use", [_chat, balance, models])
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_redirects_are_not_followed(client: HttpClient, use: Use, status: str) -> None:
    elsewhere = Pages()
    async with serve(elsewhere) as target:
        where = f"Location: http://{target.origin.authority}/v1\r\n".encode()

        async def sending_on(peer: Peer) -> None:
            while True:
                await peer.request()
                await peer.reply(b"{}", status=status, more=JSON + where)

        async with serve(sending_on) as server:
            with pytest.raises(BackendError) as caught:
                await use(client, endpoint(f"http://{server.origin.authority}/v1"))
    assert caught.value.status == int(status[:3])
    assert not isinstance(caught.value, BadReply)
    assert elsewhere.asked == []
    assert target.peers == []


async def _stream(client: HttpClient, row: Endpoint) -> object:
    reply = await _chat(client, row)
    while await reply.next():
        pass
    return reply


@pytest.mark.parametrize(
    ("use", "status", "kind"),
    [
        *((_chat, status, "application/json") for status in ("400 X", "401 X", "429 X", "500 X")),
        (balance, "401 X", "application/json"),
        (models, "500 X", "application/json"),
        (_stream, "200 OK", "text/event-stream"),
    ],
)
async def test_no_error_repeats_the_key(
    client: HttpClient, use: Use, status: str, kind: str
) -> None:
    async def telling(peer: Peer) -> None:
        while True:
            said = ((await peer.request()).header("authorization") or "").removeprefix("Bearer ")
            body = b'{"error":{"message":"no %b","type":"%b","code":"%b"}}' % ((said.encode(),) * 3)
            if kind == "text/event-stream":
                body = b"data: %b\n\n" % body
            await peer.reply(body, status=status, more=f"Content-Type: {kind}\r\n".encode())

    async with serve(telling) as server:
        with pytest.raises(BackendError) as caught:
            await use(client, endpoint(f"http://{server.origin.authority}/v1"))
    error = caught.value
    told = f"{error} {error!r} {error.public} {error.native_code}"
    assert "sk-good" not in told
    assert "***" in told
