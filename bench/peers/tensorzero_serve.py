"""Serves TensorZero's gateway, which its Python package embeds, on a port of its own choice.

tensorzero_serve.py SETTINGS URL_FILE: writes the URL into URL_FILE and serves until it is stopped.
"""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from openai import AsyncOpenAI
from tensorzero import patch_openai_client  # type: ignore[import-not-found]  # not one of ours


async def serve(settings: str, publish: Callable[[str], object]) -> None:
    """Start the gateway through its OpenAI client, which serves HTTP on a free local port."""
    client = await patch_openai_client(
        AsyncOpenAI(api_key="unused"), config_file=settings, async_setup=True
    )
    publish(str(client.base_url))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2]).write_text))
