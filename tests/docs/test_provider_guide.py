"""How to add a provider, as CONTRIBUTING tells it, is followed to the letter: and then it works."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml

from backends.sandbox import Novita, SandboxServer
from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.raw_server import Peer, serve

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("\n### A provider\n")[2]
SETTINGS = re.findall(r"^```yaml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
# The files that it has written, by their paths, and the lines that it has added to others.
FILES: dict[str, str] = dict(
    re.findall(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
)
LINES = re.findall(r"^```diff\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
ACME = "backends/kinds/acme.py"
FAILURES = "tests/unit/backends/openai_compat/failures/acme"
_NAMED = re.findall(r"^ # (.+)", LINES[0], re.MULTILINE)
CHANGED = [path for path in (*FILES, *_NAMED) if path.endswith(".py")]
# What then runs over the new kind by itself; of the contract suite what it says of answers.
FOLLOWS = (
    "tests/unit/backends/test_registry.py",
    "tests/unit/backends/openai_compat/test_recordings.py",
    "tests/unit/backends/openai_compat/test_failures.py",
    "tests/unit/backends/openai_compat/test_fates.py",
    "tests/unit/backends/openai_compat/test_modes.py",
    "tests/contract/adapters/test_answers.py",
    "tests/contract/adapters/test_good_answers.py",
    "tests/docs/test_reference.py",
)
HELLO: Any = {"model": "moonshotai/kimi-k2.6", "messages": [{"role": "user", "content": "Hi"}]}


def test_a_plain_provider_is_five_lines_of_settings_and_another_a_short_file() -> None:
    (settings,) = SETTINGS
    head, *lines = settings.splitlines()
    assert head == "endpoints:"
    assert len(lines) == 5
    assert 10 < len(FILES[ACME].splitlines()) < 200
    assert len(LINES) == 1
    files = {path.rpartition("/")[2] for path in FILES if path != ACME}
    assert {"acme-stream.sse", "acme-whole.json"} < files
    assert len([name for name in files if re.match(r"4\d\d-", name)]) == 2


def followed(folder: Path) -> Path:
    """A copy of the source in which the guide was followed."""
    for name in ("backends", "gateway", "migrations", "pricing", "tests", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, folder)
    for path, text in FILES.items():
        written = folder / path
        assert not written.exists()
        written.parent.mkdir(exist_ok=True)
        written.write_text(text, encoding="utf-8")
    for part in re.split(r"^ # ", LINES[0], flags=re.MULTILINE)[1:]:
        name, _, change = part.partition("\n")
        add(folder / name, change.splitlines())
    return folder


def add(path: Path, change: list[str]) -> None:
    """Put lines that begin with a plus behind the one before them, which must be in the file once."""
    lines, at = path.read_text(encoding="utf-8").splitlines(), 0
    for line in change:
        if line.startswith("+"):
            lines.insert(at, line[1:])
            at += 1
        else:
            assert lines.count(line[1:]) == 1, f"{path.name}: {line}"
            at = lines.index(line[1:]) + 1
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return followed(tmp_path_factory.mktemp("guide"))


class Acme:
    """A server that is what the guide says of Acme: it answers with its recordings.

    Attributes:
        bodies: what it was asked.
        spent: whether its customer has no money left.
    """

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.spent = False

    async def __call__(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            body = json.loads(request.body)
            self.bodies.append(body)
            if self.spent:
                await self._answer(peer, f"{FAILURES}/403-credits-spent.json", "403 Forbidden")
            elif body.get("temperature", 1) != 1 or "max_tokens" in body:
                await self._answer(peer, f"{FAILURES}/400-temperature.json", "400 Bad Request")
            else:
                form = "stream.sse" if body["stream"] else "whole.json"
                await self._answer(peer, f"tests/recordings/acme-{form}")

    async def _answer(self, peer: Peer, path: str, status: str = "200 OK") -> None:
        kind = "text/event-stream" if path.endswith(".sse") else "application/json"
        head = f"Content-Type: {kind}\r\n".encode()
        await peer.reply(FILES[path].encode(), status=status, more=head)


class Play:
    """A gateway on the guide's settings, or such as it says, and a caller."""

    def __init__(self, gateway: GatewayProcess, key: str) -> None:
        url = f"http://{gateway.host}:{gateway.port}/api/v1"
        self.client = openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0)

    async def ask(self, **more: Any) -> Any:
        """The answer with its head."""
        return await self.client.chat.completions.with_raw_response.create(**HELLO, **more)


