"""The servers that tests start: fetched where they are missing, else one line that says what to install."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import binaries
from tests.servers.redis_server import RedisServer

ROOT = Path(__file__).parents[2]
INSTALL = (sys.executable, "-B", "-m", "tests.servers.install", "redis")

# Each notes how it was called. The lists of the system are old: only with lists of our own, which an
# update has filled, is there something to download.
APT_GET = """#!/bin/sh
echo "apt-get $*" >> "$NOTES"
for word; do case $word in Dir::State::lists=*) lists=${word#*=};; esac; done
if [ -n "$NO_NETWORK" ]; then
    echo 'W: a warning' >&2; echo 'E: Could not resolve deb.debian.org' >&2; exit 100
fi
if [ "$1" = update ]; then
    [ -n "$lists" ] || { echo 'E: Permission denied' >&2; exit 100; }
    echo filled > "$lists/Packages"; exit
fi
[ -e "$lists/Packages" ] || { echo 'E: 404 Not Found' >&2; exit 100; }
echo > redis-server.deb
"""
APT_CACHE = """#!/bin/sh
echo "apt-cache $*" >> "$NOTES"
printf 'redis-server\\n  Depends: libc6\\nlibc6\\nlibjemalloc2\\n  Depends: libc6\\n'
"""
DPKG = """#!/bin/sh
echo "dpkg $*" >> "$NOTES"
/bin/mkdir -p "$3/usr/bin"
printf '#!/bin/sh\\necho started\\nexit %s\\n' "${STATUS:-0}" > "$3/usr/bin/redis-server"
/bin/chmod +x "$3/usr/bin/redis-server"
"""


class Machine:
    """A machine that has no server, and of a package manager what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.cache = folder / "servers"
        self._notes = folder / "notes"
        self.variables = {
            "PATH": str(self.programs),
            "NOTES": str(self._notes),
            binaries.IGNORE_INSTALLED: "1",
            binaries.CACHE: str(self.cache),
        }

    def put(self, **programs: str) -> None:
        for name, text in programs.items():
            path = self.programs / name.replace("_", "-")
            path.write_text(text)
            path.chmod(0o755)

    def calls(self, start: str) -> list[str]:
        return [line for line in self._notes.read_text().splitlines() if line.startswith(start)]

    def begin(self, **variables: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            INSTALL,
            cwd=ROOT,
            env=self.variables | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def install(self, **variables: str) -> tuple[int, list[str]]:
        """Its exit status and what it told."""
        process = self.begin(**variables)
        _, told = process.communicate()
        return process.returncode, told.splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def debian(machine: Machine) -> Machine:
    machine.put(apt_get=APT_GET, apt_cache=APT_CACHE, dpkg=DPKG)
    return machine


def _what_to_do(line: str) -> bool:
    return line.startswith("the tests need redis") and "apt-get install redis-server" in line


def test_without_a_package_manager_one_line_says_what_to_install(machine: Machine) -> None:
    status, told = machine.install()
    assert (status, len(told)) == (1, 1)
    assert _what_to_do(told[0])
    assert not machine.cache.exists()


def test_without_network_one_line_says_so_and_what_to_install(debian: Machine) -> None:
    status, told = debian.install(NO_NETWORK="1")
    assert status == 1
    assert _what_to_do(told[-1])
    assert "Could not resolve deb.debian.org" in told[-1]
    assert [path.name for path in debian.cache.iterdir()] == [".lock"], "nothing is left behind"


def test_where_the_cache_folder_cannot_be_made_one_line_says_so(debian: Machine) -> None:
    debian.cache.write_text("a file in the way")
    status, told = debian.install()
    assert (status, len(told)) == (1, 1)
    assert _what_to_do(told[0])
    assert str(debian.cache) in told[0]


def test_old_lists_are_replaced_by_some_of_our_own_without_the_rights_of_root(
    debian: Machine,
) -> None:
    assert debian.install()[0] == 0
    (updated,) = debian.calls("apt-get update")
    assert f"Dir::State::lists={debian.cache}" in updated
    assert debian.calls("apt-get download")[-1].endswith(" libjemalloc2 redis-server")
    assert sorted(path.name for path in debian.cache.iterdir()) == [".lock", "redis"]
    assert (debian.cache / "redis" / "usr" / "bin" / "redis-server").exists()


def test_those_who_start_at_once_fetch_once(debian: Machine) -> None:
    both = [debian.begin() for _ in range(3)]
    for process in both:
        process.communicate()
    assert [process.returncode for process in both] == [0, 0, 0]
    assert len(debian.calls("dpkg")) == 1


def test_what_does_not_start_is_no_server(debian: Machine) -> None:
    status, told = debian.install(STATUS="127")
    assert status == 1
    assert _what_to_do(told[-1])
    assert "does not start" in told[-1]


def test_what_this_machine_can_fetch_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real thing: the network may be away, but then it says so."""
    wanted = {binaries.IGNORE_INSTALLED: "1", binaries.CACHE: str(tmp_path / "servers")}
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(binaries.Missing, match=r"tests\.servers\.install"):
        binaries.redis()
    found = subprocess.run(
        INSTALL,
        cwd=ROOT,
        env={"PATH": os.defpath} | wanted,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode != 0:
        assert _what_to_do(found.stderr.splitlines()[-1])
        return
    assert str(tmp_path) in str(binaries.redis().path)
    with RedisServer() as server:
        assert server.call("SET", "a", "1") == "+OK\r\n"
