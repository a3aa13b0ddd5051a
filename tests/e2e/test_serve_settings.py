"""`tidegate serve` with settings that cannot be served: a line for each fault, and status 2."""

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.fakes.gateway_process import PROGRAM

GOOD = """
providers:
  - {kind: moonshot, api_key: sk-x}
"""
ENDPOINT = "id: a, provider: a, model: m, serves: x/y, context_length: 1, max_output: 1"
FAULTS: dict[str, tuple[str, list[str]]] = {
    "nothing to serve": ("data: d\n", ["nothing to serve"]),
    "not YAML": ("server: [1\n", ["line 2, column 1: not valid YAML"]),
    "a list": ("- a\n", ["must be a mapping"]),
    "unknown names": (
        GOOD + "sevrer: {}\nserver: {prot: 1}\n",
        ["sevrer: there is no such setting", "server.prot: there is no such setting"],
    ),
    "values out of range": (
        GOOD + "server: {port: 70000, max_body_bytes: 0}\nrequest: {max_attempts: many}\n",
        ["server.port: ", "server.max_body_bytes: ", "request.max_attempts: "],
    ),
    "variable not set": (
        "providers:\n  - {kind: moonshot, api_key: '${NOT_SET_ANYWHERE}'}\n",
        ["providers[0].api_key: the environment variable NOT_SET_ANYWHERE is not set"],
    ),
    "provider unknown": (
        "providers:\n  - {kind: openai, api_key: sk-x}\n",
        ["providers[0].kind: "],
    ),
    "model that the provider has not": (
        "providers:\n  - {kind: moonshot, api_key: sk-x, models: [moonshotai/kimi-k9]}\n",
        ["providers[0].models: moonshot does not list 'moonshotai/kimi-k9'"],
    ),
    "endpoint without a price": (
        f"endpoints:\n  - {{{ENDPOINT}, base_url: 'http://127.0.0.1:1'}}\n",
        ["endpoints[0].price: is required"],
    ),
    "price as a number": (
        f"endpoints:\n  - {{{ENDPOINT}, base_url: 'ftp://x', price: {{input: 0.5, output: '1'}}}}\n",
        [
            "endpoints[0].base_url: must be an http:// or https:// address",
            "endpoints[0].price.input: put the value in quotes",
        ],
    ),
}


def check(config: Path, **variables: str) -> Result:
    """What `tidegate serve --check` says: the same as `serve` before it begins."""
    return CliRunner().invoke(main, ["serve", "--check", "--config", str(config)], env=variables)


@pytest.mark.parametrize("name", FAULTS)
def test_bad_settings_are_refused_with_a_line_for_each_fault(tmp_path: Path, name: str) -> None:
    text, expected = FAULTS[name]
    config = tmp_path / "tidegate.yaml"
    config.write_text(text)
    done = check(config)
    assert done.exit_code == 2, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(expected), lines
    for line, fault in zip(sorted(lines), sorted(expected), strict=True):
        assert line.startswith("tidegate: ")
        assert fault in line
    assert done.stdout == ""


def test_serve_itself_stops_with_status_2_and_no_traceback(tmp_path: Path) -> None:
    text, (expected,) = FAULTS["model that the provider has not"]
    config = tmp_path / "tidegate.yaml"
    config.write_text(text)
    done = subprocess.run(
        [PROGRAM, "serve", "--config", config],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"tidegate: {expected}\n"
    assert list(tmp_path.iterdir()) == [config]  # nothing was made for settings that are no good


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = check(tmp_path / "none.yaml")
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert "none.yaml: cannot be read" in line


def test_a_variable_that_means_no_setting_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "tidegate.yaml"
    config.write_text(GOOD)
    done = check(config, TIDEGATE_SEVRER__PORT="1")
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert "TIDEGATE_SEVRER__PORT" in line
    assert check(config, TIDEGATE_SERVER__PORT="1").exit_code == 0


def test_a_secret_is_never_repeated(tmp_path: Path) -> None:
    config = tmp_path / "tidegate.yaml"
    config.write_text("providers:\n  - {kind: moonshot, api_key: 'sk very secret'}\n")
    done = check(config)
    assert done.exit_code == 2
    assert "secret" not in done.stderr
