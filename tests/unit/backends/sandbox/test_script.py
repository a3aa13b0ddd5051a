"""A reply's steps put each fault at the place that was asked for."""

import pytest

from backends.sandbox.dialect import Frame, Refusal
from backends.sandbox.faults import Fault, FaultName
from backends.sandbox.script import (
    Break,
    Hang,
    Send,
    Step,
    Wait,
    refusal_steps,
    stream_steps,
    strike,
    whole_steps,
)

# a role, two pieces with a mark between them, an end
FRAMES = [
    Frame(b'"role"'),
    Frame(b'"one"', piece=True),
    Frame(b'"mark"'),
    Frame(b'"two"', piece=True),
    Frame(b'"end"'),
]


def stream(
    fault: Fault | None, pace_s: float = 0.0, *, done_after_error: bool = False
) -> list[Step]:
    return stream_steps(
        FRAMES,
        b"HEAD",
        fault=fault,
        pace_s=pace_s,
        error=b"ERROR",
        done_after_error=done_after_error,
    )


def sent(steps: list[Step]) -> bytes:
    return b"".join(step.data for step in steps if isinstance(step, Send))


def names(steps: list[Step]) -> list[str]:
    """The events that are sent, in short."""
    lines = sent(steps).split(b"\n")
    return [line[6:].strip(b'"').decode() for line in lines if line.startswith(b"data: ")]


@pytest.mark.parametrize(("after", "place"), [(-1, 0), (0, 1), (1, 2), (2, 4), (9, 4)])
def test_a_fault_strikes_after_so_many_pieces(after: int, place: int) -> None:
    assert strike(FRAMES, after) == place


def test_a_good_stream_is_one_write_with_an_end_mark() -> None:
    steps = stream(None)
    assert len(steps) == 1
    assert names(steps) == ["role", "one", "mark", "two", "end", "[DONE]"]
    assert sent(steps).startswith(b"HEAD")
    assert sent(steps).endswith(b"\r\n0\r\n\r\n")


def test_a_paced_stream_waits_between_its_events() -> None:
    steps = stream(None, pace_s=0.01)
    assert steps.count(Wait(0.01)) == 5
    assert names(steps) == names(stream(None))
    assert sent(steps) == sent(stream(None))


@pytest.mark.parametrize(("how", "reset"), [("rst", True), ("fin", False)])
def test_a_cut_stream_breaks_after_its_pieces(how: str, *, reset: bool) -> None:
    fault = Fault(name=FaultName.CUT, after=1, how="rst" if how == "rst" else "fin")
    steps = stream(fault)
    assert names(steps) == ["role", "one"]
    assert steps[-1] == Break(reset=reset)


def test_a_stalled_stream_hangs_with_nothing_or_with_its_head() -> None:
    assert stream(Fault(name=FaultName.STALL)) == [Hang()]
    assert stream(Fault(name=FaultName.STALL_AFTER_HEAD)) == [Send(b"HEAD"), Hang()]
    late = stream(Fault(name=FaultName.STALL_AFTER_HEAD, after=1))
    assert names(late) == ["role", "one"]
    assert late[-1] == Hang()


def test_an_error_event_ends_the_stream() -> None:
    fault = Fault(name=FaultName.ERROR_EVENT, after=1)
    assert names(stream(fault)) == ["role", "one", "ERROR"]
    assert names(stream(fault, done_after_error=True)) == ["role", "one", "ERROR", "[DONE]"]
    assert sent(stream(fault)).endswith(b"0\r\n\r\n")


def test_a_malformed_event_stands_between_good_ones() -> None:
    broken = names(stream(Fault(name=FaultName.MALFORMED_EVENT, after=1)))
    assert broken == ["role", "one", "ma", "mark", "two", "end", "[DONE]"]


def test_a_stream_can_lack_its_end_mark() -> None:
    steps = stream(Fault(name=FaultName.NO_DONE))
    assert names(steps) == ["role", "one", "mark", "two", "end"]
    assert sent(steps).endswith(b"0\r\n\r\n")


def test_a_trickle_is_the_same_bytes_in_small_slices() -> None:
    steps = stream(Fault(name=FaultName.TRICKLE, size=3))
    assert sent(steps) == sent(stream(None))
    assert all(len(step.data) <= 3 for step in steps if isinstance(step, Send))


def test_a_whole_reply_can_be_cut_in_half() -> None:
    good = sent(whole_steps(b"x" * 100, "text/plain", (), None, b""))
    steps = whole_steps(b"x" * 100, "text/plain", (), Fault(name=FaultName.CUT_NONSTREAM), b"")
    assert sent(steps) == good[:-50]
    assert steps[-1] == Break(reset=True)


@pytest.mark.parametrize("name", [FaultName.SLOW, FaultName.TRICKLE])
def test_a_slow_whole_reply_is_complete(name: FaultName) -> None:
    good = sent(whole_steps(b"x" * 100, "text/plain", (), None, b""))
    steps = whole_steps(b"x" * 100, "text/plain", (), Fault(name=name, delay_s=0.01), b"")
    assert sent(steps) == good
    assert Wait(0.01) in steps


def test_a_whole_reply_of_status_200_can_hold_an_error() -> None:
    steps = whole_steps(b"good", "text/plain", (), Fault(name=FaultName.ERROR_EVENT), b"bad")
    assert sent(steps).startswith(b"HTTP/1.1 200 OK\r\n")
    assert sent(steps).endswith(b"Content-Length: 3\r\n\r\nbad")


def test_a_fault_can_change_status_delay_and_retry_after() -> None:
    fault = Fault(name=FaultName.ERROR500, status=529, retry_after=7.5, delay_s=0.2)
    steps = refusal_steps(Refusal(500, b"{}"), (("Server", "nginx"),), fault)
    assert steps[0] == Wait(0.2)
    assert sent(steps) == (
        b"HTTP/1.1 529 Unassigned\r\nContent-Type: application/json\r\nServer: nginx\r\n"
        b"Retry-After: 7.5\r\nContent-Length: 2\r\n\r\n{}"
    )
