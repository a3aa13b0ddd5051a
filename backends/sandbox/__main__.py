"""`python -m backends.sandbox`: the stand-ins as a process of their own.

Prints one line of JSON, provider to port, when all of them listen; ends well on SIGTERM or SIGINT.
"""

import argparse
import asyncio
import json
import sys
from typing import get_args

from backends.sandbox.server import Provider, SandboxServer, serve_until_signal


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
    if all(_port(arguments, provider) is None for provider in providers):
        parser.error("name at least one provider's port")
    return arguments


def _port(arguments: argparse.Namespace, provider: Provider) -> int | None:
    port: int | None = getattr(arguments, f"{provider}_port".replace("-", "_"))
    return port


async def _serve(arguments: argparse.Namespace) -> None:
    providers: tuple[Provider, ...] = get_args(Provider)
    servers = {
        provider: SandboxServer(provider, arguments.host, port, pace_ms=arguments.pace_ms)
        for provider in providers
        if (port := _port(arguments, provider)) is not None
    }

    def tell() -> None:
        ports = {provider: server.port for provider, server in servers.items()}
        sys.stdout.write(json.dumps(ports) + "\n")
        sys.stdout.flush()

    await serve_until_signal(servers.values(), tell)


if __name__ == "__main__":
    asyncio.run(_serve(_arguments()))
