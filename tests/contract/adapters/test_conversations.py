"""A conversation with tools goes on at any kind of endpoint, whoever answered its turns before."""

from typing import Any

import msgspec
import pytest

from backends import Reply
from backends.values import UNASKED, Mode
from tests.contract.adapters.test_good_answers import ANSWERS, HISTORY, answered
from tests.contract.adapters.upstream import HOW, TOOL, Upstream, read
from tests.fakes.answers import Answer

AGGREGATORS = {"openrouter", "vercel"}  # which read details of reasoning as well


async def asked(
    upstream: Upstream, how: str, messages: list[Any], mode: Mode = UNASKED
) -> tuple[Reply, Answer]:
    row = upstream.k26(how)
    reply = await upstream.open(
        how=how, conversation=messages, mode=mode, endpoint=row, tools=[TOOL]
    )
    ended = await read(reply, poured=how == "poured")
    assert ended.error is None
    return reply, ended.answer


def received(upstream: Upstream) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = upstream.server.requests[-1].body["messages"]
    return messages


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("answer", ANSWERS)
async def test_the_second_turn_of_a_thinking_tool_loop_is_never_refused(
    upstream: Upstream, how: str, answer: str
) -> None:
    told = ANSWERS[answer]
    _, second = await asked(upstream, how, [*HISTORY, *answered(told)])
    assert second.content
    assert "<|" not in second.content
    system, _, assistant, result = received(upstream)
    knows_developer = upstream.kind in {"openai_compat", "openrouter"}
    assert system["role"] == ("developer" if knows_developer else "system")
    native = told["id"] if upstream.kind == "moonshot" else "functions.get_weather:0"
    assert assistant["tool_calls"][0]["id"] == result["tool_call_id"] == native
    silent = answer in {"no reasoning", "empty reasoning"}
    names = {"vllm": {"reasoning", "reasoning_content"}}
    names |= {name: {"reasoning"} for name in AGGREGATORS}
    for name in names.get(upstream.kind, {"reasoning_content"}):
        if upstream.kind not in AGGREGATORS or answer != "details only":
            assert assistant[name] == (" " if silent else "Hm.")


async def test_reasoning_is_not_made_up_for_a_model_that_shall_not_think(
    upstream: Upstream,
) -> None:
    messages = [*HISTORY, *answered(ANSWERS["no reasoning"])]
    await asked(upstream, "stream", messages, Mode(thinking=False))
    assert not {"reasoning", "reasoning_content"} & received(upstream)[2].keys()


@pytest.mark.parametrize("how", HOW)
async def test_a_loop_of_many_turns_never_gives_an_id_twice(upstream: Upstream, how: str) -> None:
    messages = list(HISTORY)
    ids: list[str] = []
    for turn in range(4):
        _, answer = await asked(upstream, how, messages)
        (call,) = answer.tools
        assert answer.finish[0][0] == "tool_calls"
        assert call["id"] not in ids or upstream.kind == "moonshot"  # whose own ids these are
        ids.append(call["id"])
        messages += answered({"reasoning": answer.reasoning or "Hm.", "id": call["id"]})
        if upstream.kind != "moonshot" and turn:
            sent = [c["id"] for m in received(upstream) for c in m.get("tool_calls", ())]
            assert sent == [f"functions.get_weather:{n}" for n in range(turn)]
        messages.append({"role": "user", "content": "And now?"})


@pytest.mark.parametrize("how", HOW)
async def test_an_id_that_the_caller_has_for_another_call_is_given_anew(
    upstream: Upstream, how: str
) -> None:
    """The caller's one call has the id that the model gives to its second."""
    if upstream.kind == "moonshot":  # whose ids are the service's own
        return
    before = answered({"reasoning": "Hm.", "id": "functions.get_weather:1"})
    again = {"role": "user", "content": "And now?"}
    _, answer = await asked(upstream, how, [*HISTORY, *before, again])
    (call,) = answer.tools
    assert call["id"] != "functions.get_weather:1"


@pytest.mark.parametrize("how", HOW)
async def test_a_tool_call_that_a_host_left_in_the_text_is_one(
    upstream: Upstream, how: str
) -> None:
    messages = [{"role": "user", "content": "[[fault=leaked_tool]] Weather?"}]
    _, answer = await asked(upstream, how, messages)
    if upstream.kind == "moonshot":
        assert "<|tool_calls_section_begin|>" in answer.content  # it never does: nobody looks
        return
    (call,) = answer.tools
    assert call["name"] == "get_weather"
    assert msgspec.json.decode(call["arguments"]).keys() == {"city"}
    assert "<|" not in answer.content
    assert answer.finish == [("tool_calls", "stop")]


async def test_an_answer_to_be_continued_is_told_where_it_cannot_be(upstream: Upstream) -> None:
    begun = {"role": "assistant", "content": "It is", "partial": True}
    reply, _ = await asked(upstream, "stream", [*HISTORY, begun])
    body = upstream.server.requests[-1].body
    kept = upstream.kind == "moonshot"
    assert body["messages"][-1].get("partial") is (True if kept else None)
    unknown = upstream.kind not in {"moonshot", "openrouter", "vllm"}
    assert ("messages.partial" in reply.dropped) is unknown
    assert body.get("continue_final_message") is (True if upstream.kind == "vllm" else None)
    assert body.get("add_generation_prompt") is (False if upstream.kind == "vllm" else None)
