"""The installation's pepper: 32 random bytes that key the hash of every API key.

It lives beside the database, not in it, so that a copy of the database alone tests no key. It
belongs in the backup: without it every key of the installation is dead.
"""

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from gateway.errors import ConfigurationError

FILE_NAME = "pepper"
LENGTH = 32


def ensure(data: Path) -> bytes:
    """The pepper of the data folder, made (mode 0600) if there is none.

    Safe when several processes start at once: all get the same one, and none sees part of it.

    Raises:
        ConfigurationError: the file cannot be read or written, or is not a pepper.
    """
    path = data / FILE_NAME
    try:
        if not path.exists():
            _create(path)
        pepper = path.read_bytes()
    except FileNotFoundError as fault:
        told = f"{path}: there is no such folder; set `data` to that of the installation, or"
        raise ConfigurationError(
            [f"{told} `auth.pepper` to what all processes of one database share"]
        ) from fault
    except OSError as fault:
        raise ConfigurationError([f"{path}: {fault.strerror}; the gateway must own it"]) from fault
    if len(pepper) != LENGTH:
        raise ConfigurationError(
            [f"{path}: {len(pepper)} bytes where {LENGTH} are expected; restore it from the backup"]
        )
    return pepper


def read(digits: str) -> bytes:
    """The pepper that a setting gives: `auth.pepper`.

    Raises:
        ConfigurationError: it is not 64 hexadecimal digits.
    """
    try:
        pepper = bytes.fromhex(digits.strip())
    except ValueError:
        pepper = b""
    if len(pepper) != LENGTH:
        raise ConfigurationError(
            [f"auth.pepper: give {LENGTH * 2} hexadecimal digits: `openssl rand -hex {LENGTH}`"]
        )
    return pepper


def derived(pepper: bytes, purpose: str) -> bytes:
    """A secret of 32 bytes for one purpose, which tells nothing of the pepper or of other purposes."""
    return hmac.digest(pepper, f"tidegate {purpose}".encode(), "sha256")


def _create(path: Path) -> None:
    draft = path.with_name(f".{FILE_NAME}-{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor has no path to open
            file.write(secrets.token_bytes(LENGTH))
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never replaces what another process made in the meantime.
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
