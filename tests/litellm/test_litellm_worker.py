"""The worker's process: what it knows, how it dies, and that it never outlives the gateway."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from backends import Blame, ConnectFailed, LitellmPlan, LitellmRow, LitellmWorker
from backends.errors import BadReply, ConnectionLost
from backends.litellm.plan import FLAGS, fault_of
from tests.litellm.desk import Desk, plan_for, read

ROOT = Path(__file__).resolve().parents[2]
GONE = 3.0  # seconds within which a worker without a gateway is gone


def running(pid: int) -> bool:
    """Whether a process lives; one that nobody has waited for yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def gone(pid: int) -> None:
    """Wait for the end of a process that is not ours to wait for."""
    handle = os.pidfd_open(pid)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), GONE)
    finally:
        loop.remove_reader(handle)
        os.close(handle)


@pytest.fixture
def plan(litellm_python: Path) -> LitellmPlan:
    return plan_for({"one": LitellmRow(model="openai/kimi")}, litellm_python)


def test_its_environment_holds_what_it_was_given_and_nothing_of_ours(desk: Desk) -> None:
    raw = Path(f"/proc/{desk.worker.pid}/environ").read_text()
    found = dict(line.split("=", 1) for line in raw.split("\0") if line)
    assert found["DESK_SECRET"] == "tuna-sandwich"
    assert found["HOME"] == "/nonexistent"
    others = {
        name for name in found if not name.startswith(("LITELLM_", "HF_", "AWS_EC2_", "MAX_"))
    }
    assert others == {"PATH", "LANG", "HOME", "DESK_SECRET"}
    command = Path(f"/proc/{desk.worker.pid}/cmdline").read_text()
    assert "tuna" not in command
    assert desk.worker.base_url not in command


def test_it_listens_on_the_loopback_alone(desk: Desk) -> None:
    port = int(desk.worker.base_url.split(":")[2].split("/")[0])
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
    ]
    assert listening == [f"0100007F:{port:04X}"]


