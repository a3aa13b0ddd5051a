"""`tidegate prices check`: the packaged prices, those of settings, and files, by one command."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = sorted(
    set((ROOT / "examples/config").glob("*.yaml")) - {ROOT / "examples/config/teams.yaml"}
)
FILES = sorted((ROOT / "examples/prices").glob("*.yaml"))
ENDPOINT = """\
endpoints:
- id: host/k3
  provider: host
  base_url: https://host.example/v1
  model: k3
  serves: moonshotai/kimi-k3
  api_key: ${KEY_THAT_IS_NOT_SET}
  price:
"""


@pytest.fixture(autouse=True)
def _no_settings_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, ["prices", "check", *map(str, arguments)])
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


def settings(tmp_path: Path, price: str, **changes: str) -> Path:
    text = ENDPOINT
    for name, value in changes.items():
        text = text.replace(f"  {name}: ", f"  {name}: {value} # ")
    path = tmp_path / "settings.yaml"
    path.write_text(text + "".join(f"    {line}\n" for line in price.splitlines()))
    return path


def test_the_packaged_prices_pass_with_warnings_told_apart() -> None:
    result = run()

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines
    assert all(": warning: " in line for line in lines)
    assert f"0 errors, {len(lines)} warnings in the packaged prices" in result.stderr


@pytest.mark.parametrize("path", [*SETTINGS, *FILES], ids=lambda path: path.name)
def test_the_examples_have_no_fault_at_all(path: Path) -> None:
    result = run(path) if path in FILES else run("--config", path)

    assert (result.exit_code, result.stdout) == (0, "")


def test_there_are_examples() -> None:
    assert len(SETTINGS) > 3
    assert FILES


def test_good_own_prices_pass_without_any_key_in_the_environment(tmp_path: Path) -> None:
    result = run("--config", settings(tmp_path, 'input: "3"\noutput: "15"\ncache_read: "0.30"'))

    assert (result.exit_code, result.stdout) == (0, "")


@pytest.mark.parametrize(
    ("price", "line", "severity", "said"),
    [
        ('input: "0.000003"\noutput: "15"', 9, "error", "price.input (host/k3) '0.000003' looks"),
        ('input: "3"\noutput: "15000000"', 10, "error", "looks like a price in millionths"),
        ('input: "3"', 9, "error", "price.output (host/k3) is missing"),
        ('input: "3"\noutput: 15.0', 10, "error", '15.0 is not in quotes: write "15"'),
        ('input: "3"\noutput: "-15"', 10, "error", "is below zero"),
        ('input: "3"\noutput: "15"\ncache_read: "4"', 11, "error", "is dearer than input"),
        ('input: "3"\noutput: "15"\ncached: "0.3"', 11, "error", "did you mean cache_read"),
        ('input: "3"\noutput: "15"\ninput: "4"', 11, "error", "is there more than once"),
        ('input: "3"\noutput: "15"\ncurrency: usd', 11, "error", "is not a currency: write USD"),
        (
            'input: "3"\noutput: "15"\ncurrency: EUR',
            11,
            "warning",
            "too few prices are known in EUR",
        ),
        ('input: "0"\noutput: "15"', 9, "warning", "will count against no budget"),
        ('input: "3"\noutput: "${OUT}"', 10, "warning", "comes from the environment"),
    ],
)
def test_a_fault_in_settings_is_told_with_its_line(
    tmp_path: Path, price: str, line: int, severity: str, said: str
) -> None:
    path = settings(tmp_path, price)

    result = run("--config", path)

    assert result.exit_code == (severity == "error")
    assert any(
        one.startswith(f"{path}:{line}: {severity}: ") and said in one
        for one in result.stdout.splitlines()
    ), result.stdout


def test_own_hardware_may_cost_nothing(tmp_path: Path) -> None:
    path = settings(tmp_path, 'input: "0"\noutput: "0"')
    path.write_text(path.read_text().replace("  model: k3", "  kind: vllm\n  model: k3"))

    assert run("--config", path).stdout == ""


def test_an_endpoint_without_a_price_or_a_known_model_is_told(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(
        ENDPOINT.replace("  price:\n", "").replace("moonshotai/kimi-k3", "moonshotai/kimi-k33")
    )
    priced = settings(tmp_path / "..", 'input: "3"\noutput: "15"', serves="moonshotai/kimi-k33")

    assert "endpoints[0].price (host/k3) is missing" in run("--config", path).stdout
    result = run("--config", priced)
    assert result.exit_code == 0
    assert "did you mean moonshotai/kimi-k3" in result.stdout


def test_the_settings_of_this_folder_are_checked_unasked(tmp_path: Path) -> None:
    settings(tmp_path, 'input: "-1"\noutput: "15"').rename("tidegate.yaml")

    result = run()

    assert result.exit_code == 1
    assert "tidegate.yaml:9: error: endpoints[0].price.input" in result.stdout


@pytest.mark.parametrize("text", ["a: [", "[]", "7", "\x00", "endpoints: 7", "endpoints: [7]", ""])
def test_malformed_settings_and_files_are_faults_of_theirs(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)

    assert run("--config", path).exit_code == (text != "")
    assert run(path).exit_code == 1


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for missing in (tmp_path / "none.yaml", tmp_path):
        result = run(missing)
        assert result.exit_code == 1
        assert f"{missing} cannot be read" in result.stderr


def test_all_files_are_checked_and_all_faults_told_as_json_too(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.json"
    first.write_text("schema: tidegate-prices/1")
    second.write_text('{"schema": "tidegate-prices/1",\n"prices": 7}')

    result = run(first, second, "--json")

    page = json.loads(result.stdout)
    assert result.exit_code == 1
    assert page["checked"] == ["the packaged prices", str(first), str(second)]
    assert [(one["file"], one["line"], one["field"]) for one in page["faults"]] == [
        (str(first), 1, "prices"),
        (str(second), 2, "prices"),
    ]
    assert set(page["faults"][0]) == {
        *("file", "line", "field", "subject", "severity", "wrong", "advice")
    }
