"""The pages on modes, preferences and exclusions name what the code reads, refuses and tells."""

import re
from pathlib import Path

import pytest

from backends import EFFORTS
from gateway.policies import data_policy
from gateway.routing import plan
from gateway.wire import modes, preferences

DOCS = Path(__file__).resolve().parents[2] / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["reference/api.md", "guides/modes.md"])
def test_every_field_that_says_a_mode_is_named(name: str) -> None:
    text = page(name)
    assert all(re.search(rf"[`\"]{field}[`\".]", text) for field in modes.FIELDS)
    assert all(f"{suffix}" in text for suffix in modes.SUFFIXES)


def test_every_effort_is_named() -> None:
    assert all(f"`{effort}`" in page("guides/modes.md") for effort in EFFORTS)


def test_every_preference_is_named_with_its_fate() -> None:
    text = page("reference/api.md").partition("### Preferences")[2].partition("\n## ")[0]
    assert all(f"`{name}`" in text for name in preferences.REFUSED)
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert rows == set(preferences._ACTED_ON.split(", "))


def test_every_reason_to_leave_an_endpoint_out_is_documented() -> None:
    source = Path(plan.__file__).read_text(encoding="utf-8")
    told = set(re.findall(r'return "(\w+)"', source))
    told |= set(re.findall(r'Exclusion\([\w.]+, "(\w+)"', source))
    told |= {data_policy.ZDR, data_policy.TRAINING}
    text = page("reference/errors.md").partition("### Why no endpoint is left")[2]
    documented = set(re.findall(r"^\| `([\w:]+)` \|", text.partition("\n## ")[0], re.MULTILINE))
    assert len(told) > 8
    assert told <= documented
