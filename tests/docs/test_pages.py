"""What the pages refer to is there, and what they tell a reader to type works."""

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest
import yaml

from gateway.app import check
from gateway.cli import main
from gateway.settings import load
from tests.fakes.guides import FOLLOWED

ROOT = Path(__file__).resolve().parents[2]
# All but the one that is of accounts, not of settings: `tests/integration/test_applying.py` applies it.
EXAMPLES = sorted(
    set((ROOT / "examples/config").glob("*.yaml")) - {ROOT / "examples/config/teams.yaml"}
)
VARIABLES = {
    "MOONSHOT_API_KEY": "sk-example",
    "NOVITA_API_KEY": "sk_example",
    "AWS_ACCESS_KEY_ID": "AKIA-example",
    "AWS_SECRET_ACCESS_KEY": "example",
    "FIREWORKS_API_KEY": "fw_example",
}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def pages() -> list[Path]:
    found = [*ROOT.glob("*.md")]
    for folder in ("docs", "bench", "examples"):
        found += (ROOT / folder).rglob("*.md")
    return sorted(found)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


def typed(path: Path) -> list[str]:
    """The command lines of a page: of indented blocks and of shell fences."""
    text = path.read_text(encoding="utf-8")
    lines = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    for language, block in _FENCE.findall(text):
        if language == "sh":
            lines += block.replace("\\\n", " ").splitlines()
    return lines


def words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(path: Path) -> None:
    broken = []
    for link in _LINK.findall(path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_can_be_served(path: Path) -> None:
    check(load(path, VARIABLES))


def test_the_file_of_teams_that_the_guide_shows_is_the_example() -> None:
    page = (ROOT / "docs/guides/teams-as-a-file.md").read_text(encoding="utf-8")
    (shown,) = [text for language, text in _FENCE.findall(page) if language == "yaml"]
    assert (ROOT / "examples/config/teams.yaml").read_text(encoding="utf-8").endswith(shown)


def test_there_are_examples() -> None:
    names = {path.name for path in EXAMPLES}
    assert {"minimal.yaml", "failover.yaml", "local-vllm.yaml", "zdr.yaml"} <= names


def test_the_settings_in_the_readme_can_be_served(tmp_path: Path) -> None:
    blocks = [
        text
        for language, text in _FENCE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
        if language == "yaml"
    ]
    assert blocks
    for block in blocks:
        assert yaml.safe_load(block)
        path = tmp_path / "tidegate.yaml"
        path.write_text(block)
        check(load(path, VARIABLES))


def test_make_has_every_target_that_the_pages_name() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = {
        match[1]
        for path in pages()
        for line in typed(path)
        if (match := re.match(r"make ([a-z]+)", line))
    }
    assert {"run", "test", "bench"} <= named
    assert named <= targets


def test_every_command_of_the_pages_parses() -> None:
    seen = 0
    run = {ROOT / "docs/guides" / name for name in FOLLOWED}  # as a whole, which says more
    for path in set(pages()) - run:
        for line in typed(path):
            if not line.startswith(".venv/bin/tidegate "):
                continue
            seen += 1
            command: click.Command = main
            rest = words(line.removesuffix("&"))[1:]  # in the background, in a shell
            context = click.Context(main)
            while isinstance(command, click.Group):
                found = command.get_command(context, rest.pop(0))
                assert found is not None, line
                command = found
            command.make_context(command.name, rest)  # raises on an unknown option
    assert seen > 3


def test_shell_blocks_are_valid_shell() -> None:
    for path in pages():
        for language, block in _FENCE.findall(path.read_text(encoding="utf-8")):
            if language == "sh":
                subprocess.run(["bash", "-n"], input=block.encode(), check=True)


def test_python_blocks_compile() -> None:
    for path in pages():
        for language, block in _FENCE.findall(path.read_text(encoding="utf-8")):
            if language == "python":
                compile(block, str(path), "exec")
