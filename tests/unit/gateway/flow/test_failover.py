"""Walking the plan: what is tried again, until when, and what the caller is told."""

import pytest

from backends import BackendError, EmptyReply, Event, Finish
from backends.errors import (
    BadReply,
    ConnectFailed,
    ConnectionLost,
    ContentRefused,
    CredentialRefused,
    ModelUnavailable,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    UpstreamFault,
    UpstreamTimeout,
)
from gateway.telemetry import metrics
from gateway.values import Result
from tests.builders import END, USAGE, candidate, chat, piece, text
from tests.fakes.flow import Rig, Step

GOOD = ([text("Hi")], [END], [USAGE])
CHEAP_AND_DEAR = (candidate("a"), candidate("b", price=("2", "3")))
TRANSIENT = [
    BadReply("x"),
    ConnectFailed("x"),
    ConnectionLost("x"),
    CredentialRefused("x", status=401),
    EmptyReply("x"),
    ModelUnavailable("x", status=404),
    Overloaded("x", status=503),
    QuotaExhausted("x", status=402),
    RateLimited("x", status=429),
    UpstreamFault("x", status=500),
    UpstreamTimeout("first_byte", 1.0),
]


def name(error: BackendError) -> str:
    return error.code


@pytest.mark.parametrize("error", TRANSIENT, ids=name)
@pytest.mark.parametrize("form", ["stream", "whole"])
async def test_a_failure_to_begin_is_invisible(error: BackendError, form: str) -> None:
    rig = Rig(*CHEAP_AND_DEAR)
    rig.script("a", error)
    rig.script("b", GOOD)
    exchange = await rig.ask(chat(stream=form == "stream"))
    assert rig.asked == ["a", "b"]
    assert exchange.status == 200
    assert exchange.headers["x-tidegate-provider"] == "b"
    assert exchange.headers["x-tidegate-attempts"] == "2"
    assert b"error" not in exchange.sent
    assert rig.metrics.value(metrics.FAILOVERS, (("reason", error.code),)) == 1


@pytest.mark.parametrize(
    "prelude",
    [
        [[piece(meaningful=False, role="assistant")]],
        [[piece(meaningful=False, role="assistant")], [USAGE]],
        [[END]],
    ],
    ids=["role", "usage", "stop"],
)
@pytest.mark.parametrize("failure", [ConnectionLost("cut"), None], ids=["cut", "empty"])
async def test_before_the_first_meaningful_event_another_is_tried(
    prelude: list[Step], failure: BackendError | None
) -> None:
    rig = Rig(*CHEAP_AND_DEAR)
    rig.script("a", [*prelude, *([failure] if failure else [])])
    rig.script("b", GOOD)
    exchange = await rig.ask(chat(stream=True))
    assert exchange.content == "Hi"
    assert exchange.done
    assert rig.backend.replies[0].aborted
    assert [attempt.result for attempt in rig.outcome.attempts] == [Result.FAILED, Result.SUCCESS]
    assert rig.outcome.attempts[0].error_code == ("connection_lost" if failure else "empty_reply")


@pytest.mark.parametrize(
    "first",
    [
        text("H"),
        text("hm", reasoning=True),
        piece(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]),
        Finish(0, "length", "length"),
        Finish(0, "content_filter", "content_filter"),
    ],
    ids=["content", "reasoning", "tool", "length", "filter"],
)
async def test_the_first_meaningful_event_is_final(first: Event) -> None:
    rig = Rig(*CHEAP_AND_DEAR)
    rig.script("a", [[first], ConnectionLost("cut")])
    rig.script("b", GOOD)
    exchange = await rig.ask(chat(stream=True))
    assert rig.asked == ["a"]
    assert not exchange.done
    assert exchange.events[-1]["error"]["code"] == "connection_lost"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RequestRefused("x", status=400, public="top_p is too large"), 400),
        (RequestRefused("x", status=413), 413),
        (RequestRefused("x", status=422), 422),
        (ContentRefused("x", status=403), 400),
    ],
)
async def test_what_the_caller_caused_is_not_tried_elsewhere(
    error: BackendError, status: int
) -> None:
    rig = Rig(*CHEAP_AND_DEAR)
    rig.script("a", error)
    exchange = await rig.ask(chat())
    assert rig.asked == ["a"]
    assert exchange.status == status
    assert exchange.error["code"] == error.code
    assert exchange.error["type"] == "invalid_request_error"
    assert error.public in exchange.error["message"]
    assert rig.breaker.snapshot() == {}


