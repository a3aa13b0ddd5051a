"""The two kinds of load: whole requests by wrk, streams by a client of our own."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from bench.paths import BENCH, HOST, ROOT
from bench.results import RequestReport, StreamReport

RESULT = "RESULT "
STREAM_LIMIT = 60  # seconds that one stretch of streams may take


class Target(msgspec.Struct, frozen=True):
    """Where the load goes."""

    port: int
    path: str
    headers: Mapping[str, str]


class LoadFailed(Exception):
    """The load client did not report; its output is the message."""


def requests(
    target: Target, body: Path, *, core: int, connections: int, seconds: int
) -> RequestReport:
    """POST `body` over and over.

    Raises:
        LoadFailed: wrk gave no result.
    """
    headers = "\n".join(f"{name}: {value}" for name, value in target.headers.items())
    command = ["env", f"BODY_FILE={body}", f"HDRS={headers}"]  # what post.lua reads
    command += ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    command += ["--timeout", "30s", "-s", str(BENCH / "post.lua")]
    command += [f"http://{HOST}:{target.port}{target.path}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        if line.startswith(RESULT):
            return msgspec.json.decode(line.removeprefix(RESULT), type=RequestReport)
    raise LoadFailed(done.stdout + done.stderr)


def streams(
    target: Target, body: Path, *, core: int, at_once: int, total: int, ramp_ms: int = 0
) -> StreamReport:
    """Keep `at_once` streams of `body` open until `total` are done, the first ones `ramp_ms` apart.

    Raises:
        LoadFailed: the client gave no result.
    """
    command = ["taskset", "-c", str(core), sys.executable, "-m", "bench.sclient"]
    command += ["--port", str(target.port), "--path", target.path, "--body", str(body)]
    command += ["--at-once", str(at_once), "--total", str(total)]
    command += ["--ramp-ms", str(ramp_ms), "--limit", str(STREAM_LIMIT)]
    for name, value in target.headers.items():
        command += ["--header", f"{name}: {value}"]
    # The client ends by itself at its limit.
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise LoadFailed(done.stderr)
    return msgspec.json.decode(done.stdout, type=StreamReport)
