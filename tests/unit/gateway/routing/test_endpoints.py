"""From settings and the packaged catalogue to candidates."""

import datetime as dt
from typing import Any

import pytest

from backends import PROFILES, profile_of
from backends.profiles import UNKNOWN
from gateway.errors import ConfigurationError
from gateway.routing.candidates import Book
from gateway.routing.endpoints import candidates_from
from gateway.settings import check
from gateway.values import Candidate
from pricing import Money, load_packaged

CATALOGUE = load_packaged()
TODAY = dt.date(2026, 11, 22)
OWN = {
    "id": "own/kimi",
    "provider": "own",
    "base_url": "http://127.0.0.1:8000/v1/",
    "local": True,
    "model": "kimi",
    "serves": "moonshotai/kimi-k2.6",
    "price": {"input": "0.1", "output": "0.5", "cache_read": "0.01"},
    "context_length": 131_072,
    "max_output": 4096,
}


def made(**tree: Any) -> dict[str, Candidate]:
    return {c.endpoint.id: c for c in candidates_from(check(tree), CATALOGUE, TODAY)}


def provider(kind: str = "moonshot", **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "api_key": "sk-1", **fields}


def test_a_known_provider_serves_what_the_catalogue_lists_that_day() -> None:
    found = made(providers=[provider()])
    offers = {f"moonshot/{o.provider_model_id}": o for o in CATALOGUE.offers("moonshot", TODAY)}
    assert found.keys() == offers.keys()
    for name, candidate in found.items():
        assert candidate.card == offers[name].card
        assert candidate.endpoint.base_url == "https://api.moonshot.ai/v1"
        assert candidate.default_output <= candidate.max_output <= candidate.context_length
        key = candidate.endpoint.api_key
        assert key is not None
        assert key.reveal() == "sk-1"
        assert "sk-1" not in repr(candidate)


def test_the_same_model_at_two_providers_is_one_model_cheapest_first() -> None:
    settings = check({"providers": [provider(), provider("novita")]})
    book = Book(CATALOGUE, candidates_from(settings, CATALOGUE, TODAY))
    found = book.candidates("moonshotai/kimi-k2.6")
    assert {c.endpoint.provider for c in found} == {"moonshot", "novita"}
    prices = [3 * c.card.input + c.card.output for c in found if c.card is not None]
    assert prices == sorted(prices)
    assert book.resolve("kimi-k2.6") == book.resolve("moonshotai/Kimi-K2.6")


def test_settings_of_a_provider_reach_its_endpoints() -> None:
    found = made(
        request={"total_timeout": 100},
        providers=[
            provider(
                name="stand-in",
                base_url="http://127.0.0.1:9/v1",
                models=["moonshotai/kimi-k2.6"],
                timeouts={"connect": 1, "first_byte": 2, "idle": 3},
                max_connections=7,
                sandbox=True,
            )
        ],
    )
    (candidate,) = found.values()
    endpoint = candidate.endpoint
    assert (endpoint.id, endpoint.provider, endpoint.kind) == (
        "stand-in/kimi-k2.6",
        "stand-in",
        "moonshot",
    )
    assert endpoint.base_url == "http://127.0.0.1:9/v1"
    deadlines = endpoint.deadlines
    assert (deadlines.connect, deadlines.first_byte, deadlines.idle) == (1, 2, 3)
    assert (deadlines.total, endpoint.max_connections, endpoint.sandbox) == (100, 7, True)


def test_an_endpoint_of_ones_own_has_its_own_price_and_limits() -> None:
    (candidate,) = made(endpoints=[OWN]).values()
    card = candidate.card
    assert card is not None
    assert (card.input, card.output, card.cache_read) == (100_000, 500_000, 10_000)
    assert (card.currency, card.source) == ("USD", "operator")
    assert (candidate.max_output, candidate.default_output) == (4096, 4096)
    assert candidate.endpoint.base_url == "http://127.0.0.1:8000/v1"
    assert candidate.endpoint.api_key is None


@pytest.mark.parametrize(("default", "cap"), [(None, 4096), (100, 100), (9999, 4096)])
def test_the_default_output_is_never_above_the_most(default: int | None, cap: int) -> None:
    (candidate,) = made(endpoints=[{**OWN, "default_output": default}]).values()
    assert candidate.default_output == cap


FEW = {name: OWN[name] for name in ("provider", "base_url", "local", "price")}


@pytest.mark.parametrize("name", ["moonshotai/Kimi-K2.6", "kimi-k2.6", "moonshotai/kimi-k2.6"])
def test_what_a_row_leaves_out_of_a_known_model_is_in_the_catalogue(name: str) -> None:
    (candidate,) = made(endpoints=[{**FEW, "model": name}]).values()
    facts = CATALOGUE.model("moonshotai/kimi-k2.6")
    assert facts is not None
    assert candidate.model == facts.slug
    assert candidate.endpoint.profile == PROFILES[facts.slug]
    assert (candidate.endpoint.id, candidate.endpoint.model) == (f"own/{name}", name)
    assert candidate.context_length == candidate.max_output == facts.context_length
    assert candidate.default_output == facts.default_output == 32_768


def test_what_a_row_states_counts_over_the_catalogue() -> None:
    less = {**FEW, "model": "kimi-k2.6", "context_length": 20_000}
    (candidate,) = made(endpoints=[less]).values()
    assert (candidate.max_output, candidate.default_output) == (20_000, 20_000)
    (candidate,) = made(endpoints=[{**less, "max_output": 9000}]).values()
    assert (candidate.max_output, candidate.default_output) == (9000, 9000)
    (candidate,) = made(endpoints=[{**less, "serves": "x/mine"}]).values()
    assert (candidate.model, candidate.default_output) == ("x/mine", 20_000)


