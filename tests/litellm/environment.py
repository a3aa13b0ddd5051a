"""Where the real litellm of these tests lives: an environment of its own, built once, outside the checkout.

    python -m tests.litellm.environment      build it unless it is there; print its folder

Not the development environment: litellm 1.106.2 wants an openai below 3 (measured 2026-11-22), and the
worker is to show that it needs nothing of the gateway's.
"""

from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from tests.environments import Environment

ROOT = Path(__file__).resolve().parents[2]
RECIPE = 1  # to be raised when the steps below change


class LitellmEnvironment(Environment):
    """litellm, and nothing else."""

    def __init__(self) -> None:
        super().__init__(
            "litellm",
            lock=ROOT / "requirements-litellm.lock",
            builder="make litellm",
            free=10**9,  # what stays is 0.34 GB
        )

    @override
    def parts(self) -> Sequence[str]:
        return (str(RECIPE),)

    @override
    def fill(self, folder: Path) -> None:
        self.say(f"building litellm's environment in {folder}")
        self.say("once: about 0.1 GB to download, 0.34 GB of disk, about a minute")
        pip = self.make_venv(folder)
        install = [*pip, "install", "--no-deps", "--no-compile", "--only-binary", ":all:"]
        self.run("installing", [*install, "--require-hashes", "--requirement", str(self.lock)])
        self.compile(folder)


LITELLM = LitellmEnvironment()

if __name__ == "__main__":
    LITELLM.main()
