"""Administrative verbs find the same PostgreSQL as the gateway does: by its settings, or told why not."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.servers.postgres_server import PASSWORD, PostgresServer

DIGITS = "0123456789abcdef" * 4


class Shell:
    """A folder with settings in it, to run verbs in."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.config = folder / "settings.yaml"
        self.write(self.config)

    def write(self, path: Path, pepper: str = DIGITS, **tree: Any) -> None:
        whole = {
            "data": str(self.folder / "data"),
            "database": {"url": self.url},
            "auth": {"pepper": pepper},
            **tree,
        }
        path.write_text(yaml.safe_dump(whole), encoding="utf-8")

    def __call__(self, *words: str, status: int = 0) -> Result:
        done = CliRunner().invoke(main, list(words))
        assert done.exit_code == status, done.output
        assert PASSWORD not in done.output
        return done

    def with_config(self, *words: str, status: int = 0) -> Result:
        return self(*words, "--config", str(self.config), status=status)

    def teams(self, *words: str) -> list[str]:
        found = json.loads(self("teams", "list", "--json", *words).stdout)
        return [team["name"] for team in found]


@pytest.fixture
def shell(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path, postgres_server.fresh(None))


def test_the_settings_say_which_database_is_administered(shell: Shell) -> None:
    refused = shell.with_config("teams", "list", status=1)
    assert "tidegate migrate" in refused.stderr
    assert "revision none" in shell.with_config("migrate", "--check", status=1).stderr
    assert "migrated from revision none" in shell.with_config("migrate").stdout
    assert "up to date" in shell.with_config("migrate", "--check").stdout
    shell.with_config("teams", "create", "red")
    assert "red" in shell.teams("--config", str(shell.config))
    made = shell.with_config("keys", "create", "--team", "red", "--name", "k")
    assert "sk-tg-" in made.output
    assert not (shell.folder / "data" / "tidegate.db").exists()
    assert not (shell.folder / "data" / "pepper").exists(), "the settings have it"


def test_settings_in_this_folder_and_variables_do_as_well(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.with_config("migrate")
    shell.with_config("teams", "create", "red")
    shell.write(shell.folder / "tidegate.yaml")
    assert "red" in shell.teams()
    (shell.folder / "tidegate.yaml").unlink()
    monkeypatch.setenv("TIDEGATE_DATABASE__URL", shell.url)
    refused = shell("teams", "list", status=1)
    assert "`auth.pepper`" in refused.stderr, "that of the other processes is not known here"
    assert not (shell.folder / "tidegate-data").exists(), "nor is one made up"
    monkeypatch.setenv("TIDEGATE_AUTH__PEPPER", DIGITS)
    assert "red" in shell.teams()


def test_a_data_folder_that_is_named_counts_over_all_settings(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.write(shell.folder / "tidegate.yaml")
    monkeypatch.setenv("TIDEGATE_DATABASE__URL", shell.url)
    shell("migrate")
    shell("teams", "create", "of-postgres")
    shell("migrate", "--data", "own")
    shell("teams", "create", "of-the-folder", "--data", "own")
    assert "of-the-folder" in shell.teams("--data", "own")
    assert "of-postgres" not in shell.teams("--data", "own")
    assert "of-the-folder" not in shell.teams()
    assert (shell.folder / "own" / "tidegate.db").exists()
    both = shell("teams", "list", "--data", "own", "--config", str(shell.config), status=2)
    assert "not both" in both.stderr


def test_with_another_pepper_no_key_is_made(shell: Shell) -> None:
    shell.with_config("migrate")
    shell.with_config("keys", "create", "--team", "default")
    shell.write(shell.config, pepper="00" * 32)
    refused = shell.with_config("keys", "create", "--team", "default", status=1)
    assert "auth.pepper" in refused.stderr
    shell.write(shell.config, pepper="short")
    refused = shell.with_config("keys", "create", "--team", "default", status=1)
    assert "64 hexadecimal digits" in refused.stderr
    assert "short" not in refused.stderr


def test_what_is_wrong_with_the_database_is_told_without_its_password(shell: Shell) -> None:
    for url, said in (
        (f"{shell.url}_nowhere", "does not exist"),
        (shell.url.replace("postgresql:", "mysql:"), "postgresql://"),
        (shell.url.replace(f":{_port(shell.url)}/", ":1/"), "Connect call failed"),
    ):
        shell.write(shell.config, database={"url": url})
        told = shell.with_config("teams", "list", status=1).stderr
        assert said in told, told
        assert "Traceback" not in told


def _port(url: str) -> str:
    return url.rpartition(":")[2].partition("/")[0]
