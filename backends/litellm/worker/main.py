"""The worker's program; `backends.litellm.process` says how it is started."""

import asyncio
import gc
import json
import os
import signal
import site
import socket
import sys
import threading
from collections.abc import Mapping
from importlib import metadata
from typing import Any, TextIO

from .server import Server
from .vetting import fault_of, installed, package_folders

REFUSED = 3  # exit status of a worker that will not run, now or later
ALIVE = 5.0  # seconds between signs of life


def main(arguments: list[str]) -> int:
    """Serve, as one line of JSON on stdin says; the exit status.

    Started without `site`, so that no `.pth` file is run before litellm's version was looked at.

    Args:
        arguments: `--check`: only look whether litellm is here and may be used.
    """
    control = os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    fault = fault_of(installed(package_folders()))
    if "--check" in arguments or fault is not None:
        _tell(control, fault=fault)
        return 0 if fault is None else REFUSED
    # The gateway says when to go: terminals and service managers signal all processes at once, and
    # requests that are being drained need the worker to the end.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    config = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_leave_with_the_gateway, daemon=True).start()
    site.main()
    version = metadata.version("litellm")
    if (fault := fault_of(version)) is not None:  # `site` may have led to another one
        _tell(control, fault=fault)
        return REFUSED
    import litellm  # noqa: PLC0415 - five seconds, and not before its version was looked at
    from aiohttp import web  # noqa: PLC0415 - is where litellm is

    quieten(litellm)
    os.dup2(nothing, 2)
    asyncio.run(_serve(Server(config, litellm, web), config, web, control, version))
    return 0


def quieten(litellm: Any) -> None:
    """Switch off what litellm does beside requests."""
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.turn_off_message_logging = True
    litellm.disable_streaming_logging = True
    litellm.disable_token_counter = True  # so that what was not counted is not guessed
    litellm.disable_hf_tokenizer_download = True
    litellm.drop_params = litellm.modify_params = False
    litellm.num_retries = None
    for name in ("callbacks", "success_callback", "failure_callback", "input_callback"):
        setattr(litellm, name, [])


async def _serve(
    server: Server, config: Mapping[str, Any], web: Any, control: TextIO, version: str
) -> None:
    app = server.application(f"/{config['token']}")
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.SockSite(runner, socket.socket(fileno=config["listen"]), backlog=1024).start()
    gc.collect()
    gc.freeze()  # what litellm loaded stays: no later collection need visit it
    _tell(control, ready=True, version=version, unknown=server.unknown())
    while True:
        await asyncio.sleep(ALIVE)
        _tell(control, running=server.running)


def _leave_with_the_gateway() -> None:
    """Die when stdin ends: the gateway has closed it, or is gone, however it went."""
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


def _tell(control: TextIO, **words: Any) -> None:
    control.write(json.dumps(words) + "\n")
    control.flush()
