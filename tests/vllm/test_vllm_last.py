"""What callers see when a vLLM server dies or is stopped. It runs last: no server is left after it."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import Struct

from tests.fakes.stage import Response
from tests.vllm.stage_with_vllm import ENDLESS, SEATS, Pending, VllmStage


def chat(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hi"}], **fields}


def endless(model: str) -> dict[str, Any]:
    return chat(model, stream=True, max_tokens=1600, **ENDLESS)


# How a server's end is told: by itself, by nothing at all, or by its connections.
ENDS = {"upstream_fault", "timeout", "connection_lost"}


class Broken(Struct, frozen=True):
    """A stream that was under way, from its beginning."""

    generation: str
    events: list[Any]


class Death(Struct, frozen=True):
    """What callers got when the worker of `latent` was killed.

    Attributes:
        streams: those that were being answered.
        waiting: a whole answer, of a request that waited in the server's queue.
        waiting_streamed: the same, streamed.
        after: the next request.
    """

    streams: list[Broken]
    waiting: Response
    waiting_streamed: Response
    after: Response


def broken(pending: Pending) -> Broken:
    """Read it to its end."""
    for _ in pending.events():
        pass
    return Broken(pending.generation, pending.seen)


@pytest.fixture(scope="module")
def death(the_stage: VllmStage) -> Iterator[Death]:
    """Kill the worker once; both seats are taken, and two requests wait that have another endpoint."""
    stage, server = the_stage, the_stage.latent
    with contextlib.ExitStack() as open_:
        streams = [open_.enter_context(stage.send(endless("tests/killed"))) for _ in range(SEATS)]
        for stream in streams:
            assert next(stream.pieces()).startswith("The")
        waiting = [
            open_.enter_context(stage.send(chat("tests/waiting", stream=stream)))
            for stream in (False, True)
        ]
        server.until(lambda: server.load() == (SEATS, len(waiting)), "have them wait")
        server.kill_worker()
        yield Death(
            [broken(stream) for stream in streams],
            waiting[0].read(),
            waiting[1].read(),
            stage.ask(chat("tests/after")),
        )


def test_a_killed_worker_is_told_in_the_streams_that_it_wrote(
    stage: VllmStage, death: Death
) -> None:
    for stream in death.streams:
        assert "[DONE]" not in stream.events
        *_, last = stream.events
        assert last["error"]["code"] in ENDS
        assert "charged" in last["error"]["message"]
        assert [choice["finish_reason"] for choice in last["choices"]] == ["error"]
        reasons = [c["finish_reason"] for e in stream.events[:-1] for c in e["choices"]]
        assert set(reasons) == {None}


def test_what_a_killed_worker_wrote_is_in_the_books(stage: VllmStage, death: Death) -> None:
    for stream in death.streams:
        pieces = sum(
            bool(c["delta"].get("content") or c["delta"].get("reasoning"))
            for event in stream.events
            for c in event["choices"]
        )
        seen = stage.settled(stream.generation)
        (attempt,) = seen["provider_responses"]
        assert (seen["result"], attempt["provider_name"]) == ("failed", "latent")
        assert (attempt["error_code"], attempt["basis"]) == (
            stream.events[-1]["error"]["code"],
            "estimated",
        )
        assert seen["tokens_completion"] >= pieces > 0
        assert seen["total_cost"] == attempt["charge"] > 0


def test_what_waited_at_a_killed_worker_is_answered_by_the_other_server(
    stage: VllmStage, death: Death
) -> None:
    for answer in (death.waiting, death.waiting_streamed):
        assert answer.status == 200, answer.body
        assert answer.headers["x-tidegate-provider"] == "prefix"
        assert answer.headers["x-tidegate-attempts"] == "2"
        failed, served = stage.generation(answer.generation)["provider_responses"]
        assert failed["error_code"] in ENDS
        assert failed["charge"] == 0
        assert served["result"] == "success"
    text = death.waiting.document["choices"][0]["message"]["content"]
    assert text == "Hello from a tiny random Kimi model on CPU."
    assert death.waiting_streamed.events[-1] == "[DONE]"


def test_the_next_request_goes_to_the_other_server(stage: VllmStage, death: Death) -> None:
    assert death.after.status == 200, death.after.body
    assert death.after.headers["x-tidegate-provider"] == "prefix"
    assert stage.ask(chat("tests/after")).headers["x-tidegate-provider"] == "prefix"


def test_a_server_that_is_stopped_does_not_pass_half_an_answer_off_as_whole(
    stage: VllmStage, death: Death
) -> None:
    """It ends it with finish_reason `abort`; or, if its engine was faster to die, it falls silent."""
    with stage.send(endless("tests/stopped")) as pending:
        assert next(pending.pieces()).startswith("The")
        stage.prefix.terminate()
        stream = broken(pending)
    assert "[DONE]" not in stream.events
    *before, last = stream.events
    code = last["error"]["code"]
    assert code in ENDS
    assert "charged" in last["error"]["message"]
    assert [choice["finish_reason"] for choice in last["choices"]] == ["error"]
    assert {c["finish_reason"] for event in before for c in event["choices"]} == {None}
    seen = stage.settled(stream.generation)
    assert (seen["result"], seen["error_code"]) == ("failed", code)
    assert seen["total_cost"] > 0


def test_with_no_server_left_the_error_lists_both(stage: VllmStage, death: Death) -> None:
    for server in (stage.latent, stage.prefix):
        server.terminate()
        server.ended()
    answer = stage.ask(chat("tests/after"))
    error = answer.document["error"]
    assert (answer.status, error["code"]) == (503, "connect_failed"), answer.body
    attempts = error["metadata"]["attempts"]
    assert {attempt["provider"] for attempt in attempts} == {"latent", "prefix"}
