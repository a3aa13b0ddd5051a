"""The gateway with endpoints of kind `litellm`, as its users and its operator see it."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from typing_extensions import override

from backends.sandbox import Novita, SandboxServer
from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.stage import GatewayStage, chat

K2 = "moonshotai/kimi-k2-thinking"
SECRET = "hunter2-in-the-worker"
PRICE = {"input": "1", "output": "2"}


def endpoint(base_url: str, **more: Any) -> dict[str, Any]:
    """One of kind `litellm`, at a stand-in."""
    return {
        "id": "tail/kimi",
        "provider": "tail",
        "kind": "litellm",
        "base_url": base_url,
        "local": True,
        "api_key": "sk-of-the-provider",
        "model": "openai/moonshotai/kimi-k2.6",
        "serves": K2,
        "price": PRICE,
        "context_length": 262_144,
        "max_output": 4096,
        **more,
    }


class TailStage(GatewayStage):
    """A provider behind litellm, and for another model a plain one to fall back on."""

    def __init__(self, folder: Path, python: Path) -> None:
        super().__init__(folder)
        self.server = SandboxServer(Novita("openai"))
        self._python = python

    @override
    def _begin(self) -> None:
        self.loop.run(self.server.start())
        self._up.callback(lambda: self.loop.run(self.server.aclose()))

    @override
    def _settings(self) -> dict[str, Any]:
        url = self.server.base_url
        spare = {
            "id": "spare/kimi",
            "provider": "spare",
            "kind": "openai_compat",
            "model": "moonshotai/kimi-k2.6",
        }
        return {
            "auth": {"max_age": 0.3},
            "litellm": {"python": str(self._python), "environment": {"SOME_SECRET": SECRET}},
            "endpoints": [
                endpoint(url),
                endpoint(url, id="tail/both", serves="tests/both"),
                endpoint(
                    url,
                    **{**spare, "serves": "tests/both", "price": {"input": "3", "output": "6"}},
                ),
            ],
        }

    def worker(self) -> int:
        """The worker's process."""
        (pid,) = children(self.gateway.pid)
        return pid

    def until_it_answers(self) -> None:
        """Ask until litellm is loaded."""
        end = time.monotonic() + 120
        while (answer := self.ask(chat(model=K2))).status != 200:
            assert time.monotonic() < end, answer.body
            time.sleep(0.2)


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def wait_for_the_end(pid: int) -> None:
    """Wait for a process that is not ours to wait for."""
    end = time.monotonic() + 10
    while is_there(pid):
        assert time.monotonic() < end, f"{pid} still runs"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, litellm_python: Path) -> Iterator[TailStage]:
    with TailStage(tmp_path_factory.mktemp("tail"), litellm_python) as stage:
        yield stage


def test_before_litellm_is_loaded_another_endpoint_answers(stage: TailStage) -> None:
    answer = stage.ask(chat(model="tests/both"))
    assert answer.status == 200
    # The gateway may have taken longer to be asked than litellm to load: then it is the cheaper one.
    assert answer.document["provider"] in {"spare", "tail"}
    stage.until_it_answers()
    assert stage.ask(chat(model="tests/both")).document["provider"] == "tail"


def test_streamed_and_whole_answers_cost_what_the_rate_card_says(stage: TailStage) -> None:
    stage.until_it_answers()
    whole = stage.ask(chat("[[n=5,think=2]]", model=K2))
    assert whole.status == 200
    usage = whole.document["usage"]
    micro = usage["prompt_tokens"] * 1 + usage["completion_tokens"] * 2
    assert usage["cost"] * 1_000_000 == micro > 0
    streamed = stage.ask(
        chat("[[n=5,think=2]]", model=K2, stream=True, stream_options={"include_usage": True})
    )
    assert streamed.events[-1] == "[DONE]"
    assert streamed.events[-2]["usage"]["cost"] == usage["cost"]
    assert "sandbox" not in whole.document["model"]


def test_a_worker_killed_in_an_answer_is_told_and_settled(stage: TailStage) -> None:
    stage.until_it_answers()
    pid = stage.worker()
    with stage.client(timeout=60) as client:
        stream = client.chat.completions.create(
            model=K2,
            messages=[{"role": "user", "content": "[[n=100000,pace=5,think=0]]"}],
            stream=True,
        )
        chunks = iter(stream)
        next(chunks)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(openai.APIError):
            list(chunks)
    stage.until_it_answers()
    assert stage.worker() != pid


def test_no_secret_is_in_the_log_or_on_a_command_line(stage: TailStage) -> None:
    stage.until_it_answers()
    log = "\n".join(stage.gateway.log)
    assert "litellm" in log
    command = Path(f"/proc/{stage.worker()}/cmdline").read_text()
    for secret in (SECRET, "sk-of-the-provider"):
        assert secret not in log
        assert secret not in command
    assert SECRET in Path(f"/proc/{stage.worker()}/environ").read_text()
    assert SECRET not in Path(f"/proc/{stage.gateway.pid}/environ").read_text()


async def test_a_gateway_that_is_killed_or_stopped_leaves_no_worker(
    tmp_path: Path, litellm_python: Path
) -> None:
    settings = {
        "litellm": {"python": str(litellm_python)},
        "endpoints": [endpoint("http://127.0.0.1:9/v1")],
    }
    async with GatewayProcess(tmp_path, settings) as gateway:
        await gateway.start()
        (pid,) = children(gateway.pid)
        gateway.kill()
        await gateway.ended()
        wait_for_the_end(pid)
        await gateway.start()
        (pid,) = children(gateway.pid)
        assert await gateway.stop() == 0
        assert not is_there(pid)


async def test_without_litellm_it_does_not_start_and_says_what_to_do(tmp_path: Path) -> None:
    settings = {"endpoints": [endpoint("http://127.0.0.1:9/v1")]}
    async with GatewayProcess(tmp_path, settings) as gateway:
        await gateway.begin()
        assert await gateway.ended() == 2
        assert not gateway.listening
        told = "\n".join(gateway.log)
        assert "pip install 'tidegate[litellm]'" in told
        assert "Traceback" not in told
