"""Where the programs of the servers are: installed on the system, else unpacked in a cache folder.

`python -m tests.servers.install` fills the cache folder where a program is missing.
"""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

IGNORE_INSTALLED = "TIDEGATE_TEST_IGNORE_INSTALLED_SERVERS"
"""A variable: set to 1, only the cache folder counts, as on a machine that has neither server."""
CACHE = "TIDEGATE_TEST_SERVERS"
"""A variable: the folder where what is missing is unpacked and looked for."""

REDIS = ("redis-server", "valkey-server")
POSTGRES = ("postgres",)
_VERSION = re.compile(r"/postgresql/(\d+)/")
_INSTALLED_POSTGRES = (
    ("/usr/lib/postgresql", "*/bin/postgres"),  # Debian, Ubuntu
    ("/usr", "pgsql-*/bin/postgres"),  # Red Hat
    ("/opt/homebrew/opt", "postgresql*/bin/postgres"),
    ("/usr/local/opt", "postgresql*/bin/postgres"),
)


class Missing(Exception):
    """A server is not on this machine; the message says what to do."""


class Program(Struct, frozen=True):
    """A program and the variables that it needs besides those of the test run."""

    path: Path
    variables: Mapping[str, str]

    def beside(self, name: str) -> str:
        """The path of another program of the same installation."""
        return str(self.path.parent / name)


def cache() -> Path:
    """The folder of what was unpacked: as `TIDEGATE_TEST_SERVERS` says, else one of the user's caches.

    For root it is a folder of the system: PostgreSQL runs as another user, who may not look into root's.
    """
    variables = os.environ  # noqa: TID251 - no part of the gateway: where people keep their caches
    if chosen := variables.get(CACHE):
        return Path(chosen).absolute()
    if os.geteuid() == 0:
        return Path("/var/cache/tidegate/servers")
    own = variables.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(own).expanduser().absolute() / "tidegate" / "servers"


def redis() -> Program:
    """Redis or Valkey.

    Raises:
        Missing: there is neither.
    """
    return _found("redis", REDIS, [])


def postgres() -> Program:
    """The newest PostgreSQL; `initdb` is beside it.

    Raises:
        Missing: there is none.
    """
    installed = [path for root, form in _INSTALLED_POSTGRES for path in Path(root).glob(form)]
    return _found("postgresql", POSTGRES, sorted(installed, key=_version, reverse=True))


def _found(package: str, names: tuple[str, ...], installed: list[Path]) -> Program:
    ignored = os.environ.get(IGNORE_INSTALLED) == "1"  # noqa: TID251 - as above
    if not ignored:
        on_path = [Path(found).absolute() for name in names if (found := shutil.which(name))]
        for path in [*on_path, *installed]:
            if os.access(path, os.X_OK):
                return Program(path, {})
    folder = cache() / package
    for name in names:
        unpacked = sorted(folder.glob(f"usr/**/bin/{name}"), key=_version, reverse=True)
        if unpacked and (folder / "complete").exists():
            return Program(unpacked[0], {"LD_LIBRARY_PATH": _libraries(folder)})
    raise Missing(
        f"{package} is not on this machine: run `python -m tests.servers.install`, or install it"
        f" ({how_to_install(package)})"
    )


def how_to_install(package: str) -> str:
    """The commands that install a server, for people."""
    debian = {"redis": "redis-server"}.get(package, package)
    return f"`sudo apt-get install {debian}`, `brew install {package}`"


def _libraries(folder: Path) -> str:
    holding = {path.parent for path in folder.glob("**/lib*.so*")}
    return ":".join(sorted(map(str, holding)))


def _version(path: Path) -> int:
    found = _VERSION.search(str(path))
    return int(found[1]) if found else 0
