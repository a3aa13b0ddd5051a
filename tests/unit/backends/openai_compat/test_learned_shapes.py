"""The short way through a stream, by learned shapes, tells exactly what decoding each chunk tells."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace
from typing_extensions import override

from backends.errors import BackendError
from backends.openai_compat.reply import ChunkReader
from backends.values import Event, Finish, Text, Usage
from tests.unit.backends.openai_compat.reading import RECORDINGS, answer, recorded

TAIL = '"},"finish_reason":null}]}'
WORDS = (
    *('"', "\\", '\\"', "\\\\", "\n", "\t", "\x00", "\x7f", "\u2028", "é", "🌊", "</script>"),
    *(TAIL, TAIL[1:], '","content":"', '"delta"', "delta", "content", "reasoning", "choices", "id"),
    *('{"error":{"message":"x"}}', "[DONE]", "data: [DONE]\n\n", "null", "\\u0022", " ", "a"),
)
TEXTS = st.one_of(
    st.sampled_from(WORDS),
    st.lists(st.sampled_from(WORDS), max_size=4).map("".join),
    st.text(max_size=8),
)


class Wire(Struct, frozen=True):
    """How a provider writes its chunks."""

    id: str = "chatcmpl-1"
    created: int = 1
    model: str = "kimi"
    reasoning: str = (
        "reasoning_content"  # or "reasoning", "both", or "details", as OpenRouter has it
    )
    ascii: bool = False
    spaced: bool = False
    choices_first: bool = False
    padded: bool = False  # the other text field is there as well, empty
    tail: dict[str, Any] = {}
    usage: dict[str, Any] | None = None

    def write(self, delta: dict[str, Any], **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": None} | more
        chunk = {"id": self.id, "created": self.created, "model": self.model}
        rest = {"choices": [choice]}
        chunk = rest | chunk if self.choices_first else chunk | rest
        chunk |= self.tail
        if self.usage is not None:
            chunk["usage"] = self.usage
        separators = (", ", ": ") if self.spaced else (",", ":")
        text = json.dumps(chunk, ensure_ascii=self.ascii, separators=separators)
        return text.encode()

    def text(self, text: str) -> bytes:
        return self.write({"content": text} | ({"reasoning": None} if self.padded else {}))

    def thought(self, text: str) -> bytes:
        names = [self.reasoning]
        if self.reasoning == "both":
            names = ["reasoning", "reasoning_content"]
        delta: dict[str, Any] = dict.fromkeys(names, text)
        if self.reasoning == "details":
            detail = {"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}
            delta = {"role": "assistant", "reasoning": text, "reasoning_details": [detail]}
        return self.write(({"content": ""} if self.padded else {}) | delta)


USAGES = st.builds(
    lambda p, c: {"prompt_tokens": p, "completion_tokens": c}, st.integers(0, 2), st.integers(0, 2)
)
TAILS = st.sampled_from(
    [
        {},
        {"usage": None},
        {"system_fingerprint": "content", "sla_metrics": {"ts_us": 1}},
        {"sla_metrics": {"ts_us": 2}},
        {"error": None},
    ]
)
WIRES = st.builds(
    Wire,
    id=st.sampled_from(["chatcmpl-1", "delta", "content", '"', "reasoning"]),
    model=st.sampled_from(["kimi", "content"]),
    reasoning=st.sampled_from(["reasoning_content", "reasoning", "both", "details"]),
    ascii=st.booleans(),
    spaced=st.booleans(),
    choices_first=st.booleans(),
    padded=st.booleans(),
    tail=TAILS,
    usage=st.none() | USAGES,
)


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Payloads of one answer, by a provider that mostly keeps to its habits."""
    wire = draw(WIRES)
    payloads = []
    for _ in range(draw(st.integers(1, 14))):
        kind = draw(st.sampled_from("ttttttrrrrcdefgxyz"))
        words = draw(TEXTS)
        match kind:
            case "t":
                payload = wire.text(words)
            case "r":
                payload = wire.thought(words)
            case "c":
                wire = replace(wire, created=wire.created + 1)
                payload = wire.text(words)
            case "d":
                wire = replace(wire, tail=draw(TAILS), usage=draw(st.none() | USAGES))
                payload = wire.thought(words)
            case "e":
                payload = wire.write({"content": words}, finish_reason="stop")
            case "f":
                payload = wire.write({"tool_calls": [{"function": {"arguments": words}}]})
            case "g":
                payload = wire.write({"content": words}, logprobs={"content": []})
            case "x":
                payload = wire.text(words)
                payload = payload[: draw(st.integers(0, len(payload)))]
            case "y":
                payload = wire.write({"content": words}, index=1)
            case _:
                payload = wire.write({"content": words}, usage=draw(USAGES))
        payloads.append(payload)
    return payloads


