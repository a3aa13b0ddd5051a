"""House rules that the linters cannot hold. CONTRIBUTING.md says why each one is there.

A rule is a function from one file to the faults in it, so that each can be shown to catch a planted
fault before it is trusted with the tree.
"""

import io
import os
import re
import subprocess
import tokenize
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from tests.groups import GROUPS

ROOT = Path(__file__).resolve().parent.parent
MODULE_LINES = 400
TEST_LINES = 600
SPINE_LINES = 200
BANNED = {"util", "utils", "helper", "helpers", "common"}
# Put together here so that this file does not hold what it forbids.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("registry", "yarnpkg", "com"),
        ("proxy", "golang", "org"),
        ("crates", "io"),
    )
)
MACHINE_PATH = re.compile(r"(?<![\w.~}-])/(?:root|work)/")
MADE = re.compile(r"\..*|__pycache__|build|dist|.*\.egg-info|tidegate-data")
UNCODED = re.compile(r"#\s*(?:ruff:\s*)?noqa\b(?!:\s*[A-Z]+\d)|#\s*type:\s*ignore\b(?!\[)")
HEADINGS = ("## Context", "## Decision", "## Consequences")

Rule = Callable[[PurePosixPath, str], list[str]]


def tree() -> list[PurePosixPath]:
    """Every file that is, or would be, committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return walked(ROOT)  # an unpacked archive, or a machine without git
    paths = [PurePosixPath(name) for name in listed.stdout.split("\0") if name]
    return [path for path in paths if (ROOT / path).is_file()]


def walked(root: Path) -> list[PurePosixPath]:
    """Every file outside the folders that tools make."""
    paths = []
    for folder, inner, files in os.walk(root):
        inner[:] = [name for name in inner if name == ".ci" or not MADE.fullmatch(name)]
        paths += [PurePosixPath(Path(folder, name).relative_to(root)) for name in files]
    return paths


def text_of(path: PurePosixPath) -> str | None:
    """The file as text; None of a binary."""
    data = (ROOT / path).read_bytes()
    return None if b"\0" in data else data.decode()


def length(path: PurePosixPath, text: str) -> list[str]:
    if path.suffix != ".py" or path.is_relative_to("migrations/versions"):
        return []
    limit = TEST_LINES if path.is_relative_to("tests") else MODULE_LINES
    if path == PurePosixPath("gateway/flow/run.py"):
        limit = SPINE_LINES
    lines = text.count("\n")
    return [f"{lines} lines; {limit} is too many"] if lines >= limit else []


def names(path: PurePosixPath, _: str) -> list[str]:
    if path.suffix != ".py":
        return []
    parts = [*path.parent.parts, path.stem.removeprefix("test_")]
    return [f"`{part}` says nothing" for part in parts if part.rpartition("_")[2] in BANNED]


def silenced(path: PurePosixPath, text: str) -> list[str]:
    if path.suffix != ".py":
        return []
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [
        f"line {token.start[0]}: `{token.string}` names no code"
        for token in tokens
        if token.type == tokenize.COMMENT and UNCODED.search(token.string)
    ]


def lock(path: PurePosixPath, text: str) -> list[str]:
    if path.suffix != ".lock":
        return []
    return [f"`{line}`" for line in text.splitlines() if "://" in line or line.startswith("--")]


def decision(path: PurePosixPath, text: str) -> list[str]:
    if path.parent != PurePosixPath("docs/decisions"):
        return []
    lines = text.splitlines()
    faults = [f"no heading `{heading}`" for heading in HEADINGS if lines.count(heading) != 1]
    if not re.fullmatch(r"\d{4}-[a-z0-9]+(-[a-z0-9]+)*", path.stem):
        faults.append("not named NNNN-words-with-hyphens")
    if not lines or not re.match(rf"# {path.stem[:4]}\. \S", lines[0]):
        faults.append("its title does not begin with its number")
    return faults


def registry(_: PurePosixPath, text: str) -> list[str]:
    return [f"names {host}" for host in REGISTRIES if host in text]


def machine(_: PurePosixPath, text: str) -> list[str]:
    return [
        f"line {number}: `{line.strip()}` holds a path of one machine"
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]


RULES: tuple[Rule, ...] = (length, names, silenced, lock, decision, registry, machine)

TITLE = "# 0001. Title\n"
PLANTED: list[tuple[Rule, str, str, int]] = [
    (length, "gateway/x.py", "\n" * 399, 0),
    (length, "gateway/x.py", "\n" * 400, 1),
    (length, "migrations/versions/0001_x.py", "\n" * 900, 0),
    (length, "tests/unit/test_x.py", "\n" * 599, 0),
    (length, "tests/unit/test_x.py", "\n" * 600, 1),
    (length, "gateway/flow/run.py", "\n" * 200, 1),
    (length, "requirements.lock", "\n" * 900, 0),
    (names, "gateway/routing/filters.py", "", 0),
    (names, "gateway/utils.py", "", 1),
    (names, "gateway/helpers/x.py", "", 1),
    (names, "tests/unit/test_common.py", "", 1),
    (names, "backends/http_utils.py", "", 1),
    (silenced, "x.py", "x = 1  # noqa: E501\ny = 2  # type: ignore[misc]\n", 0),
    (silenced, "x.py", "x = 1  # no" + "qa\n", 1),
    (silenced, "x.py", "# ruff: no" + "qa\n", 1),
    (silenced, "x.py", "x = 1  # type: ig" + "nore\n", 1),
    (silenced, "x.py", "x = '# no" + "qa'\n", 0),
    (lock, "requirements.lock", "a==1 \\\n    --hash=sha256:00\n", 0),
    (lock, "requirements.lock", "--index-url https://x.example/simple\n", 1),
    (lock, "requirements.lock", "a @ https://x.example/a.whl\n", 1),
    (decision, "docs/decisions/0001-x.md", TITLE + "\n".join(HEADINGS), 0),
    (decision, "docs/decisions/0001-x.md", TITLE + "\n".join(HEADINGS[:2]), 1),
    (decision, "docs/decisions/first.md", "\n".join(HEADINGS), 2),
    (registry, "Dockerfile", f"RUN curl https://{REGISTRIES[0]}/", 1),
    (machine, "a.yaml", "data: /" + "root/data", 1),
    (machine, "a.yaml", "see /" + "work/x", 1),
    (machine, "a.toml", "file:///" + "work/x", 1),
    (machine, "a.md", "/chroot/x or docs/" + "work/x or /var/lib/x", 0),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(rule: Rule) -> None:
    faults = [
        f"{path}: {fault}"
        for path in tree()
        if (text := text_of(path)) is not None
        for fault in rule(path, text)
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(("rule", "path", "text", "faults"), PLANTED)
def test_the_rule_sees_a_planted_fault(rule: Rule, path: str, text: str, faults: int) -> None:
    assert len(rule(PurePosixPath(path), text)) == faults


def test_the_tree_is_not_empty() -> None:
    assert {PurePosixPath("pyproject.toml"), PurePosixPath(".ci/run")} <= set(tree())


def test_without_git_the_same_tree_is_found() -> None:
    assert {path for path in tree() if path.suffix == ".py"} <= set(walked(ROOT))


def test_decisions_are_numbered_without_gaps() -> None:
    records = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))


def test_the_development_lock_pins_what_the_lock_pins() -> None:
    def pins(name: str) -> set[str]:
        lines = (ROOT / name).read_text().splitlines()
        return {line.split(" ")[0] for line in lines if line[:1].isalnum()}

    assert pins("requirements.lock") <= pins("requirements-dev.lock")


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_is_run_where_its_tests_are(group: str) -> None:
    (run,) = re.findall(rf"pytest .*-m {group}\b(.*)", (ROOT / "Makefile").read_text())
    assert run.split() == [f"tests/{folder}" for folder in GROUPS[group]]
