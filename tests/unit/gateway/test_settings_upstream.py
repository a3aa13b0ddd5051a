"""How upstreams are reached: what may be set, what follows, and one clear line for each fault."""

import logging
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml

from backends import Origin
from gateway.errors import ConfigurationError
from gateway.settings import Settings, check, load
from tests.builders import OWN_ENDPOINT

PROVIDER = {"kind": "moonshot", "api_key": "sk-1"}
URL = (
    "must be an address such as http://proxy.example:3128, with a user and a password before the"
    " host if it wants them (special characters percent-encoded), and nothing after the port"
)
FORM = "is not a host, a .suffix, an address, a network such as 10.0.0.0/8, or *"
ASCII = "must be of ASCII without spaces: write others as in %20, and names of hosts as in xn--…"
IN_DOLLARS = (
    "what such a reply says that it cost is in USD, and 'price' is in CNY: set 'rate_card', or prices"
    " in USD"
)
CA = {"ca_file": "/nowhere/ca.pem"}


def loaded(folder: Path, upstream: object, **environment: str) -> Settings:
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump({"providers": [PROVIDER], "upstream": upstream}))
    return load(path, environment)


def faults(tree: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        check({"providers": [PROVIDER], **tree})
    return caught.value.faults


def test_unset_means_no_proxy_and_the_systems_authorities() -> None:
    upstream = check({"providers": [PROVIDER]}).upstream
    assert upstream.proxy is None
    assert upstream.no_proxy == ()
    assert upstream.tls.files().ca_file is None
    assert upstream.max_connection_age == 300


def test_proxy_is_a_secret_that_variables_may_be_put_into(tmp_path: Path) -> None:
    settings = loaded(tmp_path, {"proxy": "http://u:${PW}@proxy.example:3128"}, PW="s3cret")
    assert settings.upstream.proxy is not None
    assert settings.upstream.proxy.get_secret_value() == "http://u:s3cret@proxy.example:3128"
    assert "s3cret" not in repr(settings)


def test_empty_proxy_is_none(tmp_path: Path) -> None:
    assert loaded(tmp_path, {"proxy": "${MAYBE}"}, MAYBE="").upstream.proxy is None


@pytest.mark.parametrize(
    "value", [["a.example", "10.0.0.0/8"], "a.example,10.0.0.0/8", " a.example , 10.0.0.0/8,"]
)
def test_no_proxy_is_a_list_or_a_string_as_in_no_proxy(value: object) -> None:
    settings = check({"providers": [PROVIDER], "upstream": {"no_proxy": value}})
    assert settings.upstream.no_proxy == ("a.example", "10.0.0.0/8")


def test_environment_reaches_sections_within_sections(tmp_path: Path) -> None:
    authorities = tmp_path / "none.pem"
    with pytest.raises(ConfigurationError) as caught:
        loaded(
            tmp_path,
            {"no_proxy": "a.example"},
            TIDEGATE_UPSTREAM__TLS__CA_FILE=str(authorities),
            TIDEGATE_UPSTREAM__NO_PROXY="b.example,c.example",
        )
    assert caught.value.faults == (f"upstream.tls.ca_file: there is no file {authorities}",)


@pytest.mark.parametrize(
    ("variable", "line"),
    [
        ("TIDEGATE_UPSTREAM__PROXY__X", "'proxy' is not a section"),
        ("TIDEGATE_UPSTRAEM__PROXY", "there is no setting 'upstraem'"),
    ],
)
def test_variable_that_fits_nothing_is_told(tmp_path: Path, variable: str, line: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, {"proxy": "http://proxy.example"}, **{variable: "x"})
    assert caught.value.faults == (f"{variable}: {line}",)


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        ({"upstream": {"proxy": "socks5://u:s3cret@x"}}, f"upstream.proxy: {URL}"),
        ({"upstream": {"proxy": "http://u:s3cret@x:y"}}, f"upstream.proxy: {URL}"),
        (
            {"upstream": {"no_proxy": ["http://x"]}},
            f"upstream.no_proxy: 'http://x' {FORM}; a scheme and a path do not belong here",
        ),
        ({"upstream": {"tls": CA}}, "upstream.tls.ca_file: there is no file /nowhere/ca.pem"),
        (
            {"upstream": {"tls": {"key_file": "/k.pem"}}},
            "upstream.tls.key_file: is of no use without 'certificate_file'",
        ),
        (
            {"endpoints": [{**OWN_ENDPOINT, "tls": CA}]},
            "endpoints[0].tls.ca_file: there is no file /nowhere/ca.pem",
        ),
        (
            {"providers": [{**PROVIDER, "tls": CA}]},
            "providers[0].tls.ca_file: there is no file /nowhere/ca.pem",
        ),
        (
            {
                "endpoints": [
                    {
                        **OWN_ENDPOINT,
                        "kind": "openrouter",
                        "cost_basis": "provider_reported",
                        "price": {"input": "1", "output": "2", "currency": "CNY"},
                    }
                ]
            },
            f"endpoints[0].cost_basis: {IN_DOLLARS}",
        ),
        *(
            (
                {"endpoints": [{**OWN_ENDPOINT, "base_url": address}]},
                f"endpoints[0].base_url: {ASCII}",
            )
            for address in (
                "https://own.example/v1 HTTP/1.1",
                "https://own.example/v1\r\nX: y",
                "https://own.example/vé",
                "https://\uff1127.0.0.1/v1",
            )
        ),
        (
            {"providers": [{**PROVIDER, "api_keys": "sk-1"}]},
            "providers[0].api_keys: must be a list",
        ),
        (
            {"providers": [{**PROVIDER, "limits": 5}]},
            "providers[0].limits: must be a section with settings of its own",
        ),
        (
            {"upstream": {"tsl": {}}},
            "upstream.tsl: there is no such setting; see docs/reference/settings.md",
        ),
    ],
)
def test_each_fault_is_one_clear_line(tree: dict[str, Any], line: str) -> None:
    assert faults(tree) == (line,)


