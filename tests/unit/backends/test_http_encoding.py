"""What a compressed body costs in memory, whatever it claims to become."""

import gzip
import tracemalloc
import zlib

import pytest

from backends.http_encoding import decoder_for

BOMB = bytes(50_000_000)


@pytest.mark.parametrize(
    ("coding", "sent"), [(b"gzip", gzip.compress(BOMB)), (b"deflate", zlib.compress(BOMB))]
)
def test_bomb_costs_no_more_than_there_is_room_for(coding: bytes, sent: bytes) -> None:
    decoder = decoder_for(coding, 200)
    assert decoder is not None
    tracemalloc.start()
    try:
        with pytest.raises(OverflowError):
            decoder.feed(sent, 100_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
