"""What becomes of tool calls that are at fault: told, counted, or the end of an attempt."""

from collections.abc import Sequence

from msgspec import Raw, Struct

from backends import BadToolCall, Event, Finish, Piece
from gateway.wire.tool_checks import ToolChecker, ToolFault, ToolFinding, put_together

_CUT = ("length", "content_filter")  # ends at which a tool call may rightly be incomplete


class ToolsSeen(Struct, frozen=True):
    """How many tools an answer called, and what is wrong with the calls."""

    calls: int = 0
    findings: tuple[ToolFinding, ...] = ()


NO_TOOLS = ToolsSeen()


def tools_seen(
    checker: ToolChecker,
    tools: Raw | None,
    deltas: Sequence[tuple[int, Raw]],
    finishes: Sequence[Finish],
) -> ToolsSeen:
    """Check the tool calls of an answer.

    Args:
        checker: what does it.
        tools: the request's field of that name, if it has one.
        deltas: each with the index of its choice.
        finishes: the ends of the choices. A call that was cut with its answer is not at fault.

    Raises:
        ValueError: they are in no form that could be put together.
    """
    calls = put_together(deltas)
    cut = {finish.index for finish in finishes if finish.reason in _CUT}
    findings = [one for one in checker.findings(tools, calls) if one.choice not in cut]
    return ToolsSeen(len(calls), tuple(findings))


def tools_in(checker: ToolChecker, tools: Raw | None, events: Sequence[Event]) -> ToolsSeen:
    """The same for a whole answer that nobody has seen yet.

    Raises:
        BadToolCall: a call is of no use: in no known form, with arguments that are no JSON object, or that
            break a schema of which the caller asked that it be kept to.
    """
    deltas = [
        (event.index, event.delta["tool_calls"])
        for event in events
        if type(event) is Piece and "tool_calls" in event.delta
    ]
    if not deltas:
        return NO_TOOLS
    finishes = [event for event in events if type(event) is Finish]
    try:
        seen = tools_seen(checker, tools, deltas, finishes)
    except ValueError as error:
        raise BadToolCall(str(error), native_code=ToolFault.INVALID_JSON) from None
    for finding in seen.findings:
        if finding.fault is ToolFault.INVALID_JSON or (
            finding.strict and finding.fault is ToolFault.SCHEMA_MISMATCH
        ):
            raise BadToolCall(
                f"{finding.fault} in tool call {finding.index}", native_code=finding.fault
            )
    return seen