@pytest.mark.parametrize("field", ["max_connection_age", "max_waiting", "max_waiting_per_team"])
def test_bounds_must_be_above_nothing(field: str) -> None:
    (line,) = faults({"upstream": {field: 0}})
    assert line.startswith(f"upstream.{field}: ")


@pytest.fixture
def authorities(tmp_path: Path) -> str:
    """Some real certificate of the system's, whatever it is."""
    context = ssl.create_default_context()
    found = context.get_ca_certs(binary_form=True)
    if not found:
        pytest.skip("this machine trusts nobody")
    path = tmp_path / "ca.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(found[0]))
    return str(path)


def test_upstreams_with_files_of_their_own_are_told_apart(authorities: str) -> None:
    own = {"ca_file": authorities}
    settings = check(
        {
            "providers": [{**PROVIDER, "tls": own}],
            "endpoints": [
                {**OWN_ENDPOINT, "tls": own},
                {**OWN_ENDPOINT, "id": "b", "base_url": "https://own.example:8443/v1"},
            ],
        }
    )
    found = settings.tls_by_origin()
    assert set(found) == {
        Origin("https", "api.moonshot.ai", 443),
        Origin("https", "own.example", 443),
    }
    assert {tls.files().ca_file for tls in found.values()} == {authorities}


def test_one_host_and_port_cannot_have_two_kinds_of_files(authorities: str) -> None:
    first = {**OWN_ENDPOINT, "tls": {"ca_file": authorities}}
    second = {**OWN_ENDPOINT, "id": "b", "base_url": "https://own.example:443/other"}
    assert faults({"endpoints": [first, second]}) == (
        (
            "endpoints[1].tls: must be the same as endpoints[0].tls, which is of the same host and"
            " port: they share connections"
        ),
    )


def test_files_for_plain_http_are_refused(authorities: str) -> None:
    row = {**OWN_ENDPOINT, "base_url": "http://own.example/v1", "tls": {"ca_file": authorities}}
    assert faults({"endpoints": [row]}) == (
        "endpoints[0].tls: is of no use at an address that begins with http://",
    )


def test_unused_proxy_of_the_environment_is_said_and_not_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    settings = loaded(tmp_path, {}, HTTPS_PROXY="http://u:s3cret@proxy.example")
    assert settings.upstream.proxy is None
    (record,) = caplog.records
    assert "HTTPS_PROXY is set, but upstreams are reached directly" in record.getMessage()
    assert "${HTTPS_PROXY}" in record.getMessage()
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("proxy", ["", "http://other.example", "${HTTPS_PROXY}"])
def test_decided_proxy_is_not_commented(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, proxy: str
) -> None:
    loaded(tmp_path, {"proxy": proxy}, HTTPS_PROXY="http://proxy.example")
    assert not caplog.records


def test_the_rules_that_a_model_of_ones_own_follows_are_those_of_a_known_one() -> None:
    own = {**OWN_ENDPOINT, "serves": "acme/support", "profile": "moonshotai/kimi-k3"}
    assert check({"endpoints": [own]}).endpoints[0].profile == "moonshotai/kimi-k3"
    (fault,) = faults({"endpoints": [{**own, "profile": "acme/support"}]})
    assert fault.startswith(
        "endpoints[0].profile: no rules are known of 'acme/support'; of these: "
    )
    assert "moonshotai/kimi-k2.6" in fault
