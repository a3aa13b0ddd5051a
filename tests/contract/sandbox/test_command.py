"""`tidegate sandbox` starts what it is told to, says where, and stops when it is told to."""

import asyncio
import re
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from backends.sandbox import SandboxServer
from gateway.cli import main
from tests.contract.sandbox.caller import chat

PROGRAM = Path(sys.executable).with_name("tidegate")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_prints_base_urls_serves_and_stops(number: signal.Signals) -> None:
    words = ("sandbox", "--provider", "vllm", "--provider", "novita", "--port", "0")
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *words, "--fault", "error503", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    said = (await process.stdout.readuntil(b"Stop with Ctrl-C.")).decode()
    urls = re.findall(r"^  (\w+) +http://127\.0\.0\.1:(\d+)/(\S*)$", said, re.MULTILINE)
    assert [(name, path) for name, _, path in urls] == [("novita", "openai/v1"), ("vllm", "v1")]
    assert "Faults that are on: error503." in said
    server = SandboxServer("novita", port=int(urls[0][1]))  # not started: an address to call
    assert (await chat(server)).status == 503
    process.send_signal(number)
    assert await process.wait() == 0


@pytest.mark.parametrize("words", ["eror503", "cut,afetr=1", "cut]] [[n=3"])
def test_a_misspelt_fault_is_refused(words: str) -> None:
    done = CliRunner().invoke(main, ["sandbox", "--fault", words])
    assert done.exit_code == 2
    assert "--fault" in done.output


async def test_a_port_that_is_taken_is_told() -> None:
    async with SandboxServer("novita") as server:
        words = ("sandbox", "--provider", "novita", "--port", str(server.port))
        process = await asyncio.create_subprocess_exec(
            PROGRAM, *words, stderr=asyncio.subprocess.PIPE
        )
        _, err = await process.communicate()
        assert process.returncode == 1
        assert b"choose another --port" in err
