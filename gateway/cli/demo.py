"""`tidegate demo`: a gateway with a key, ready for its first request in seconds."""

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.server import before_serving, run_server

if TYPE_CHECKING:
    from gateway.accounts.bootstrap import First
    from gateway.settings import Settings

_MODEL = "moonshotai/kimi-k2.6"


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("tidegate-data"),
    show_default=True,
    help="Folder to keep everything in; running again keeps it.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8080, show_default=True, help="Port to listen on; 0 for a free one."
)
def demo(data: Path, host: str, port: int) -> None:
    """Serve Kimi models with no settings at all.

    With MOONSHOT_API_KEY, MOONSHOT_CN_API_KEY, NOVITA_API_KEY, OPENROUTER_API_KEY or
    AI_GATEWAY_API_KEY set, from those providers; with none, from sandbox providers: local stand-ins
    that speak their wire.
    """
    from gateway import app
    from gateway.settings import check, known_providers

    async def work() -> bool:
        async with contextlib.AsyncExitStack() as stack:
            providers = known_providers()
            if not providers:
                providers = await _sandbox(stack)
            settings = check(
                {
                    "data": data,
                    "server": {"host": host, "port": port},
                    "upstream": {"balance_interval": 0},  # a trial asks providers for answers only
                    "providers": providers,
                }
            )
            # The port first: a key that is made must be shown, and it can be shown only once.
            listener = app.bind(settings.server)
            await app.prepare(settings)
            first = await app.first_account(settings.data, with_key=True)
            at = listener.getsockname()[1]
            before_serving()
            return await app.serve(settings, listener, lambda: _tell(settings, first, host, at))

    run_server(work)


async def _sandbox(stack: contextlib.AsyncExitStack) -> list[dict[str, Any]]:
    from backends.sandbox import SandboxServer

    providers = []
    for kind in ("moonshot", "novita"):
        server = SandboxServer(provider=kind)
        await server.start()
        stack.push_async_callback(server.aclose)
        providers.append(
            {
                "kind": kind,
                "name": f"sandbox-{kind}",
                "base_url": server.base_url,
                "api_key": "sandbox",
                "sandbox": True,
            }
        )
    return providers


def _tell(settings: "Settings", first: "First", host: str, port: int) -> None:
    shown = "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host
    base = f"http://{shown}:{port}/v1"
    key = first.key_plaintext or "$KEY"
    body = json.dumps({"model": _MODEL, "messages": [{"role": "user", "content": "Hello!"}]})
    lines = [
        "",
        f"Tidegate is listening. Data: {settings.data}",
        "",
        *_source(settings),
        "",
        f"  base URL      {base}",
        f"  organisation  {first.organisation.name}",
        f"  team          {first.team.name}",
    ]
    if first.key_plaintext is not None:
        lines.append(f"  API key       {key}   (shown this once: keep it)")
    else:
        lines.append("  API key       the one you were shown at the first start; another one with")
        lines.append(
            f"                .venv/bin/tidegate keys create --data {settings.data}"
            f" --team {first.team.name}"
        )
    lines += [
        "",
        "Try it" + ("" if first.key_plaintext else " (with your key in KEY)") + ":",
        "",
        (
            f'curl -i {base}/chat/completions -H "Authorization: Bearer {key}"'
            f" -H 'Content-Type: application/json' -d '{body}'"
        ),
        "",
        'Streamed: the same with -N, and "stream": true in the body.',
        f"What it cost: GET {base}/generation?id=… with the X-Generation-Id of the answer.",
        "Stop with Ctrl-C.",
        "",
    ]
    click.echo("\n".join(lines))


def _source(settings: "Settings") -> list[str]:
    if any(provider.sandbox for provider in settings.providers):
        return [
            "  SANDBOX: no provider's key is set, so answers come from local stand-ins of Moonshot",
            "  and Novita, not from a model, and cost nothing.",
            "  Prices and budgets are counted as if they were real.",
            "  For the real thing, set MOONSHOT_API_KEY, NOVITA_API_KEY or OPENROUTER_API_KEY and",
            "  run this again.",
        ]
    names = " and ".join(provider.kind for provider in settings.providers)
    return [f"  Serving from {names}: requests cost money at the provider."]
