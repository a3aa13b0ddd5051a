"""Whatever a provider's habits, a caller can put each tool call together, and tell it from all others."""

from itertools import chain
from time import perf_counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.kinds.novita import QUIRKS as NOVITA
from backends.openai_compat.messages import adapted
from backends.openai_compat.reply import ChunkReader, Reading, read_whole
from backends.openai_compat.tool_ids import FreshIds
from backends.profiles import profile_of
from backends.values import Call, Event, Finish, Piece
from tests.unit.backends.openai_compat.reading import answer, chunk
from tests.unit.backends.openai_compat.test_messages import call_of, result, says, tool

HELD = frozenset({"functions.f:0", "functions.f:2"})


def events_of(*deltas: Any, held: frozenset[str] = frozenset(), end: str = "stop") -> list[Event]:
    """The events of a stream with these `tool_calls` deltas."""
    reader, events = ChunkReader(reading=Reading(held=held)), list[Event]()
    for delta in deltas:
        reader.read(chunk({"tool_calls": delta}), events)
    reader.read(chunk({}, finish_reason=end), events)
    reader.read(b"[DONE]", events)
    return events


def fragments(events: list[Event]) -> list[list[dict[str, Any]]]:
    return [msgspec.json.decode(e.delta["tool_calls"]) for e in events if isinstance(e, Piece)]


def put_together(events: list[Event]) -> list[tuple[str | None, str, str]]:
    """The calls as OpenAI's Python client has them: by index, all strings added up."""
    calls: dict[int, list[Any]] = {}
    for fragment in chain.from_iterable(fragments(events)):
        call = calls.setdefault(fragment["index"], [None, "", ""])
        if fragment.get("id") is not None:
            call[0] = (call[0] or "") + fragment["id"]
        function = fragment.get("function") or {}
        call[1] += function.get("name") or ""
        call[2] += function.get("arguments") or ""
    assert list(calls) == list(range(len(calls)))
    return [(call[0], call[1], call[2]) for call in calls.values()]


def part(
    index: int | None = None, identity: Any = None, name: Any = None, arguments: Any = ""
) -> dict[str, Any]:
    told: dict[str, Any] = {} if index is None else {"index": index}
    if identity is not None:
        told |= {"id": identity, "type": "function"}
    named = {} if name is None else {"name": name}
    return told | {"function": named | {"arguments": arguments}}


F, G = ("a", "f", '{"x":1}'), ("b", "g", "{}")


@pytest.mark.parametrize(
    "deltas",
    [
        [[part(0, "a", "f", '{"x"')], [part(0, arguments=":1}")], [part(1, "b", "g", "{}")]],
        [[part(0, "a", "f", '{"x":1}'), part(1, "b", "g", "{}")]],
        [[part(None, "a", "f", '{"x"')], [part(arguments=":1}")], [part(None, "b", "g", "{}")]],
        [[part(None, "a", "f", '{"x":1}'), part(None, "b", "g", "{}")]],
        [[part(0, "a", "f", '{"x":1}')], [part(0, "b", "g", "{}")]],
        [[part(0, "a", "f", '{"x"')], [part(0, "a", "f", ":1}")], [part(1, "b", "g", "{}")]],
        [[part(0, "a", "f", '{"x"')], [part(0, "z", None, ":1}")], [part(1, "b", "g", "{}")]],
        [[part(0, "a", "f", '{"x"')], [part(0, "a", None, ":1}")], [part(1, "b", "g", "{}")]],
        [[part(0, None, "f", '{"x"')], [part(0, "a", None, ":1}")], [part(1, "b", "g", "{}")]],
        [[part(1, "a", "f", '{"x"')], [part(1, arguments=":1}")], [part(2, "b", "g", "{}")]],
        [[part(None, "a", "f", '{"x"')], [part(None, "a", "f", ":1}")], [part(0, "b", "g", "{}")]],
        [
            [part(0, "a", "f"), part(1, "b", "g")],
            [part(arguments='{"x"'), part(arguments="{")],
            [part(arguments=":1}"), part(arguments="}")],
        ],
        [
            [part(0, "a", "f", '{"x"')],
            [part(0, arguments=":1}") | {"id": None, "type": None}],
            [part(1, "b", "g", "{}") | {"type": "function"}],
        ],
        [
            [part(0, "a", "f", "")],
            [{"index": 0, "id": "", "function": {"name": "", "arguments": '{"x":1}'}}],
            [part(1, "b", "g", "{}")],
        ],
    ],
    ids=[
        *("as OpenAI has it", "two in one delta", "no index", "no index, two in one delta"),
        *("index 0 for each", "id and name repeated", "an id for each fragment", "id repeated"),
        *("id comes late", "counting from 1", "no index, all repeated", "no index, two at a time"),
        *("nulls", "empty strings"),
    ],
)
def test_calls_are_told_as_openais_clients_put_them_together(deltas: list[Any]) -> None:
    events = events_of(*deltas)
    assert put_together(events) == [F, G]
    assert events[-1] == Finish(0, "tool_calls", "stop")


def test_fragments_in_good_order_go_on_as_the_bytes_they_came_as() -> None:
    first = b'[{"index":0, "id":"a","type":"function","function":{"name":"f","arguments":""}}]'
    more = b'[ {"index":0,"function":{"arguments":"{\\"id\\": 1}"}} ]'
    reader, events = ChunkReader(), list[Event]()
    for raw in (first, more):
        reader.read(b'{"choices":[{"delta":{"tool_calls":%b}}]}' % raw, events)
    assert [bytes(e.delta["tool_calls"]) for e in events if isinstance(e, Piece)] == [first, more]


