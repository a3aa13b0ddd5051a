"""What a caller is told of how its request was served, in the answer itself."""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.wire.tool_checks import ToolFinding

_json = msgspec.json.Encoder().encode
_MOST_NAMES = 100
_LONGEST = 128


class Notes(Struct, frozen=True):
    """What is worth telling of an answer; nothing, mostly.

    Attributes:
        dropped: fields of the request that the provider was not sent, or only the nearest thing to what
            they say, under the caller's names for them.
        tool_calls: what is wrong with the tool calls in it.
    """

    dropped: tuple[str, ...] = ()
    tool_calls: tuple[ToolFinding, ...] = ()

    def member(self) -> bytes:
        """The member of the answer that tells it, with a comma before it; empty if there is nothing."""
        told: dict[str, Any] = {}
        if self.dropped:
            told["dropped"] = [name[:_LONGEST] for name in self.dropped[:_MOST_NAMES]]
        if self.tool_calls:
            told["tool_call_faults"] = [_told(one) for one in self.tool_calls[:_MOST_NAMES]]
        return b',"tidegate":%b' % _json(told) if told else b""


def _told(finding: ToolFinding) -> dict[str, Any]:
    told: dict[str, Any] = {
        "index": finding.index,
        "name": finding.name[:_LONGEST],
        "fault": finding.fault,
    }
    if finding.choice:
        told["choice"] = finding.choice
    if finding.where:
        told["where"] = finding.where
    return told


NO_NOTES = Notes()
