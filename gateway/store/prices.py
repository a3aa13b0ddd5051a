"""The prices in the data folder: what was taken over, what waits, and what the sources said last.

Files and not tables, so that they are there before the database is, can be read by people, and are checked
like any price file. Each is written whole and then put in the place of the one before.
"""

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.errors import ConfigurationError
from pricing import Catalogue, PriceDataError, load_packaged
from pricing.layers import layered
from pricing.sources.packaged import packaged_bytes
from pricing.sources.price_file import PriceFile, read_own, read_taken

_FOLDER = "prices"
ACCEPTED = "accepted.json"
WAITING = "waiting.json"
_SOURCES = "sources.json"
_LOCK = "lock"


class Seen(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a source said last.

    Attributes:
        url: where.
        etag: its mark of that version, if it had one.
        last_modified: its date, likewise.
        sha256: of what it sent.
        basis: of the prices that it was compared with.
        at: when, in UTC, ISO 8601.
    """

    url: str
    sha256: str
    basis: str
    at: str
    etag: str | None = None
    last_modified: str | None = None


class PriceFolder:
    """The folder `prices` of a data folder, and the settings' own price file beside it.

    Args:
        data: the data folder.
        own: that file, if there is one.
    """

    def __init__(self, data: Path, own: Path | None) -> None:
        self.path = data / _FOLDER
        self.own = own

    def catalogue(self) -> Catalogue:
        """The prices in force: one's own file over what was taken over, over what is packaged.

        Raises:
            ConfigurationError: a file cannot be read, or is wrong; a line for each fault.
        """
        packaged = load_packaged()
        accepted, own = self.accepted(), self._own(packaged)
        if not accepted.listings and own == PriceFile():
            return packaged
        try:
            return layered(packaged, accepted, own)
        except PriceDataError as fault:
            where = self.path / ACCEPTED if self.own is None else self.own
            raise ConfigurationError([f"{where}: {fault}"]) from None

    def accepted(self) -> PriceFile:
        """What was taken over.

        Raises:
            ConfigurationError: the file cannot be read.
        """
        return self._taken(ACCEPTED)

    def waiting(self) -> PriceFile:
        """What waits for somebody; notes say why.

        Raises:
            ConfigurationError: the file cannot be read.
        """
        return self._taken(WAITING)

    def pinned(self) -> frozenset[tuple[str, str, str]]:
        """Provider, model id and tier of the rows of one's own file.

        Raises:
            ConfigurationError: the file cannot be read, or is wrong.
        """
        cards = [listing.card for listing in self._own(load_packaged()).listings]
        return frozenset((card.provider, card.provider_model_id, card.tier) for card in cards)

    def basis(self) -> str:
        """A hash of all files of prices in force.

        Raises:
            ConfigurationError: one cannot be read.
        """
        files = [self.path / ACCEPTED, *filter(None, (self.own,))]
        whole = hashlib.sha256(packaged_bytes())
        for path in files:
            whole.update(hashlib.sha256(_read(path) or b"").digest())
        return whole.hexdigest()

    def seen(self) -> dict[str, Seen]:
        """What each source said last; nothing if that cannot be read, so that all are asked anew."""
        data = _read(self.path / _SOURCES)
        try:
            return {} if data is None else msgspec.json.decode(data, type=dict[str, Seen])
        except msgspec.DecodeError:
            return {}

    def write_seen(self, seen: dict[str, Seen]) -> None:
        """Keep what the sources said.

        Raises:
            ConfigurationError: it cannot be written.
        """
        self.write(_SOURCES, msgspec.json.format(msgspec.json.encode(seen), indent=1))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from changing these prices meanwhile; waits for whoever does.

        Raises:
            ConfigurationError: the folder cannot be written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as fault:
            raise ConfigurationError([f"{self.path}: {fault.strerror}"]) from fault
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def write(self, name: str, data: bytes) -> None:
        """Put a file in place, whole or not at all, readable by its owner only.

        Raises:
            ConfigurationError: it cannot be written.
        """
        try:
            descriptor, new = tempfile.mkstemp(dir=self.path, prefix=f".{name}.")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(new).replace(self.path / name)
            except BaseException:
                Path(new).unlink(missing_ok=True)
                raise
            folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as fault:
            raise ConfigurationError([f"{self.path / name}: {fault.strerror}"]) from fault

    def _taken(self, name: str) -> PriceFile:
        path = self.path / name
        data = _read(path)
        try:
            return PriceFile() if data is None else read_taken(data, str(path))
        except PriceDataError as fault:
            raise ConfigurationError([f"{fault}"]) from None

    def _own(self, packaged: Catalogue) -> PriceFile:
        if self.own is None:
            return PriceFile()
        data = _read(self.own)
        if data is None:
            raise ConfigurationError([f"prices.file: {self.own} is not there"])
        try:
            return read_own(data, str(self.own), packaged)
        except PriceDataError as fault:
            raise ConfigurationError(
                [f"prices.file: {line}" for line in str(fault).splitlines()]
            ) from None


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as fault:
        raise ConfigurationError([f"{path}: {fault.strerror}"]) from fault
