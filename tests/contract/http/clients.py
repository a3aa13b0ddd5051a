"""Clients for these tests, and a short way to ask with them."""

import asyncio
from collections.abc import Callable, Sequence

from backends.http import ClientLimits, HttpClient, Response
from backends.http_dial import Dialer
from backends.values import Deadlines, Origin

PATIENT = Deadlines()


class Ask:
    """`HttpClient.request` with defaults that suit most tests."""

    def __init__(self, client: HttpClient) -> None:
        self.client = client

    async def __call__(
        self,
        origin: Origin,
        body: Sequence[bytes | memoryview] = (),
        *,
        method: bytes = b"POST",
        deadlines: Deadlines = PATIENT,
        timeout: float = 20,
        max_connections: int = 8,
        resend_safe: bool = False,
        tenant: str = "",
    ) -> Response:
        async with asyncio.timeout(
            10
        ):  # a deadline that fails to hold must not pass by its own length
            return await self.client.request(
                origin,
                method=method,
                target=b"/v1/x?y=1",
                headers=b"Accept-Encoding: identity\r\n",
                body=body,
                deadlines=deadlines,
                timeout=timeout,
                max_connections=max_connections,
                resend_safe=resend_safe,
                tenant=tenant,
            )

    async def read(self, origin: Origin, *, max_connections: int = 8) -> bytes:
        """A whole exchange."""
        response = await self(origin, max_connections=max_connections)
        return await response.read_all()


class Clients:
    """Makes clients and closes them after the test."""

    def __init__(self) -> None:
        self.made: list[HttpClient] = []
        self.skipped = 0.0  # seconds by which the clients' clock runs ahead of the loop's

    def new(
        self,
        limits: ClientLimits | None = None,
        *,
        ca_file: str | None = None,
        dialer: Dialer | None = None,
    ) -> Ask:
        loop = asyncio.get_running_loop()
        client = HttpClient(
            clock=lambda: loop.time() + self.skipped,
            ca_file=ca_file,
            dialer=dialer,
            limits=limits,
        )
        self.made.append(client)
        return Ask(client)


async def becomes_true(condition: Callable[[], bool]) -> None:
    """Wait for what happens inside the client, of which it tells nobody."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.001)
