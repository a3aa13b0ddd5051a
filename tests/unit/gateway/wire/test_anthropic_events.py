"""Whatever a provider sends, in whatever order: the stream is one that Anthropic's clients can read."""

import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backends import Event, Finish, Usage
from backends.errors import BadReply
from gateway.values import Basis, UsageView
from gateway.wire.anthropic_reply import StreamEncoder, WholeEncoder
from gateway.wire.tool_ids import incoming
from pricing import Money, Quantities
from tests.builders import piece, text
from tests.fakes.anthropic_events import events, message

NAMED = {"generation_id": "gen-1", "created": 0, "model": "m", "provider": "p"}
VIEW = UsageView(Usage(prompt=1, completion=1), Quantities(), Money("USD", 5), Basis.REPORTED)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
ODD = st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
FRAGMENT = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(0, 2) | st.none(),
        "id": st.sampled_from(["functions.f:0", "call_1"]) | st.none(),
        "type": st.just("function"),
        "function": st.fixed_dictionaries(
            {},
            optional={
                "name": st.sampled_from(["f", "g"]) | st.none(),
                "arguments": st.sampled_from(['{"a":', "1}", "{}", "", " ", "}", '"']) | ODD,
            },
        )
        | st.none(),
    },
)
TEXTS = st.builds(lambda words, reasoning: text(words, reasoning=reasoning), WORDS, st.booleans())
PIECES = st.builds(
    lambda index, delta: piece(index, **delta),
    st.integers(0, 1),
    st.fixed_dictionaries(
        {},
        optional={
            "content": WORDS | ODD,
            "reasoning": WORDS | ODD,
            "refusal": WORDS | ODD,
            "tool_calls": st.lists(FRAGMENT, max_size=3) | ODD,
            "annotations": ODD,
        },
    ),
)
FINISHES = st.builds(
    Finish,
    st.integers(0, 1),
    st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
    st.sampled_from(["stop", "stop_sequence", "odd"]),
)
EVENTS = TEXTS | PIECES | FINISHES | st.just(Usage(prompt=1, completion=1))
BATCHES = st.lists(st.lists(EVENTS, max_size=4), max_size=6)


@given(BATCHES)
def test_any_events_give_events_in_anthropics_order(batches: list[list[Event]]) -> None:
    encoder = StreamEncoder(**NAMED)  # type: ignore[arg-type] # a mixed mapping
    data = b"".join([encoder.encode(batch) for batch in batches])
    if encoder.fault is not None:
        told = events(data + encoder.failure(b'{"type":"api_error","message":"x"}'))
        assert told[-1]["type"] == "error"
        return
    data += encoder.end(VIEW)
    events(data)
    if not any(f.index == 0 and f.reason == "length" for f in encoder.finishes):
        message(data)  # the arguments of each call can be read
    assert data.count(b"event: message_start\n") == data.count(b"event: message_stop\n") == 1


CALLS = st.lists(
    st.tuples(
        st.sampled_from(["f", "g"]),
        st.dictionaries(WORDS, WORDS | st.integers(), max_size=3),
        st.lists(st.integers(0, 60), max_size=3),
    ),
    max_size=3,
)


@given(
    st.lists(st.tuples(WORDS, st.booleans()), max_size=5),
    CALLS,
    st.randoms(use_true_random=False),
)
def test_what_was_said_is_what_is_told_streamed_or_whole(
    said: list[tuple[str, bool]], called: list[tuple[str, dict[str, Any], list[int]]], random: Any
) -> None:
    """Text in order; the fragments of several calls in any turn that keeps each call's own."""
    queues: list[list[Event]] = []
    for index, (name, arguments, cuts) in enumerate(called):
        words = json.dumps(arguments)
        places = sorted({0, len(words), *(cut for cut in cuts if cut < len(words))})
        head = {"index": index, "id": f"functions.{name}:{index}", "function": {"name": name}}
        queue: list[Event] = [piece(tool_calls=[head])]
        queue += [
            piece(tool_calls=[{"index": index, "function": {"arguments": words[start:end]}}])
            for start, end in itertools.pairwise(places)
        ]
        queues.append(queue)
    batches: list[list[Event]] = [[text(words, reasoning=thought)] for words, thought in said]
    heads = 0  # calls begin in order, as every provider's do
    while any(queues):
        ready = [n for n, queue in enumerate(queues) if queue and n <= heads]
        chosen = random.choice(ready)
        heads = max(heads, chosen + 1)
        batches.append([queues[chosen].pop(0)])

    stream, whole = StreamEncoder(**NAMED), WholeEncoder()  # type: ignore[arg-type] # as above
    data = b""
    for batch in batches:
        data += stream.encode(batch)
        whole.add(batch)
    whole.check()
    assert stream.fault is None
    told = message(data + stream.end(VIEW))
    once = json.loads(whole.end(**NAMED, view=VIEW))  # type: ignore[arg-type] # as above
    assert told["content"] == once["content"]

    expected: list[list[Any]] = []
    for words, thought in said:
        kind = "thinking" if thought else "text"
        if not expected or expected[-1][0] != kind:
            expected.append([kind, ""])
        expected[-1][1] += words
    found = [[b["type"], b[b["type"]]] for b in told["content"] if b["type"] != "tool_use"]
    assert found == expected
    assert [
        (incoming(b["id"]), b["name"], b["input"])
        for b in told["content"]
        if b["type"] == "tool_use"
    ] == [
        (f"functions.{name}:{index}", name, arguments)
        for index, (name, arguments, _) in enumerate(called)
    ]


@given(BATCHES)
def test_any_events_give_a_whole_message_or_a_bad_reply(batches: list[list[Event]]) -> None:
    encoder = WholeEncoder()
    try:
        for batch in batches:
            encoder.add(batch)
        encoder.check()
    except BadReply:
        return
    whole = json.loads(encoder.end(**NAMED, view=VIEW))  # type: ignore[arg-type] # as above
    for block in whole["content"]:
        assert block["type"] in {"thinking", "text", "tool_use"}
        assert isinstance(block.get("input", {}), dict)
