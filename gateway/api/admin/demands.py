"""What organisations, teams and keys demand of those who see their requests, in the words of requests."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.accounts.privacy import Change, Privacy

Zdr = Annotated[bool, Field(description="Whether requests go only where nothing is retained.")]
DataCollection = Annotated[
    Literal["allow", "deny"],
    Field(description="`deny`: requests go only where nothing is kept or trained on."),
]


def privacy(*, zdr: bool, data_collection: str) -> Privacy:
    """What is demanded from the beginning."""
    return Privacy(zdr=zdr, no_training=data_collection == "deny")


def privacy_change(said: Mapping[str, Any]) -> Change | None:
    """What a body says of privacy; None: nothing."""
    zdr, collected = said.get("zdr"), said.get("data_collection")
    if zdr is None and collected is None:
        return None
    return Change(zdr=zdr, no_training=None if collected is None else collected == "deny")


def collection(demanded: Privacy) -> Literal["allow", "deny"]:
    """The word for what is demanded."""
    return "deny" if demanded.no_training else "allow"
