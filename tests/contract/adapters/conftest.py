"""Each kind of endpoint in turn, with a server of its own behind it."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest

from backends import HttpClient, open_backends
from tests.contract.adapters.upstream import KINDS, Upstream, server_of


@pytest.fixture(scope="session")
def few_authorities(tmp_path_factory: pytest.TempPathFactory) -> str | None:
    """A file with one of the system's certificates: nothing here speaks TLS, and to load all takes long."""
    known = ssl.create_default_context().get_ca_certs(binary_form=True)
    if not known:
        return None
    file = tmp_path_factory.mktemp("tls") / "one.pem"
    file.write_text(ssl.DER_cert_to_PEM_cert(known[0]))
    return str(file)


@pytest.fixture(params=KINDS)
async def upstream(
    request: pytest.FixtureRequest, few_authorities: str | None
) -> AsyncIterator[Upstream]:
    kind: str = request.param
    client = HttpClient(clock=asyncio.get_running_loop().time, ca_file=few_authorities)
    async with server_of(kind) as server:
        yield Upstream(kind, server, open_backends(client)[kind])
        await client.aclose()
