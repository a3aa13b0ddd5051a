"""Environments of their own for what tests need and the gateway does not install: built once, kept outside.

An environment is in the folder that its variable names, else in the user's cache folder under a name that
changes with whatever it is made of. A build is under a lock and leaves its stamp last: a build that was
killed is begun anew, and of two at once the second one waits for the first.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class Unbuilt(Exception):
    """The environment is not there and cannot be made here; the message says what to do."""


class Environment:
    """One such environment; what is in it, a subclass says.

    Args:
        name: what is in it, in short.
        lock: the file that pins it.
        builder: the command that builds it, for people.
        free: bytes of disk that a build needs.

    Attributes:
        variable: that names its folder.
    """

    def __init__(self, name: str, *, lock: Path, builder: str, free: int) -> None:
        self.name = name
        self.lock = lock
        self.builder = builder
        self.free = free
        self.variable = f"VENV_{name.upper()}"
        self._stamp = f".tidegate-{name}"

    def parts(self) -> Sequence[str]:
        """What it is made of, beside the lock file, the Python and the machine."""
        raise NotImplementedError

    def fill(self, folder: Path) -> None:
        """Make it in an empty folder.

        Raises:
            Unbuilt: it cannot be done.
        """
        raise NotImplementedError

    def check_machine(self) -> None:
        """See whether it can be built here.

        Raises:
            Unbuilt: it cannot.
        """

    def key(self) -> str:
        """What it is made of, in short."""
        made_of = [self.lock.read_text(), *self.parts(), python(), platform.machine()]
        return hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:12]

    def place(self) -> Path:
        """Its folder, whether it is there or not."""
        variables = os.environ  # noqa: TID251 - no part of the gateway: where people keep their caches
        if own := variables.get(self.variable):
            return Path(own).absolute()
        cache = variables.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(cache).expanduser().absolute() / "tidegate" / f"{self.name}-{self.key()}"

    def is_built(self, folder: Path) -> bool:
        """Whether a build of today's recipe was completed there."""
        try:
            return (folder / self._stamp).read_text() == self.key()
        except OSError:
            return False

    def built(self) -> Path:
        """The folder of the environment that `make` has built.

        Raises:
            Unbuilt: it has not.
        """
        folder = self.place()
        if not self.is_built(folder):
            raise Unbuilt(
                f"no environment with {self.name} in {folder}; `{self.builder}` builds it"
            )
        return folder

    def build(self) -> Path:
        """The folder of the environment, built now if need be; says on stderr what it does.

        Raises:
            Unbuilt: it cannot be built on this machine.
        """
        folder = self.place()
        if self.is_built(folder):
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with self._alone(folder):
            if not self.is_built(folder):  # nor has whoever held the lock built it
                self._make(folder)
        return folder

    @contextmanager
    def _alone(self, folder: Path) -> Iterator[None]:
        with folder.with_name(f"{folder.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.say(f"another build of {folder} is under way; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield  # the lock goes with the process, however it ends

    def _make(self, folder: Path) -> None:
        self.check_machine()
        self._check_room(folder)
        if folder.exists() and any(folder.iterdir()) and not (folder / self._stamp).is_file():
            raise Unbuilt(
                f"{folder} holds something else than {self.name}'s environment; set {self.variable} to a"
                " folder that may be made or replaced"
            )
        began = time.monotonic()
        if folder.exists():
            # Moved first: half removed and without its stamp, it would not be known as ours.
            old = folder.with_name(f"{folder.name}.old")
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
            shutil.rmtree(old, ignore_errors=True)
        folder.mkdir()
        (folder / self._stamp).write_text("being built")
        self.fill(folder)
        (folder / self._stamp).write_text(self.key())
        self.say(f"built in {time.monotonic() - began:.0f} s")
        others = sorted(set(folder.parent.glob(f"{self.name}-????????????")) - {folder})
        if others and folder.name.startswith(f"{self.name}-"):
            self.say(
                "older ones, no longer used and yours to remove: " + " ".join(map(str, others))
            )

    def _check_room(self, folder: Path) -> None:
        free = shutil.disk_usage(folder.parent).free
        if free < self.free:
            raise Unbuilt(
                f"{folder.parent} has {free / 1e9:.1f} GB left, and to build {self.name}'s environment"
                f" takes {self.free / 1e9:.1f} GB; make room, or set {self.variable} to a folder on a"
                " larger disk"
            )

    # -- steps -------------------------------------------------------------------------------------

    def make_venv(self, folder: Path) -> list[str]:
        """Make the virtual environment; the command by which pip works on it."""
        self.run("making the environment", [sys.executable, "-m", "venv", str(folder)])
        quiet = ("--disable-pip-version-check", "--quiet", "--no-cache-dir")
        return [str(folder / "bin/python"), "-m", "pip", *quiet]

    def compile(self, folder: Path) -> None:
        """Make the bytecode: a step of its own, which takes all processors."""
        compiler = [str(folder / "bin/python"), "-m", "compileall", "-q", "-j", "0"]
        self.run("compiling", [*compiler, str(packages(folder))], ok=(0, 1))

    def run(self, what: str, command: list[str], *, ok: tuple[int, ...] = (0,), **more: str) -> str:
        """Run one step; gives what it printed.

        Args:
            what: for people.
            command: what is run.
            ok: exit statuses that will do.
            more: variables beside the machine's own.
        """
        began = time.monotonic()
        inherited = os.environ  # noqa: TID251 - pip needs the machine's own settings
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**inherited, **more}
        )
        if done.returncode not in ok:
            tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
            raise Unbuilt(f"{what} failed on {python()}:\n{tail}")
        self.say(f"{what}: {time.monotonic() - began:.0f} s")
        return done.stdout.strip()

    def say(self, text: str) -> None:
        """Tell whoever waits."""
        sys.stderr.write(f"{self.name}: {text}\n")
        sys.stderr.flush()

    def main(self) -> None:
        """Build it unless it is there, and print its folder."""
        try:
            sys.stdout.write(f"{self.build()}\n")
        except Unbuilt as reason:
            sys.exit(f"{self.name}: {reason}")


def packages(folder: Path) -> Path:
    """Where an environment keeps its packages."""
    return Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))


def python() -> str:
    """This interpreter, for people."""
    return f"{platform.python_implementation()} {sys.version_info[0]}.{sys.version_info[1]}"
