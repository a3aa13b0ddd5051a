"""`tidegate demo`: from nothing to a first answer by one pasted line."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store import owner
from tests.fakes.gateway_process import PROGRAM

_KEYS = (
    *("MOONSHOT_API_KEY", "MOONSHOT_CN_API_KEY", "NOVITA_API_KEY", "OPENROUTER_API_KEY"),
    "AI_GATEWAY_API_KEY",
)


class Demo:
    """A running demo and what it printed until it said how to stop it."""

    def __init__(self, process: "subprocess.Popen[str]", text: str) -> None:
        self.process = process
        self.text = text

    @property
    def curl(self) -> str:
        """The line to paste."""
        (line,) = [line for line in self.text.splitlines() if line.startswith("curl ")]
        return line

    @property
    def base(self) -> str:
        found = re.search(r"base URL +(http://\S+)", self.text)
        assert found
        return found[1]

    @property
    def key(self) -> str:
        found = re.search(r"API key +(sk-tg-\w+)", self.text)
        assert found
        return found[1]


def environment(**more: str) -> dict[str, str]:
    inherited = os.environ  # noqa: TID251 - the processes that tests start need a PATH
    kept = {name: value for name, value in inherited.items() if name not in _KEYS}
    return {**kept, **more}


@contextlib.contextmanager
def demo(data: Path, **variables: str) -> Iterator[Demo]:
    """Run a demo on a free port; ends with status 0 and nothing on stderr, or the test fails."""
    process = subprocess.Popen(
        [PROGRAM, "demo", "--data", data, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**variables),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    text = ""
    try:
        for line in process.stdout:
            text += line
            if line.startswith("Stop with"):
                break
        else:
            raise AssertionError(process.stderr.read())
        yield Demo(process, text)
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=20)
        assert (process.returncode, complaints) == (0, "")
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def paste(line: str, **variables: str) -> str:
    """Run a line as a shell would that it was pasted into."""
    done = subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env=environment(**variables),
    )
    return done.stdout


def split(output: str) -> tuple[str, str]:
    """What `curl -i` prints: head and body."""
    head, _, body = output.partition("\n\n")
    return head, body


def test_the_printed_line_answers_as_it_stands_and_again_as_a_stream(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with demo(data) as first:
        assert "SANDBOX: no provider's key is set" in first.text
        assert "not from a model" in first.text
        head, body = split(paste(first.curl))
        assert head.startswith("HTTP/1.1 200 OK")
        assert "x-tidegate-sandbox: true" in head
        answer = json.loads(body)
        assert "not a model" in answer["choices"][0]["message"]["content"]
        assert answer["provider"].startswith("sandbox-")

        streaming = first.curl.replace("curl -i", "curl -i -N").replace(
            '"messages"', '"stream": true, "messages"'
        )
        head, body = split(paste(streaming))
        assert "content-type: text/event-stream" in head
        assert body.endswith("data: [DONE]\n\n")
        found = re.search(r"x-generation-id: (\S+)", head)
        assert found
        cost = paste(
            f'curl -s "{first.base}/generation?id={found[1]}" -H "Authorization: Bearer {first.key}"'
        )
        assert json.loads(cost)["data"]["total_cost"] > 0
        key = first.key

    with demo(data) as second:
        assert "sk-tg-" not in second.text  # shown once
        assert f"keys create --data {data} --team" in second.text.replace("\n", " ")
        variable = re.search(r"\$([A-Z_]+)", second.curl)
        assert variable
        head, _ = split(paste(second.curl, **{variable[1]: key}))
        assert head.startswith("HTTP/1.1 200 OK"), "the key of the first run is still good"
        (making,) = [line.strip() for line in second.text.splitlines() if "keys create" in line]
        words = making.split()
        assert Path(words[0]).name == "tidegate"
        made = subprocess.run([PROGRAM, *words[1:]], capture_output=True, text=True, check=True)
        head, _ = split(paste(second.curl, **{variable[1]: made.stdout.strip()}))
        assert head.startswith("HTTP/1.1 200 OK")


def test_a_providers_key_takes_the_sandboxs_place(tmp_path: Path) -> None:
    with demo(tmp_path / "data", MOONSHOT_API_KEY="sk-not-a-real-one") as real:
        assert "SANDBOX" not in real.text
        assert "Serving from moonshot: requests cost money" in real.text
        listed = paste(f'curl -s {real.base}/models -H "Authorization: Bearer {real.key}"')
        models = json.loads(listed)["data"]
        assert models
        assert {name for model in models for name in model["providers"]} == {"moonshot"}
        assert not [model for model in models if "sandbox" in model]
        assert "sk-not-a-real-one" not in real.text


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [PROGRAM, "demo", "--data", tmp_path / "data", "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=environment(),
        )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"127.0.0.1 port {port}" in line
    assert "--port" in line
    # No key was made that nobody was shown: the next start is the first.
    assert not (tmp_path / "data").exists()


def test_a_second_gateway_on_a_folder_is_one_clear_line(tmp_path: Path) -> None:
    owner.take(tmp_path)  # by this process, until it ends
    done = subprocess.run(
        [PROGRAM, "demo", "--data", tmp_path, "--port", "0"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment(),
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"another gateway is running on {tmp_path}" in line
    assert not (tmp_path / "tidegate.db").exists()  # nothing of the other one's was touched


def test_what_is_written_to_a_folder_that_others_may_read_is_its_owners_alone(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o755)
    subprocess.run([PROGRAM, "migrate", "--data", tmp_path], check=True, capture_output=True)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes.keys() >= {"tidegate.db", "pepper"}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("fault", ["/dev/null/data"])
def test_a_folder_that_cannot_be_made_is_one_clear_line(fault: str) -> None:
    done = subprocess.run(
        [PROGRAM, "demo", "--data", fault, "--port", "0"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment(),
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
