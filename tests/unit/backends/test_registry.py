"""The kinds of endpoint, and that each has an adapter."""

import asyncio
import importlib
import pkgutil
from urllib.parse import urlsplit

import pytest

from backends import KINDS, Endpoint, HttpClient, Secret, kinds, open_backends
from backends.kind import Kind
from backends.openai_compat import OpenAICompatBackend
from backends.openai_compat.backend import route
from backends.values import Origin
from pricing import load_packaged


def test_every_file_of_kinds_is_listed_under_its_name() -> None:
    rows = {}
    for file in pkgutil.iter_modules(kinds.__path__):
        module = importlib.import_module(f"backends.kinds.{file.name}")
        found = [row for row in vars(module).values() if isinstance(row, Kind)]
        assert KINDS[file.name] is module.KIND
        rows.update({id(row): file.name for row in found})
    assert {id(row) for row in KINDS.values()} == rows.keys()
    assert all(name.startswith(rows[id(row)]) for name, row in KINDS.items())


def test_every_provider_is_named_as_the_catalogue_has_it() -> None:
    hosts = {card.provider for card in load_packaged().cards}
    named = {name: kind.catalogue for name, kind in KINDS.items() if kind.catalogue}
    assert named == {
        "moonshot": "moonshot",
        "moonshot_cn": "moonshot-cn",
        "novita": "novita",
        "openrouter": "openrouter",
        "vercel": "vercel-ai-gateway",
    }
    assert set(named.values()) <= hosts


def test_only_an_aggregators_own_statement_of_the_cost_is_taken() -> None:
    assert [name for name, kind in KINDS.items() if kind.reports_cost] == ["openrouter", "vercel"]


async def test_every_kind_has_an_adapter_with_its_own_quirks_on_the_one_client() -> None:
    client = HttpClient(clock=asyncio.get_running_loop().time)
    backends = open_backends(client)
    assert backends.keys() == KINDS.keys() - {"litellm"}  # which has a worker of its own
    for name, backend in backends.items():
        assert isinstance(backend, OpenAICompatBackend)
        assert backend.quirks is KINDS[name].quirks
        assert backend._client is client
    await client.aclose()


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.base_url])
def test_a_providers_own_service_is_reached_by_tls_with_a_key(name: str) -> None:
    kind = KINDS[name]
    url = urlsplit(kind.base_url)
    assert url.scheme == "https"
    assert not url.path.endswith("/")
    assert kind.key_variable is not None


def test_only_what_costs_nothing_twice_may_be_sent_twice() -> None:
    assert [name for name, kind in KINDS.items() if kind.quirks.resend_safe] == ["vllm"]


def test_these_offer_one_choice_only_and_say_so_in_their_tables() -> None:
    one = {name for name, kind in KINDS.items() if not kind.quirks.multiple_choices}
    assert one == {"moonshot", "moonshot_cn", "openrouter", "vercel", "litellm"}
    assert one == {name for name, kind in KINDS.items() if kind.quirks.fixed.get("n") == 1}


@pytest.mark.parametrize(
    ("kind", "base_url", "may"),
    [
        ("moonshot", None, False),
        ("moonshot_cn", None, False),
        ("novita", None, False),
        ("openrouter", None, True),
        ("vercel", None, True),
        # The same wire at another address: a gateway of one's own, or this one, by mistake.
        ("moonshot", "https://api.moonshot.cn/v1", True),
        ("novita", "http://127.0.0.1:8080/v1", True),
        ("vllm", "http://gpu:8000/v1", True),
        ("openai_compat", "https://own.example/v1", True),
    ],
)
def test_only_a_provider_at_home_cannot_be_a_gateway(
    kind: str,
    base_url: str | None,
    may: bool,  # noqa: FBT001 - a parameter
) -> None:
    row = KINDS[kind]
    endpoint = Endpoint(
        id="e", provider="p", kind=kind, base_url=base_url or row.base_url or "", model="m"
    )
    assert route(endpoint, row.quirks, home=row.base_url).may_be_gateway is may


@pytest.mark.parametrize(
    ("base_url", "origin", "target"),
    [
        ("https://api.x.ai/v1", Origin("https", "api.x.ai", 443), b"/v1/chat/completions"),
        ("https://api.x.ai/v1/", Origin("https", "api.x.ai", 443), b"/v1/chat/completions"),
        ("http://gpu:8000", Origin("http", "gpu", 8000), b"/chat/completions"),
        ("http://gpu/a/b", Origin("http", "gpu", 80), b"/a/b/chat/completions"),
        ("http://[::1]:8000/v1", Origin("http", "::1", 8000), b"/v1/chat/completions"),
    ],
)
def test_a_base_url_says_where_requests_go(base_url: str, origin: Origin, target: bytes) -> None:
    endpoint = Endpoint(
        id="e", provider="p", kind="vllm", base_url=base_url, model="m", api_key=Secret("k")
    )
    where = route(endpoint, KINDS["vllm"].quirks)
    assert (where.origin, where.target) == (origin, target)
    assert b"Bearer k" in where.headers
    assert "Bearer k" not in repr(endpoint)
