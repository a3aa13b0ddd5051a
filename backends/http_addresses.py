"""Which addresses may be dialled: an upstream is on the public internet unless its owner says otherwise.

What is checked is the address that a connection is then opened to, never a name: a name that means a
public address now may mean one of this machine's own a moment later (DNS rebinding).
"""

import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# What RFC 6890 and its updates set apart, as it is generally known (the registries themselves were not
# read for this list): what is not globally reachable. Written out, for Python's own `is_private` differs
# between its versions.
_SPECIAL: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("an unspecified address", ("0.0.0.0/8", "::/128")),
    ("a loopback address", ("127.0.0.0/8", "::1/128")),
    ("a private address", ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")),
    ("a unique-local address", ("fc00::/7",)),
    ("a link-local address", ("169.254.0.0/16", "fe80::/10", "fec0::/10")),
    ("an address behind carrier-grade NAT", ("100.64.0.0/10",)),
    ("a multicast address", ("224.0.0.0/4", "ff00::/8")),
    (
        "a reserved address",
        (
            *("192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24"),
            *("203.0.113.0/24", "240.0.0.0/4", "100::/64", "2001:db8::/32", "3fff::/20"),
            *("2001:2::/48", "5f00::/16"),
        ),
    ),
)
_NETWORKS: tuple[tuple[str, _Network], ...] = tuple(
    (what, ipaddress.ip_network(text)) for what, texts in _SPECIAL for text in texts
)

# Where clouds hand credentials to whoever asks from inside: no model is served there. As generally known,
# not looked up one by one: AWS (instances, ECS tasks, EKS pods), Azure, Google, Oracle, IBM, DigitalOcean
# and OpenStack (169.254.169.254 all; the last also by version 6), Azure's host channel, Alibaba, Oracle's
# older one.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            *("169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16"),
            *("100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
            "fe80::a9fe:a9fe",
        ),
    )
)

# Addresses of version 6 that carry one of version 4 in their last 32 bits: mapped and the older
# compatible ones (RFC 4291), and both prefixes of NAT64 (RFC 6052, RFC 8215).
_CARRIERS = tuple(
    ipaddress.ip_network(text)
    for text in ("::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")
)
_LOW = 0xFFFF_FFFF
_SET_LOCAL = "set 'local: true' for this upstream if it is your own"
_OWN_OF_SIX = frozenset(map(ipaddress.ip_address, ("::", "::1")))


def literal(host: str) -> str | None:
    """The address that a host of a URL stands for without a look-up; None for a name.

    Also in the spellings that the system's own parser knows, such as `127.1` or `2130706433`, and with the
    dot that names of hosts may end with: a proxy may read it so.
    """
    host = host.removesuffix(".")
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def why_not(address: str, *, local: bool) -> str | None:
    """Why an address may not be dialled; None if it may.

    Args:
        address: as `socket.getaddrinfo` gives it, perhaps with a zone.
        local: whether it is for an upstream whose owner said that it is local.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return f"{address} is not an address"
    meant = _meant(ip)
    if not _METADATA.isdisjoint(meant):
        return f"{address} is a cloud's metadata service, which no setting opens"
    if local:
        return None
    for one in meant:
        for what, network in _NETWORKS:
            if one.version == network.version and one in network:
                return f"{address} is {what}: {_SET_LOCAL}"
    return None


def address_fault(host: str, *, local: bool) -> str | None:
    """Why a host of a URL may not be dialled, as far as that can be told without a look-up."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 §6.3
        return None if local else f"{host} is a loopback name: {_SET_LOCAL}"
    address = literal(host)
    return None if address is None else why_not(address, local=local)


def allowed(
    host: str, addresses: Sequence[tuple[int, tuple[Any, ...]]], *, local: bool
) -> Sequence[tuple[int, tuple[Any, ...]]]:
    """Those of a host's addresses that may be dialled; at least one.

    Args:
        host: whose they are.
        addresses: each with its family first, as `socket.connect` takes them; at least one.
        local: as in `why_not`.

    Raises:
        ValueError: none may be; the message says why, of the first.
    """
    reasons = [why_not(str(where[0]), local=local) for _, where in addresses]
    if not any(reasons):
        return addresses
    good = [one for one, reason in zip(addresses, reasons, strict=True) if reason is None]
    if not good:
        first = next(reason for reason in reasons if reason is not None)
        raise ValueError(first if first.startswith(host) else f"{host}: {first}")
    return good


def _meant(ip: _Ip) -> tuple[_Ip, ...]:
    """An address and those of version 4 that a packet to it may end at."""
    if isinstance(ip, ipaddress.IPv4Address):
        return (ip,)
    found: list[_Ip] = [ip]
    if ip not in _OWN_OF_SIX and any(ip in network for network in _CARRIERS):
        found.append(ipaddress.IPv4Address(int(ip) & _LOW))
    if ip.sixtofour is not None:
        found.append(ip.sixtofour)
    if ip.teredo is not None:
        found += ip.teredo
    return tuple(found)
