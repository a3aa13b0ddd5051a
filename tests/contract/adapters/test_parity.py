"""One answer is one answer: message, usage and end are the same, streamed or whole, at each kind.

The sandbox tells each answer in its provider's two forms; `[[…]]` in the prompt makes the answer odd.
"""

import pytest

from tests.contract.adapters.upstream import HOW, TOOL, Ended, Upstream

TAGS = {
    "text": "Hello, é 🌊!",
    "no reasoning": "[[think=0]] Hi",
    "cut by the cap": "[[n=50,think=2]]",
    "unknown finish": "[[fault=unknown_finish]]",
    "content filter": "[[fault=finish_filter]]",
    "no usage": "[[fault=no_usage]]",
    "usage twice": "[[fault=duplicate_usage]]",
    "usage in the choice": "[[fault=usage_in_choice]]",
    "usage on the finish": "[[fault=usage_on_finish]]",
    "growing usage": "[[fault=usage_running]]",
    "absurd usage": "[[fault=wrong_usage]]",
    "empty": "[[fault=empty]]",
    "line ends": "[[fault=crlf]]",
    "two end marks": "[[fault=double_done]]",
    "gzip": "[[fault=gzip]]",
}
CALLS = {
    "tool": "Weather?",
    "unknown tool": "[[fault=unknown_tool]]",
    "wrong arguments": "[[fault=wrong_arguments]]",
    "leaked": "[[fault=leaked_tool]]",
    "call, usage in the choice": "[[fault=usage_in_choice]]",
    "call, growing usage": "[[fault=usage_running]]",
}


def told(ended: Ended) -> object:
    error = ended.error and type(ended.error)
    answer = ended.answer
    return error, answer.content, answer.reasoning, answer.tools, answer.finish, answer.usage


@pytest.mark.parametrize("tag", TAGS)
async def test_an_answer_is_the_same_however_it_travels(upstream: Upstream, tag: str) -> None:
    cap = 12 if tag == "cut by the cap" else 10_000
    first, *others = [told(await upstream.ask(TAGS[tag], how, cap=cap)) for how in HOW]
    assert others == [first] * len(others)


@pytest.mark.parametrize("tag", CALLS)
async def test_a_tool_call_is_the_same_however_it_travels(upstream: Upstream, tag: str) -> None:
    asked = [await upstream.ask(CALLS[tag], how, tools=[TOOL]) for how in HOW]
    first, *others = [told(ended) for ended in asked]
    assert others == [first] * len(others)
    if not (upstream.kind == "moonshot" and tag == "leaked"):
        assert all(len(ended.answer.tools) == 1 for ended in asked)
