"""The gateways that are measured: how each is described, started and stopped."""

import http.client
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from bench.load import Target
from bench.paths import BUILD, HOST, PEERS, UPSTREAM_PORT
from bench.preflight import taken

OK = 200
START_LIMIT = 90.0  # seconds to the first 200; the slowest peer took 10 in 2026-11
STOP_LIMIT = 10.0


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """How a gateway is started, and how it is addressed.

    In peers.json `{here}` stands for the folder of the peers' settings, `{peers}` for where the
    peers are installed and `$NAME` for an environment variable.

    Attributes:
        command: without one, the load goes straight to the upstream.
        model: what the request bodies name.
        port_file: where a gateway that picks its own port writes its URL.
        beside: servers that it needs, by name: their CPU time is not its own, and is told beside it.
    """

    name: str
    port: int = UPSTREAM_PORT
    command: list[str] = []
    environment: dict[str, str] = {}
    folder: str | None = None
    headers: dict[str, str] = {}
    path: str = "/v1/chat/completions"
    model: str = "fake-model"
    port_file: str | None = None
    beside: dict[str, int] = {}
    note: str = ""

    def installed(self) -> bool:
        """Whether its program and its folder are here."""
        if self.folder and not Path(self.folder).is_dir():
            return False
        return not self.command or shutil.which(self.command[0]) is not None


class Started(msgspec.Struct, frozen=True):
    """A gateway that has answered its first request."""

    pid: int | None
    target: Target
    seconds: float


class StartFailed(Exception):
    """A gateway did not come to answer."""


DIRECT = Gateway(name="direct", note="no gateway")


def nginx() -> Gateway:
    """A reverse proxy that does nothing else: the floor."""
    folder = BUILD / "nginx"
    folder.mkdir(parents=True, exist_ok=True)
    # Debian keeps it where only root's path leads.
    search = f"{os.defpath}:/usr/local/sbin:/usr/sbin:/sbin"
    program = shutil.which("nginx") or shutil.which("nginx", path=search) or "nginx"
    return Gateway(
        name="nginx",
        port=9201,
        command=[program, "-p", f"{folder}", "-c", f"{PEERS / 'nginx.conf'}"],
        note="reverse proxy: the floor",
    )


def peers(folder: Path) -> list[Gateway]:
    """The gateways of peers.json, installed under `folder`."""
    places = {"{here}": str(PEERS), "{peers}": str(folder.resolve())}

    def fill(text: str) -> str:
        for mark, place in places.items():
            text = text.replace(mark, place)
        return os.path.expandvars(text)

    listed = msgspec.json.decode((PEERS / "peers.json").read_bytes(), type=list[Gateway])
    return [
        msgspec.structs.replace(
            gateway,
            command=[fill(word) for word in gateway.command],
            environment={name: fill(value) for name, value in gateway.environment.items()},
            headers={name: fill(value) for name, value in gateway.headers.items()},
            folder=fill(gateway.folder) if gateway.folder else None,
            port_file=fill(gateway.port_file) if gateway.port_file else None,
        )
        for gateway in listed
    ]


def post(target: Target, body: bytes) -> tuple[int, bytes]:
    """Send one request; gives status and body of the answer."""
    connection = http.client.HTTPConnection(HOST, target.port, timeout=30)
    try:
        headers = {"Content-Type": "application/json", **target.headers}
        connection.request("POST", target.path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _chosen_port(port_file: Path) -> int:
    """The port in the URL that a gateway wrote; ValueError while there is none."""
    try:
        authority = port_file.read_text().split("//", 1)[-1].split("/")[0]
    except FileNotFoundError as error:
        raise ValueError(f"no {port_file} yet") from error
    return int(authority.rpartition(":")[2])


def _first_answer(
    gateway: Gateway, process: subprocess.Popen[bytes] | None, body: bytes
) -> Started:
    begun = time.monotonic()
    target = Target(gateway.port, gateway.path, gateway.headers)
    last = "nothing"
    while True:
        try:
            if gateway.port_file:
                port = _chosen_port(Path(gateway.port_file))
                target = Target(port, gateway.path, gateway.headers)
            status, answer = post(target, body)
        except (OSError, ValueError, http.client.HTTPException) as error:
            last = repr(error)
        else:
            if status == OK:
                pid = process.pid if process else None
                return Started(pid, target, time.monotonic() - begun)
            last = f"{status} {answer[:300]!r}"
        if process and process.poll() is not None:
            raise StartFailed(f"ended with status {process.returncode}; last answer: {last}")
        if time.monotonic() - begun > START_LIMIT:
            raise StartFailed(f"no 200 in {START_LIMIT:g} s; last answer: {last}")
        time.sleep(0.02)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a gateway and whatever it started: it leads a process group of its own."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        pass
    except ProcessLookupError:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def running(gateway: Gateway, body: bytes, *, core: int) -> Iterator[Started]:
    """The gateway, pinned to `core`, once it has answered `body` with a 200.

    Its output goes to `build/NAME.log`.

    Raises:
        StartFailed: its port is taken, or it did not come to answer.
    """
    if not gateway.command:
        yield _first_answer(gateway, None, body)
        return
    if gateway.port_file:
        Path(gateway.port_file).unlink(missing_ok=True)
    elif taken(gateway.port):
        raise StartFailed(f"port {gateway.port} is taken")
    settings = [f"{name}={value}" for name, value in gateway.environment.items()]
    with (BUILD / f"{gateway.name}.log").open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), "env", *settings, *gateway.command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=gateway.folder,
            start_new_session=True,
        )
        try:
            yield _first_answer(gateway, process, body)
        finally:
            _stop(process)
