"""A guide, followed word for word as a new user would: in a shell, beside a gateway that runs."""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from backends.sandbox import SandboxServer
from tests.fakes.gateway_process import GatewayProcess

ROOT = Path(__file__).resolve().parents[2]
_DRY = "2 .venv/bin/tidegate apply -f teams.yaml --dry-run"
FOLLOWED: Mapping[str, Sequence[str]] = {
    "admin-api.md": (),
    "limits.md": (),
    "teams-and-keys.md": (),
    "teams-as-a-file.md": (_DRY, _DRY),
}
"""Pages of `docs/guides` that are followed, with the commands that end with another status than 0."""

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_WITHIN = 180.0  # seconds for a whole guide: each command takes about one
_BEGIN, _FAILED = "\x1e", "\x1f"  # marks in the output that nobody prints


class Step(Struct, frozen=True):
    """A shell block of a guide, and what the guide shows of its output.

    Attributes:
        script: what is typed.
        shown: the block of kind `text` right behind it; None: there is none.
    """

    script: str
    shown: str | None


class Followed(Struct, frozen=True):
    """What a shell said to one step, on both its streams.

    Attributes:
        step: the step.
        said: what was printed.
        failed: commands that ended with another status than 0, each with the status before it.
    """

    step: Step
    said: str
    failed: Sequence[str]


def steps(page: str) -> list[Step]:
    """The shell blocks of a page of `docs/guides`, in their order."""
    found = _BLOCK.findall((ROOT / "docs/guides" / page).read_text(encoding="utf-8"))
    behind = [*found[1:], ("", "")]
    return [
        Step(text, after if language == "text" else None)
        for (kind, text), (language, after) in zip(found, behind, strict=True)
        if kind == "sh"
    ]


@asynccontextmanager
async def beginners_gateway(folder: Path) -> AsyncIterator[GatewayProcess]:
    """A gateway as whoever begins has it: sandbox providers, the first accounts, a key, all defaults.

    Args:
        folder: where it is started. The program and the examples are where a checkout has them.
    """
    (folder / ".venv").symlink_to(sys.prefix)
    shutil.copytree(ROOT / "examples", folder / "examples")
    async with SandboxServer("moonshot") as moonshot, SandboxServer("novita") as novita:
        providers = [
            {
                "kind": kind,
                "name": f"sandbox-{kind}",
                "base_url": server.base_url,
                "api_key": "sandbox",
                "sandbox": True,
            }
            for kind, server in (("moonshot", moonshot), ("novita", novita))
        ]
        async with GatewayProcess(folder, {"providers": providers}) as gateway:
            await gateway.first_key()
            await gateway.start()
            yield gateway
            assert await gateway.stop() == 0
            assert not [line for line in gateway.log if "Traceback" in line]


async def follow(page: str, folder: Path, gateway: GatewayProcess) -> list[Followed]:
    """Type all of a guide into one shell, in the folder of a gateway; gives what it said to each step.

    Args:
        page: of `docs/guides`.
        folder: where commands are typed.
        gateway: what runs; the guide finds it by `URL`.
    """
    typed = steps(page)
    script = "".join(f"printf '{_BEGIN}'\n{step.script}\n" for step in typed)
    trap = f'trap \'printf "{_FAILED}%s %s{_FAILED}" "$?" "$BASH_COMMAND"\' ERR\n'
    process = await asyncio.create_subprocess_exec(
        *("bash", "-uo", "pipefail", "-c", f"exec 2>&1\n{trap}{script}"),
        cwd=folder,
        env={
            **os.environ,  # noqa: TID251 - handed on
            "URL": f"http://{gateway.host}:{gateway.port}",
        },
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_WITHIN):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    _, *parts = out.decode().split(_BEGIN)
    assert len(parts) == len(typed), out.decode()
    failed = re.compile(f"{_FAILED}(.*?){_FAILED}", re.DOTALL)
    return [
        Followed(step, failed.sub("", part), failed.findall(part))
        for step, part in zip(typed, parts, strict=True)
    ]


def differences(followed: Sequence[Followed]) -> str:
    """How what was printed differs from what the guide shows; empty: it does not.

    In what is shown `…` stands for anything within a line, and alone on a line for any lines; how wide the
    columns of a table are does not count.
    """
    return "\n".join(
        f"typed:\n{done.step.script}\nshown:\n{done.step.shown}\nsaid:\n{done.said}"
        for done in followed
        if done.step.shown is not None and not _fits(done.step.shown, done.said)
    )


def _fits(shown: str, said: str) -> bool:
    lines = shown.splitlines()
    pattern = "".join("(?:.*\n)*?" if line == "…" else f"{_of_line(line)}\n" for line in lines)
    return bool(re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in said.splitlines())))


def _of_line(line: str) -> str:
    words = (re.escape(word).replace("…", ".*") for word in line.split())
    return r"\s*" + r" +".join(words)
