"""Settings: what is read from where, and one clear line for each fault."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from gateway.errors import ConfigurationError
from gateway.settings import check, known_providers, load
from tests.builders import OWN_ENDPOINT

PROVIDER = {"kind": "moonshot", "api_key": "sk-1"}


def written(folder: Path, tree: object) -> Path:
    path = folder / "settings.yaml"
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree))
    return path


def faults(folder: Path, tree: object, **environment: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(written(folder, tree), environment)
    return caught.value.faults


def test_the_least_that_is_needed_has_good_defaults(tmp_path: Path) -> None:
    settings = load(written(tmp_path, {"providers": [PROVIDER]}), {})
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)
    assert settings.journal.sync == "group"
    assert settings.data == Path("tidegate-data")
    assert settings.request.max_attempts == 4


def test_settings_are_frozen() -> None:
    settings = check({"providers": [PROVIDER]})
    with pytest.raises(ValidationError):
        settings.server.port = 1  # type: ignore[misc] # the point


def test_without_a_path_the_file_in_this_folder_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tidegate.yaml").write_text(yaml.safe_dump({"providers": [PROVIDER]}))
    assert load(environment={}).providers[0].kind == "moonshot"


def test_variables_are_put_in_wherever_they_are_named(tmp_path: Path) -> None:
    tree = {
        "providers": [{**PROVIDER, "api_key": "${KEY}", "base_url": "https://${HOST}:${PORT}/v1"}]
    }
    settings = load(written(tmp_path, tree), {"KEY": "sk-2", "HOST": "example.com", "PORT": "444"})
    (key,) = settings.account_of_rows()["providers[0]"].secrets()
    assert key.reveal() == "sk-2"
    assert settings.providers[0].base_url == "https://example.com:444/v1"


def test_a_secret_does_not_show() -> None:
    assert "sk-1" not in repr(check({"providers": [PROVIDER]}))


def test_the_environment_counts_over_the_file(tmp_path: Path) -> None:
    tree = {"server": {"port": 1, "host": "::1"}, "data": "a", "providers": [PROVIDER]}
    environment = {
        "TIDEGATE_SERVER__PORT": "9000",
        "TIDEGATE_REQUEST__TOTAL_TIMEOUT": "1.5",
        "TIDEGATE_DATA": "b",
        "UNRELATED": "x",
    }
    settings = load(written(tmp_path, tree), environment)
    assert (settings.server.port, settings.server.host) == (9000, "::1")
    assert settings.request.total_timeout == 1.5
    assert settings.data == Path("b")


def test_what_kubernetes_puts_into_the_environment_is_no_setting(tmp_path: Path) -> None:
    service = {  # of a Service named tidegate, and of one named tidegate-admin
        "TIDEGATE_SERVICE_HOST": "10.0.0.1",
        "TIDEGATE_SERVICE_PORT": "8080",
        "TIDEGATE_SERVICE_PORT_HTTP": "8080",
        "TIDEGATE_PORT": "tcp://10.0.0.1:8080",
        "TIDEGATE_PORT_8080_TCP_ADDR": "10.0.0.1",
        "TIDEGATE_ADMIN_PORT_8080_TCP": "tcp://10.0.0.2:8080",
    }
    settings = load(
        written(tmp_path, {"providers": [PROVIDER]}), service | {"TIDEGATE_SERVER__PORT": "9"}
    )
    assert settings.server.port == 9


def test_overrides_count_over_everything(tmp_path: Path) -> None:
    tree = {"server": {"port": 1, "host": "::1"}, "providers": [PROVIDER]}
    settings = load(
        written(tmp_path, tree),
        {"TIDEGATE_SERVER__PORT": "2"},
        {"server": {"port": 3}, "data": "c"},
    )
    assert (settings.server.port, settings.server.host, settings.data) == (3, "::1", Path("c"))


@pytest.mark.parametrize(
    ("environment", "fault"),
    [
        ({"TIDEGATE_SERVRE__PORT": "1"}, "TIDEGATE_SERVRE__PORT: there is no setting 'servre'"),
        (
            {"TIDEGATE_SERVER__PROT": "1"},
            "server.prot: there is no such setting; see docs/reference/settings.md",
        ),
        (
            {"TIDEGATE_PROVIDERS__KIND": "novita"},
            "TIDEGATE_PROVIDERS__KIND: 'providers' is not a section",
        ),
    ],
)
def test_a_misspelt_variable_is_a_fault(
    tmp_path: Path, environment: dict[str, str], fault: str
) -> None:
    assert faults(tmp_path, {"providers": [PROVIDER]}, **environment) == (fault,)


def changed(**fields: Any) -> dict[str, Any]:
    return {"endpoints": [{**OWN_ENDPOINT, **fields}]}


URL = "must be an http:// or https:// address with a host"
KEY = "must be a non-empty key of printable characters without spaces"
QUOTES = "put the value in quotes: it must be a string, not a number"
FORM = "does not have the right form"
TWICE = "endpoint id 'own/kimi' is there more than once"


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        ({}, "nothing to serve: name at least one of 'providers' or 'endpoints'"),
        ({"providers": []}, "nothing to serve: name at least one of 'providers' or 'endpoints'"),
        (
            {"providers": [PROVIDER], "sever": {}},
            "sever: there is no such setting; see docs/reference/settings.md",
        ),
        (
            {"providers": [{**PROVIDER, "api_kee": "x"}]},
            "providers[0].api_kee: there is no such setting; see docs/reference/settings.md",
        ),
        ({"providers": [{"kind": "moonshot"}]}, "providers[0].api_key: is required"),
        ({"providers": [{**PROVIDER, "api_key": 123}]}, f"providers[0].api_key: {QUOTES}"),
        ({"providers": [{**PROVIDER, "api_key": ""}]}, f"providers[0].api_key: {KEY}"),
        ({"providers": [{**PROVIDER, "api_key": "a b"}]}, f"providers[0].api_key: {KEY}"),
        ({"providers": [{**PROVIDER, "api_key": "sk-1\n"}]}, f"providers[0].api_key: {KEY}"),
        ({"providers": [{**PROVIDER, "base_url": "api.x.com"}]}, f"providers[0].base_url: {URL}"),
        ({"providers": [PROVIDER, PROVIDER]}, "provider 'moonshot' is there more than once"),
        (changed(base_url="ftp://x/"), f"endpoints[0].base_url: {URL}"),
        (changed(base_url="http://x:99999/"), f"endpoints[0].base_url: {URL}"),
        (
            changed(base_url="http://user:word@x/"),
            "endpoints[0].base_url: must not hold a user, a password, a query or a fragment",
        ),
        (
            changed(price={"input": 0.1, "output": "0.5"}),
            f"endpoints[0].price.input: {QUOTES}",
        ),
        (changed(price={"input": "0.1"}), "endpoints[0].price.output: is required"),
        (
            changed(price={"input": "0.1234567", "output": "1"}),
            rf"endpoints[0].price.input: '0.1234567' {FORM} (^\d+(\.\d{{1,6}})?$)",
        ),
        ({"endpoints": [OWN_ENDPOINT, OWN_ENDPOINT]}, TWICE),
        (
            {"providers": [PROVIDER], "upstream": {"tls": {"ca_file": "/nowhere/ca.pem"}}},
            "upstream.tls.ca_file: there is no file /nowhere/ca.pem",
        ),
    ],
)
def test_each_fault_is_one_clear_line(tmp_path: Path, tree: object, line: str) -> None:
    assert faults(tmp_path, tree) == (line,)


@pytest.mark.parametrize(
    ("tree", "start"),
    [
        ({"providers": [{**PROVIDER, "kind": "openai"}]}, "providers[0].kind: "),
        ({"providers": [PROVIDER], "server": {"port": 70_000}}, "server.port: "),
        ({"providers": [PROVIDER], "server": {"port": "http"}}, "server.port: "),
        ({"providers": [PROVIDER], "server": {"head_timeout": 0}}, "server.head_timeout: "),
        ({"providers": [PROVIDER], "request": {"max_attempts": 11}}, "request.max_attempts: "),
        ({"providers": [PROVIDER], "journal": {"sync": "never"}}, "journal.sync: "),
        ({"providers": [PROVIDER], "server": "x"}, "server: "),
        (changed(id="has spaces"), "endpoints[0].id: "),
        (changed(serves="no-author"), "endpoints[0].serves: "),
        (changed(context_length=0), "endpoints[0].context_length: "),
    ],
)
def test_a_value_out_of_range_is_named(tmp_path: Path, tree: object, start: str) -> None:
    (line,) = faults(tmp_path, tree)
    assert line.startswith(start)
    assert "\n" not in line


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("- a\n", "must be a mapping of sections"),
        ("1: 2\n", "must be a mapping of sections"),
        ("server: [\n", "not valid YAML"),
        ("server: a: b\n", "line 1, column 10"),
    ],
)
def test_a_file_that_is_no_settings_is_told(tmp_path: Path, text: str, part: str) -> None:
    (line,) = faults(tmp_path, text)
    assert line.startswith(str(tmp_path))
    assert part in line


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path / "missing.yaml", {})


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    tree = {
        "server": {"port": -1, "hots": "x"},
        "journal": {"sync": "${UNSET_SYNC}"},
        "providers": [{"kind": "moonshot", "api_key": "${UNSET_KEY}"}, {"kind": "novita"}],
    }
    told = faults(tmp_path, tree, TIDEGATE_NOPE="1")
    assert [line.partition(":")[0] for line in told] == [
        "journal.sync",
        "providers[0].api_key",
        "TIDEGATE_NOPE",
        "server.port",
        "server.hots",
        "providers[1].api_key",
    ]
    assert told[0] == "journal.sync: the environment variable UNSET_SYNC is not set"


def test_a_fault_never_shows_a_secret(tmp_path: Path) -> None:
    told = faults(tmp_path, {"providers": [{**PROVIDER, "api_key": "sk very secret"}]})
    assert "secret" not in "".join(told).replace("secret string", "")


@pytest.mark.parametrize(
    ("environment", "kinds"),
    [
        ({}, []),
        ({"MOONSHOT_API_KEY": ""}, []),
        ({"NOVITA_API_KEY": "sk_1"}, ["novita"]),
        ({"MOONSHOT_API_KEY": "sk-1", "NOVITA_API_KEY": "sk_1"}, ["moonshot", "novita"]),
    ],
)
def test_providers_are_known_by_their_keys(environment: dict[str, str], kinds: list[str]) -> None:
    assert [section["kind"] for section in known_providers(environment)] == kinds
