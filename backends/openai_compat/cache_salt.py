r"""The `cache_salt` of vLLM: what keeps one tenant's prefix cache from another's.

Who shares a prefix cache can find out by timing what the others asked (CVE-2025-46570). vLLM lets only
requests of the same salt share cached blocks. Its chat completions take one since 0.9.0: a string that
is not empty, lately of at most 1024 characters; older versions ignore the field, and
the V0 engine, last in 0.10, refuses it (its protocol.py, several versions, read 2026-11-22). LMCache
behind it takes at most 128 characters and none of `@/\`.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable

from msgspec import Raw

from backends.values import Call

FIELD = "cache_salt"
_REMEMBERED = 4096  # tenants
_MEMBER = b',"cache_salt":"%b"'

Member = Callable[[Call], bytes]


class CacheSalts:
    """Salts that nobody can guess without the key, each made once.

    A salt stands for one tenant at all vLLM endpoints, so that replicas can share what is one tenant's.
    A caller's own `cache_salt` divides its tenant's cache further: it is hashed into the salt, and so
    can never name the salt of another.
    """

    def __init__(self, key: bytes) -> None:
        """`key`: secret, at least 16 bytes, the same after a restart or the caches are cold."""
        self._key = key
        self._known: dict[tuple[str, str], tuple[hmac.HMAC, bytes]] = {}

    def member_of(self, isolation: str) -> Member:
        """What gives the `cache_salt` member of a request's body, comma first; maybe empty.

        Args:
            isolation: as in `Endpoint.cache_isolation`.
        """
        return {"team": self._team, "organisation": self._organisation, "none": self._none}[
            isolation
        ]

    def _team(self, call: Call) -> bytes:
        return self._member("team", call.tenant, call.fields.get(FIELD))

    def _organisation(self, call: Call) -> bytes:
        return self._member("organisation", call.organisation, call.fields.get(FIELD))

    def _none(self, call: Call) -> bytes:
        own = call.fields.get(FIELD)
        return b"" if _absent(own) else self._member("none", "", own)

    def _member(self, scope: str, tenant: str, own: Raw | None) -> bytes:
        known = self._known.get((scope, tenant))
        if known is None:
            keyed = hmac.new(self._key, f"{scope}\0{tenant}".encode(), "sha256")
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[scope, tenant] = (keyed, _MEMBER % _salt(keyed))
        if _absent(own):
            return known[1]
        # Raw JSON holds no NUL, so that no two pairs of tenant and value are hashed alike.
        further = known[0].copy()
        further.update(b"\0")
        further.update(own or b"")
        return _MEMBER % _salt(further)


def _absent(own: Raw | None) -> bool:
    return own is None or bytes(memoryview(own)[:4]) == b"null"


def _salt(keyed: hmac.HMAC) -> bytes:
    """256 bits in 43 characters, as vLLM's documentation advises."""
    return urlsafe_b64encode(keyed.digest()).rstrip(b"=")
