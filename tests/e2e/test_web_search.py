"""Moonshot's web search over HTTP, in both turns: what is passed on, and its fee in every book."""

import json
from decimal import Decimal
from typing import Any

import openai
import pytest

from tests.e2e.test_money import wait_for_row
from tests.fakes.stage import K26, Response, Stage, chat

MILLION = Decimal(1_000_000)
INPUT, OUTPUT = Decimal("0.95"), Decimal(4)  # Moonshot's, packaged, 2026-11-22
FEE = Decimal("0.005")
FOUND = 600  # tokens that the stand-in finds
SEARCH = {"type": "builtin_function", "function": {"name": "$web_search"}}
FORMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def ask(stage: Stage, messages: list[Any], *, stream: bool, key: str | None = None) -> Response:
    body = chat(stream=stream, tools=[SEARCH], thinking={"type": "disabled"}, max_tokens=200)
    return stage.ask(
        body | {"messages": messages, "stream_options": {"include_usage": True}}, key=key
    )


def call_in(answer: Response, *, stream: bool) -> dict[str, Any]:
    """The one tool call of an answer, put together as clients do it."""
    if not stream:
        (call,) = answer.document["choices"][0]["message"]["tool_calls"]
        return dict(call)
    whole: dict[str, Any] = {}
    for event in answer.events[:-2]:
        for part in event["choices"][0]["delta"].get("tool_calls", ()):
            if not whole:
                whole = part
            else:
                whole["function"]["arguments"] += part["function"]["arguments"]
    return whole


def usage_of(answer: Response, *, stream: bool) -> Any:
    return answer.events[-2]["usage"] if stream else answer.document["usage"]


def tokens_cost(usage: Any) -> Decimal:
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0
    parts = usage["prompt_tokens"] * INPUT + usage["completion_tokens"] * OUTPUT
    return Decimal(parts / MILLION)


@FORMS
def test_two_turns_of_a_search_cost_its_fee_once_in_every_book(stage: Stage, stream: bool) -> None:  # noqa: FBT001 - a parameter
    key = stage.new_key("--budget", "2")
    asked = {"role": "user", "content": "What is new?"}
    first = ask(stage, [asked], stream=stream, key=key)
    assert first.status == 200, first.body
    assert first.headers["x-tidegate-provider"] == "moonshot"  # Novita is cheaper, and runs none
    usage = usage_of(first, stream=stream)
    assert usage["server_tool_use_details"] == {"web_search_requests": 1}
    assert usage["cost"] == tokens_cost(usage) + FEE
    assert usage["cost_details"]["server_tool_cost"] == FEE
    call = call_in(first, stream=stream)
    assert call["type"] == "builtin_function"
    assert call["function"]["name"] == "$web_search"
    assert json.loads(call["function"]["arguments"])["usage"]["total_tokens"] == FOUND

    row = wait_for_row(stage, first.generation)
    assert row["searches"] == 1
    assert int(row["charge_pico"]) == int(row["cost_pico"]) == usage["cost"] * 10**12
    seen = stage.generation(first.generation, key=key)
    assert (seen["web_search_requests"], seen["num_search_results"]) == (1, None)
    assert seen["total_cost"] == usage["cost"]

    called = {"role": "assistant", "content": "", "tool_calls": [call]}
    found = {
        "role": "tool",
        "tool_call_id": call["id"],
        "name": "$web_search",
        "content": call["function"]["arguments"],
    }
    # The stand-in refuses whatever is not just as it was called.
    second = ask(stage, [asked, called, found], stream=stream, key=key)
    assert second.status == 200, second.body
    told = usage_of(second, stream=stream)
    assert told["prompt_tokens"] > FOUND
    assert told["cost"] == tokens_cost(told)
    assert "server_tool_use_details" not in told
    assert wait_for_row(stage, second.generation)["searches"] == 0


def test_stream_and_whole_cost_the_same(stage: Stage) -> None:
    asked = [{"role": "user", "content": "What is new, twice?"}]
    whole, streamed = (
        usage_of(ask(stage, asked, stream=stream), stream=stream) for stream in (False, True)
    )
    assert whole == streamed


def test_what_was_charged_is_what_is_left_of_the_budget_to_the_nano(stage: Stage) -> None:
    """A budget is refused with what was spent of it: told to the nano unit."""
    key = stage.new_key("--budget", "0.0455")
    answer = ask(stage, [{"role": "user", "content": "Spend."}], stream=False, key=key)
    cost = answer.document["usage"]["cost"]
    refused = ask(stage, [{"role": "user", "content": "More."}], stream=False, key=key)
    assert refused.status == 402  # what is left covers no eight searches
    spent = Decimal(refused.document["error"]["metadata"]["spent"])
    assert spent == cost.quantize(Decimal("1e-9"), rounding="ROUND_UP") > FEE
    assert Decimal(refused.document["error"]["metadata"]["needed"]) > 8 * FEE
    assert stage.ask(chat(max_tokens=20), key=key).status == 200


def test_models_tell_what_a_search_costs(stage: Stage) -> None:
    listed = {one["id"]: one for one in stage.ask(path="/v1/models").document["data"]}
    assert "web_search" not in listed[K26]["pricing"]  # the cheapest endpoint, Novita's, runs none


def test_a_model_that_nobody_searches_with_is_refused_by_name(stage: Stage) -> None:
    answer = stage.ask(
        chat(tools=[SEARCH], model="moonshotai/kimi-linear-48b-a3b-instruct"),
    )
    assert answer.status == 404
    assert "'$web_search'" in answer.document["error"]["message"]


def test_a_loop_with_the_openai_client_comes_to_its_end(stage: Stage) -> None:
    client = openai.OpenAI(
        base_url=f"http://127.0.0.1:{stage.gateway.port}/v1", api_key=stage.key, max_retries=0
    )
    messages: list[Any] = [{"role": "user", "content": "What is the news?"}]
    unknown_to_the_client: Any = [SEARCH]
    fees = Decimal(0)
    for _ in range(3):
        answer = client.chat.completions.create(
            model=K26,
            messages=messages,
            tools=unknown_to_the_client,
            extra_body={"thinking": {"type": "disabled"}},
        )
        (choice,) = answer.choices
        assert answer.usage is not None
        details = (answer.usage.model_extra or {}).get("server_tool_use_details", {})
        fees += FEE * details.get("web_search_requests", 0)
        if choice.finish_reason != "tool_calls":
            break
        # The client's own types know no builtin functions, and it warns of that.
        messages.append(choice.message.model_dump(exclude_none=True, warnings=False))
        for call in choice.message.tool_calls or ():
            assert call.type != "custom"
            messages.append(
                {
                    "role": "tool",
                    "tool_call_id": call.id,
                    "name": call.function.name,
                    "content": json.dumps(json.loads(call.function.arguments)),
                }
            )
    assert (choice.finish_reason, fees) == ("stop", FEE)
    client.close()
