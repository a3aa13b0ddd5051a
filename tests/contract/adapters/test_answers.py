"""Every adapter tells the same answer, and counts it the same, however it travelled."""

import msgspec
import pytest
from msgspec.structs import replace

from backends import KINDS, Finish, Text, Usage
from tests.contract.adapters.upstream import HOW, SILENT, TOOL, Upstream, prompt_tokens


def usage(upstream: Upstream, prompt: int, completion: int, reasoning: int) -> Usage:
    shown = 0 if upstream.kind in SILENT else reasoning
    return Usage(prompt=prompt, completion=completion, reasoning=shown)


def test_moonshot_elsewhere_speaks_the_same_wire() -> None:
    assert KINDS["moonshot_cn"].quirks is KINDS["moonshot"].quirks


def counts(found: Usage | None) -> Usage | None:
    """What was counted, without what it cost."""
    return found and replace(found, reported_cost=None)


async def test_stream_collected_and_whole_replies_are_the_same(upstream: Upstream) -> None:
    first, *others = [(await upstream.ask("Hello, é 🌊!", how)).answer for how in HOW]
    assert others == [first] * len(others)
    assert first.usage is not None


@pytest.mark.parametrize("how", HOW)
async def test_every_prompt_token_is_counted(upstream: Upstream, how: str) -> None:
    text = "é🌊" * 999
    counted = (await upstream.ask(text, how)).answer.usage
    assert counted is not None
    assert counted.prompt == prompt_tokens(text) == 1499


@pytest.mark.parametrize("how", HOW)
async def test_cached_tokens_are_told_where_the_provider_tells_them(
    upstream: Upstream, how: str
) -> None:
    text = f"{how} " + "x" * 2000
    await upstream.ask(text, how)
    counted = (await upstream.ask(text, how)).answer.usage
    assert counted is not None
    assert counted.cached == (0 if upstream.kind == "vllm" else 256)


@pytest.mark.parametrize("how", HOW)
async def test_the_cap_is_sent_and_ends_the_answer(upstream: Upstream, how: str) -> None:
    ended = await upstream.ask("[[n=50,think=2]]", how, cap=12)
    assert ended.answer.finish == [("length", "length")]
    expected = usage(upstream, prompt_tokens("[[n=50,think=2]]"), 12, 2)
    assert counts(ended.answer.usage) == expected


@pytest.mark.parametrize("how", HOW)
async def test_tool_calls_arrive_whole(upstream: Upstream, how: str) -> None:
    ended = await upstream.ask("Weather?", how, tools=[TOOL])
    assert ended.error is None
    (call,) = ended.answer.tools
    assert call["name"] == "get_weather"
    styles = {"get_weather_0", "functions.get_weather:0"}
    if upstream.kind != "openrouter":  # there it is the host's
        styles.remove("functions.get_weather:0" if upstream.kind == "moonshot" else "get_weather_0")
    assert call["id"] in styles
    assert msgspec.json.decode(call["arguments"]).keys() == {"city"}
    assert ended.answer.content == ""
    assert ended.answer.finish == [("tool_calls", "tool_calls")]


async def test_what_was_left_out_is_told(upstream: Upstream) -> None:
    reply = await upstream.open("Hi", plugins=[1], seed=3)
    moonshot = upstream.kind == "moonshot"
    assert reply.dropped == (("plugins", "seed") if moonshot else ("plugins",))
    (received,) = upstream.server.requests
    assert "plugins" not in received.body
    assert ("seed" in received.body) is not moonshot
    reply.abort()


async def test_pieces_are_told_as_they_come(upstream: Upstream) -> None:
    reply = await upstream.open("[[n=3,think=0,pace=20]]")
    batches = []
    while batch := await reply.next():
        batches.append(batch)
    texts = [batch for batch in batches if any(isinstance(event, Text) for event in batch)]
    assert len(texts) == 3


@pytest.mark.parametrize("how", HOW)
async def test_after_the_end_there_is_nothing_more(upstream: Upstream, how: str) -> None:
    ended = await upstream.ask("Hi", how)
    assert await ended.reply.next() == []
    ended.reply.abort()
    ended.reply.abort()
    assert await ended.reply.next() == []


@pytest.mark.parametrize("how", HOW)
async def test_an_answer_without_counts_is_an_answer(upstream: Upstream, how: str) -> None:
    ended = await upstream.ask("[[fault=no_usage]]", how)
    assert ended.error is None
    assert ended.answer.content
    assert ended.answer.usage is None


@pytest.mark.parametrize("how", HOW)
async def test_an_empty_answer_is_nothing_but_its_end(upstream: Upstream, how: str) -> None:
    ended = await upstream.ask("[[fault=empty]]", how)
    assert ended.error is None
    assert all(isinstance(event, Finish | Usage) for event in ended.events)
    assert ended.answer.finish == [("stop", "stop")]


@pytest.mark.parametrize("tag", ["[[fault=slow,delay=2]]", "[[fault=trickle,size=11]]"])
@pytest.mark.parametrize("how", HOW)
async def test_slow_bytes_tell_the_same(upstream: Upstream, how: str, tag: str) -> None:
    slow = await upstream.ask(tag, how)
    plain = await upstream.ask("x" * len(tag), how)
    assert slow.error is None
    assert slow.answer == plain.answer


async def test_a_piece_of_two_megabytes_passes(upstream: Upstream) -> None:
    ended = await upstream.ask("[[fault=oversized_line,size=2100000]]")
    assert ended.error is None
    assert len(ended.answer.content) > 2 * 1024 * 1024
