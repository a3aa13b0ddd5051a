import hashlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.keys import KEY_LENGTH, PREFIX, check_form, checksum, key_hash, new_key

PEPPER = bytes(range(32))
BASE62 = (string.digits + string.ascii_letters).encode()


def test_a_new_key_has_the_documented_form() -> None:
    key = new_key()
    assert key.startswith("sk-tg-")
    assert len(key) == KEY_LENGTH == 52
    assert set(key.removeprefix(PREFIX).encode()) <= set(BASE62)
    assert check_form(key.encode())


def test_keys_do_not_repeat() -> None:
    assert len({new_key() for _ in range(500)}) == 500


def test_the_checksum_is_crc32_in_base62() -> None:
    """CRC-32 of "123456789" is 0xCBF43926, the check value of that algorithm."""
    digits = string.digits + string.ascii_uppercase + string.ascii_lowercase
    value = 0
    for character in checksum(b"123456789").decode():
        value = value * 62 + digits.index(character)
    assert value == 0xCBF43926


@given(position=st.integers(0, KEY_LENGTH - 1), replacement=st.sampled_from(BASE62))
def test_one_mistyped_character_is_noticed(position: int, replacement: int) -> None:
    key = bytearray(new_key().encode())
    changed = key[position] != replacement
    key[position] = replacement
    assert check_form(bytes(key)) is not changed


@given(st.integers(0, KEY_LENGTH - 2))
def test_two_swapped_neighbours_are_noticed(position: int) -> None:
    key = new_key().encode()
    swapped = (
        key[:position] + key[position + 1 : position + 2] + key[position : position + 1]
    ) + key[position + 2 :]
    assert check_form(swapped) is (swapped == key)


@given(st.binary(max_size=120))
def test_arbitrary_bytes_are_refused(junk: bytes) -> None:
    assert not check_form(junk)


def test_a_fitting_checksum_does_not_excuse_other_characters() -> None:
    body = b"sk-tg-" + b"-" * 40
    assert not check_form(body + checksum(body))


@pytest.mark.parametrize("cut", [0, 1, 10, 51])
def test_a_key_that_was_cut_is_refused(cut: int) -> None:
    assert not check_form(new_key().encode()[:cut])


def test_the_hash_is_blake2b_keyed_with_the_pepper() -> None:
    assert key_hash(PEPPER, b"k") == hashlib.blake2b(b"k", key=PEPPER, digest_size=32).digest()
    assert len(key_hash(PEPPER, b"k")) == 32
    assert key_hash(PEPPER, b"k") != key_hash(bytes(32), b"k")
