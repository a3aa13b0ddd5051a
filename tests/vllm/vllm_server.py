"""`vllm serve` as a process of its own, on the tiny checkpoint."""

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

NAME = "tiny-kimi"
ALIAS = "kimi-linear"  # as the README's own example calls it
CONTEXT = 2048
_START_WITHIN = 300.0  # seconds; two at once on two busy cores take 60 to 90
_STOP_WITHIN = 30.0
_EVERY = 0.02  # seconds between two looks at what vLLM tells only when asked
_GENERATOR = Path(__file__).with_name("tiny_kimi.py")


def checkpoint(environment: Path) -> Path:
    """The tiny checkpoint, made with the environment's own torch unless it is there already."""
    version = hashlib.sha256(_GENERATOR.read_bytes()).hexdigest()[:12]
    folder = environment / "checkpoints" / f"tiny-kimi-{version}"
    if not folder.is_dir():
        folder.parent.mkdir(exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent))
        subprocess.run(
            [environment / "bin/python", _GENERATOR, made], check=True, capture_output=True
        )
        with contextlib.suppress(OSError):  # somebody else was faster, with the same bytes
            made.rename(folder)
        shutil.rmtree(made, ignore_errors=True)
    return folder


class VllmServer:
    """One server. It is started without waiting, so that several can start at once.

    Args:
        environment: where vLLM is.
        folder: for its log.
        name: of the log file.
        flags: beyond those that every server here has.
        variables: of the environment, likewise.

    Attributes:
        port: where it listens, or will.
    """

    def __init__(
        self,
        environment: Path,
        folder: Path,
        name: str,
        flags: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.port = _free_port()
        self._log = folder / f"{name}.log"
        command = [
            str(environment / "bin/vllm"),
            *("serve", str(checkpoint(environment)), "--served-model-name", NAME, ALIAS),
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *("--max-model-len", str(CONTEXT), "--kv-cache-memory-bytes", "64M"),
            *("--enforce-eager", "--uvicorn-log-level", "warning"),
            *("--enable-auto-tool-choice", "--tool-call-parser", "kimi_k2"),
            *("--reasoning-parser", "kimi_k2", "--enable-prompt-tokens-details"),
            *flags,
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env={**_variables(environment), **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own, so that all of it can be stopped
            )

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def ready(self) -> None:
        """Return once it answers."""
        self.until(lambda: self.health() == 200, "serve", _START_WITHIN)

    def health(self) -> int:
        """The status of its health route; 0 if it does not answer."""
        try:
            return self._get("/health")[0]
        except OSError:
            return 0

    def metrics(self) -> dict[str, float]:
        """Sums over all labels, by name."""
        sums: dict[str, float] = {}
        for line in self._get("/metrics")[1].decode().splitlines():
            if not line.startswith("#"):
                sample, _, value = line.rpartition(" ")
                name = sample.partition("{")[0]
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums

    def load(self) -> tuple[int, int]:
        """How many requests it works on, and how many wait, as it last noted."""
        seen = self.metrics()
        return int(seen["vllm:num_requests_running"]), int(seen["vllm:num_requests_waiting"])

    def ask(self, body: Mapping[str, Any], path: str = "/v1/chat/completions") -> Any:
        """What it answers without a gateway."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            return json.loads(connection.getresponse().read())

    def until(self, holds: Callable[[], bool], what: str, within: float = 30.0) -> None:
        """Return once something holds of it that it tells only when asked."""
        deadline = time.monotonic() + within
        while not holds():
            if self._process.poll() is not None:
                raise AssertionError(f"vLLM ended instead of: {what}\n{self.tail()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"vLLM did not within {within:.0f} s: {what}\n{self.tail()}")
            time.sleep(_EVERY)

    def tail(self, lines: int = 40) -> str:
        """The end of its log."""
        text = self._log.read_text(errors="replace").splitlines()
        return "\n".join([f"{self._log}:", *text[-lines:]])

    def kill_worker(self) -> None:
        """SIGKILL the process that computes, as a driver or the kernel's memory killer would."""
        (worker,) = [
            pid
            for pid in _descendants(self._process.pid)
            if b"VLLM::Worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        os.kill(worker, signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM, as a service manager would."""
        self._process.terminate()

    def ended(self, within: float = _STOP_WITHIN) -> int:
        """The exit status, once there is one."""
        return self._process.wait(within)

    def stop(self) -> None:
        """End it and everything that it started, however it is."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.ended()
        with contextlib.suppress(ProcessLookupError):  # none of its group is left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()


def _variables(environment: Path) -> dict[str, str]:
    inherited = os.environ  # noqa: TID251 - the processes that tests start need a PATH
    return {
        **inherited,
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_CACHE_ROOT": str(environment / "cache"),
        "TORCHDYNAMO_DISABLE": "1",  # else the first request with logprobs compiles for 20 s
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # two servers would be bound to the same core
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _descendants(pid: int) -> list[int]:
    """Processes below one, found by their parents."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, look = [], [pid]
    while look:
        children = parents.get(look.pop(), [])
        found += children
        look += children
    return found
