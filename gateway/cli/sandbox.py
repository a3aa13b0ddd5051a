"""`tidegate sandbox`: stand-ins of the providers, to try things against and to break on purpose."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import uvloop

if TYPE_CHECKING:
    from backends.sandbox import Fault, Provider, SandboxServer

_ALL: tuple["Provider", ...] = ("moonshot", "openrouter", "novita", "vllm")
_MORE: tuple["Provider", ...] = ("moonshot-cn", "vercel")
_LEARN = "docs/guides/sandbox.md lists the faults, and the rest that they take."


@click.command()
@click.option(
    "--provider",
    "providers",
    type=click.Choice([*_ALL, *_MORE, "all"]),
    multiple=True,
    default=["all"],
    show_default="all",
    help="Whose stand-in to start; can be given again.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8100,
    show_default=True,
    help="Port of the first; each further one takes the next. 0 for free ones.",
)
@click.option(
    "--fault",
    "words",
    multiple=True,
    metavar="FAULT",
    help="Switch a fault on from the beginning, written as in a tag: cut,after=3. Can be given again.",
)
@click.option(
    "--pace-ms", type=float, default=0.0, show_default=True, help="Milliseconds between chunks."
)
def sandbox(
    providers: tuple[str, ...], host: str, port: int, words: tuple[str, ...], pace_ms: float
) -> None:
    """Serve local stand-ins of the providers, with faults on request.

    They speak each provider's wire, count tokens by a simple rule, and answer with a text that says
    what they are. They need no key that exists and no network.
    """
    from backends.sandbox import SandboxServer, fault_of, serve_until_signal

    chosen = [
        provider
        for provider in (*_ALL, *_MORE)
        if provider in providers or ("all" in providers and provider in _ALL)
    ]
    try:
        faults = [fault_of(text) for text in words]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--fault") from None
    servers: list[SandboxServer] = [
        SandboxServer(provider, host, port and port + place, faults, pace_ms=pace_ms)
        for place, provider in enumerate(chosen)
    ]
    try:
        uvloop.run(serve_until_signal(servers, lambda: _tell(chosen, servers, faults)))
    except OSError as error:
        raise click.ClickException(f"{error.strerror or error}; choose another --port") from None


def _tell(
    providers: Sequence[str], servers: Sequence["SandboxServer"], faults: Sequence["Fault"]
) -> None:
    width = max(map(len, providers))
    first = servers[0].origin
    lines = ["", "Stand-ins of providers, not models. Any key is good. Base URLs:", ""]
    for provider, server in zip(providers, servers, strict=True):
        lines.append(f"  {provider:{width}}  {server.base_url}")
    if faults:
        lines += ["", "Faults that are on: " + ", ".join(fault.name for fault in faults) + "."]
    lines += [
        "",
        "A fault for one request: a tag anywhere in its text, such as [[fault=cut,after=3]].",
        "For the next requests to a stand-in, until it is switched off:",
        "",
        f'  curl {first}/__sandbox/faults -d \'{{"fault": "error503", "count": 2}}\'',
        f"  curl {first}/__sandbox/faults -X DELETE",
        "",
        f"What reached it: curl {first}/__sandbox/requests",
        "Refused connections:",
        f"  curl {first}/__sandbox/listener -d '{{\"closed_for_s\": 5}}'",
        "",
        _LEARN,
        "Stop with Ctrl-C.",
        "",
    ]
    click.echo("\n".join(lines))
