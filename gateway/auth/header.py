"""The Authorization header: the key in it, and what to tell a caller whose key cannot be right.

Messages never contain the key or any part of it: they end in logs of strangers.
"""

from gateway.auth.keys import KEY_LENGTH, PREFIX, is_management_key
from gateway.errors import Unauthenticated

BEARER = b"Bearer "

# How other services' keys begin, the special before the general: as seen in these services' own
# examples and in the rules of public secret scanners, November 2026.
_STRANGERS = (
    (b"sk-or-", "an OpenRouter key"),
    (b"sk-ant-", "an Anthropic key"),
    (b"sk-proj-", "an OpenAI key"),
    (b"sk-svcacct-", "an OpenAI key"),
    (b"sk-admin-", "an OpenAI key"),
    (b"sk-", "an OpenAI or Moonshot key"),
    (b"sk_", "a Novita key"),
)
_HOW = f"send `Authorization: Bearer {PREFIX}…` with a key of this gateway"


def bearer_token(header: bytes | None) -> bytes:
    """The token of an Authorization header's value; the scheme's case does not matter (RFC 9110).

    Raises:
        Unauthenticated: missing_api_key where there is none, invalid_api_key for another scheme.
    """
    header = (header or b"").strip()
    if not header:
        raise Unauthenticated(f"no API key was sent: {_HOW}", code="missing_api_key")
    scheme, _, token = header.partition(b" ")
    token = token.strip()
    if scheme.lower() == b"bearer":
        if not token:
            raise Unauthenticated(
                f"the Authorization header has no key after `Bearer`: {_HOW}",
                code="missing_api_key",
            )
        return token
    if not token and scheme.startswith(PREFIX.encode()):
        raise Unauthenticated(f"the word `Bearer` is missing before the API key: {_HOW}")
    raise Unauthenticated(f"the Authorization header is not of the form `Bearer KEY`: {_HOW}")


def one_key(authorization: bytes | None, api_key: bytes | None) -> bytes | None:
    """The Authorization header of a caller who may also send the key in `x-api-key`.

    Args:
        authorization: the value of the one header, None if it is not there.
        api_key: that of the other.

    Raises:
        Unauthenticated: both are there, and differ.
    """
    api_key = (api_key or b"").strip()
    if not api_key:
        return authorization
    if (authorization or b"").strip() and bearer_token(authorization) != api_key:
        raise Unauthenticated(
            "two different keys were sent, in `x-api-key` and in `Authorization`: send one of them"
        )
    return BEARER + api_key


def why_malformed(token: bytes) -> str:
    """What is wrong with a key that fails `check_form`, and what to do, in words for its owner."""
    if not token:
        return f"the API key is empty: {_HOW}"
    if token[:1] in b"$<{%" or b"\xe2\x80\xa6" in token or b"..." in token:
        return f"the API key is a placeholder that nobody filled in: {_HOW}"
    if is_management_key(token):
        return (
            "this is a management key, which administers and answers no requests to models: send an"
            f" API key that begins with `{PREFIX}`; `POST /admin/v1/teams/…/keys` makes one"
        )
    if token[:1] in b"\"'`":
        return f"the API key has quotation marks around it: {_HOW}, without them"
    if token.startswith(PREFIX.encode()):
        length = len(token)
        if length != KEY_LENGTH:
            fault = "was cut" if length < KEY_LENGTH else "has something added to it"
            return (
                f"the API key {fault}: it has {length} characters where {KEY_LENGTH} are expected;"
                " copy it again in full"
            )
        return "the API key was mistyped: its checksum does not fit; copy it again in full"
    for prefix, owner in _STRANGERS:
        if token.startswith(prefix):
            return f"this looks like {owner}, which this gateway does not take: {_HOW}"
    return f"this is not an API key of this gateway, which begin with `{PREFIX}`: {_HOW}"
