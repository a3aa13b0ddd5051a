"""The kinds of endpoint, and that each has an adapter."""

import asyncio
from urllib.parse import urlsplit

import pytest

from backends import KINDS, Endpoint, HttpClient, Secret, open_backends
from backends.openai_compat import MOONSHOT, NOVITA, OPENAI_COMPAT, VLLM, OpenAICompatBackend
from backends.openai_compat.backend import route
from backends.values import Origin


def test_these_kinds_are_known() -> None:
    assert {name: kind.quirks for name, kind in KINDS.items()} == {
        "moonshot": MOONSHOT,
        "novita": NOVITA,
        "openai_compat": OPENAI_COMPAT,
        "vllm": VLLM,
    }


async def test_every_kind_has_an_adapter_with_its_own_quirks_on_the_one_client() -> None:
    client = HttpClient(clock=asyncio.get_running_loop().time)
    backends = open_backends(client)
    assert backends.keys() == KINDS.keys()
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


def test_moonshot_offers_one_choice_only() -> None:
    assert [name for name, kind in KINDS.items() if not kind.quirks.multiple_choices] == [
        "moonshot"
    ]


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