def test_killed_in_an_answer_it_is_told_and_the_next_worker_answers(desk: Desk) -> None:
    worker = desk.worker
    starts, pid = worker.starts, worker.pid
    assert pid is not None

    async def killed() -> None:
        reply = await desk.open("openai", "[[n=100000,pace=5,think=0]]")
        assert await reply.next()
        os.kill(pid, signal.SIGKILL)
        ended = await read(reply)
        assert isinstance(ended.error, ConnectionLost | BadReply)
        assert ended.answer.finish == []
        await worker.turned(lambda: worker.away is not None)
        with pytest.raises(ConnectFailed) as caught:
            await desk.open("openai")
        assert caught.value.blame is Blame.GATEWAY  # says nothing of the endpoint's health
        assert caught.value.sets_aside == "nothing"
        assert "died" in str(caught.value)
        # Who comes by all the same is sent away at once, not left to wait.
        port = int(worker.base_url.split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        await worker.ready()

    desk.run(killed(), within=120)
    assert worker.starts == starts + 1
    assert worker.pid not in {None, pid}
    assert desk.ask("openai").error is None


async def test_it_starts_in_the_background_and_ends_when_it_is_closed(plan: LitellmPlan) -> None:
    worker = LitellmWorker(plan, clock=time.monotonic)
    worker.start()
    assert "starting" in str(worker.away)
    await worker.turned(lambda: worker.starts == 1)
    pid = worker.pid
    assert pid is not None
    await worker.aclose()
    assert "stopped" in str(worker.away)
    assert not running(pid)


def test_signals_to_all_processes_leave_it_to_the_gateway(desk: Desk) -> None:
    pid = desk.worker.pid
    assert pid is not None
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(pid, name)
    assert desk.ask("openai").error is None
    assert desk.worker.pid == pid


async def test_one_that_gives_no_sign_of_life_is_replaced(
    plan: LitellmPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.litellm.process.SILENT_FOR", 0.2)
    worker = LitellmWorker(plan, clock=time.monotonic)
    worker.start()
    try:
        await worker.ready()
        first = worker.pid
        assert first is not None
        await worker.turned(lambda: worker.starts == 2)
        assert not running(first)
    finally:
        await worker.aclose()


async def test_it_leaves_when_the_gateway_is_gone_however_that_went(
    plan: LitellmPlan, tmp_path: Path
) -> None:
    parent = tmp_path / "parent.py"
    parent.write_text(
        "import asyncio, sys, time\n"
        "from backends import LitellmPlan, LitellmRow, LitellmWorker\n"
        "async def main():\n"
        "    rows = {'one': LitellmRow(model='openai/kimi')}\n"
        "    plan = LitellmPlan(endpoints=rows, fields=frozenset(), python=sys.argv[1])\n"
        "    worker = LitellmWorker(plan, clock=time.monotonic)\n"
        "    worker.start()\n"
        "    await worker.ready()\n"
        "    print(worker.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(parent), plan.interpreter),
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    pid = int(await asyncio.wait_for(process.stdout.readline(), 60))
    assert running(pid)
    process.kill()
    await process.wait()
    await gone(pid)


@pytest.mark.parametrize("prints", ["echo welcome", "head -c 2000000 /dev/zero"])
async def test_an_interpreter_that_prints_is_told_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, prints: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{prints}\nexec cat >/dev/null\n")
    python.chmod(0o755)
    worker = LitellmWorker(plan_for({}, python), clock=time.monotonic)
    worker.start()
    try:
        await asyncio.wait_for(worker.turned(lambda: worker.starts == 2), 10)
        assert "died" in str(worker.away)
        assert f"is no worker: {python} itself prints" in caplog.text
    finally:
        await worker.aclose()


async def test_one_that_hangs_is_away_at_once_and_gone_when_the_gateway_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.litellm.process.SILENT_FOR", 0.2)
    monkeypatch.setattr("backends.litellm.process._LEAVE_WITHIN", 60.0)
    python = tmp_path / "python"
    ready = '{"ready": true, "version": "1.106.2", "unknown": {}}'
    python.write_text(
        f"#!/bin/sh\necho '{ready}'\nexec sleep 60\n"
    )  # that stdin ends it does not see
    python.chmod(0o755)
    worker = LitellmWorker(plan_for({}, python), clock=time.monotonic)
    worker.start()
    await worker.ready()
    pid = worker.pid
    assert pid is not None
    await asyncio.wait_for(worker.turned(lambda: worker.away is not None), 5)
    assert running(pid)
    await asyncio.wait_for(worker.aclose(), 5)
    assert not running(pid)


def with_version(folder: Path, version: str | None) -> Path:
    """An interpreter that has this litellm, and a `.pth` file that leaves a trace when it is run."""
    (folder / "bin").mkdir()
    python = folder / "bin/python"
    python.symlink_to(Path(sys.executable).resolve())
    minor = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = folder / "lib" / minor / "site-packages"
    packages.mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\n")
    trace = folder / "trace"
    (packages / "stolen.pth").write_text(f"import pathlib; pathlib.Path({str(trace)!r}).touch()\n")
    if version is not None:
        info = packages / f"litellm-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: litellm\nVersion: {version}\n"
        )
    return python


@pytest.mark.parametrize(
    ("version", "fault"),
    [
        ("1.82.7", "steals credentials"),
        ("1.82.8", "steals credentials"),
        ("1.94.2", "1.94.3 or newer"),
        ("1.9.0", "1.94.3 or newer"),
        (None, "pip install 'tidegate[litellm]'"),
        ("1.94.3", None),
        ("2.0.0rc1", None),
    ],
)
async def test_only_a_version_without_known_faults_is_run_and_none_before_it_is_known(
    tmp_path: Path, version: str | None, fault: str | None
) -> None:
    python = with_version(tmp_path, version)
    found = await fault_of(plan_for({}, python))
    assert (found is None) == (fault is None)
    if fault is not None and found is not None:
        (line,) = found.splitlines()
        assert fault in line
        worker = LitellmWorker(plan_for({}, python), clock=time.monotonic)
        worker.start()
        await worker.turned(lambda: worker.away == found)
        await worker.aclose()
        assert worker.starts == 1  # another start would end the same
    assert not (tmp_path / "trace").exists()
    plain = await asyncio.create_subprocess_exec(str(python), "-c", "")
    assert await plain.wait() == 0
    assert (tmp_path / "trace").exists()  # which is what a plain start would have done


@pytest.mark.parametrize("python", ["/nonexistent/python", "/bin/true"])
async def test_what_is_no_python_is_told(python: str) -> None:
    found = await fault_of(plan_for({}, Path(python)))
    assert found is not None
    assert python in found
    assert "litellm.python" in found


def test_it_is_started_without_variables_user_packages_or_site() -> None:
    assert FLAGS[:2] == ("-I", "-S")
