"""Bringing an installation to what a file declares, on both databases."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.accounts import audit, budgets, keys, members, teams
from gateway.accounts.applying import Applied, apply
from gateway.accounts.declared import read
from gateway.accounts.office import Office
from gateway.auth.keys import check_form
from gateway.errors import GatewayError
from tests.fakes.accounts import OPERATOR, office_of, opened, outcome

WHOLE = """
organisations:
- name: acme
  zdr: true
  settings: {models: [moonshotai/kimi-k2.6]}
  budget: {amount: "500.00", period: monthly}
  members:
  - {email: ada@acme.example, name: Ada, role: owner}
  - {name: robot, role: viewer, budget: {amount: "5"}}
  teams:
  - name: search
    settings: {limits: [{what: requests, amount: 600, per: minute}]}
    members: {ada@acme.example: admin, robot: member}
    keys:
    - {name: web, member: robot, expires: 2027-01-31, budget: {amount: "50", period: monthly}}
"""


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with opened(database_url) as db:
        yield office_of(db)


async def _apply(office: Office, text: str, **options: Any) -> Applied:
    return await apply(office, OPERATOR, read(text, "teams.yaml"), **options)


async def test_everything_is_made_and_a_second_run_changes_nothing(office: Office) -> None:
    done = await _apply(office, WHOLE)
    assert [step.path for step in done.steps if step.action == "create"] == [
        "acme",
        "acme/ada@acme.example",
        "acme/robot",
        "acme/search",
        "acme/search/web",
    ]
    assert list(done.secrets) == ["acme/search/web"]
    assert check_form(done.secrets["acme/search/web"].encode())
    (key,) = await keys.list_all(office, OPERATOR)
    robot = next(row for row in await members.list_all(office, OPERATOR) if row.name == "robot")
    assert key.member_id == robot.id
    assert key.organisation_privacy.zdr
    found = await budgets.list_all(office, OPERATOR)
    assert {row.scope for row in found} == {"organisation", "member", "key"}
    lines = (await audit.list_page(office, OPERATOR, limit=1000)).items
    again = await _apply(office, WHOLE)
    assert again == Applied((), {})
    assert (await audit.list_page(office, OPERATOR, limit=1000)).items == lines
    assert done.secrets["acme/search/web"] not in repr(lines)


async def test_a_dry_run_tells_the_steps_of_the_real_run_and_does_nothing(office: Office) -> None:
    told = await _apply(office, WHOLE, dry_run=True)
    assert told.secrets == {}
    assert await teams.list_all(office, OPERATOR) == []
    assert list((await audit.list_page(office, OPERATOR)).items) == []
    assert (await _apply(office, WHOLE)).steps == told.steps


@pytest.mark.parametrize(
    ("old", "new", "path", "before", "after"),
    [
        ("zdr: true", "zdr: false", "acme", {"zdr": True}, {"zdr": False}),
        ("models: [moonshotai/kimi-k2.6]", "ignored_models: [a/b]", "acme",
         {"settings.models": ("moonshotai/kimi-k2.6",)}, {"settings.ignored_models": ("a/b",)}),
        ("name: Ada, role: owner", "name: Ada L, role: owner", "acme/ada@acme.example",
         {"name": "Ada"}, {"name": "Ada L"}),
        ("role: viewer", "role: billing", "acme/robot", {"role": "viewer"}, {"role": "billing"}),
        ("robot: member", "robot: admin", "acme/search",
         {"members": {"robot": "member"}}, {"members": {"robot": "admin"}}),
        (", robot: member}", "}", "acme/search",
         {"members": {"robot": "member"}}, {"members": {}}),
        ("2027-01-31", "2027-02-28", "acme/search/web",
         {"expires": "2027-01-31T00:00:00Z"}, {"expires": "2027-02-28"}),
    ],
)  # fmt: skip
async def test_a_change_of_one_field_is_one_step(
    office: Office, *, old: str, new: str, path: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    await _apply(office, WHOLE)
    changed = WHOLE.replace(old, new)
    assert changed != WHOLE
    (step,) = (await _apply(office, changed)).steps
    assert (step.action, step.path, step.before, step.after) == ("update", path, before, after)
    assert (await _apply(office, changed)).steps == ()


async def test_a_budget_of_null_is_taken_away(office: Office) -> None:
    await _apply(office, WHOLE)
    (step,) = (await _apply(office, WHOLE.replace('{amount: "5"}', "null"))).steps
    assert (step.path, step.after) == ("acme/robot", {"budget": None})
    assert {row.scope for row in await budgets.list_all(office, OPERATOR)} == {
        "organisation",
        "key",
    }


async def test_what_the_file_does_not_name_stays_unless_it_is_pruned(office: Office) -> None:
    await _apply(office, WHOLE)
    await teams.create(office, OPERATOR, "ads", organisation="acme")
    await keys.create(office, OPERATOR, team="search", name="old")
    assert (await _apply(office, WHOLE)).steps == ()
    done = await _apply(office, WHOLE, prune=True)
    assert {(step.action, step.path) for step in done.steps} == {
        ("disable", "acme/ads"),
        ("disable", "acme/search/old"),
    }
    assert (await _apply(office, WHOLE, prune=True)).steps == ()


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("robot: member", "nobody: member", "member_not_found"),
        ("member: robot", "member: nobody", "member_not_found"),
        ("2027-01-31", "2020-01-31", "invalid_expiry"),
    ],
)
async def test_where_one_step_is_refused_nothing_has_happened(
    office: Office, old: str, new: str, code: str
) -> None:
    assert await outcome(_apply(office, WHOLE.replace(old, new))) == code
    assert await teams.list_all(office, OPERATOR) == []
    assert list((await audit.list_page(office, OPERATOR)).items) == []


async def test_a_key_stays_whose_it_is(office: Office) -> None:
    await _apply(office, WHOLE)
    with pytest.raises(GatewayError, match="a key stays whose it is"):
        await _apply(office, WHOLE.replace("member: robot", "member: ada@acme.example"))


def test_the_example_is_read() -> None:
    example = Path(__file__).parents[2] / "examples" / "config" / "teams.yaml"
    assert read(example.read_text(), example.name).organisations


async def test_the_example_can_be_applied_twice(office: Office) -> None:
    example = Path(__file__).parents[2] / "examples" / "config" / "teams.yaml"
    assert (await _apply(office, example.read_text())).steps
    assert (await _apply(office, example.read_text())).steps == ()
