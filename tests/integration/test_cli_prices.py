"""`tidegate prices list` and `show`: exact, readable, and with their sources."""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.cli.price_listing import WIDTH, price_list, price_row
from gateway.routing.endpoints import candidates_from
from gateway.settings import load
from pricing import load_packaged
from pricing.catalogue import Listing
from tests.unit.pricing.cards import card

DAY = "2026-11-22"
OWN = """\
endpoints:
- {provider: own-gpus, kind: vllm, base_url: http://127.0.0.1:8000/v1, model: legal,
   serves: acme/kimi-legal, context_length: 8192, price: {input: "0.05", output: "0.20", currency: EUR}}
- {provider: host, base_url: "https://host.example/v1", model: kimi-k3,
   price: {input: "2.999999", output: "15", cache_read: "0.3"}}
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["prices", *arguments])


def rows(*arguments: str) -> list[dict[str, Any]]:
    result = run("list", "--json", "--at", DAY, *arguments)
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_every_row_in_force_is_listed_once_and_no_other() -> None:
    ids = [row["id"] for row in rows()]

    expected = {
        listing.card.id
        for listing in load_packaged().listings
        if listing.offered and listing.card.valid_on(DAY)
    }
    assert len(ids) == len(set(ids)) > 300
    assert set(ids) == expected


def test_a_listed_price_is_exactly_that_of_the_rate_card() -> None:
    catalogue = load_packaged()
    for row in rows():
        found = catalogue.card(row["id"])
        assert found is not None
        for field in ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h"):
            pico, text = getattr(found, field), row[field]
            assert (text is None) == (pico is None)
            if text is not None:
                assert Decimal(text) * 10**6 == pico


def test_prices_per_request_and_search_are_told_for_one() -> None:
    row = price_row(Listing(card=card(per_request=1, per_search=5_000_000_000)))

    assert (row["per_request"], row["per_search"]) == ("0.000000000001", "0.005")


@pytest.mark.parametrize(
    ("day", "price"), [("2026-11-02", "0.65"), ("2026-11-03", "0.95"), ("2026-10-18", "0.68")]
)
def test_a_day_chooses_the_prices_that_hold_on_it(day: str, price: str) -> None:
    chosen = ("--provider", "openrouter", "--model", "moonshotai/kimi-k2.6", "--at", day, "--json")
    (row,) = [
        row
        for row in json.loads(run("list", *chosen).stdout)
        if row["provider_model_id"] == "moonshotai/kimi-k2.6"
    ]
    assert row["input"] == price


def test_a_model_is_found_under_any_of_its_names() -> None:
    by_slug = rows("--model", "moonshotai/kimi-k3")

    assert by_slug
    for name in ("kimi-k3", "moonshotai/Kimi-K3", "databricks-kimi-k3"):
        assert rows("--model", name) == by_slug


def test_lists_fit_a_terminal_of_120_columns() -> None:
    lines = run("list", "--at", DAY).stdout.splitlines()

    assert max(map(len, lines)) <= WIDTH == 120


def test_rows_with_long_ids_and_much_to_say_are_folded_and_lose_nothing() -> None:
    long = card(
        provider="provider-of-a-long-name",
        provider_model_id="accounts/somebody/deployments/" + "k" * 60,
        input_price=1,
        per_search=5_000_000_000,
        valid_from="2026-01-01",
        valid_to="2026-12-31",
    )
    short = card(provider_model_id="k", cache_write_1h=6_000_000, valid_from="2026-10-15")

    lines = list(price_list([price_row(Listing(card=one)) for one in (long, short)]))

    assert max(map(len, lines)) <= WIDTH
    words = " ".join(lines).split()
    for said in (long.provider, long.provider_model_id, "0.000001", "0.005;", "2026-12-31", "6;"):
        assert said in words
    points = {line.rindex(".") for line in lines if " 15.00" in line and "standard" in line}
    assert len(points) == 1


def test_decimal_points_of_a_column_are_below_each_other() -> None:
    lines = run(
        "list", "--at", DAY, "--provider", "bedrock", "--model", "kimi-k3"
    ).stdout.splitlines()
    table = [line for line in lines if line.startswith("  bedrock")]

    assert len(table) > 5
    inputs = {line.index(".", line.index("kimi-k3") + len("kimi-k3")) for line in table}
    assert len(inputs) == 1


def test_a_table_tells_tier_search_one_hour_writes_days_and_source() -> None:
    text = run("list", "--at", DAY, "--provider", "moonshot").stdout

    assert "moonshotai/kimi-k3: USD per million tokens" in text
    line = next(line for line in text.splitlines() if line.startswith("  moonshot  kimi-k3  "))
    assert line.split() == [
        *("moonshot", "kimi-k3", "standard", "3.00", "0.30", "3.00", "15.00", "[2]"),
        *("write", "1h", "6;", "search", "0.005;", "from", "2026-10-15"),
    ]
    assert "[2] genai-prices 0.2.3, 2026-11-22" in text


def test_prices_of_two_currencies_are_never_in_one_table() -> None:
    text = run("list", "--at", DAY, "--model", "kimi-k3").stdout

    dollars, yuan = text.split("moonshotai/kimi-k3: CNY per million tokens")
    assert "moonshot-cn" in yuan
    assert "moonshot-cn" not in dollars


def test_an_unknown_provider_or_model_is_told_with_what_comes_near() -> None:
    provider = run("list", "--provider", "moonshoot")
    model = run("list", "--model", "kimi-k33")

    assert (provider.exit_code, model.exit_code) == (1, 1)
    assert "no prices are known of provider 'moonshoot'; did you mean moonshot" in provider.stderr
    assert "no model or rate card is called 'kimi-k33'; did you mean kimi-k3" in model.stderr


def test_where_nothing_holds_that_is_said() -> None:
    result = run("list", "--provider", "moonshot", "--model", "kimi-k2.5", "--at", DAY)

    assert (result.exit_code, result.stdout) == (0, "")
    assert f"no price is known that holds on {DAY}" in result.stderr


def test_a_model_is_shown_with_its_facts_past_prices_and_what_has_none() -> None:
    text = run("show", "kimi-k3").stdout

    for said in (
        "moonshotai/kimi-k3: Kimi K3",
        "context     1,048,576 tokens",
        "reads       text, image, video",
        "thinking    always",
        "output cap  131,072 tokens",
        "Kimi K3 License",
        "weights     moonshotai/Kimi-K3",
        "also named  moonshotai.kimi-k3",
        "in force: USD per million tokens",
        "past: USD per million tokens",
        "openrouter moonshotai/kimi-k3: the only source gives 0.239",
    ):
        assert said in text
    past = text[text.index("past: USD") :]
    assert "to 2026-10-14" in past
    assert max(map(len, text.partition("without a price")[0].splitlines())) <= WIDTH


def test_a_model_as_json_has_all_its_cards() -> None:
    page = json.loads(run("show", "kimi-k2.6", "--json").stdout)

    cards = {one.id for one in load_packaged().cards if one.model == "moonshotai/kimi-k2.6"}
    assert {row["id"] for row in page["prices"]} == cards
    assert page["model"]["hf_id"] == "moonshotai/Kimi-K2.6"
    assert {"provider", "provider_model_id", "reason"} == set(page["unpriced"][0])


def test_a_rate_card_of_the_ledger_is_shown_whole() -> None:
    known = load_packaged().card_for("moonshot", "kimi-k3", dt.date(2026, 11, 22))

    text = run("show", known.id).stdout

    for said in (
        known.id,
        "3 USD per million tokens",
        "6 USD per million tokens",
        "0.005 USD per search",
        "2026-10-15 to …",
        "in force",
        "genai-prices 0.2.3, 2026-11-22",
    ):
        assert said in text
    assert json.loads(run("show", known.id, "--json").stdout)["id"] == known.id


def test_what_a_card_does_not_state_is_said_not_guessed() -> None:
    known = load_packaged().card_for("novita", "moonshotai/kimi-k2-0905", dt.date(2026, 11, 22))

    text = run("show", known.id).stdout

    assert "cache read      not stated: as input" in text
    assert "search          not stated: refused" in text


def test_an_unknown_card_is_told_with_what_comes_near() -> None:
    known = load_packaged().card_for("moonshot", "kimi-k3", dt.date(2026, 11, 22))

    result = run("show", known.id[:-1])

    assert result.exit_code == 1
    assert known.id in result.stderr


def test_prices_of_the_settings_are_listed_with_the_ids_that_the_ledger_has(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(OWN)

    found = {row["provider"]: row for row in rows("--config", str(path))}

    candidates = candidates_from(load(path, {}), load_packaged(), dt.date(2026, 11, 22))
    for candidate in candidates:
        assert candidate.card is not None
        assert found[candidate.endpoint.provider]["id"] == candidate.card.id
    assert found["host"]["input"] == "2.999999"
    assert found["own-gpus"]["provider_model_id"] == "legal"
    assert found["own-gpus"]["currency"] == "EUR"
    assert found["moonshot"]


def test_a_model_of_the_settings_and_its_card_can_be_shown(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(OWN)

    text = run("show", "acme/kimi-legal", "--config", str(path)).stdout

    assert text.startswith("acme/kimi-legal: not in the catalogue")
    assert "in force: EUR per million tokens" in text
    card_id = rows("--config", str(path), "--model", "acme/kimi-legal")[0]["id"]
    assert "0.05 EUR per million tokens" in run("show", card_id, "--config", str(path)).stdout


def test_endpoints_whose_price_cannot_be_read_are_counted_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(OWN.replace('"2.999999"', "2.99"))

    result = run("list", "--provider", "own-gpus", "--config", str(path))

    assert "legal" in result.stdout
    assert (
        "1 endpoint without a price that can be read: see `tidegate prices check`" in result.stderr
    )
    assert run("list", "--provider", "host", "--config", str(path)).exit_code == 1


@pytest.mark.parametrize("text", ["a: [", "[]", "7", "endpoints: 7", "endpoints: [7, {price: 7}]"])
def test_malformed_settings_do_not_keep_the_packaged_prices_from_being_listed(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)

    assert rows("--config", str(path)) == rows()
