"""The fake upstream: built from fakeup.c, started once for all gateways."""

import http.client
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.paths import BENCH, BUILD, HOST, UPSTREAM_PORT
from bench.preflight import taken

START_LIMIT = 5.0  # seconds


class Counters(msgspec.Struct, frozen=True):
    """What the upstream has seen since its start. Asking counts as a request and a connection."""

    requests: int
    connections: int


def build() -> Path:
    """Compile the upstream where its source is newer than the program.

    Raises:
        CalledProcessError: the compiler refused; its message is on standard error.
    """
    source, program = BENCH / "fakeup.c", BUILD / "fakeup"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        BUILD.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-O2", "-o", program, source], check=True)
    return program


@contextmanager
def running(core: int) -> Iterator[int]:
    """The upstream, pinned to `core`; gives its process id.

    Raises:
        RuntimeError: its port is taken, or it does not start.
    """
    if taken(UPSTREAM_PORT):
        raise RuntimeError(f"port {UPSTREAM_PORT} is taken: the fake upstream needs it")
    command = ["taskset", "-c", str(core), str(build()), str(UPSTREAM_PORT)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + START_LIMIT
            while not taken(UPSTREAM_PORT):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the fake upstream did not start")
                time.sleep(0.02)
            yield process.pid
        finally:
            process.terminate()


def counters() -> Counters:
    """Ask the upstream what it has seen."""
    connection = http.client.HTTPConnection(HOST, UPSTREAM_PORT, timeout=5)
    try:
        connection.request("GET", "/__stats")
        return msgspec.json.decode(connection.getresponse().read(), type=Counters)
    finally:
        connection.close()
