"""Administration by command: what is printed, what is kept, with which status it ends."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main

DECLARED = """
organisations:
- name: default
  teams:
  - name: search
    settings: {models: [moonshotai/kimi-k2.6]}
    keys: [{name: web}]
"""


class Desk:
    """Commands on one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.file = folder / "teams.yaml"
        self.run("migrate")

    def ask(self, *words: object) -> Result:
        command = [*map(str, words), "--data", str(self.data)]
        return CliRunner().invoke(main, command, catch_exceptions=False)

    def run(self, *words: object) -> str:
        """What it prints, of a command that must do."""
        done = self.ask(*words)
        assert done.exit_code == 0, done.output
        return done.stdout

    def json(self, *words: object) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = json.loads(self.run(*words, "--json"))
        return rows

    def apply(self, text: str, *options: object) -> Result:
        self.file.write_text(text)
        return self.ask("apply", "-f", self.file, *options)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_dry_run_tells_what_would_change_and_changes_nothing(desk: Desk) -> None:
    dry = desk.apply(DECLARED, "--dry-run")
    assert dry.exit_code == 2, "for scripts: something would change"
    assert "+ team default/search" in dry.stdout
    assert 'settings.models: (none) -> ["moonshotai/kimi-k2.6"]' in dry.stdout
    assert "sk-tg-" not in dry.stdout
    assert [row["name"] for row in desk.json("teams", "list")] == ["default"]
    done = desk.apply(DECLARED)
    assert done.exit_code == 0
    steps = [line for line in done.stdout.splitlines() if "sk-tg-" not in line]
    assert steps == dry.stdout.splitlines()
    assert desk.apply(DECLARED, "--dry-run").exit_code == 0


def test_a_step_is_told_in_the_words_of_the_file(desk: Desk) -> None:
    text = "organisations: [{name: default, zdr: true, data_collection: deny}]"
    told = desk.apply(text).stdout
    assert "zdr: false -> true" in told
    assert "data_collection: allow -> deny" in told


def test_new_keys_are_told_once_and_to_a_file_of_ones_own_if_wanted(desk: Desk) -> None:
    kept = desk.folder / "secrets"
    done = desk.apply(DECLARED, "--secrets", kept)
    assert done.exit_code == 0
    assert "sk-tg-" not in done.output
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.read_text().startswith("default/search/web: sk-tg-")
    taken = desk.apply(DECLARED, "--secrets", kept)
    assert taken.exit_code == 1
    assert "File exists" in taken.output
    again = desk.apply(DECLARED)
    assert "sk-tg-" not in again.output


def test_a_refused_file_leaves_no_file_of_secrets(desk: Desk) -> None:
    kept = desk.folder / "secrets"
    bad = DECLARED.replace("{name: web}", "{name: web, member: nobody}")
    done = desk.apply(bad, "--secrets", kept)
    assert done.exit_code == 1
    assert "nobody in the organisation is known as 'nobody'" in done.output
    assert not kept.exists()
    assert [row["name"] for row in desk.json("teams", "list")] == ["default"]


def test_settings_are_set_shown_and_say_where_they_came_from(desk: Desk) -> None:
    desk.run("settings", "set", "organisation", "default", 'models=["moonshotai/kimi-k2.6"]')
    desk.run("settings", "set", "team", "default", "default_model=moonshotai/kimi-k2.6")
    shown = json.loads(desk.run("settings", "show", "team", "default"))
    assert shown == {"default_model": "moonshotai/kimi-k2.6"}
    rows = desk.json("settings", "show", "team", "default", "--effective")
    assert {(row["setting"], row["from"]) for row in rows} == {
        ("models", "organisation default"),
        ("default_model", "team default"),
    }
    desk.run("settings", "set", "team", "default", "default_model=")
    assert json.loads(desk.run("settings", "show", "team", "default")) == {}
    whole = desk.folder / "whole.yaml"
    whole.write_text("limits: [{what: concurrency, amount: 3}]\n")
    desk.run("settings", "set", "team", "default", "--file", whole)
    shown = json.loads(desk.run("settings", "show", "team", "default"))
    assert shown == {"limits": [{"what": "concurrency", "amount": 3}]}
    bad = desk.ask("settings", "set", "team", "default", 'limits=[{"what": "requests"}]')
    assert bad.exit_code == 1
    assert "limits[0]" in bad.output


def test_members_join_and_leave(desk: Desk) -> None:
    desk.run("members", "add", "Ada", "--email", "ada@acme.example", "--role", "admin")
    desk.run("members", "add", "nightly")
    desk.run("members", "join", "ada@acme.example", "default", "--role", "billing")
    rows = {row["name"]: row for row in desk.json("members", "list")}
    assert rows["Ada"]["teams"] == "default (billing)"
    assert (rows["nightly"]["kind"], rows["nightly"]["role"]) == ("service", "member")
    desk.run("members", "leave", "ada@acme.example", "default")
    desk.run("members", "set", "ada@acme.example", "--role", "viewer")
    desk.run("members", "disable", "ada@acme.example")
    rows = {row["name"]: row for row in desk.json("members", "list")}
    assert (rows["Ada"]["teams"], rows["Ada"]["role"]) == (None, "viewer")
    assert rows["Ada"]["disabled"] is not None


def test_budgets_are_of_four_kinds_of_owners(desk: Desk) -> None:
    desk.run("members", "add", "Ada", "--email", "ada@acme.example")
    key = desk.run("keys", "create", "--team", "default", "--name", "web").strip()
    (row,) = desk.json("keys", "list")
    assert key.startswith("sk-tg-")
    for option, owner in (
        ("--key", row["id"]),
        ("--team", "default"),
        ("--member", "ada@acme.example"),
        ("--organisation", "default"),
    ):
        desk.run("budgets", "set", option, owner, "5", "--period", "daily")
    assert [one["scope"] for one in desk.json("budgets", "list")] == [
        "key",
        "team",
        "member",
        "organisation",
    ]
    both = desk.ask("budgets", "remove", "--team", "default", "--key", row["id"])
    assert both.exit_code == 2


def test_management_keys_are_made_listed_rotated_and_disabled(desk: Desk) -> None:
    first = desk.run("management-keys", "create", "--name", "root").strip()
    (row,) = desk.json("management-keys", "list")
    assert (row["name"], row["organisation"]) == ("root", "all")
    second = desk.run("management-keys", "rotate", row["id"], "--overlap", "0").strip()
    assert first != second
    assert second.startswith("sk-tgm-")
    desk.run("management-keys", "disable", row["id"])
    (row,) = desk.json("management-keys", "list")
    assert row["disabled"] is not None
    narrow = desk.ask("management-keys", "create", "--scope", "everything")
    assert narrow.exit_code == 1
    assert "keys:write" in narrow.output, "it says which there are"


def test_the_log_says_who_did_what_and_how(desk: Desk) -> None:
    desk.run("teams", "create", "search")
    desk.apply(DECLARED)
    rows = desk.json("audit")
    assert [(row["action"], row["via"]) for row in rows[:3]] == [
        ("key.create", "apply"),
        ("team.update", "apply"),
        ("team.create", "cli"),
    ]
    assert rows[1]["after"] == {"settings.models": ["moonshotai/kimi-k2.6"]}
    created = desk.json("audit", "--action", "team.create", "--limit", "1")
    assert [row["via"] for row in created] == ["cli"]
