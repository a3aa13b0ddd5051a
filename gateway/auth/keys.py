"""The form of keys: those of callers, and those that administer.

    sk-tg-   40 random characters  6 characters of checksum
    sk-tgm-  40 random characters  6 characters of checksum

All of them base62. The checksum is the CRC-32 of everything before it, so that a mistyped or
shortened key, or anybody else's, is told apart without asking the database. It is no secret and no
proof: any program can compute it. The 40 characters carry 238 bits of randomness.
"""

import hashlib
import secrets
from zlib import crc32

PREFIX = "sk-tg-"
MANAGEMENT_PREFIX = "sk-tgm-"
RANDOM_LENGTH = 40
CHECKSUM_LENGTH = 6
KEY_LENGTH = len(PREFIX) + RANDOM_LENGTH + CHECKSUM_LENGTH

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PREFIX = PREFIX.encode()
_MANAGEMENT = MANAGEMENT_PREFIX.encode()
_BODY_LENGTH = KEY_LENGTH - CHECKSUM_LENGTH
# Two digits at a time, 62² = 3844 and 62⁴ = 14,776,336: three steps instead of six.
_PAIRS = tuple((high + low).encode() for high in _ALPHABET for low in _ALPHABET)


def random_base62(length: int) -> str:
    """`length` characters from the system's secure random source, 5.95 bits each."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def new_key(prefix: str = PREFIX) -> str:
    """A fresh key in plain text. Show it once and keep only its hash."""
    body = prefix + random_base62(RANDOM_LENGTH)
    return body + checksum(body.encode()).decode()


def checksum(body: bytes) -> bytes:
    """Six base62 characters of the CRC-32 of `body`, most significant first."""
    value = crc32(body)
    return _PAIRS[value // 14_776_336] + _PAIRS[value // 3844 % 3844] + _PAIRS[value % 3844]


def check_form(presented: bytes) -> bool:
    """Whether this could be a key of ours: prefix, length, alphabet and checksum."""
    return (
        len(presented) == KEY_LENGTH
        and presented[:6] == _PREFIX
        and presented[6:].isalnum()  # of bytes, ASCII only
        and presented[_BODY_LENGTH:] == checksum(presented[:_BODY_LENGTH])
    )


def is_management_key(presented: bytes) -> bool:
    """Whether this says of itself that it is a management key, well-formed or not."""
    return presented.startswith(_MANAGEMENT)


def check_management_form(presented: bytes) -> bool:
    """Whether this could be a management key of ours, as `check_form`."""
    return (
        len(presented) == KEY_LENGTH + 1
        and is_management_key(presented)
        and presented[len(_MANAGEMENT) :].isalnum()
        and presented[-CHECKSUM_LENGTH:] == checksum(presented[:-CHECKSUM_LENGTH])
    )


def key_hash(pepper: bytes, presented: bytes) -> bytes:
    """The 32 bytes under which a key is stored: BLAKE2b-256 keyed with the installation's pepper.

    A fast hash suffices, as keys are random: there is no dictionary to try. The pepper makes a
    stolen database useless for testing whether a given key belongs to it.
    """
    return hashlib.blake2b(presented, digest_size=32, key=pepper).digest()
