"""Which addresses may be dialled."""

import socket

import pytest

from backends import address_fault
from backends.http_addresses import allowed, literal, why_not

REFUSED = {
    "10.0.0.1": "private",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.168.1.1": "private",
    "127.0.0.1": "loopback",
    "127.8.9.10": "loopback",
    "::1": "loopback",
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "::": "unspecified",
    "169.254.1.1": "link-local",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "fc00::1": "unique-local",
    "fd12:3456::1": "unique-local",
    "100.64.0.1": "carrier-grade NAT",
    "100.127.255.255": "carrier-grade NAT",
    "224.0.0.1": "multicast",
    "ff02::1": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "198.18.0.1": "reserved",
    "5f00::1": "reserved",
    "2001:2::1": "reserved",
    # of version 4, carried by one of version 6
    "::ffff:10.0.0.1": "private",
    "::ffff:127.0.0.1": "loopback",
    "::7f00:1": "loopback",
    "64:ff9b::a00:1": "private",
    "2002:7f00:1::": "loopback",
}
METADATA = [
    "169.254.169.254",
    "169.254.170.2",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "::ffff:169.254.169.254",
    "fe80::a9fe:a9fe%eth0",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
]
PUBLIC = ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "11.0.0.1"]


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_public_is_for_local_upstreams_only(address: str) -> None:
    why = why_not(address, local=False)
    assert why is not None
    assert REFUSED[address] in why
    assert "set 'local: true'" in why
    assert why_not(address, local=True) is None


@pytest.mark.parametrize("address", METADATA)
@pytest.mark.parametrize("local", [False, True])
def test_metadata_services_are_for_nobody(address: str, *, local: bool) -> None:
    why = why_not(address, local=local)
    assert why is not None
    assert "metadata" in why
    assert "local: true" not in why, "it would not help"


@pytest.mark.parametrize("address", PUBLIC)
@pytest.mark.parametrize("local", [False, True])
def test_public_addresses_are_for_all(address: str, *, local: bool) -> None:
    assert why_not(address, local=local) is None


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f.0.0.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("127.1.", "127.0.0.1"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("api.moonshot.ai", None),
        ("localhost", None),
        ("", None),
    ],
)
def test_an_address_is_known_in_every_spelling(host: str, address: str | None) -> None:
    assert literal(host) == address


@pytest.mark.parametrize(
    "host", ["127.1", "localhost", "LOCALHOST.", "gpu.localhost", "10.0.0.7", "10.0.0.7."]
)
def test_a_host_that_is_private_without_a_look_up_is_told_of(host: str) -> None:
    assert "set 'local: true'" in (address_fault(host, local=False) or "")
    assert address_fault(host, local=True) is None


def test_a_name_is_not_looked_up_for_that() -> None:
    assert address_fault("metadata.google.internal", local=False) is None


def test_of_several_addresses_those_remain_that_may_be_dialled() -> None:
    good, bad = (socket.AF_INET, ("8.8.8.8", 443)), (socket.AF_INET, ("10.0.0.1", 443))
    assert allowed("x", [bad, good], local=False) == [good]
    with pytest.raises(ValueError, match=r"^x: 10\.0\.0\.1 is a private address"):
        allowed("x", [bad, bad], local=False)
