"""What keys of both kinds have in common: a secret that ends, and one that takes its place."""

from typing import Any

from sqlalchemy import Table

from gateway.accounts.roles import Actor
from gateway.accounts.rows import Key, ManagementKey
from gateway.auth.keys import key_hash, new_key
from gateway.errors import Conflict, InvalidRequest

DEFAULT_OVERLAP = 86_400
LONGEST_OVERLAP = 30 * 86_400
_SHOWN = 4  # characters behind the prefix


def shown(plaintext: str, prefix: str) -> tuple[str, str]:
    """What is kept of a secret for recognising it: its beginning, and its last four characters."""
    return plaintext[: len(prefix) + _SHOWN], plaintext[-4:]


def check_expiry(expires_ms: int | None, now_ms: int) -> None:
    """Refuse an expiry in the past.

    Raises:
        InvalidRequest: code invalid_expiry.
    """
    if expires_ms is not None and expires_ms <= now_ms:
        raise InvalidRequest(
            "a key cannot expire in the past; give a later time",
            code="invalid_expiry",
            param="expires",
        )


def check_overlap(overlap: int) -> None:
    """Refuse an overlap that cannot be.

    Raises:
        InvalidRequest: code invalid_overlap.
    """
    if not 0 <= overlap <= LONGEST_OVERLAP:
        raise InvalidRequest(
            f"the old secret may be taken for 0 to {LONGEST_OVERLAP} seconds (30 days) more",
            code="invalid_overlap",
            param="overlap_seconds",
        )


def rotation(
    keys: Table, row: Key | ManagementKey, *, pepper: bytes, prefix: str, overlap: int, now_ms: int
) -> tuple[dict[str, Any], str]:
    """Another secret for a key: the columns to write, and the secret in plain text.

    The one before is taken for `overlap` more seconds.

    Raises:
        Conflict: the key is disabled or has expired, so that a new secret would not do; code key_ended.
    """
    if row.disabled_ms is not None or (row.expires_ms is not None and row.expires_ms <= now_ms):
        raise Conflict(
            "the key is disabled or has expired: make another one", code="key_ended", param="id"
        )
    plaintext = new_key(prefix)
    begins, ends = shown(plaintext, prefix)
    return {
        "key_hash": key_hash(pepper, plaintext.encode()),
        "prefix": begins,
        "last4": ends,
        "old_hash": keys.c.key_hash if overlap else None,
        "old_expires_ms": now_ms + overlap * 1000 if overlap else None,
    }, plaintext


def maker(actor: Actor) -> str:
    """Who made something, as the tables have it: a member, a key, or `operator`."""
    return actor.member_id or (actor.id if actor.kind != "operator" else "operator")