class Told(Struct):
    """All that a reader says of a stream."""

    events: list[list[Event]]
    upstream_id: str | None
    malformed: int
    done: bool
    failure: str | None = None


def read(payloads: list[bytes], *, learning: bool) -> Told:
    reader = ChunkReader()
    told = Told([], None, 0, done=False)
    for payload in payloads:
        if not learning:
            reader._shapes.clear()
            reader._doubled = None
        events: list[Event] = []
        told.events.append(events)
        try:
            reader.read(payload, events)
        except BackendError as error:
            told.failure = f"{type(error).__name__}: {error}"
            break
    told.upstream_id, told.malformed, told.done = reader.upstream_id, reader.malformed, reader.done
    return told


@given(streams())
@example([Wire().text("a"), Wire().text('b"'), Wire().text("\\"), Wire().text(TAIL)])
@example([Wire(usage={"prompt_tokens": n, "completion_tokens": 0}).text("a") for n in (1, 2, 1)])
@example(
    [Wire(spaced=True, tail={"usage": {"prompt_tokens": 1, "completion_tokens": 1}}).text("a")] * 3
)
@example([Wire(ascii=True).text(text) for text in ("a", "🌊", "é", "b")])
@example([Wire(reasoning="both").thought(text) for text in ("a", "a", "b", "a")])
@example([Wire(reasoning="details").thought(text) for text in ("a", '"', "details", "a", "")])
@example([Wire(id="delta", model="content").text(text) for text in ("choices", "a", "choices")])
def test_learning_changes_nothing(payloads: list[bytes]) -> None:
    assert read(payloads, learning=True) == read(payloads, learning=False)


@given(st.lists(TEXTS, min_size=1, max_size=10), WIRES)
@example(["content"], Wire(id="delta", model="content"))
def test_every_text_comes_out_as_it_went_in(texts: list[str], wire: Wire) -> None:
    payloads = [wire.text(text) for text in texts] + [wire.thought(text) for text in texts]
    told = answer(event for events in read(payloads, learning=True).events for event in events)
    assert (told.content, told.reasoning) == ("".join(texts), "".join(texts))


@pytest.mark.parametrize("name", sorted(path.name for path in RECORDINGS.glob("*.sse")))
def test_learning_changes_nothing_in_what_real_services_sent(name: str) -> None:
    payloads = recorded(name)
    assert read(payloads, learning=True) == read(payloads, learning=False)


class Counting(ChunkReader):
    """A reader that counts the chunks that had to be decoded."""

    decoded = 0

    @override
    def _decode(self, payload: bytes, events: list[Event]) -> None:
        self.decoded += 1
        super()._decode(payload, events)


@pytest.mark.parametrize(
    "wire",
    [
        Wire(),
        Wire(spaced=True),
        Wire(tail={"usage": None}),
        Wire(reasoning="both"),
        Wire(reasoning="details"),
        Wire(reasoning="details", padded=True, id="reasoning.text"),
    ],
)
def test_only_the_first_chunk_of_a_kind_is_decoded(wire: Wire) -> None:
    reader, events = Counting(), list[Event]()
    for number in range(50):
        reader.read(wire.thought(f"t{number}"), events)
    for number in range(50):
        reader.read(wire.text(f"t{number}"), events)
        reader.read(wire.thought(f"t{number}"), events)
    assert reader.decoded == 2
    assert len(events) == 150