async def played(folder: Path, rows: list[dict[str, Any]], source: Path) -> AsyncIterator[Play]:
    async with GatewayProcess(folder, {"endpoints": rows}, source) as gateway:
        key = await gateway.first_key()
        await gateway.start()
        play = Play(gateway, key)
        async with play.client:
            yield play
        assert await gateway.stop() == 0


def row_of(monkeypatch: pytest.MonkeyPatch, base_url: str, **more: Any) -> dict[str, Any]:
    """The guide's settings, at an address of this machine."""
    monkeypatch.setenv("ACME_API_KEY", "sk-acme")
    (row,) = yaml.safe_load(SETTINGS[0])["endpoints"]
    return {**row, "base_url": base_url, "local": True, **more}


async def test_the_five_lines_are_a_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SandboxServer(Novita("openai"), keys={"sk-acme"}) as server:
        row = row_of(monkeypatch, server.base_url)
        async for play in played(tmp_path, [row], ROOT):
            answer = await play.ask()
            assert answer.headers["x-tidegate-provider"] == row["provider"]
            completion = answer.parse()
            assert (
                "The last user message has 2 characters." in completion.choices[0].message.content
            )
            assert completion.usage.model_extra["cost"] > 0
        assert server.requests[-1].body["model"] == row["model"]


async def test_the_file_is_a_provider_with_its_differences(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = Acme()
    async with serve(acme) as server:
        row = row_of(monkeypatch, f"http://{server.origin.authority}/v1", kind="acme")
        whole = {**row, "id": "acme/whole", "serves": "acme/whole", "context_length": 1000}
        rows = [row, {**whole, "native_non_stream": True}]
        async for play in played(tmp_path, rows, tree):
            stream = (await play.ask(stream=True, temperature=0.3, max_tokens=50)).parse()
            text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
            assert text == "ok"
            sent = acme.bodies[-1]
            assert sent["max_completion_tokens"] == 50
            assert not {"max_tokens", "temperature", "enable_thinking"} & sent.keys()

            answer = await play.ask(extra_body={"reasoning": {"enabled": False}}, temperature=0.3)
            assert acme.bodies[-1]["enable_thinking"] is False
            message = answer.parse().choices[0].message
            assert (message.content, message.model_extra["reasoning"]) == ("ok", "Short.")
            assert json.loads(answer.text)["tidegate"]["dropped"] == ["temperature"]

            answer = await play.ask(extra_body={"model": "acme/whole"})
            assert acme.bodies[-1]["stream"] is False
            assert answer.parse().choices[0].message.content == "ok"

            acme.spent = True
            with pytest.raises(openai.APIStatusError) as caught:
                await play.ask()
            assert caught.value.code == "quota_exhausted"
            assert "acct_" not in str(caught.value)


async def test_tests_and_reference_follow_by_themselves(tree: Path) -> None:
    # What is under test here is the copy: it comes first in the path of what runs there.
    environment = {**os.environ, "PYTHONPATH": str(tree)}  # noqa: TID251 - handed on
    run = [sys.executable, "docs/reference/generate.py"]
    await asyncio.to_thread(subprocess.run, run, cwd=tree, env=environment, check=True)
    page = (tree / "docs/reference/settings.md").read_text(encoding="utf-8")
    assert "`acme` (Acme's API)" in page
    few = "acme or test_registry or test_recordings or test_failures or test_reference"
    for words in (["check"], ["format", "--check"]):
        run = [sys.executable, "-m", "ruff", *words, *(str(tree / path) for path in CHANGED)]
        await asyncio.to_thread(subprocess.run, run, cwd=tree, check=True)
    options = "-v", "-k", few, "-p", "no:cacheprovider", "--basetemp", str(tree / "temporary")
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "pytest", *options, *FOLLOWS],
        cwd=tree,
        env={name: value for name, value in environment.items() if not name.startswith("PYTEST")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    for path in FOLLOWS:
        assert re.search(rf"^{path}::.* PASSED", done.stdout, re.MULTILINE), path
    assert done.stdout.count("acme") > 100
