"""`python -m backends.sandbox`: the stand-ins as a process of their own.

Prints one line of JSON, provider to port, when all of them listen; ends well on SIGTERM or SIGINT.
"""

import argparse
import asyncio
import json
import signal
import sys
from contextlib import AsyncExitStack
from typing import get_args

from backends.sandbox.server import Provider, SandboxServer


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m backends.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument(
        "--pace-ms", type=float, default=0.0, help="milliseconds between the events of streams"
    )
    providers: tuple[Provider, ...] = get_args(Provider)
    for provider in providers:
        parser.add_argument(
            f"--{provider}-port", type=int, metavar="PORT", help=f"run {provider}; 0 for any port"
        )
    arguments = parser.parse_args()
    if all(getattr(arguments, f"{provider}_port") is None for provider in providers):
        parser.error("name at least one provider's port")
    return arguments


async def _serve(arguments: argparse.Namespace) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    providers: tuple[Provider, ...] = get_args(Provider)
    async with AsyncExitStack() as stack:
        ports = {}
        for provider in providers:
            port = getattr(arguments, f"{provider}_port")
            if port is not None:
                server = SandboxServer(provider, arguments.host, port, pace_ms=arguments.pace_ms)
                await stack.enter_async_context(server)
                ports[provider] = server.port
        sys.stdout.write(json.dumps(ports) + "\n")
        sys.stdout.flush()
        await over.wait()


if __name__ == "__main__":
    asyncio.run(_serve(_arguments()))
