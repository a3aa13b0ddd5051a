"""From settings and the packaged catalogue to candidates."""

import datetime as dt
from typing import Any

import pytest

from gateway.errors import ConfigurationError
from gateway.routing.candidates import Book
from gateway.routing.endpoints import candidates_from
from gateway.settings import check
from gateway.values import Candidate
from pricing import load_packaged

CATALOGUE = load_packaged()
TODAY = dt.date(2026, 11, 22)
OWN = {
    "id": "own/kimi",
    "provider": "own",
    "base_url": "http://127.0.0.1:8000/v1/",
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
