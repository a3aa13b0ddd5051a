"""A tool loop ends at every stand-in, and each model has the rules of its own for what is in the past."""

from typing import Any

import pytest

from backends.sandbox import Moonshot, Provider, SandboxServer
from tests.contract.sandbox.caller import TOOL, Reply, chat, chat_body

ASK = {"role": "user", "content": "Weather?"}


def turn(call: Any, **more: Any) -> list[dict[str, Any]]:
    """A call of a tool, as its caller sends it back, and the result."""
    assistant = {"role": "assistant", "content": "", "tool_calls": [call], **more}
    return [ASK, assistant, {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}]


def call_of(identity: str) -> dict[str, Any]:
    function = {"name": "get_weather", "arguments": '{"city":"Paris"}'}
    return {"id": identity, "type": "function", "function": function}


def message(reply: Reply) -> Any:
    assert reply.status == 200, reply.body
    return reply.json["choices"][0]["message"]


async def test_a_tool_loop_of_two_turns_ends(server: SandboxServer) -> None:
    (call,) = message(await chat(server, tools=[TOOL]))["tool_calls"]
    history = turn(call, reasoning_content="Hm")
    said = message(await chat(server, tools=[TOOL], messages=history))
    assert not said.get("tool_calls")
    assert said["content"].endswith("characters.")
    again = message(await chat(server, tools=[TOOL], messages=[*history, ASK]))
    (second,) = again["tool_calls"]
    assert second["id"] != call["id"]


@pytest.mark.parametrize("identity", ["call_abc", "search:0", "functions.other:0", "get_weather_0"])
@pytest.mark.parametrize("provider", ["novita", "vllm"])
async def test_foreign_ids_in_the_past_make_open_weights_leak_their_next_call(
    provider: Provider, identity: str
) -> None:
    history = turn(call_of(identity))
    own = turn(call_of("functions.get_weather:0"))
    async with SandboxServer(provider) as server:
        said = message(await chat(server, tools=[TOOL], messages=history))
        assert "<|" not in said["content"]
        said = message(await chat(server, tools=[TOOL], messages=[*history, ASK]))
        assert not said.get("tool_calls")
        assert said["content"].startswith("<|tool_calls_section_begin|>")
        assert message(await chat(server, tools=[TOOL], messages=[*own, ASK]))["tool_calls"]


async def test_where_ids_are_rewritten_or_the_model_is_younger_nothing_leaks(
    moonshot: SandboxServer, novita: SandboxServer
) -> None:
    history = [*turn(call_of("call_abc")), ASK]
    assert message(await chat(moonshot, tools=[TOOL], messages=history))["tool_calls"]
    k3 = "moonshotai/kimi-k3"
    assert message(await chat(novita, tools=[TOOL], messages=history, model=k3))["tool_calls"]


@pytest.mark.parametrize("model", ["kimi-k2.6", "kimi-k2.5", "kimi-k2-thinking"])
@pytest.mark.parametrize("content", [None, ""])
async def test_reasoning_must_come_back_with_its_tool_call(model: str, content: str | None) -> None:
    async with SandboxServer(Moonshot(retired=True)) as server:
        history = turn(call_of("get_weather_0"), reasoning_content=content)
        reply = await chat(server, tools=[TOOL], messages=history, model=model)
        assert reply.status == 400
        assert reply.json["error"] == {
            "message": (
                "thinking is enabled but reasoning_content is missing in assistant tool call"
                " message at index 1"
            ),
            "type": "invalid_request_error",
        }
        off: dict[str, Any] = (
            {"thinking": {"type": "disabled"}} if model != "kimi-k2-thinking" else {}
        )
        blank = turn(call_of("get_weather_0"), reasoning_content=" ")
        reply = await chat(server, tools=[TOOL], messages=history, model=model, **off)
        assert reply.status == (200 if off else 400)
        reply = await chat(server, tools=[TOOL], messages=blank, model=model)
        assert reply.status == 200


async def test_k3_takes_a_past_without_reasoning(moonshot: SandboxServer) -> None:
    history = turn(call_of("get_weather_0"))
    assert (await chat(moonshot, tools=[TOOL], messages=history)).status == 200


async def test_retired_models_are_gone_unless_asked_for(moonshot: SandboxServer) -> None:
    assert (await chat(moonshot, model="kimi-k2.5")).status == 404


async def test_a_partial_answer_is_continued_not_repeated(moonshot: SandboxServer) -> None:
    whole = message(await chat(moonshot))["content"]
    prefix = whole[:30]
    last = {"role": "assistant", "content": prefix, "partial": True}
    messages = [*chat_body(moonshot)["messages"], last]
    assert prefix + message(await chat(moonshot, messages=messages))["content"] == whole
    wanted = {"type": "json_object"}
    refused = await chat(moonshot, messages=messages, response_format=wanted)
    assert refused.status == 400
