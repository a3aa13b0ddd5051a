"""A certificate authority for one test session, made by the `openssl` command (version 3 or later)."""

import shutil
import ssl
import subprocess
from pathlib import Path

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]


class Authority:
    """Issues certificates. `file` is its own, for clients to trust.

    Raises:
        RuntimeError: there is no `openssl` command, or it failed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = str(folder / "ca.pem")
        self._key = str(folder / "ca.key")
        openssl("req", "-x509", *KEY, "-subj", "/CN=Test", "-keyout", self._key, "-out", self.file)

    def server(self, names: str) -> ssl.SSLContext:
        """A server's context with a certificate for these names, such as `DNS:localhost`."""
        stem = names.replace(":", "_")
        key = str(self.folder / f"{stem}.key")
        certificate = str(self.folder / f"{stem}.pem")
        signer = ["-CA", self.file, "-CAkey", self._key]
        own = ["-subj", "/CN=server", "-addext", f"subjectAltName={names}"]
        openssl("req", "-x509", *signer, *KEY, *own, "-keyout", key, "-out", certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context

    def client(self, name: str, *, password: str | None = None) -> tuple[str, str]:
        """The files of a client's certificate and of its key, encrypted if there is a password."""
        key, certificate = (str(self.folder / f"{name}.{kind}") for kind in ("key", "pem"))
        signer = ["-CA", self.file, "-CAkey", self._key]
        plain = [part for part in KEY if part != "-nodes"]
        secret = ["-nodes"] if password is None else ["-passout", f"pass:{password}"]
        subject = ["-subj", f"/CN={name}", "-keyout", key, "-out", certificate]
        openssl("req", "-x509", *signer, *plain, *secret, *subject)
        return certificate, key


def openssl(*arguments: str) -> None:
    command = shutil.which("openssl")
    if command is None:
        raise RuntimeError("these tests need the openssl command, version 3 or later")
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr}")
