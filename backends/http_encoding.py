"""Bodies that come compressed, although identity was asked for: some gateways and CDNs do it all the same.

gzip: RFC 1952, of one member or several. deflate: RFC 9110 §8.4.1.2 means RFC 1950 (zlib), yet some
servers send RFC 1951 bare; the first two bytes tell which.
"""

import zlib
from collections.abc import Callable
from typing import Protocol

from backends.errors import BadReply

_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_BARE = -zlib.MAX_WBITS
_CM_DEFLATE = 8  # RFC 1950 §2.2: the lower half of the first byte
_CHECK = 31  # the first two bytes together are a multiple of it


class Decoder(Protocol):
    """One body's way from what was sent to what was meant."""

    @property
    def finished(self) -> bool:
        """Whether the body may end here."""

    def feed(self, data: bytes, room: int) -> bytes:
        """What `data` decodes to.

        Args:
            data: the next piece of the body as it was sent.
            room: bytes that may come of it.

        Raises:
            BadReply: it is corrupt.
            OverflowError: more than `room` bytes come of it.
        """


class _Inflater:
    """gzip, member by member; whatever follows the last one is corrupt."""

    def __init__(self, name: str, wbits: int) -> None:
        self._name = name
        self._wbits = wbits
        self._stream = zlib.decompressobj(wbits)
        self._begun = False

    @property
    def finished(self) -> bool:
        return not self._begun or self._stream.eof

    def feed(self, data: bytes, room: int) -> bytes:
        self._begun = True
        found: list[bytes] = []
        while data:
            if self._stream.eof:
                if self._wbits != _GZIP:
                    raise BadReply(f"bytes after the end of a body in {self._name}")
                self._stream = zlib.decompressobj(self._wbits)
            try:
                piece = self._stream.decompress(data, room + 1)
            except zlib.error as exc:
                raise BadReply(f"corrupt {self._name}: {exc}") from None
            room -= len(piece)
            if room < 0:
                raise OverflowError
            found.append(piece)
            data = self._stream.unused_data
        return found[0] if len(found) == 1 else b"".join(found)


class _Deflate:
    """deflate, with or without the wrapper that the standard asks for."""

    def __init__(self) -> None:
        self._start = b""
        self._inflater: _Inflater | None = None

    @property
    def finished(self) -> bool:
        return not self._start if self._inflater is None else self._inflater.finished

    def feed(self, data: bytes, room: int) -> bytes:
        if self._inflater is None:
            data = self._start + data
            if len(data) < 2:  # noqa: PLR2004 - the two bytes that tell
                self._start = data
                return b""
            wrapped = data[0] & 0x0F == _CM_DEFLATE and (data[0] << 8 | data[1]) % _CHECK == 0
            self._inflater = _Inflater("deflate", _ZLIB if wrapped else _BARE)
        return self._inflater.feed(data, room)


def _gzip() -> Decoder:
    return _Inflater("gzip", _GZIP)


# RFC 9110 §8.4.1.3: x-gzip is another name of gzip.
_DECODERS: dict[bytes, Callable[[], Decoder]] = {
    b"gzip": _gzip,
    b"x-gzip": _gzip,
    b"deflate": _Deflate,
}


def decoder_for(coding: bytes, status: int) -> Decoder | None:
    """What decodes a body of this Content-Encoding; None: nothing is needed.

    Raises:
        BadReply: this client does not know the coding, or there are several.
    """
    name = coding.strip().lower()
    if name == b"identity":
        return None
    make = _DECODERS.get(name)
    if make is None:
        raise BadReply(
            f"content-encoding {coding[:40]!r}: identity was asked for, gzip and deflate are known",
            status=status,
        )
    return make()
