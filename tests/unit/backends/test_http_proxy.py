"""Which proxy a URL names, whom it is not for, and that nothing it answers is taken on trust."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.errors import ConnectFailed
from backends.http_proxy import Exemptions, Proxy, Tunnel
from tests.fakes.upstream_connection import FakeTransport


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128"),
        ("http://proxy.example", "http://proxy.example:80"),
        ("https://proxy.example/", "https://proxy.example:443"),
        ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("http://[fd00::1]:8080", "http://[fd00::1]:8080"),
        ("HTTP://Proxy.Example:1", "http://proxy.example:1"),
    ],
)
def test_url_names_a_proxy(url: str, shown: str) -> None:
    proxy = Proxy.of(url)
    assert str(proxy) == shown
    assert proxy.authorization is None


@pytest.mark.parametrize(
    ("userinfo", "credential"),
    [
        ("user:pass", "Basic dXNlcjpwYXNz"),
        ("user", "Basic dXNlcjo="),
        ("user:", "Basic dXNlcjo="),
        ("u%40x:p%3A%2F%40", "Basic dUB4OnA6L0A="),
        ("%C3%BC:%C3%9F", "Basic w7w6w58="),
    ],
)
def test_userinfo_becomes_the_credential_and_is_not_shown(userinfo: str, credential: str) -> None:
    proxy = Proxy.of(f"http://{userinfo}@proxy.example:3128")
    assert proxy.authorization is not None
    assert proxy.authorization.reveal() == credential
    for text in (str(proxy), repr(proxy), f"{proxy}"):
        assert "proxy.example" in text
        assert credential not in text
        assert userinfo not in text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "proxy.example:3128",
        "socks5://proxy.example:1080",
        "http://",
        "http://:3128",
        "http://user:s3cret@proxy.example:port",
        "http://user:s3cret@proxy.example:0",
        "http://user:s3cret@proxy.example:99999",
        "http://user:s3/cret@proxy.example:3128",
        "http://user:s3cret@proxy.example:3128/path",
        "http://user:s3cret@proxy.example?x=1",
        "http://user:s3cret@[::1",
        "http://user:s3cret@bücher.example",
        "http://a%3Ab:s3cret@proxy.example",
    ],
)
def test_what_names_no_proxy_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be an address such as|must not hold") as caught:
        Proxy.of(url)
    assert "s3" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("entry", "covered", "not_covered"),
    [
        (
            "example.com",
            ["example.com:443", "EXAMPLE.com:1", "a.b.example.com:443", "example.com.:443"],
            ["notexample.com:443", "example.com.evil:443", "com:443"],
        ),
        (".example.com", ["a.example.com:443"], ["example.com:443", "aexample.com:443"]),
        ("*.example.com", ["a.example.com:443"], ["example.com:443"]),
        ("example.com:8443", ["example.com:8443", "a.example.com:8443"], ["example.com:443"]),
        ("vllm", ["vllm:8000", "a.vllm:8000"], ["vllm2:8000"]),
        ("10.0.0.7", ["10.0.0.7:80"], ["10.0.0.8:80", "10.0.0.77:80"]),
        ("10.0.0.7:8000", ["10.0.0.7:8000"], ["10.0.0.7:80"]),
        ("10.0.0.0/8", ["10.255.0.1:80"], ["11.0.0.1:80", "ten.example:80"]),
        ("10.1.2.3/8", ["10.255.0.1:80"], ["11.0.0.1:80"]),
        ("fd00::/8", ["fd12::1:80"], ["fe00::1:80", "10.0.0.1:80"]),
        ("fd00::7", ["fd00::7:80", "fd00:0::7:80"], ["fd00::8:80"]),
        ("[fd00::7]", ["fd00::7:80"], ["fd00::8:80"]),
        ("[fd00::7]:8000", ["fd00::7:8000"], ["fd00::7:80"]),
        (" *", ["anything.example:443", "8.8.8.8:80"], []),
    ],
)
def test_exemption_covers(entry: str, covered: list[str], not_covered: list[str]) -> None:
    exemptions = Exemptions(["unrelated.example", entry])
    for where in covered:
        host, _, port = where.rpartition(":")
        assert exemptions.cover(host, int(port)), where
    for where in not_covered:
        host, _, port = where.rpartition(":")
        assert not exemptions.cover(host, int(port)), where


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "::1"])
def test_loopback_is_always_exempt(host: str) -> None:
    assert Exemptions().cover(host, 8000)
    assert not Exemptions().cover("localhost.example", 8000)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        " ",
        "http://example.com",
        "example.com/path",
        "10.0.0.0/33",
        "a b",
        "exa*mple.com",
        "**",
        ".",
        "*.",
        "example.com:port",
        "example.com:0",
        "example.com:99999",
        "[fd00::1",
        "[fd00::1]x",
        "bücher.example",
    ],
)
def test_what_is_no_exemption_is_refused_by_name(entry: str) -> None:
    with pytest.raises(ValueError, match="is not a host") as caught:
        Exemptions([entry])
    assert repr(entry.strip()) in str(caught.value)


@given(
    st.binary(max_size=300)
    | st.lists(
        st.sampled_from(
            [b"HTTP/1.1 ", b"200", b"407", b" OK", b"\r\n", b"\r\n\r\n", b"\n", b"X: y", b"\0"]
        )
    ).map(b"".join),
    st.lists(st.integers(1, 20), max_size=20),
)
@settings(max_examples=300, deadline=None)
def test_no_answer_of_a_proxy_crashes_or_opens_by_accident(data: bytes, cut: list[int]) -> None:
    loop = asyncio.new_event_loop()
    tunnel = Tunnel(Proxy.of("http://proxy.example"), "origin.example", 443, loop)
    transport = FakeTransport()
    tunnel.connection_made(transport)
    at = 0
    for length in [*cut, len(data)]:
        if data[at : at + length] and not transport.paused:
            tunnel.data_received(data[at : at + length])
        at += length
    tunnel.eof_received()
    tunnel.connection_lost(None)
    assert tunnel.opened.done()
    if (error := tunnel.opened.exception()) is None:
        assert b"HTTP/1.1 2" in data
        assert transport.paused
    else:
        assert isinstance(error, ConnectFailed)
    loop.close()
