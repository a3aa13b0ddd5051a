"""The README's five lines before one's own vLLM, pasted into a shell."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.vllm.stage_with_vllm import VllmStage

ROOT = Path(__file__).resolve().parents[2]
HEADING = "### With your own vLLM"


def lines() -> list[str]:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition(HEADING)[2]
    found = re.search(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert found
    return found[1].splitlines()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_five_lines_lead_to_an_answer(stage: VllmStage, tmp_path: Path) -> None:
    """As written, but for the two ports, which may be taken here."""
    typed = lines()
    assert len(typed) == 5
    port = free_port()
    script = "\n".join(typed).replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    example = (ROOT / "examples/config/local-vllm.yaml").read_text()
    assert "127.0.0.1:8000/v1" in example
    (tmp_path / "examples/config").mkdir(parents=True)
    (tmp_path / "examples/config/local-vllm.yaml").write_text(
        example.replace("http://127.0.0.1:8000/v1", stage.prefix.base_url)
    )
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    variables = os.environ  # noqa: TID251 - the processes that tests start need a PATH
    shell = subprocess.Popen(
        ["bash", "-e", "-c", f"{script}\nkill $!\nwait"],
        cwd=tmp_path,
        env={**variables, "TIDEGATE_SERVER__PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        told, complaints = shell.communicate(timeout=90)
    finally:
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.communicate()
    answer = json.loads(told[told.index("{") :])
    assert answer["provider"] == "own-gpus", complaints
    message = answer["choices"][0]["message"]
    assert message["content"] == "Hello from a tiny random Kimi model on CPU."
    assert answer["usage"]["cost"] > 0