@pytest.mark.parametrize("name", ["mine", "kimi-k2.6:free", "kimi-k9"])
def test_a_model_that_nobody_knows_must_be_named_and_measured(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        made(endpoints=[{**FEW, "model": name}, {**FEW, "model": "m", "serves": "x/mine"}])
    assert caught.value.faults == (
        f"endpoints[0].serves: is required: {name!r} is no name of a model in the catalogue",
        "endpoints[1].context_length: is required: 'x/mine' is no model in the catalogue",
    )


@pytest.mark.parametrize("isolation", [None, "team", "organisation", "none"])
def test_who_shares_a_prompt_cache_is_the_owners_choice_and_the_team_unless_said(
    isolation: str | None,
) -> None:
    said = {} if isolation is None else {"cache_isolation": isolation}
    (candidate,) = made(endpoints=[{**OWN, "kind": "vllm", **said}]).values()
    assert candidate.endpoint.cache_isolation == (isolation or "team")


def test_an_endpoint_of_ones_own_joins_the_others_of_its_model() -> None:
    found = made(providers=[provider()], endpoints=[OWN])
    assert {"own/kimi", "moonshot/kimi-k2.6"} <= found.keys()


def test_every_fault_is_told_at_once() -> None:
    tree = {
        "providers": [provider(models=["moonshotai/kimi-k2.6", "moonshotai/kimi-k9", "a/b"])],
        "endpoints": [{**OWN, "id": "moonshot/kimi-k2.6"}],
    }
    with pytest.raises(ConfigurationError) as caught:
        made(**tree)
    assert caught.value.faults == (
        "providers[0].models: moonshot does not list 'a/b'",
        "providers[0].models: moonshot does not list 'moonshotai/kimi-k9'",
        "endpoint id 'moonshot/kimi-k2.6' is there more than once",
    )


def test_an_aggregator_is_asked_within_the_price_that_is_held_and_billed_by_what_it_says() -> None:
    found = made(providers=[provider("openrouter", only=["moonshotai", "novita"])])
    offered = found["openrouter/moonshotai/kimi-k2.6"]
    assert offered.endpoint.reaches == ("moonshotai", "novita")
    assert offered.endpoint.base_url == "https://openrouter.ai/api/v1"
    assert offered.cost_basis == "provider_reported"
    for candidate in found.values():
        assert candidate.card is not None
        # Dollars per million tokens are picos per token, over a million.
        assert candidate.endpoint.max_price is not None
        prompt, output = (Money.parse(price, "USD") for price in candidate.endpoint.max_price)
        assert (prompt.pico, output.pico) == (
            candidate.card.input * 10**6,
            candidate.card.output * 10**6,
        )


def test_rows_of_other_tiers_are_not_offered() -> None:
    found = made(providers=[provider("openrouter")])
    assert "openrouter/moonshotai/kimi-k3" in found
    assert [name for name in found if name.endswith((":free", ":batch"))] == []


def test_the_chinese_platform_has_its_own_address_prices_and_currency() -> None:
    found = made(providers=[provider("moonshot_cn")])
    candidate = found["moonshot_cn/kimi-k3"]
    assert candidate.endpoint.base_url == "https://api.moonshot.cn/v1"
    assert candidate.card is not None
    assert (candidate.card.currency, candidate.card.provider) == ("CNY", "moonshot-cn")
    assert candidate.cost_basis == "rate_card"
    assert candidate.endpoint.max_price is None


def test_how_an_endpoint_is_asked_and_billed_is_for_its_row_to_say() -> None:
    rows = [
        OWN | {"id": "plain"},
        OWN | {"id": "said", "thinking_switch": "thinking", "cost_basis": "provider_reported"},
        OWN | {"id": "hub", "kind": "openrouter", "only": ["novita"]},
        OWN
        | {"id": "yuan", "kind": "openrouter"}
        | {"price": {"input": "1", "output": "2", "currency": "CNY"}},
    ]
    found = made(endpoints=rows)
    assert {name: found[name].cost_basis for name in found} == {
        "plain": "rate_card",
        "said": "provider_reported",
        "hub": "provider_reported",
        "yuan": "rate_card",  # such replies state dollars
    }
    assert found["plain"].endpoint.thinking_switch is None
    assert found["said"].endpoint.thinking_switch == "thinking"
    assert found["hub"].endpoint.reaches == ("novita",)
    assert found["hub"].endpoint.max_price == ("0.1", "0.5")
    assert found["yuan"].endpoint.max_price is None


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"only": ["a"]}, "endpoints[0].only: kind openai_compat passes requests on to nobody"),
        (
            {"kind": "vllm", "extra_fields": ["priority"]},
            "endpoints[0].extra_fields: kind vllm is sent no fields but those of its table",
        ),
    ],
)
def test_a_setting_that_would_do_nothing_is_a_fault(row: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check({"endpoints": [OWN | row]})
    assert any(line.startswith(fault) for line in caught.value.faults)


def test_a_model_under_ones_own_name_follows_the_rules_of_the_one_that_is_named() -> None:
    own = {**OWN, "serves": "acme/support"}
    assert made(endpoints=[own])["own/kimi"].endpoint.profile is UNKNOWN
    tuned = made(endpoints=[{**own, "profile": "moonshotai/kimi-k2.6"}])["own/kimi"]
    assert tuned.model == "acme/support"
    assert tuned.endpoint.profile is profile_of("moonshotai/kimi-k2.6")