@pytest.mark.parametrize(
    ("last", "status"),
    [
        (ConnectFailed("x"), 503),
        (Overloaded("x", status=529), 503),
        (RateLimited("x", status=429), 429),
        (UpstreamTimeout("idle", 1.0), 504),
        (UpstreamFault("x", status=500), 502),
        (QuotaExhausted("x", status=402), 502),
    ],
    ids=lambda value: value.code if isinstance(value, BackendError) else None,
)
async def test_if_all_fail_one_error_lists_every_attempt(last: BackendError, status: int) -> None:
    rig = Rig(*CHEAP_AND_DEAR)
    rig.script("a", UpstreamFault("secret detail", status=500))
    rig.script("b", last)
    exchange = await rig.ask(chat())
    error = exchange.error
    assert (exchange.status, error["code"]) == (status, last.code)
    told = [(attempt["provider"], attempt["code"]) for attempt in error["metadata"]["attempts"]]
    assert told == [("a", "upstream_fault"), ("b", last.code)]
    assert b"secret" not in exchange.sent


async def test_the_shortest_wait_that_was_asked_for_is_passed_on() -> None:
    rig = Rig(*CHEAP_AND_DEAR)
    rig.script("a", RateLimited("x", status=429, retry_after=7.0))
    rig.script("b", RateLimited("x", status=429, retry_after=30.0))
    exchange = await rig.ask(chat())
    assert exchange.headers["retry-after"] == "7"


async def test_one_deadline_holds_for_all_attempts() -> None:
    rig = Rig(*CHEAP_AND_DEAR, total_timeout=10.0)
    rig.script("a", [6.0, ConnectionLost("cut")])
    rig.script("b", GOOD)
    await rig.ask(chat())
    assert [timeout for _, _, timeout in rig.backend.calls] == [10.0, 4.0]


async def test_after_the_deadline_nothing_more_is_tried() -> None:
    rig = Rig(*CHEAP_AND_DEAR, total_timeout=10.0)
    rig.script("a", [10.0, UpstreamTimeout("total", 10.0)])
    rig.script("b", GOOD)
    exchange = await rig.ask(chat())
    assert rig.asked == ["a"]
    assert (exchange.status, exchange.error["code"]) == (504, "timeout")


async def test_no_more_endpoints_than_allowed_are_tried() -> None:
    rig = Rig(*CHEAP_AND_DEAR, candidate("c", price=("3", "4")), max_attempts=2)
    rig.script("a", UpstreamFault("x"))
    rig.script("b", UpstreamFault("x"))
    await rig.ask(chat())
    assert rig.asked == ["a", "b"]


async def test_an_endpoint_that_fails_again_and_again_is_asked_last() -> None:
    rig = Rig(*CHEAP_AND_DEAR)
    rig.script("a", *[UpstreamFault("x")] * 3)
    rig.script("b", *[GOOD] * 4)
    for _ in range(4):
        await rig.ask(chat())
    assert rig.asked == ["a", "b", "a", "b", "a", "b", "b"]


async def test_each_endpoint_is_sent_the_cap_that_it_can_bear() -> None:
    rig = Rig(candidate("a", max_output=100), candidate("b", price=("2", "3"), max_output=80))
    rig.script("a", UpstreamFault("x"))
    rig.script("b", GOOD)
    await rig.ask(chat())
    assert [call.output_cap for call, _, _ in rig.backend.calls] == [50, 50]
    rig.script("a", GOOD)
    await rig.ask(chat(max_tokens=90))
    assert rig.backend.calls[-1][0].output_cap == 90


async def test_each_endpoint_is_told_whose_request_it_is() -> None:
    rig = Rig(*CHEAP_AND_DEAR)
    rig.script("a", UpstreamFault("x"))
    rig.script("b", GOOD)
    await rig.ask(chat())
    whose = [(call.tenant, call.organisation) for call, _, _ in rig.backend.calls]
    assert whose == [("team-1", "org-1")] * 2
