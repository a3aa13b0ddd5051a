"""Accounts at providers in the settings: which rows share one, and what is refused."""

import datetime as dt
from typing import Any

import pytest

from gateway.errors import ConfigurationError
from gateway.routing.accounts import accounts_from
from gateway.routing.candidates import Book
from gateway.routing.endpoints import candidates_from
from gateway.settings import Settings, check
from pricing import load_packaged
from tests.builders import OWN_ENDPOINT

TODAY = dt.date(2026, 11, 22)
MAIN = {"name": "main", "api_keys": ["sk-1", "sk-2"], "limits": {"concurrency": 5}}
MOONSHOT = {"kind": "moonshot"}


def faults(tree: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        check(tree)
    return "\n".join(caught.value.faults)


def keys(settings: Settings) -> dict[str, list[str]]:
    """The keys that the endpoints of each account have."""
    found = {}
    for candidate in candidates_from(settings, load_packaged(), TODAY):
        endpoint = candidate.endpoint
        secrets = [endpoint.api_key, *endpoint.spare_keys]
        found[endpoint.account] = [secret.reveal() for secret in secrets if secret is not None]
    return found


def test_a_block_has_an_account_of_its_own_unless_it_names_one() -> None:
    settings = check(
        {
            "providers": [
                {**MOONSHOT, "api_key": "sk-1"},
                {"kind": "novita", "api_keys": ["a", "b"]},
            ],
            "endpoints": [OWN_ENDPOINT],
        }
    )
    assert keys(settings) == {"moonshot": ["sk-1"], "novita": ["a", "b"], "own/kimi": []}


def test_blocks_that_name_an_account_share_its_keys_limits_and_endpoints() -> None:
    own = {**OWN_ENDPOINT, "kind": "moonshot", "account": "main"}
    tree = {"accounts": [MAIN], "providers": [{**MOONSHOT, "account": "main"}], "endpoints": [own]}
    settings = check(tree)
    assert keys(settings) == {"main": ["sk-1", "sk-2"]}
    candidates = candidates_from(settings, load_packaged(), TODAY)
    (account,) = accounts_from(settings, candidates)
    assert (account.name, account.limits.concurrency) == ("main", 5)
    book = Book(load_packaged(), candidates)
    assert set(book.endpoints_of("main")) == {c.endpoint.id for c in candidates}
    assert "own/kimi" in book.endpoints_of("main")
    assert book.endpoints_of("other") == ()


def test_limits_and_low_balance_may_be_set_on_the_block_itself() -> None:
    limits = {"requests_per_minute": 3, "tokens_per_minute": 500_000, "concurrency": 1}
    row = {**MOONSHOT, "api_key": "k", "limits": limits, "low_balance": "20.5"}
    settings = check({"providers": [row]})
    (account,) = accounts_from(settings, candidates_from(settings, load_packaged(), TODAY))
    assert account.limits.model_dump() == limits
    assert str(account.low_balance) == "20.5"


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        ({"providers": [MOONSHOT]}, "providers[0].api_key: is required"),
        (
            {"providers": [{**MOONSHOT, "account": "x"}]},
            "providers[0].account: there is no 'x' in 'accounts'",
        ),
        (
            {"providers": [{**MOONSHOT, "api_key": "a", "api_keys": ["b"]}]},
            "providers[0]: set 'api_key' or 'api_keys', not both",
        ),
        (
            {
                "accounts": [{**MAIN, "api_key": "c"}],
                "providers": [{**MOONSHOT, "account": "main"}],
            },
            "accounts[0]: set 'api_key' or 'api_keys', not both",
        ),
        (
            {"accounts": [{"name": "main"}], "providers": [{**MOONSHOT, "account": "main"}]},
            "accounts[0]: has no key",
        ),
        (
            {"accounts": [MAIN, MAIN], "providers": [{**MOONSHOT, "account": "main"}]},
            "accounts[0].name: 'main' is there more than once",
        ),
        (
            {
                "accounts": [MAIN],
                "providers": [{**MOONSHOT, "account": "main", "limits": {"concurrency": 1}}],
            },
            "providers[0].limits: belongs to the account 'main': set it in 'accounts'",
        ),
        (
            {"accounts": [MAIN], "providers": [{**MOONSHOT, "name": "main", "api_key": "x"}]},
            "providers[0]: its own account is called 'main', as another one is",
        ),
        (
            {
                "accounts": [MAIN],
                "providers": [
                    {**MOONSHOT, "account": "main"},
                    {"kind": "novita", "account": "main"},
                ],
            },
            (
                "providers[1].account: 'main' is an account for moonshot, by providers[0]; its keys are"
                " not sent to novita"
            ),
        ),
        (
            {"providers": [{**MOONSHOT, "api_key": "k", "limits": {"concurrency": 0}}]},
            "providers[0].limits.concurrency: ",
        ),
        (
            {"providers": [{**MOONSHOT, "api_key": "k", "low_balance": "-1"}]},
            "providers[0].low_balance: '-1' does not have the right form",
        ),
    ],
)
def test_what_cannot_be_meant_is_told(tree: dict[str, Any], line: str) -> None:
    assert line in faults(tree)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"base_url": "http://127.0.0.1:8000/v1"}, "127.0.0.1 is a loopback address"),
        ({"base_url": "https://10.1.2.3/v1"}, "10.1.2.3 is a private address"),
        ({"base_url": "http://[::1]:8000/v1"}, "::1 is a loopback address"),
        ({"base_url": "http://localhost:8000/v1"}, "localhost is a loopback name"),
        ({"base_url": "http://169.254.169.254/v1", "local": True}, "169.254.169.254 is a cloud's"),
        ({"base_url": "http://169.254.169.254/v1", "kind": "vllm"}, "169.254.169.254 is a cloud's"),
        (
            {"base_url": "http://10.0.0.1/v1", "kind": "vllm", "local": False},
            "10.0.0.1 is a private",
        ),
    ],
)
def test_a_private_address_is_refused_at_the_start(row: dict[str, Any], what: str) -> None:
    told = faults({"endpoints": [{**OWN_ENDPOINT, **row}]})
    assert told.startswith(f"endpoints[0].base_url: {what}")
    assert told.count("\n") == 0


def test_every_private_address_is_told_of() -> None:
    row = {**MOONSHOT, "api_key": "k", "base_url": "http://10.0.0.1/v1"}
    own = {**OWN_ENDPOINT, "base_url": "http://10.0.0.2/v1"}
    told = faults({"providers": [row], "endpoints": [own]})
    assert "providers[0].base_url: 10.0.0.1" in told
    assert "endpoints[0].base_url: 10.0.0.2" in told


@pytest.mark.parametrize("row", [{"local": True}, {"kind": "vllm"}, {"sandbox": True}])
def test_ones_own_upstreams_may_be_private(row: dict[str, Any]) -> None:
    own = {**OWN_ENDPOINT, "base_url": "http://10.0.0.1/v1", **row}
    (candidate,) = candidates_from(check({"endpoints": [own]}), load_packaged(), TODAY)
    assert candidate.endpoint.local
