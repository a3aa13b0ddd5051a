"""The gateway shows its certificate where it is asked for one; files that do not fit are told by name."""

import ssl
from pathlib import Path

import pytest

from backends.errors import BackendError, ConnectionLost
from backends.http_dial import Dialer
from backends.http_tls import TlsFault, TlsFiles, client_context
from backends.secret import Secret
from backends.values import Origin
from tests.contract.http.certificates import Authority
from tests.contract.http.clients import Ask, Clients
from tests.fakes.raw_server import Peer, RawServer, serve

PASSWORD = "pass word"
Pair = tuple[str, str]


@pytest.fixture(scope="session")
def pair(authority: Authority) -> Pair:
    return authority.client("gateway")


@pytest.fixture(scope="session")
def encrypted(authority: Authority) -> Pair:
    return authority.client("encrypted", password=PASSWORD)


@pytest.fixture(scope="session")
def demanding(authority: Authority) -> ssl.SSLContext:
    context = authority.server("DNS:localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.file)
    return context


class Hosts:
    """A script that answers with the name in the client's certificate."""

    def __init__(self) -> None:
        self.names: list[str | None] = []

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.request()
            shown = peer.writer.get_extra_info("peercert")
            self.names.append(shown["subject"][0][0][1] if shown else None)
            await peer.reply()


def named(server: RawServer) -> Origin:
    return Origin("https", "localhost", server.origin.port, local=True)


async def test_certificate_is_shown_to_a_server_that_demands_one(
    clients: Clients, authority: Authority, demanding: ssl.SSLContext, pair: Pair
) -> None:
    files = TlsFiles(ca_file=authority.file, certificate_file=pair[0], key_file=pair[1])
    script = Hosts()
    async with serve(script, tls=demanding) as server:
        ask = clients.new(dialer=Dialer(tls=files))
        for _ in range(2):
            assert await ask.read(named(server)) == b"ok"
        assert len(server.peers) == 1
    assert script.names == ["gateway", "gateway"]


async def test_encrypted_key_is_opened_with_its_password(
    clients: Clients, authority: Authority, demanding: ssl.SSLContext, encrypted: Pair
) -> None:
    files = TlsFiles(
        ca_file=authority.file,
        certificate_file=encrypted[0],
        key_file=encrypted[1],
        key_password=Secret(PASSWORD),
    )
    script = Hosts()
    async with serve(script, tls=demanding) as server:
        assert await clients.new(dialer=Dialer(tls=files)).read(named(server)) == b"ok"
    assert script.names == ["encrypted"]
    assert PASSWORD not in repr(files)


def test_key_may_be_in_the_file_of_the_certificate(
    authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(Path(pair[1]).read_bytes() + Path(pair[0]).read_bytes())
    client_context(TlsFiles(certificate_file=str(both)))


async def test_an_origin_of_its_own_gets_its_own_files_and_no_other_does(
    clients: Clients, authority: Authority, localhost: ssl.SSLContext, pair: Pair
) -> None:
    asking = authority.server("DNS:localhost")
    asking.verify_mode = ssl.CERT_OPTIONAL
    asking.load_verify_locations(authority.file)
    first, second = Hosts(), Hosts()
    async with serve(first, tls=asking) as one, serve(second, tls=asking) as other:
        files = TlsFiles(ca_file=authority.file, certificate_file=pair[0], key_file=pair[1])
        dialer = Dialer(tls=TlsFiles(ca_file=authority.file), tls_of={named(one): files})
        ask = clients.new(dialer=dialer)
        assert await ask.read(named(one)) == b"ok"
        assert await ask.read(named(other)) == b"ok"
    assert (first.names, second.names) == (["gateway"], [None])


async def test_server_that_demands_a_certificate_gets_none(
    trusting: Ask, demanding: ssl.SSLContext
) -> None:
    async with serve(Hosts(), tls=demanding) as server:
        with pytest.raises(BackendError) as caught:
            await trusting(named(server))
        assert isinstance(caught.value, ConnectionLost)
        assert trusting.client.stats()[named(server)].open == 0
        assert "client certificate" in str(caught.value)


def test_missing_file_is_told(pair: Pair) -> None:
    for files, line in (
        (TlsFiles(ca_file="/no/ca.pem"), "ca_file: there is no file /no/ca.pem"),
        (TlsFiles(certificate_file="/no/c.pem"), "certificate_file: there is no file /no/c.pem"),
        (
            TlsFiles(certificate_file=pair[0], key_file="/no/k.pem"),
            "key_file: there is no file /no/k.pem",
        ),
        (TlsFiles(key_file=pair[1]), "key_file: is of no use without 'certificate_file'"),
        (
            TlsFiles(key_password=Secret("x")),
            "key_password: is of no use without 'certificate_file'",
        ),
    ):
        with pytest.raises(TlsFault) as caught:
            client_context(files)
        assert str(caught.value) == line


def test_folder_in_place_of_a_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(TlsFault, match=r"^ca_file: .* cannot be read: Is a directory$"):
        client_context(TlsFiles(ca_file=str(tmp_path)))


def test_authority_file_without_a_certificate_is_told(tmp_path: Path, pair: Pair) -> None:
    junk = tmp_path / "junk.pem"
    for content in (b"", b"no certificate", b"\xff\x00", Path(pair[1]).read_bytes()):
        junk.write_bytes(content)
        with pytest.raises(TlsFault) as caught:
            client_context(TlsFiles(ca_file=str(junk)))
        assert str(caught.value) == f"ca_file: {junk} holds no certificate in PEM form"


def test_key_of_another_certificate_is_told(authority: Authority, pair: Pair) -> None:
    _, other = authority.client("other")
    with pytest.raises(TlsFault) as caught:
        client_context(TlsFiles(certificate_file=pair[0], key_file=other))
    assert str(caught.value) == f"key_file: the key is not that of {pair[0]}"


def test_junk_in_place_of_a_key_is_told(tmp_path: Path, pair: Pair) -> None:
    junk = tmp_path / "junk.key"
    junk.write_text("no key")
    with pytest.raises(TlsFault, match="one certificate and one private key are needed"):
        client_context(TlsFiles(certificate_file=pair[0], key_file=str(junk)))
    with pytest.raises(TlsFault, match="one certificate and one private key are needed"):
        client_context(TlsFiles(certificate_file=pair[0]))


def test_encrypted_key_without_a_password_is_told_and_nobody_is_asked(encrypted: Pair) -> None:
    with pytest.raises(TlsFault) as caught:
        client_context(TlsFiles(certificate_file=encrypted[0], key_file=encrypted[1]))
    assert str(caught.value) == "key_file: the private key is encrypted: set 'key_password'"


@pytest.mark.parametrize("password", ["wrong", "", "x" * 2000])
def test_wrong_password_is_told_and_not_shown(encrypted: Pair, password: str) -> None:
    files = TlsFiles(
        certificate_file=encrypted[0], key_file=encrypted[1], key_password=Secret(password)
    )
    with pytest.raises(TlsFault) as caught:
        client_context(files)
    assert str(caught.value) == "key_password: does not decrypt the private key"
