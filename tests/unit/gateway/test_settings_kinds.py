"""Kinds in the settings are those of the registry, and each fault with them is one line that tells them."""

from typing import Any

import pytest

from backends import KINDS
from gateway.errors import ConfigurationError
from gateway.settings import check
from gateway.settings_upstream import EndpointSettings
from tests.builders import OWN_ENDPOINT

PROVIDERS = [name for name, kind in KINDS.items() if kind.catalogue]


def faults(tree: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        check(tree)
    return caught.value.faults


def endpoint(**fields: Any) -> EndpointSettings:
    row = {name: value for name, value in OWN_ENDPOINT.items() if name != "id"}
    return check({"endpoints": [{**row, **fields}]}).endpoints[0]


def test_every_kind_can_be_an_endpoint() -> None:
    for kind in KINDS:
        assert endpoint(kind=kind).kind == kind
    assert faults({"endpoints": [{**OWN_ENDPOINT, "kind": "openai"}]}) == (
        f"endpoints[0].kind: 'openai' is not one of {', '.join(KINDS)}",
    )


@pytest.mark.parametrize("kind", ["vllm", "openai"])
def test_only_what_the_catalogue_has_prices_of_is_a_provider(kind: str) -> None:
    (line,) = faults({"providers": [{"kind": kind, "api_key": "k"}]})
    assert line == (
        f"providers[0].kind: {kind!r} is not one of {', '.join(PROVIDERS)};"
        " what the catalogue has no prices of goes under 'endpoints'"
    )
    for known in PROVIDERS:
        check({"providers": [{"kind": known, "api_key": "k"}]})


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if name != "litellm"])
def test_an_address_is_required_where_the_kind_has_none(kind: str) -> None:
    row = {"provider": "a", "kind": kind, "model": "kimi-k2.6", "price": OWN_ENDPOINT["price"]}
    public = KINDS[kind].base_url
    if public is None:
        assert faults({"endpoints": [row]}) == ("endpoints[0].base_url: is required",)
    else:
        assert check({"endpoints": [row]}).endpoints[0].address == public


def test_an_endpoint_without_a_name_is_called_after_its_provider_and_model() -> None:
    assert endpoint(provider="own", model="a/b").id == "own/a/b"
    twice = {**OWN_ENDPOINT, "id": f"{OWN_ENDPOINT['provider']}/m", "model": "m"}
    unnamed = {name: value for name, value in twice.items() if name != "id"}
    (line,) = faults({"endpoints": [twice, unnamed]})
    assert "is there more than once" in line
    (line,) = faults({"endpoints": [{**unnamed, "model": "with spaces"}]})
    assert line.startswith("endpoints[0].id: 'own/with spaces' ".replace("own", twice["provider"]))


def test_what_a_name_is_made_of_is_missed_by_its_own_name() -> None:
    row = {name: value for name, value in OWN_ENDPOINT.items() if name not in {"id", "model"}}
    assert faults({"endpoints": [row]}) == ("endpoints[0].model: is required",)


def test_a_switch_that_nobody_has_is_told_the_ones_that_there_are() -> None:
    (line,) = faults({"endpoints": [{**OWN_ENDPOINT, "thinking_switch": "on"}]})
    assert line.startswith("endpoints[0].thinking_switch: 'on' is not one of none, thinking, ")
