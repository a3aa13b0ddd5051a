"""Fetches the servers that tests start, where they are not on this machine.

    python -m tests.servers.install          see that all are there; unpack what is missing
    python -m tests.servers.install redis    only this one

Debian's packages are unpacked in a cache folder: nothing is installed on the system, nothing started, and
no right of the system's administrator is needed.
"""

import fcntl
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.servers import binaries
from tests.servers.binaries import Missing, Program

_WANTED: dict[str, tuple[str, Callable[[], Program]]] = {
    "redis": ("redis-server", binaries.redis),
    "postgresql": ("postgresql", binaries.postgres),
}
# A program finds its C library by its own path: one of another version would not fit it.
_NEVER = {"libc6", "libc-bin", "gcc-12-base", "debconf", "dpkg", "perl-base", "tzdata"}
_APT = (
    *("-o", "Acquire::http::Timeout=15", "-o", "Acquire::https::Timeout=15"),
    # As the user that we are: apt's own could not write in the folder, and would say so.
    *("-o", "APT::Sandbox::User=root"),
)


def main(names: Sequence[str] = ()) -> None:
    """Fetch what is missing; exit status 1, and one line that says what to do, if it cannot be."""
    for name in names or _WANTED:
        package, find = _WANTED[name]
        try:
            find()
        except Missing:
            with _alone(name):
                try:
                    find()  # another may have fetched it while we waited
                except Missing:
                    _unpack(name, package)
            sys.stderr.write(f"servers: {name} is at {_tried(name, find())}\n")


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """One process at a time; the system ends the lock of one that dies."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise SystemExit(f"the tests need {name}: {binaries.how_to_install(name)}")
    folder = binaries.cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a")
    except OSError as fault:
        raise _cannot(name, f"{folder}: {fault.strerror}") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unpack(name: str, package: str) -> None:
    folder = binaries.cache() / name
    draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    draft.chmod(0o755)  # PostgreSQL runs as another user where the tests run as root
    sys.stderr.write(f"servers: unpacking Debian's {package} in {folder}, installing nothing\n")
    try:
        try:
            _download(draft, package, _APT)
        except subprocess.CalledProcessError:
            # The system's lists of packages are old, or there are none: get some of our own, for those
            # are the administrator's.
            with tempfile.TemporaryDirectory(dir=folder.parent) as own:
                lists, kept = Path(own) / "lists", Path(own) / "cache"
                (lists / "partial").mkdir(parents=True)
                (kept / "archives" / "partial").mkdir(parents=True)
                apt = (*_APT, "-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={kept}")
                _run(["apt-get", "update", "-qq", *apt])
                _download(draft, package, apt)
        for archive in sorted(draft.glob("*.deb")):
            _run(["dpkg", "-x", str(archive), str(draft)])
            archive.unlink()
    except subprocess.CalledProcessError as fault:
        shutil.rmtree(draft)
        said = str(fault.stderr).strip().splitlines()
        raise _cannot(name, said[-1] if said else str(fault)) from None
    (draft / "complete").touch()
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def _download(folder: Path, package: str, apt: Sequence[str]) -> None:
    needed = sorted({package, *_needs(package, apt)} - _NEVER)
    _run(["apt-get", "download", "-qq", *apt, *needed], folder)


def _needs(package: str, apt: Sequence[str]) -> set[str]:
    """The packages that a package cannot do without. All of them: the installed may be hidden."""
    leave_out = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    options = [f"--no-{relation}" for relation in leave_out]
    told = _run(["apt-cache", "depends", "--recurse", *apt, *options, package])
    named = set(re.findall(r"^([a-z0-9][a-z0-9.+-]*)$", told, re.MULTILINE))
    return {name for name in named if name.startswith(("lib", "postgresql", "redis"))}


def _tried(name: str, program: Program) -> Path:
    """Its path, if it starts: of the packages of another release a library may be missing."""
    try:
        _run([str(program.path), "--version"], variables=dict(program.variables))
    except (OSError, subprocess.CalledProcessError) as fault:
        said = getattr(fault, "stderr", None) or str(fault)
        raise _cannot(name, f"{program.path} does not start: {said.strip()}") from None
    return program.path


def _cannot(name: str, why: str) -> SystemExit:
    return SystemExit(
        f"the tests need {name}, and it cannot be fetched here ({why}):"
        f" {binaries.how_to_install(name)}"
    )


def _run(
    command: Sequence[str], folder: Path | None = None, variables: dict[str, str] | None = None
) -> str:
    return subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, check=True
    ).stdout


if __name__ == "__main__":
    main(sys.argv[1:])
