"""The sandbox's guide lists what can be asked of it."""

import re
from pathlib import Path

from backends.sandbox import Fault, FaultName
from backends.sandbox.faults import _KEYS

GUIDE = Path(__file__).resolve().parents[2] / "docs/guides/sandbox.md"


def test_every_fault_is_in_the_table_in_its_own_words() -> None:
    table = GUIDE.read_text(encoding="utf-8").partition("## The faults")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE)
    assert rows == [(fault.value, fault.description) for fault in FaultName]


def test_every_key_of_a_fault_is_named() -> None:
    named = set(re.findall(r"`([a-z_]+)[`:=]", GUIDE.read_text(encoding="utf-8")))
    of_the_struct = {"fault", *Fault.__struct_fields__} - {"name"}
    assert (_KEYS - {"at"}) | of_the_struct <= named | {"count"}
