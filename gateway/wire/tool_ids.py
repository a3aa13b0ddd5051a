"""Ids of tool calls for clients that take only letters, digits, `_` and `-`, without a memory.

Kimi's own ids are `functions.get_weather:0`, and come again in every conversation; Anthropic's clients
want `^[a-zA-Z0-9_-]+$`, and some take an id for unique. So an id goes out as

    toolu_tg_ + 12 characters of this answer's id + _ + base64url of the native id

and when it comes back in the next turn, the native one is read out of it. Ids that were made elsewhere
(a conversation that began at another service) are left as they are.
"""

import base64
import binascii

_PREFIX = "toolu_tg_"
_MARK = 12  # characters: seconds and counter of a generation id
_HEAD = len(_PREFIX) + _MARK + 1


def outgoing(native: str, generation_id: str) -> str:
    """The id under which the caller knows a tool call of this answer."""
    coded = base64.urlsafe_b64encode(native.encode()).decode().rstrip("=")
    mark = generation_id.removeprefix("gen-")[:_MARK].rjust(_MARK, "0")
    return f"{_PREFIX}{mark}_{coded}"


def incoming(theirs: str) -> str:
    """The provider's own id, if `theirs` was made by `outgoing`; else `theirs`."""
    if not theirs.startswith(_PREFIX) or theirs[_HEAD - 1 : _HEAD] != "_":
        return theirs
    coded = theirs[_HEAD:]
    try:
        native = base64.b64decode(coded + "=" * (-len(coded) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return theirs
    return native
