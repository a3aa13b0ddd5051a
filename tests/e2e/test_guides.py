"""The guides on accounts, followed word for word beside a gateway: what they show is what is said."""

from pathlib import Path

import pytest

from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.guides import FOLLOWED, beginners_gateway, differences, follow

MOST_RESIDENT = 110  # MiB: docs/performance.md; also once the framework of the admin API is in use
OF_STORES = 15  # and what the libraries of PostgreSQL and Redis add to that


@pytest.mark.timeout(240)  # some thirty commands, each a process that imports the gateway
@pytest.mark.parametrize("page", FOLLOWED)
async def test_a_guide_can_be_followed(page: str, tmp_path: Path) -> None:
    async with beginners_gateway(tmp_path) as gateway:
        before = gateway.resident_mib()
        followed = await follow(page, tmp_path, gateway)
        after = gateway.resident_mib()
    told = differences(followed)
    assert not told, told
    assert [command for done in followed for command in done.failed] == list(FOLLOWED[page])
    most = MOST_RESIDENT + (OF_STORES if GatewayProcess.usual.shared else 0)
    assert before < MOST_RESIDENT
    assert after < most
