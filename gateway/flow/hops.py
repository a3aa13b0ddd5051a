"""Loops of gateways: each adds its id to a header, and refuses a request that bears it already.

A gateway's upstream can be another gateway, or, by a mistake in the settings of either, itself. Such a
request would go round, held and billed at each turn, until it times out.
"""

import re

from gateway.errors import InvalidRequest, LoopDetected
from gateway.exchange import Head

HEADER = b"x-tidegate-via"
MOST = 8  # gateways that a request may come through

_IDS = re.compile(rb"[0-9a-z]{1,64}(?:[ \t]*,[ \t]*[0-9a-z]{1,64})*")
_SHOWN = 60


def via(head: Head, own: str) -> str:
    """The gateways that a request came through, this one last: for the same header upstream.

    Args:
        head: the request's.
        own: this gateway's id.

    Raises:
        LoopDetected: it has been here before, or came through too many.
        InvalidRequest: the header is not a list of ids, or is there twice.
    """
    value = head.header(HEADER)
    if value is None:
        return own
    if not _IDS.fullmatch(value):
        shown = value[:_SHOWN].decode("latin-1")
        raise InvalidRequest(
            f"the header 'x-tidegate-via' is written by gateways, as ids with commas between them;"
            f" this is none: {shown!r}; do not send it",
            code="invalid_header",
        )
    ids = [one.strip() for one in value.decode().split(",")]
    if own in ids:
        raise LoopDetected(
            "this gateway has passed this request on before and got it back: one of its endpoints"
            " leads to itself; correct the base_url of that endpoint, here or at the gateway between"
        )
    if len(ids) >= MOST:
        raise LoopDetected(
            f"this request came through {len(ids)} gateways, and {MOST} is the most: let them reach"
            " providers in fewer steps"
        )
    return ",".join((*ids, own))
