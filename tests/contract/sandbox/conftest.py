"""Sandbox servers on ports of their own, closed after each test."""

from collections.abc import AsyncIterator
from typing import get_args

import pytest

from backends.sandbox import Provider, SandboxServer


@pytest.fixture
async def moonshot() -> AsyncIterator[SandboxServer]:
    async with SandboxServer("moonshot") as server:
        yield server


@pytest.fixture
async def novita() -> AsyncIterator[SandboxServer]:
    async with SandboxServer("novita") as server:
        yield server


@pytest.fixture
async def vllm() -> AsyncIterator[SandboxServer]:
    async with SandboxServer("vllm") as server:
        yield server


@pytest.fixture
async def openrouter() -> AsyncIterator[SandboxServer]:
    async with SandboxServer("openrouter") as server:
        yield server


@pytest.fixture(params=get_args(Provider))
async def server(request: pytest.FixtureRequest) -> AsyncIterator[SandboxServer]:
    """Each provider in turn."""
    provider: Provider = request.param
    async with SandboxServer(provider) as server:
        yield server
