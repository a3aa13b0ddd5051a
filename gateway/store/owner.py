"""One gateway per data folder: counters in memory cannot be shared."""

import fcntl
import os
import secrets
from pathlib import Path

from gateway.errors import ConfigurationError

_MARK = 16


def take(data: Path) -> int:
    """Claim a data folder, made if there is none, until this process ends.

    Returns:
        The descriptor that the claim hangs on. A process that inherits it holds the claim as well.

    Raises:
        ConfigurationError: another process has it, or the folder cannot be written.
    """
    path = data / "owner.lock"
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as fault:
        raise ConfigurationError([f"{path}: {fault.strerror}"]) from fault
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ConfigurationError(
            [
                (
                    f"data: another gateway is running on {data}; stop it, or choose another folder"
                    " (limits are kept in memory, which two processes cannot share)"
                )
            ]
        ) from None
    return descriptor


def mark(data: Path) -> str:
    """16 characters that tell a data folder from all others, the same after each restart.

    Args:
        data: a folder that this process, or the one that started it, has taken.

    Raises:
        ConfigurationError: it cannot be read or written.
    """
    path = data / "owner.lock"
    try:
        known = path.read_text(encoding="ascii", errors="replace")
        if len(known) != _MARK:
            known = secrets.token_hex(_MARK // 2)
            path.write_text(known, encoding="ascii")  # in place: the lock is on this very file
    except OSError as fault:
        raise ConfigurationError([f"{path}: {fault.strerror}"]) from fault
    return known
