"""`tidegate backends` before stand-ins of providers: what it says, and what it costs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from backends import Secret
from backends.sandbox import Moonshot, OpenRouter, SandboxServer
from gateway.cli import main
from tests.builders import OWN_ENDPOINT
from tests.fakes.stage import LoopThread

GOOD, BAD = "sk-good-1234", "sk-bad-5678"


@pytest.fixture(scope="module")
def loop() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture
def server(loop: LoopThread) -> Iterator[SandboxServer]:
    made = SandboxServer(Moonshot(balance=12.5), keys={GOOD})
    loop.run(made.start())
    yield made
    loop.run(made.aclose())


@pytest.fixture
def provider(server: SandboxServer) -> dict[str, Any]:
    return {
        "kind": "moonshot",
        "base_url": server.base_url,
        "local": True,
        "api_keys": [GOOD, BAD],
        "models": ["moonshotai/kimi-k2.6", "moonshotai/kimi-k3"],
        "limits": {"concurrency": 50, "tokens_per_minute": 3_000_000},
    }


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "tidegate.yaml"


def backends(config: Path, tree: dict[str, Any], *words: str, typed: str | None = None) -> Result:
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    done = CliRunner().invoke(main, ["backends", *words, "--config", str(config)], input=typed)
    for secret in (GOOD, BAD):
        assert secret not in done.output
    return done


def test_list_tells_of_each_endpoint_all_that_matters(
    config: Path, provider: dict[str, Any]
) -> None:
    done = backends(config, {"providers": [provider]}, "list")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "moonshot  (kind moonshot, local)"
    assert lines[1] == f"  address  {provider['base_url']}"
    keys = f"{Secret(GOOD).fingerprint}, {Secret(BAD).fingerprint}"
    assert lines[2] == (
        f"  account  moonshot; keys {keys}; 50 at a time, 3,000,000 tokens/min; balance 12.5 USD"
    )
    assert lines[3].startswith("  data     ")
    assert lines[4].split()[:3] == ["ENDPOINT", "MODEL", "INPUT"]
    row = next(line for line in lines if "moonshot/kimi-k3 " in line).split()
    assert row == [
        *("moonshot/kimi-k3", "moonshotai/kimi-k3", "3.00", "15.00", "0.30", "USD/M"),
        *("1,048,576", "always"),
    ]


def test_list_as_json_and_offline_asks_nobody(
    config: Path, provider: dict[str, Any], server: SandboxServer
) -> None:
    done = backends(config, {"providers": [provider]}, "list", "--json", "--offline")
    rows = json.loads(done.stdout)
    assert [row["endpoint"] for row in rows] == ["moonshot/kimi-k2.6", "moonshot/kimi-k3"]
    assert rows[0]["keys"] == [Secret(GOOD).fingerprint, Secret(BAD).fingerprint]
    assert rows[0]["price_per_million"]["input"] == "0.95"
    assert rows[0]["balance"] is None
    assert rows[0]["thinking"] == "toggle"
    assert not server.record.other_paths


def test_a_balance_that_cannot_be_had_is_told_with_what_to_do(
    config: Path, provider: dict[str, Any]
) -> None:
    done = backends(config, {"providers": [{**provider, "api_keys": [BAD]}]}, "list")
    assert done.exit_code == 0
    assert "balance not known: " in done.stdout
    assert "check 'api_key'" in done.stdout


def test_models_compares_what_is_listed_with_what_is_configured(
    config: Path, provider: dict[str, Any]
) -> None:
    done = backends(config, {"providers": [provider]}, "models", "moonshot")
    assert done.exit_code == 0, done.output
    states = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert states["kimi-k3"].split() == ["kimi-k3", "moonshot/kimi-k3", "listed"]
    assert states["kimi-k2.7-code"].endswith("listed, not configured")


def test_models_tells_of_retired_ids(config: Path, provider: dict[str, Any]) -> None:
    common = {**OWN_ENDPOINT, "kind": "moonshot", "base_url": provider["base_url"], "local": True}
    common |= {"api_key": GOOD, "provider": "old"}
    retired = {**common, "id": "old/k2.5", "model": "kimi-k2.5"}
    misspelt = {**common, "id": "old/k9", "model": "kimi-k9"}
    done = backends(config, {"endpoints": [retired, misspelt]}, "models", "old")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert "old/k2.5" in lines[1]
    assert "retired by the provider, priced until 2026-08-31" in lines[1]
    assert "old/k9" in lines[2]
    assert "check the model's id" in lines[2]


def test_test_tries_what_is_free_and_asks_before_the_rest(
    config: Path, provider: dict[str, Any], server: SandboxServer
) -> None:
    done = backends(config, {"providers": [provider]}, "test", "moonshot/kimi-k3", typed="n\n")
    steps = {line[2:14].strip(): line[15:].split()[0] for line in done.stdout.splitlines()[1:]}
    assert steps == {
        "address": "ok",
        "connection": "ok",
        f"key {Secret(GOOD).fingerprint}": "ok",
        f"key {Secret(BAD).fingerprint}": "FAILED",
        "model": "ok",
        "balance": "ok",
    }
    assert done.exit_code == 1, "a key is refused"
    assert server.record.received.count == 0


@pytest.mark.parametrize("typed", ["n\n", "", None])
def test_nothing_is_billed_without_a_yes(
    config: Path, provider: dict[str, Any], server: SandboxServer, typed: str | None
) -> None:
    tree = {"providers": [{**provider, "api_keys": [GOOD]}]}
    done = backends(config, tree, "test", "moonshot", typed=typed)
    assert done.exit_code == 0, done.output
    assert "at most 0.0004904 USD" in done.stderr
    assert "no chat request was sent" in done.stderr
    assert server.record.received.count == 0


@pytest.mark.parametrize("how", ["asked", "--yes"])
def test_a_billed_request_tells_what_it_may_cost_and_what_it_did(
    config: Path, provider: dict[str, Any], server: SandboxServer, how: str
) -> None:
    tree = {"providers": [{**provider, "api_keys": [GOOD]}]}
    words, typed = (("--yes",), None) if how == "--yes" else ((), "y\n")
    done = backends(config, tree, "test", "moonshot/kimi-k2.6", *words, typed=typed)
    assert done.exit_code == 0, done.output
    assert "at most 0.0004904 USD" in done.output
    chat = done.stdout.splitlines()[-1]
    assert "1 prompt and 1 output tokens cost 0.00000495 USD" in chat
    assert server.record.received.count == 1
    assert server.record.requests[0].body["max_completion_tokens"] == 1


def test_test_as_json(config: Path, provider: dict[str, Any]) -> None:
    tree = {"providers": [{**provider, "api_keys": [GOOD]}]}
    done = backends(config, tree, "test", "moonshot", "--json", "--yes")
    told = json.loads(done.stdout)
    assert told["endpoint"] == "moonshot/kimi-k2.6"
    assert [step["ok"] for step in told["steps"]] == [True] * 6
    assert told["steps"][-1]["step"] == "chat"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"base_url": "http://nowhere.invalid/v1"}, ("address", "check 'base_url' and the DNS")),
        ({"base_url": "http://127.0.0.1:9/v1"}, ("connection", "refused")),
        ({"api_keys": [BAD]}, ("key", "check 'api_key', and that it belongs to this region")),
    ],
)
def test_what_fails_says_what_to_do_and_ends_the_trial(
    config: Path,
    provider: dict[str, Any],
    server: SandboxServer,
    fields: dict[str, Any],
    expected: tuple[str, str],
) -> None:
    step, said = expected
    done = backends(config, {"providers": [{**provider, **fields}]}, "test", "moonshot", "--yes")
    assert done.exit_code == 1
    last = done.stdout.splitlines()[-1]
    assert last.strip().startswith(step)
    assert "FAILED" in last
    assert said in last
    assert server.record.received.count == 0


def test_a_key_is_tried_where_anybody_may_list_the_models(
    config: Path, loop: LoopThread, provider: dict[str, Any]
) -> None:
    server = SandboxServer(OpenRouter(), keys={GOOD})
    loop.run(server.start())
    try:
        row = {"kind": "openrouter", "base_url": server.base_url, "local": True}
        row |= {"api_keys": [BAD, GOOD], "models": ["moonshotai/kimi-k2.6"]}
        done = backends(config, {"providers": [row]}, "test", "openrouter", "--yes")
    finally:
        loop.run(server.aclose())
    told = {line[2:14].strip(): line[15:].split()[0] for line in done.stdout.splitlines()[1:]}
    assert told[f"key {Secret(BAD).fingerprint}"] == "FAILED"
    assert told[f"key {Secret(GOOD).fingerprint}"] == "ok"
    assert done.exit_code == 1
    assert server.record.received.count == 0


@pytest.mark.parametrize("words", [("models",), ("test", "--yes")])
@pytest.mark.parametrize("address", [{}, {"base_url": "http://127.0.0.1:9/v1", "local": True}])
def test_what_only_litellms_worker_can_reach_is_said_to_be_so(
    config: Path, words: tuple[str, ...], address: dict[str, Any]
) -> None:
    row = {name: value for name, value in OWN_ENDPOINT.items() if name != "base_url"}
    row |= {"kind": "litellm", "id": "bed/k", "model": "bedrock/k", **address}
    done = backends(config, {"endpoints": [row]}, *words, "bed/k")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: bed/k is reached by the litellm worker")
    assert done.stdout == ""


def test_list_says_who_knows_the_address_of_a_litellm_endpoint(config: Path) -> None:
    row = {name: value for name, value in OWN_ENDPOINT.items() if name != "base_url"}
    row |= {"kind": "litellm", "id": "bed/k", "model": "bedrock/k"}
    done = backends(config, {"endpoints": [row]}, "list", "--offline")
    assert "  address  known to litellm" in done.stdout.splitlines()


def test_a_name_that_means_nothing_is_told_with_those_that_do(
    config: Path, provider: dict[str, Any]
) -> None:
    done = backends(config, {"providers": [provider]}, "test", "moonshoot")
    assert done.exit_code == 1
    assert "'moonshoot'; providers are moonshot" in done.stderr


def test_bad_settings_end_with_a_line_for_each_fault(config: Path) -> None:
    done = backends(config, {"providers": [{"kind": "moonshot"}]}, "list")
    assert done.exit_code == 2
    assert done.stderr == "tidegate: providers[0].api_key: is required\n"