def test_a_new_second_costs_one_more_decoding() -> None:
    reader, events = Counting(), list[Event]()
    for number in range(60):
        reader.read(replace(Wire(), created=number // 20).text("a"), events)
    assert reader.decoded == 3


def test_escapes_in_the_text_cost_no_decoding() -> None:
    reader, events = Counting(), list[Event]()
    for text in ("a", '"b"', "c", "d\\", "e", "f\n"):
        reader.read(Wire().text(text), events)
    assert reader.decoded == 1
    assert events == [Text(raw) for raw in (b"a", rb"\"b\"", b"c", rb"d\\", b"e", rb"f\n")]


@pytest.mark.parametrize(
    "text",
    [b"\x01", b"\n", b"\\q", b"\\u12", b'"', b"\\"],
)
def test_what_is_no_text_is_not_passed_on_because_its_chunk_has_the_right_shape(
    text: bytes,
) -> None:
    payloads = [Wire().text(word) for word in ("a", "TEXT", "b")]
    payloads[1] = payloads[1].replace(b"TEXT", text)
    told = read(payloads, learning=True)
    assert told == read(payloads, learning=False)
    assert told.events == [[Text(b"a")], [], [Text(b"b")]]
    assert told.malformed == 1


@pytest.mark.parametrize(("text", "kept"), [(b"\xff", "\ufffd"), (b"a\xe9b", "a\ufffdb")])
def test_bytes_that_are_no_utf8_cost_no_more_than_themselves(text: bytes, kept: str) -> None:
    payloads = [Wire().text(word) for word in ("a", "TEXT", "b")]
    payloads[1] = payloads[1].replace(b"TEXT", text)
    told = read(payloads, learning=True)
    assert told == read(payloads, learning=False)
    assert told.events == [[Text(b"a")], [Text(kept.encode())], [Text(b"b")]]
    assert told.malformed == 0


@pytest.mark.parametrize("text", [b"TEX", b"TEXTS", b"\xffEXT", b'T"XT', b"TEX\\"])
def test_a_text_that_is_told_twice_but_not_alike_is_decoded(text: bytes) -> None:
    wire = Wire(reasoning="details")
    payloads = [wire.thought(word) for word in ("abcd", "TEXT", "efgh")]
    for count in (1, -1):
        payloads[1] = wire.thought("TEXT").replace(b"TEXT", text, count)
        told = read(payloads, learning=True)
        assert told == read(payloads, learning=False)
        assert told.events[0::2] == [[Text(b"abcd", True)], [Text(b"efgh", True)]]


@pytest.mark.parametrize(
    "more",
    [
        {"finish_reason": "stop"},
        {"index": 1},
        {"logprobs": {"content": []}},
        {"usage": {"prompt_tokens": 1, "completion_tokens": 1}},
    ],
)
def test_a_chunk_that_says_more_than_its_text_is_decoded_each_time(more: dict[str, Any]) -> None:
    reader, events = Counting(), list[Event]()
    for text in ("a", "b", "c"):
        reader.read(Wire().write({"content": text}, **more), events)
    assert reader.decoded == 3
    assert read([Wire().write({"content": text}, **more) for text in "abc"], learning=True) == (
        read([Wire().write({"content": text}, **more) for text in "abc"], learning=False)
    )


def test_two_choices_in_one_chunk_are_decoded_each_time() -> None:
    one = [{"index": 0, "delta": {"content": "x"}}, {"index": 1, "delta": {"content": "y"}}]
    other = [{"index": 0, "delta": {"content": "z"}}, one[1]]
    payloads = [json.dumps({"choices": choices}).encode() for choices in (one, other)]
    assert [len(events) for events in read(payloads, learning=True).events] == [2, 2]


def test_usage_in_every_chunk_is_always_told() -> None:
    counts = ({"prompt_tokens": 1, "completion_tokens": n} for n in (1, 2, 2, 1))
    events = read([Wire(usage=usage).text("a") for usage in counts], learning=True).events
    assert [told[-1] for told in events] == [Usage(prompt=1, completion=n) for n in (1, 2, 2, 1)]


def test_the_end_is_seen_behind_a_learned_shape() -> None:
    payloads = [Wire().text("a"), Wire().text("b"), Wire().write({}, finish_reason="stop")]
    told = read([*payloads, b"[DONE]"], learning=True)
    assert told.events[2] == [Finish(0, "stop", "stop")]
    assert told.done
