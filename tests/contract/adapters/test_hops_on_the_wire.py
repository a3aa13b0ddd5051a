"""What may be a gateway is told which gateways a request came through: all but providers at home."""

import asyncio

import pytest
from msgspec import Raw

from backends import Call, HttpClient, open_backends
from tests.contract.adapters.upstream import KINDS, read, server_of, upstream_of


@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_is_at_an_address_of_ones_own_is_told_the_way(
    kind: str, few_authorities: str | None
) -> None:
    client = HttpClient(clock=asyncio.get_running_loop().time, ca_file=few_authorities)
    async with server_of(kind) as server:
        upstream = upstream_of(kind, server, open_backends(client)[kind])
        for via in ("", "a,b"):
            call = Call(
                fields={"messages": Raw(b'[{"role":"user","content":"Hi"}]')},
                stream=True,
                output_cap=100,
                request_id="gen-1",
                via=via,
            )
            await read(await upstream.backend.open(call, upstream.endpoint("stream"), timeout=10))
        await client.aclose()
        told = [received.headers.get("x-tidegate-via") for received in server.requests]
    assert told == [None, "a,b"]
