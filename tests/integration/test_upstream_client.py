"""From settings to the connections that requests go upstream on."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from backends import (
    Call,
    ConnectFailed,
    Deadlines,
    Endpoint,
    HttpClient,
    Origin,
    open_backends,
)
from backends.http import Response
from gateway import app
from gateway.clock import SystemClock
from gateway.settings import check
from tests.builders import OWN_ENDPOINT
from tests.contract.http.certificates import Authority
from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.proxy import TunnelScript
from tests.fakes.raw_server import Peer, serve
from tests.fakes.wire import connect, post


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


async def obliging(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.reply()


async def read(client: HttpClient, origin: Origin) -> bytes:
    response = await client.request(
        origin,
        method=b"GET",
        target=b"/",
        headers=b"",
        body=(),
        deadlines=Deadlines(),
        timeout=10,
        max_connections=1,
    )
    return await response.read_all()


def built(endpoint: dict[str, Any], upstream: dict[str, Any]) -> HttpClient:
    settings = check({"endpoints": [{**OWN_ENDPOINT, **endpoint}], "upstream": upstream})
    return app.upstream_client(settings, SystemClock())


async def test_proxy_exemptions_and_files_of_an_endpoint_are_those_of_the_settings(
    authority: Authority,
) -> None:
    certificate, key = authority.client("gateway")
    demanding = authority.server("DNS:own.example")
    demanding.verify_mode = ssl.CERT_REQUIRED
    demanding.load_verify_locations(authority.file)
    tls = {"ca_file": authority.file, "certificate_file": certificate, "key_file": key}
    async with serve(obliging, tls=demanding) as origin:
        script = TunnelScript(origin.origin)
        async with serve(script) as proxy:
            url = f"http://user:pass@127.0.0.1:{proxy.origin.port}"
            client = built({"tls": tls}, {"proxy": url, "no_proxy": "exempt.invalid"})
            assert await read(client, Origin("https", "own.example", 443)) == b"ok"
            with pytest.raises(ConnectFailed, match=r"^exempt\.invalid: "):
                await read(client, Origin("http", "exempt.invalid", 80))
            assert len(proxy.peers) == 1
            await client.aclose()
    assert script.asked[0].header("proxy-authorization") is not None


async def test_authorities_and_age_are_those_of_the_settings(authority: Authority) -> None:
    async with serve(obliging, tls=authority.server("DNS:localhost")) as server:
        client = built({}, {"tls": {"ca_file": authority.file}, "max_connection_age": 1e-9})
        for number in range(2):
            origin = Origin("https", "localhost", server.origin.port, local=True)
            assert await read(client, origin) == b"ok"
            assert len(server.peers) == number + 1
        await client.aclose()


async def test_length_of_the_line_is_that_of_the_settings() -> None:
    async def silent(peer: Peer) -> None:
        await peer.until_gone()

    async with serve(silent) as server:
        client = built({}, {"max_waiting": 2, "max_waiting_per_team": 1})
        tasks = []
        for _ in range(2):
            tasks.append(asyncio.create_task(read(client, server.origin)))
            await asyncio.sleep(0)
        with pytest.raises(ConnectFailed, match="1 requests wait"):
            await read(client, server.origin)
        await client.aclose()
        for task in tasks:
            with pytest.raises(ConnectFailed):
                await task


async def test_adapters_tell_the_client_the_tenant() -> None:
    tenants: list[object] = []

    class Noting(HttpClient):
        @override
        async def request(self, *_: Any, **words: Any) -> Response:
            tenants.append(words["tenant"])
            raise ConnectFailed

    backends = open_backends(Noting(clock=asyncio.get_running_loop().time))
    call = Call(fields={}, stream=True, output_cap=1, request_id="gen-1", tenant="team_1")
    for kind, backend in backends.items():
        endpoint = Endpoint(id=kind, provider="p", kind=kind, base_url="http://x", model="m")
        with pytest.raises(ConnectFailed):
            await backend.open(call, endpoint, timeout=1)
    assert tenants == ["team_1"] * len(backends)


async def test_refusing_proxy_is_in_the_log_by_name_and_without_its_password(
    tmp_path: Path,
) -> None:
    async def refusing(peer: Peer) -> None:
        await peer.request()
        await peer.reply(status="407 s3cret")

    body = b'{"model":"moonshotai/kimi-k2.6","messages":[{"role":"user","content":"hello"}]}'
    async with serve(refusing) as proxy:
        where = f"127.0.0.1:{proxy.origin.port}"
        upstream = {"proxy": f"http://user:s3cret@{where}"}
        settings = {"endpoints": [OWN_ENDPOINT], "upstream": upstream}
        async with GatewayProcess(tmp_path, settings) as gateway:
            key = await gateway.first_key()
            await gateway.start()
            async with connect(gateway.port) as wire:
                more = f"Authorization: Bearer {key}\r\n"
                answer = await wire.ask(post("/v1/chat/completions", body, more=more))
            assert await gateway.stop() == 0
    assert (answer.status, answer.error["code"]) == (503, "connect_failed")
    log = "\n".join(gateway.log)
    assert f"proxy http://{where} answered 407 Proxy Authentication Required" in log
    for text in (log, answer.body.decode()):
        assert "s3cret" not in text
        assert "dXNlcjpzM2NyZXQ" not in text
    assert where not in answer.body.decode()
