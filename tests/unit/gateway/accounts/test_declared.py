"""A file of accounts: each fault is told with its place."""

import pytest

from gateway.accounts.declared import read
from gateway.errors import ConfigurationError

GOOD = """
organisations:
- name: acme
  members:
  - {email: ada@acme.example, role: owner}
  teams:
  - name: search
    keys:
    - {name: web, expires: 2027-01-31}
"""


def _faults(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        read(text, "teams.yaml")
    return caught.value.faults


def test_a_good_file_is_read() -> None:
    (organisation,) = read(GOOD, "teams.yaml").organisations
    assert organisation.teams[0].keys[0].expires == "2027-01-31"


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ("name: acme", "nmae: acme", "organisations[0]: "),
        ("role: owner", "role: king", "organisations[0].members[0].role: "),
        ("expires: 2027-01-31", "expires: soon", "organisations[0].teams[0].keys[0].expires: "),
        ("email: ada@acme.example, ", "", "organisations[0].members[0]: needs an email"),
        ("  teams:", "  settings: {modles: []}\n  teams:", "organisations[0].settings"),
        ("  teams:", "  budget: {amount: 5.5}\n  teams:", "put the amount in quotes"),
        ("- name: acme", "- name: acme\n  name: acme2", "'name' is there more than once"),
        ("organisations:", "organisations: [", "not valid YAML"),
        (GOOD, "[]", "file: "),
        (GOOD, "", "file: "),
    ],
)
def test_a_fault_is_told_with_its_place(good: str, bad: str, told: str) -> None:
    (fault,) = _faults(GOOD.replace(good, bad))
    assert fault.startswith("teams.yaml:")
    assert told in fault


def test_all_faults_of_the_content_are_told_at_once() -> None:
    text = """
organisations:
- name: acme
  members:
  - {email: ada@acme.example, role: owner}
  - {email: ADA@acme.example, role: viewer}
  teams:
  - name: search
    settings: {limits: [{what: requests, amount: -1, per: minute}]}
    keys: [{name: web}, {name: web}]
  - name: search
"""
    faults = _faults(text)
    assert len(faults) == 4
    for place in (
        "organisations[0].members: ",
        "organisations[0].teams: 'search' is there more than once",
        "organisations[0].teams[0].settings.limits[0].amount: ",
        "organisations[0].teams[0].keys: 'web' is there more than once",
    ):
        assert any(place in fault for fault in faults), place
