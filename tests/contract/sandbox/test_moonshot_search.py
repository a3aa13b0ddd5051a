"""The Moonshot stand-in speaks the protocol of `$web_search`."""

import json
from typing import Any

import pytest

from backends.sandbox import SandboxServer
from tests.contract.sandbox.caller import TOOL, chat

ASK = {"role": "user", "content": "News?"}
SEARCH = {"type": "builtin_function", "function": {"name": "$web_search"}}
REST = {"type": "disabled"}


async def searched(server: SandboxServer, **fields: Any) -> Any:
    reply = await chat(server, tools=[SEARCH], thinking=REST, messages=[ASK], **fields)
    assert reply.status == 200, reply.body
    (choice,) = reply.json["choices"]
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    return call


def back(call: Any, **changes: Any) -> list[Any]:
    """Both turns, the result being what it was called with."""
    result = {
        "role": "tool",
        "tool_call_id": call["id"],
        "name": "$web_search",
        "content": call["function"]["arguments"],
    }
    return [ASK, {"role": "assistant", "content": "", "tool_calls": [call]}, result | changes]


async def test_a_search_is_called_as_a_builtin_function_that_tells_its_size(
    moonshot: SandboxServer,
) -> None:
    call = await searched(moonshot)
    assert (call["type"], call["function"]["name"]) == ("builtin_function", "$web_search")
    arguments = json.loads(call["function"]["arguments"])
    assert arguments["search_result"]["search_id"]
    assert arguments["usage"] == {"total_tokens": 600}


async def test_what_was_found_is_in_the_prompt_of_the_next_turn(moonshot: SandboxServer) -> None:
    call = await searched(moonshot)
    for content in (
        call["function"]["arguments"],
        json.dumps(json.loads(call["function"]["arguments"])),
    ):
        history = back(call, content=content)
        reply = await chat(moonshot, tools=[SEARCH], thinking=REST, messages=history)
        assert reply.status == 200, reply.body
        assert reply.json["choices"][0]["finish_reason"] == "stop"
        assert reply.json["usage"]["prompt_tokens"] > 600


@pytest.mark.parametrize("stream", [False, True])
async def test_streams_have_the_type_in_the_first_delta(
    moonshot: SandboxServer,
    stream: bool,  # noqa: FBT001 - a parameter
) -> None:
    reply = await chat(moonshot, tools=[SEARCH], thinking=REST, stream=stream)
    assert b'"builtin_function"' in reply.body
    assert b'"type":"function"' not in reply.body


async def test_a_result_that_is_not_as_it_was_called_is_refused(moonshot: SandboxServer) -> None:
    call = await searched(moonshot)
    other = json.dumps({"usage": {"total_tokens": 1}})
    as_function = call | {"type": "function"}
    histories = [back(call, content=other), back(call, content="found"), back(as_function)]
    histories.append(back(call, tool_call_id="another"))
    for history in histories:
        reply = await chat(moonshot, tools=[SEARCH], thinking=REST, messages=history)
        assert reply.status == 400
        assert "not what it was called with" in reply.json["error"]["message"]


async def test_there_is_no_other_builtin_function_and_none_while_k2_thinks(
    moonshot: SandboxServer,
) -> None:
    other = {"type": "builtin_function", "function": {"name": "$code_runner"}}
    reply = await chat(moonshot, tools=[other], thinking=REST)
    assert (reply.status, "unknown builtin" in reply.json["error"]["message"]) == (400, True)
    reply = await chat(moonshot, tools=[SEARCH], model="kimi-k2.6")
    assert (reply.status, "incompatible with thinking" in reply.json["error"]["message"]) == (
        400,
        True,
    )
    assert (await chat(moonshot, tools=[SEARCH], model="kimi-k3")).status == 200


async def test_functions_beside_it_are_called_as_before(moonshot: SandboxServer) -> None:
    reply = await chat(moonshot, tools=[TOOL, SEARCH], thinking=REST)
    (call,) = reply.json["choices"][0]["message"]["tool_calls"]
    assert (call["type"], call["function"]["name"]) == ("function", TOOL["function"]["name"])
