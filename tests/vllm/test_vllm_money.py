"""What a real vLLM counts is what callers are told and charged, cache reads at their own price."""

import uuid
from decimal import Decimal
from typing import Any

import pytest

from tests.vllm.stage_with_vllm import LATENT, PREFIX, VllmStage

MILLION = Decimal(1_000_000)
BLOCK = 128  # tokens that the prefix cache keeps together, on a CPU


def chat(text: str, model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


def usage(stage: VllmStage, body: dict[str, Any]) -> tuple[Any, Any]:
    """Usage as told with the answer, and the record of the generation."""
    answer = stage.ask(body)
    assert answer.status == 200, answer.body
    told = answer.events[-2] if body.get("stream") else answer.document
    return told["usage"], stage.generation(answer.generation)


@pytest.mark.parametrize("way", ["collected", "whole", "streamed"])
def test_usage_is_what_vllm_states_and_the_price_is_ours(stage: VllmStage, way: str) -> None:
    body = chat("How much?", "tests/whole" if way == "whole" else "tests/latent")
    if way == "streamed":
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    before = stage.latent.metrics()
    told, seen = usage(stage, body)

    def counted(name: str) -> float:
        counter = f"vllm:{name}_tokens_total"
        return stage.latent.metrics()[counter] - before[counter]

    assert told["prompt_tokens"] > 0
    assert told["completion_tokens"] > 0
    stage.latent.until(lambda: counted("prompt") == told["prompt_tokens"], "count the prompt so")
    stage.latent.until(
        lambda: counted("generation") == told["completion_tokens"], "count the answer so"
    )
    assert told["total_tokens"] == told["prompt_tokens"] + told["completion_tokens"]
    assert told["completion_tokens_details"]["reasoning_tokens"] == 7
    assert "estimated" not in told
    cost = told["prompt_tokens"] * Decimal(LATENT["input"])
    cost += told["completion_tokens"] * Decimal(LATENT["output"])
    assert told["cost"] == seen["total_cost"] == cost / MILLION
    assert (seen["basis"], seen["result"], seen["finish_reason"]) == (
        "provider_reported",
        "success",
        "stop",
    )
    assert seen["tokens_prompt"] == told["prompt_tokens"]
    assert seen["tokens_completion"] == told["completion_tokens"]
    assert seen["native_tokens_reasoning"] == 7


def test_the_same_request_costs_the_same_in_every_way(stage: VllmStage) -> None:
    costs = {
        usage(stage, chat("The same", model))[0]["cost"]
        for model in ("tests/latent", "tests/whole")
    }
    streamed = chat("The same", "tests/latent", stream=True, stream_options={"include_usage": True})
    assert costs == {usage(stage, streamed)[0]["cost"]}


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_from_vllms_prefix_cache_are_told_and_priced_as_cache_reads(
    stage: VllmStage,
    stream: bool,  # noqa: FBT001 - a parameter
) -> None:
    body = chat(f"{uuid.uuid4()} " + "A long beginning. " * 20, "tests/prefix", stream=stream)
    body["stream_options"] = {"include_usage": True}
    first, first_seen = usage(stage, body)
    again, seen = usage(stage, body)
    prompt = again["prompt_tokens"]
    assert first["prompt_tokens"] == prompt > 2 * BLOCK
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    cached = again["prompt_tokens_details"]["cached_tokens"]
    assert cached == (prompt - 1) // BLOCK * BLOCK, "all whole blocks"

    output = again["completion_tokens"] * Decimal(PREFIX["output"])
    fresh = Decimal(PREFIX["input"])
    assert first_seen["total_cost"] == (prompt * fresh + output) / MILLION
    cost = (prompt - cached) * fresh + cached * Decimal(PREFIX["cache_read"]) + output
    assert seen["total_cost"] == again["cost"] == cost / MILLION < first["cost"]
    assert (seen["native_tokens_cached"], seen["tokens_prompt"]) == (cached, prompt)
