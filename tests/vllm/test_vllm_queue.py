"""A vLLM server whose queue is full, and callers who leave: what it works on, it says itself."""

import contextlib
import itertools
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.vllm.stage_with_vllm import ENDLESS, LATENT, QUEUE, SEATS, VLLM_KEY, Pending, VllmStage

CAP = 1600  # tokens of an answer that goes on and on; it takes some seconds


def chat(model: str = "tests/latent", text: str = "Hi", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


def endless(model: str = "tests/latent", **fields: Any) -> dict[str, Any]:
    return chat(model, **{"max_tokens": CAP, **ENDLESS, **fields})


def until_idle(stage: VllmStage) -> None:
    stage.latent.until(lambda: stage.latent.load() == (0, 0), "drop its requests")


@contextlib.contextmanager
def full(stage: VllmStage) -> Iterator[list[Pending]]:
    """As many answers that go on and on as `latent` has seats and places in its queue."""
    server = stage.latent
    with contextlib.ExitStack() as open_:
        sent = [open_.enter_context(stage.send(endless(stream=True))) for _ in range(SEATS + QUEUE)]
        server.until(lambda: server.load() == (SEATS, QUEUE), "take them all")
        yield sent
    until_idle(stage)


def test_a_full_queue_is_told_as_overload_where_there_is_nowhere_else_to_go(
    stage: VllmStage,
) -> None:
    with full(stage):
        for stream in (False, True):
            answer = stage.ask(chat(stream=stream))
            error = answer.document["error"]
            assert (answer.status, error["code"]) == (503, "overloaded"), answer.body
            (attempt,) = error["metadata"]["attempts"]
            assert (attempt["provider"], attempt["status"]) == ("latent", 503)
            assert VLLM_KEY not in answer.body.decode()
            seen = stage.generation(answer.generation)
            assert (seen["total_cost"], seen["result"]) == (0, "failed")


@pytest.mark.parametrize("stream", [False, True])
def test_a_full_queue_sends_a_request_to_the_other_server_at_once(
    stage: VllmStage,
    stream: bool,  # noqa: FBT001 - a parameter
) -> None:
    with full(stage) as sent:
        answer = stage.ask(chat("tests/full", stream=stream))
        assert stage.latent.load() == (SEATS, QUEUE), "still full"
        assert next(sent[0].pieces()).startswith("The")
    assert answer.status == 200, answer.body
    assert answer.headers["x-tidegate-provider"] == "prefix"
    assert answer.headers["x-tidegate-attempts"] == "2"
    failed, served = stage.generation(answer.generation)["provider_responses"]
    assert (failed["provider_name"], failed["error_code"]) == ("latent", "overloaded")
    assert (failed["status"], failed["charge"]) == (503, 0)
    assert (served["provider_name"], served["result"]) == ("prefix", "success")


def test_who_leaves_a_stream_stops_vllm_and_pays_for_what_came(stage: VllmStage) -> None:
    before = stage.latent.metrics()["vllm:generation_tokens_total"]
    with stage.send(endless(stream=True)) as caller:
        got = list(itertools.islice(caller.pieces(), 30))
        generation = caller.generation
    until_idle(stage)
    made = stage.latent.metrics()["vllm:generation_tokens_total"] - before
    assert len(got) <= made < CAP, "it did not write to the end"

    seen = stage.settled(generation)
    assert (seen["result"], seen["cancelled"], seen["basis"]) == ("cancelled", True, "estimated")
    # By pieces or by size, whichever is more: a word of this model can have more than four letters.
    assert len(got) <= seen["tokens_completion"] <= made * 1.25
    cost = seen["tokens_prompt"] * Decimal(LATENT["input"])
    cost += seen["tokens_completion"] * Decimal(LATENT["output"])
    assert seen["total_cost"] == cost / 1_000_000
    # Nor does it write later: the next answer is all that is added, but for a step that was under way.
    assert stage.ask(chat()).document["usage"]["completion_tokens"] == 19
    until_idle(stage)
    assert stage.latent.metrics()["vllm:generation_tokens_total"] - before <= made + 2 + 19


@pytest.mark.parametrize("model", ["tests/latent", "tests/whole"])
def test_who_leaves_before_a_whole_answer_stops_vllm_and_pays_nothing(
    stage: VllmStage, model: str
) -> None:
    before = stage.latent.metrics()["vllm:generation_tokens_total"]
    name = uuid.uuid4().hex
    with stage.send(endless(model), name=name):
        stage.latent.until(lambda: stage.latent.load() == (1, 0), "begin")
    until_idle(stage)
    assert stage.latent.metrics()["vllm:generation_tokens_total"] - before < CAP
    seen = stage.settled(stage.named(name))
    assert (seen["result"], seen["total_cost"]) == ("cancelled", 0)


def test_who_leaves_while_waiting_leaves_the_queue(stage: VllmStage) -> None:
    server = stage.latent
    with contextlib.ExitStack() as sitting:
        for _ in range(SEATS):
            sitting.enter_context(stage.send(endless(stream=True)))
        server.until(lambda: server.load() == (SEATS, 0), "take both")
        with stage.send(chat(stream=True)):
            server.until(lambda: server.load() == (SEATS, 1), "have it wait")
        server.until(lambda: server.load() == (SEATS, 0), "drop it")
    until_idle(stage)
