"""TLS as the upstream client speaks it: whom it trusts, and how it shows who it is itself."""

import ssl
from pathlib import Path

from msgspec import Struct

from backends.secret import Secret


class TlsFiles(Struct, frozen=True):
    """The files of one client side of TLS, all PEM.

    Attributes:
        ca_file: certificates to trust in place of the system's.
        certificate_file: our own certificate and those between it and its authority, for upstreams
            that ask for one.
        key_file: its private key; None: it is in `certificate_file`.
        key_password: what the key is encrypted with.
    """

    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    key_password: Secret | None = None


class TlsFault(ValueError):
    """Files that cannot be used.

    Attributes:
        field: which of `TlsFiles` is at fault.
    """

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field
        self.detail = detail


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """The TLS context for upstreams; it always verifies certificate and host name.

    Raises:
        TlsFault: a file is missing or is not what it should be.
    """
    if files.ca_file is not None:
        _readable("ca_file", files.ca_file)
    try:
        context = ssl.create_default_context(cafile=files.ca_file)  # checks host names as well
    except (ssl.SSLError, ValueError):
        raise TlsFault("ca_file", f"{files.ca_file} holds no certificate in PEM form") from None
    if files.ca_file is not None and not context.cert_store_stats()["x509"]:
        raise TlsFault("ca_file", f"{files.ca_file} holds no certificate in PEM form")
    context.set_alpn_protocols(["http/1.1"])
    if files.certificate_file is not None:
        _show(context, files.certificate_file, files)
    elif files.key_file is not None or files.key_password is not None:
        field = "key_file" if files.key_file is not None else "key_password"
        raise TlsFault(field, "is of no use without 'certificate_file'")
    return context


def _show(context: ssl.SSLContext, certificate_file: str, files: TlsFiles) -> None:
    """Have the context show our certificate to whoever asks for one."""
    _readable("certificate_file", certificate_file)
    key_file = files.key_file
    if key_file is not None:
        _readable("key_file", key_file)
    where = "certificate_file" if key_file is None else "key_file"
    asked = False

    def password() -> str:
        # Without this OpenSSL would ask for the password on the terminal, and wait.
        nonlocal asked
        asked = True
        return "" if files.key_password is None else files.key_password.reveal()

    try:
        context.load_cert_chain(certificate_file, key_file, password)
    except (ssl.SSLError, ValueError) as exc:
        if asked and files.key_password is None:
            raise TlsFault(where, "the private key is encrypted: set 'key_password'") from None
        if asked:
            raise TlsFault("key_password", "does not decrypt the private key") from None
        if getattr(exc, "reason", None) == "KEY_VALUES_MISMATCH":
            raise TlsFault(where, f"the key is not that of {certificate_file}") from None
        said = "one certificate and one private key are needed, both in PEM form"
        if key_file is None:
            raise TlsFault("certificate_file", f"{certificate_file}: {said}") from None
        raise TlsFault("certificate_file", f"{certificate_file} with {key_file}: {said}") from None


def _readable(field: str, path: str) -> None:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except FileNotFoundError:
        raise TlsFault(field, f"there is no file {path}") from None
    except OSError as exc:
        raise TlsFault(field, f"{path} cannot be read: {exc.strerror}") from None