@pytest.mark.parametrize("raw", [{}, "x", 7, [7], ["x"], [None]])
def test_tool_calls_in_no_known_form_pass_as_they_are(raw: Any) -> None:
    reader, events = ChunkReader(), list[Event]()
    reader.read(chunk({"tool_calls": raw}), events)
    (piece,) = events
    assert isinstance(piece, Piece)
    assert msgspec.json.decode(piece.delta["tool_calls"]) == raw


def test_an_id_that_the_caller_has_for_another_call_is_given_anew() -> None:
    deltas = [
        [part(0, "functions.f:1", "f", "{}")],
        [part(1, "functions.f:2", "f", "{")],
        [part(1, arguments="}")],
    ]
    assert [call[0] for call in put_together(events_of(*deltas, held=HELD))] == [
        "functions.f:1",
        "functions.f:2.1",
    ]


def test_two_calls_of_an_answer_never_have_one_id() -> None:
    twice = [part(0, "x", "f", "{}")], [part(1, "x", "f", "{}")]
    assert [call[0] for call in put_together(events_of(*twice))] == ["x", "x.1"]
    body = {"choices": [{"message": {"tool_calls": [tool("x"), tool("x"), tool("y")]}}]}
    found = answer(read_whole(msgspec.json.encode(body), reading=Reading(held=HELD))[1])
    assert [call["id"] for call in found.tools] == ["x", "x.1", "y"]


def test_choices_are_alternatives_and_may_use_the_same_ids() -> None:
    choices = [{"index": i, "message": {"tool_calls": [tool("x")]}} for i in (0, 1)]
    body = msgspec.json.encode({"choices": choices})
    _, events = read_whole(body)
    assert [calls[0]["id"] for calls in fragments(events)] == ["x", "x"]


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("stop", "tool_calls"),
        ("eos", "tool_calls"),
        ("something_new", "tool_calls"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("length", "length"),
        ("content_filter", "content_filter"),
    ],
)
def test_an_answer_that_calls_tools_ends_with_that(native: str, reason: str) -> None:
    events = events_of([part(0, *F)], end=native)
    assert events[-1] == Finish(0, reason, native)
    body = {"choices": [{"message": {"tool_calls": [tool("x")]}, "finish_reason": native}]}
    assert read_whole(msgspec.json.encode(body))[1][-1] == Finish(0, reason, native)


def test_an_answer_that_calls_tools_ends_with_that_though_its_provider_says_nothing() -> None:
    reader, events = ChunkReader(), list[Event]()
    reader.read(chunk({"tool_calls": [part(0, *F)]}), events)
    reader.read(b"[DONE]", events)
    assert events[-1] == Finish(0, "tool_calls", "stop")
    body = {"choices": [{"message": {"tool_calls": [tool("x")]}, "finish_reason": None}]}
    assert read_whole(msgspec.json.encode(body))[1][-1] == Finish(0, "tool_calls", "stop")


def test_an_answer_whose_list_of_calls_is_empty_just_stops() -> None:
    reader, events = ChunkReader(), list[Event]()
    reader.read(chunk({"content": "x", "tool_calls": []}, finish_reason="stop"), events)
    assert events[-1] == Finish(0, "stop", "stop")


@given(st.text(min_size=1, max_size=90), st.sets(st.text(max_size=5)), st.integers(0, 30))
def test_a_fresh_id_is_new_and_fit_and_the_same_each_time(
    native: str, taken: set[str], more: int
) -> None:
    def given_out() -> list[str]:
        ids, found = FreshIds(taken), list[str]()
        for _ in range(more):
            found.append(ids.of(native))
        return found

    made = given_out()
    assert len({*made} - taken) == more
    assert all(1 <= len(one) <= 64 for one in made)
    fit = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-")
    assert fit.issuperset("".join(made))
    assert made == given_out()


@pytest.mark.parametrize("how", ["stream", "whole", "no index"])
def test_a_host_that_makes_very_many_calls_does_not_hold_the_gateway_up(how: str) -> None:
    """Ten thousand calls with one id, or with ids and no index: comparing each to all takes minutes."""
    count = 10_000
    if how == "no index":
        calls = [part(None, f"c{n}", "f") for n in range(count)]
    else:
        calls = [part(n, "c", "f") for n in range(count)]
    begun = perf_counter()
    if how == "whole":
        answered = {"choices": [{"message": {"tool_calls": calls}, "finish_reason": "stop"}]}
        _, events = read_whole(msgspec.json.encode(answered), reading=Reading(held=HELD))
    else:
        events = events_of(calls, held=HELD)
    assert perf_counter() - begun < 2.0
    (told,) = fragments(events)
    assert len({call["id"] for call in told}) == count


def test_over_many_turns_every_call_keeps_one_id_for_the_caller_and_one_for_the_model() -> None:
    """A host that counts anew in each answer, and a caller who began elsewhere."""
    messages: list[Any] = [
        {"role": "user", "content": "go"},
        says(tool("call_1")),
        result("call_1"),
    ]
    ids = ["call_1"]
    for turn in range(1, 5):
        call: Call = call_of(msgspec.json.encode(messages))
        found = adapted(call, profile_of("moonshotai/kimi-k2-0905"), NOVITA.history)
        assert found is not None
        out = msgspec.json.decode(found.messages or call.fields["messages"])
        natives = [c["id"] for m in out for c in m.get("tool_calls", ())]
        assert natives == [f"functions.f:{n}" for n in range(turn)]
        assert [m["tool_call_id"] for m in out if m["role"] == "tool"] == natives
        events = events_of([part(0, "functions.f:0", "f", "{}")], held=found.held)
        ((given_id, _, _),) = put_together(events)
        assert given_id not in ids
        ids.append(given_id or "")
        messages += [says(tool(given_id)), result(given_id)]
