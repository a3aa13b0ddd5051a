"""Good answers, whatever is behind an endpoint: a stand-in, the real vLLM, or litellm's worker.

Each has its own fixture `upstream`. Nothing here knows more of an answer than `upstream.says`.
"""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from backends import Mode, Text
from tests.contract.adapters.upstream import HOW, TOOL, Ended, Source
from tests.fakes.answers import Answer

HISTORY: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "Weather?"},
]
# What other providers, and clients that drop things, make of an answer that called a tool.
ANSWERS: dict[str, dict[str, Any]] = {
    "moonshot": {"reasoning_content": "Hm.", "id": "get_weather_0"},
    "vllm": {"reasoning": "Hm.", "id": "functions.get_weather:0"},
    "ours": {"reasoning": "Hm.", "reasoning_content": "Hm.", "id": "functions.get_weather:0"},
    "openrouter": {
        "reasoning": "Hm.",
        "reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "index": 0}],
        "id": "call_0",
    },
    "details only": {
        "reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "index": 0}],
        "id": "call_0",
    },
    "no reasoning": {"id": "call_0"},
    "empty reasoning": {"reasoning_content": "", "id": "toolu_01"},
}
CALLED = {"name": "get_weather", "arguments": '{"city":"Paris"}'}


def answered(said: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages of a turn in which a tool was called."""
    said = dict(said)
    identity = said.pop("id")
    call = {"id": identity, "type": "function", "function": CALLED}
    return [
        {"role": "assistant", "content": "", "tool_calls": [call]} | said,
        {"role": "tool", "tool_call_id": identity, "content": "Sunny"},
    ]


def counted(ended: Ended) -> Answer:
    """The answer, without what it cost."""
    assert ended.error is None
    usage = ended.answer.usage
    assert usage is not None
    return replace(ended.answer, usage=replace(usage, reported_cost=None))


@pytest.mark.parametrize("how", HOW)
async def test_text_reasoning_finish_and_usage_are_told(upstream: Source, how: str) -> None:
    ended = await upstream.ask("Hi", how)
    assert counted(ended) == upstream.says
    assert ended.reply.upstream_id
    assert ended.reply.dropped == ()


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("cap", [3, 12])
async def test_a_cap_ends_an_answer(upstream: Source, how: str, cap: int) -> None:
    answer = counted(await upstream.ask("Hi", how, cap=cap))
    whole = upstream.says
    assert answer.finish == [("length", "length")]
    assert answer.usage is not None
    assert whole.usage is not None
    assert (answer.usage.prompt, answer.usage.completion) == (whole.usage.prompt, cap)
    assert whole.reasoning.startswith(answer.reasoning) is bool(answer.reasoning)
    assert whole.content.startswith(answer.content)
    assert bool(answer.content) is (cap == 12)


@pytest.mark.parametrize("how", HOW)
async def test_a_tool_call_arrives_whole(upstream: Source, how: str) -> None:
    answer = counted(await upstream.ask("Weather?", how, tools=[TOOL], tool_choice="auto"))
    (call,) = answer.tools
    assert call["name"] == "get_weather"
    assert call["id"]
    assert msgspec.json.decode(call["arguments"]).keys() == {"city"}
    assert answer.reasoning
    assert answer.content == ""
    assert answer.finish == [("tool_calls", "tool_calls")]


@pytest.mark.parametrize(
    "asked", [{}, {"cap": 3}, {"cap": 12}, {"tools": [TOOL]}, {"mode": Mode(thinking=False)}]
)
async def test_one_answer_is_one_answer(upstream: Source, asked: dict[str, Any]) -> None:
    await upstream.ask("Weather?", **asked)  # what is cached of it is from now on
    answers = [counted(await upstream.ask("Weather?", how, **asked)) for how in HOW]
    assert answers[1:] == answers[:1] * (len(HOW) - 1)


async def test_pieces_come_one_by_one(upstream: Source) -> None:
    ended = await upstream.ask("Hi")
    assert sum(isinstance(event, Text) for event in ended.events) > 2


@pytest.mark.parametrize("how", HOW)
async def test_fields_of_no_table_are_left_out_and_told(upstream: Source, how: str) -> None:
    ended = await upstream.ask("Hi", how, plugins=[1], priority=3)
    assert ended.reply.dropped == ("plugins", "priority")
    assert counted(ended) == upstream.says


@pytest.mark.parametrize("how", HOW)
async def test_thinking_stops_or_the_caller_is_told(upstream: Source, how: str) -> None:
    off = Mode(thinking=False)
    ended = await upstream.ask("Hi", how, mode=off, endpoint=upstream.k26(how))
    answer = counted(ended)
    assert answer.content == upstream.says.content
    assert bool(answer.reasoning) is ("thinking" in ended.reply.dropped)


@pytest.mark.parametrize("how", ["stream", "whole"])
@pytest.mark.parametrize("answer", ANSWERS)
async def test_the_second_turn_of_a_thinking_tool_loop_is_answered(
    upstream: Source, how: str, answer: str
) -> None:
    ended = await upstream.ask(
        how=how,
        conversation=[*HISTORY, *answered(ANSWERS[answer])],
        endpoint=upstream.k26(how),
        tools=[TOOL],
    )
    told = counted(ended)
    assert told.content
    assert told.reasoning
    assert "<|" not in told.content
    assert told.finish == [("stop", "stop")]


@pytest.mark.parametrize("how", HOW)
async def test_an_answer_goes_back_and_the_next_call_has_an_id_of_its_own(
    upstream: Source, how: str
) -> None:
    conversation = list(HISTORY)
    asked: dict[str, Any] = {"how": how, "endpoint": upstream.k26(how), "tools": [TOOL]}
    ids = []
    for _ in range(3):
        answer = counted(await upstream.ask(conversation=conversation, **asked))
        (call,) = answer.tools
        ids.append(call["id"])
        conversation += answered({"reasoning": answer.reasoning, "id": call["id"]})
        conversation.append({"role": "user", "content": "And now?"})
    assert len(set(ids)) == 3
