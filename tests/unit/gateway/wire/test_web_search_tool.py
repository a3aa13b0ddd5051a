"""The one tool that a provider runs and that is let through, and how its calls are counted."""

import json
from typing import Any

import pytest
from msgspec import Raw

from backends import BadReply, Event, Finish, Piece
from gateway.errors import InvalidRequest
from gateway.wire import anthropic_messages, openai_chat
from gateway.wire.openai_message import Message
from gateway.wire.tool_checks import ToolCall, ToolChecker, ToolFault
from gateway.wire.web_search import MOST_SEARCHES, SearchMeter, may_name_it
from tests.builders import anthropic, chat, piece

SEARCH = {"type": "builtin_function", "function": {"name": "$web_search"}}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def called(*names: str, choice: int = 0, first: int = 0) -> Piece:
    calls = [
        {"index": index, "id": f"c{index}", "function": {"name": name, "arguments": ""}}
        for index, name in enumerate(names, first)
    ]
    return piece(choice, tool_calls=calls)


def more(index: int, arguments: str) -> Piece:
    return piece(tool_calls=[{"index": index, "function": {"arguments": arguments}}])


@pytest.mark.parametrize(
    ("tools", "searches"),
    [
        (None, 0),
        ([], 0),
        ([WEATHER], 0),
        ([SEARCH], MOST_SEARCHES),
        ([WEATHER, SEARCH], MOST_SEARCHES),
        ([SEARCH, SEARCH], MOST_SEARCHES),
        ([{"type": "function", "function": {"name": "$web_search"}}], 0),  # the caller's own
    ],
)
def test_a_request_tells_how_many_searches_an_answer_may_call(tools: Any, searches: int) -> None:
    assert openai_chat.parse(chat(tools=tools), usage_always=False).searches == searches


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "builtin_function", "function": {"name": "$code_runner"}},
        {"type": "builtin_function", "function": {}},
        {"type": "builtin_function"},
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": "web_search"},
        {"type": "plugin", "plugin": {"functions": []}},
    ],
)
def test_every_other_tool_that_a_provider_runs_stays_refused(tool: Any) -> None:
    with pytest.raises(InvalidRequest, match="'tools' may hold only functions") as caught:
        openai_chat.parse(chat(tools=[SEARCH, tool]), usage_always=False)
    assert (caught.value.param, caught.value.code) == ("tools", "unsupported_parameter")


@pytest.mark.parametrize("tool", [SEARCH, {"type": "web_search_20250305", "name": "web_search"}])
def test_the_anthropic_dialect_has_no_search(tool: Any) -> None:
    with pytest.raises(InvalidRequest):
        anthropic_messages.parse(anthropic(tools=[tool]))


@pytest.mark.parametrize(
    ("events", "count"),
    [
        ([], 0),
        ([called("weather")], 0),
        ([called("$web_search")], 1),
        ([called("$web_search", "weather", "$web_search")], 2),
        ([called("$web_search"), more(0, '{"a"'), more(0, ":1}")], 1),
        ([called("$web_search"), called("$web_search")], 1),  # said again
        ([called("$web_search"), called("$web_search", first=1)], 2),
        ([called("$web_search"), called("$web_search", choice=1)], 2),
        ([called("$web_search"), Finish(0, "tool_calls", "tool_calls")], 1),
        ([called("$web_search"), Finish(0, "length", "length")], 0),  # no fee is due
        ([called("$web_search"), called("$web_search", choice=1), Finish(0, "length", "l")], 1),
        ([more(0, "the words $web_search in arguments")], 0),
        ([piece(tool_calls=[{"function": {"name": "$web_search"}}] * 2)], 2),  # no index: its place
        ([piece(tool_calls="$web_search")], 0),
        ([piece(content="$web_search")], 0),
        ([Piece(0, {"tool_calls": Raw(b'[{"function":{"name":"\\u0024web_search"}}]')}, True)], 1),
        ([Piece(0, {"tool_calls": Raw(b'[{"function":{"name":"$\\u0077eb_search"}}]')}, True)], 1),
    ],
)
def test_each_call_of_the_search_is_counted_once(events: list[Event], count: int) -> None:
    at_once, one_by_one = SearchMeter(8), SearchMeter(8)
    at_once.add(events)
    at_once.add(events)
    for event in events:
        one_by_one.pass_on([event])
    assert (at_once.count, one_by_one.count) == (count, count)


def test_what_is_new_is_told_once() -> None:
    meter = SearchMeter(8)
    assert meter.grows_by([called("$web_search")])
    assert meter.pass_on([called("$web_search")])
    assert not meter.grows_by([called("$web_search")])
    assert not meter.pass_on([called("$web_search")])
    assert not meter.pass_on([more(0, "{}")])


def test_calls_that_nothing_is_held_for_are_not_passed_on_and_do_not_count() -> None:
    meter = SearchMeter(2)
    meter.pass_on([called("$web_search", "$web_search")])
    with pytest.raises(BadReply, match="more than 2 calls"):
        meter.pass_on([called("$web_search", first=2)])
    assert meter.count == 2
    meter.check()
    meter.add([called("$web_search", first=2)])
    assert meter.count == 3
    with pytest.raises(BadReply, match="more than 2 calls"):
        meter.check()


@pytest.mark.parametrize(
    ("text", "may"),
    [
        (b'{"name":"$web_search"}', True),
        (b'{"name":"\\u0024web_search"}', True),
        (b'{"name":"$web\\u005fsearch"}', True),
        (b'{"name":"$\\u0077eb_search"}', True),
        (b'{"name":"web_search"}', False),
        (b'{"text":"\\u00e9"}', False),
    ],
)
def test_a_text_that_may_name_the_tool_is_known(text: bytes, may: bool) -> None:  # noqa: FBT001 - a parameter
    assert may_name_it(text) is may


@pytest.mark.parametrize("arguments", ['{"search_result":{}}', "", "not JSON", "[]"])
def test_what_the_search_is_called_with_is_not_checked(arguments: str) -> None:
    tools = Raw(json.dumps([SEARCH, WEATHER]).encode())
    call = ToolCall(0, 0, "$web_search", arguments)
    assert ToolChecker().findings(tools, [call]) == []
    (undeclared,) = ToolChecker().findings(Raw(b"[]"), [ToolCall(0, 0, "$web_search", "{}")])
    assert undeclared.fault is ToolFault.UNKNOWN_TOOL


@pytest.mark.parametrize(
    ("theirs", "told"),
    [("builtin_function", "builtin_function"), ("function", "function"), (None, "function")],
)
def test_a_collected_call_keeps_the_type_by_which_moonshot_knows_it_again(
    theirs: str | None, told: str
) -> None:
    first: dict[str, Any] = {"index": 0, "id": "c", "function": {"name": "x", "arguments": "{}"}}
    if theirs is not None:
        first["type"] = theirs
    message = Message(0)
    message.add(piece(tool_calls=[first]))
    message.add(more(0, ""))
    assert [tool.type for tool in message.tools.values()] == [told]
