"""The guide to prices says what the code does: the bounds, the fields, and a message."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main
from pricing import load_packaged
from pricing.plausible import Plausible
from pricing.price_fields import MODEL, PRICE

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/guides/prices.md").read_text(encoding="utf-8")
NUMBER = r"([0-9.]+)"


@pytest.mark.parametrize("kind", ["input", "output", "cache_read", "cache_write"])
def test_the_bounds_are_those_of_the_packaged_prices(kind: str) -> None:
    row = rf"^\| {kind.replace('_', ' ')} \| {NUMBER} \| {NUMBER} \| {NUMBER} to {NUMBER} \|$"
    match = re.search(row, GUIDE, re.MULTILINE)
    assert match is not None
    lowest, highest, low, high = (Decimal(text) for text in match.groups())

    plausible = Plausible(load_packaged().cards)

    assert plausible._bounds[kind, "USD"] == (lowest, highest)
    inside, below, above = (
        plausible.doubt(kind, price, "USD", "")
        for price in (low, low - Decimal("0.000001"), high + Decimal("0.000001"))
    )
    assert inside is plausible.doubt(kind, high, "USD", "") is None
    assert below is not None
    assert above is not None


def test_every_field_of_a_price_and_of_a_model_is_in_its_table() -> None:
    _, prices, models = GUIDE.split("\n| field of a ")

    for table, fields in ((prices, PRICE), (models, MODEL)):
        first = [line.split("|")[1] for line in table.splitlines()[2:] if line.startswith("|")]
        assert set(re.findall(r"`(\w+)`", " ".join(first))) == set(fields)


def test_the_message_of_the_guide_is_what_the_command_says(tmp_path: Path) -> None:
    (message,) = re.findall(r"^    (settings\.yaml:9: .*)$", GUIDE, re.MULTILINE)
    path = tmp_path / "settings.yaml"
    path.write_text(
        "# of a host\n\nendpoints:\n- id: host/k3\n  provider: host\n  model: k3\n"
        "  serves: moonshotai/kimi-k3\n  price:\n    input: '0.000003'\n    output: '15'\n"
    )

    said = CliRunner().invoke(main, ["prices", "check", "--config", str(path)]).stdout

    assert said == f"{tmp_path}/{message}\n"
