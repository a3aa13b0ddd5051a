"""Each kind of endpoint in turn, with a server of its own behind it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from backends import HttpClient, open_backends
from tests.contract.adapters.upstream import KINDS, Upstream, server_of, upstream_of


@pytest.fixture(params=KINDS)
async def upstream(
    request: pytest.FixtureRequest, few_authorities: str | None
) -> AsyncIterator[Upstream]:
    kind: str = request.param
    client = HttpClient(clock=asyncio.get_running_loop().time, ca_file=few_authorities)
    async with server_of(kind) as server:
        yield upstream_of(kind, server, open_backends(client)[kind])
        await client.aclose()
