"""Whatever a provider sends, a caller gets valid events with valid JSON, or an error: never a crash."""

import json
from collections.abc import Iterable
from typing import Any, NoReturn

from hypothesis import example, given, settings
from hypothesis import strategies as st

from backends import BackendError, Event, Usage
from backends.kinds.vllm import QUIRKS as VLLM
from backends.openai_compat.reply import ChunkReader, read_whole
from backends.sse import EventReader
from gateway.values import Basis, UsageView
from gateway.wire.openai_reply import StreamEncoder, WholeEncoder
from pricing import Money, Quantities
from tests.unit.backends.openai_compat.reading import RECORDINGS

VIEW = UsageView(
    Usage(prompt=1, completion=1),
    Quantities(fresh_input=1, output=1, requests=1),
    Money("USD", 1),
    Basis.REPORTED,
)
NAMED: dict[str, Any] = {"generation_id": "gen-1", "created": 1, "model": 'm"', "provider": "p"}
RECORDED = [path.read_bytes() for path in sorted(RECORDINGS.iterdir()) if path.suffix != ".md"]


def valid(document: bytes) -> Any:
    """The value of a document, which has to be JSON as the standard has it, in UTF-8."""

    def refuse(word: str) -> NoReturn:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(document.decode(), parse_constant=refuse)


def valid_events(stream: bytes) -> list[Any]:
    """The documents of a stream, which has to be nothing but events of one line each."""
    *events, rest = stream.split(b"\n\n")
    assert rest == b""
    found = []
    for event in events:
        assert event.startswith(b"data: ")
        assert b"\n" not in event
        assert b"\r" not in event
        found.append(None if event == b"data: [DONE]" else valid(event[6:]))
    return found


def events_in(stream: bytes) -> tuple[list[list[Event]], BackendError | None]:
    """What is read of a stream, payload by payload, and why it broke off."""
    framing, reader = EventReader(max_event=100_000), ChunkReader(VLLM.failures.event)
    batches: list[list[Event]] = []
    try:
        for payload in framing.feed(stream) + framing.flush():
            batches.append([])
            reader.read(payload, batches[-1])
    except BackendError as error:
        return batches, error
    return batches, None


def streamed(batches: Iterable[list[Event]], *, failed: bool) -> list[Any]:
    """The caller's stream."""
    encoder = StreamEncoder(**NAMED)
    sent = b"".join(encoder.encode(batch) for batch in batches)
    return valid_events(sent + (encoder.failure(b"{}") if failed else encoder.end(VIEW)))


def collected(batches: Iterable[list[Event]]) -> Any:
    """The caller's whole reply, None if there can be none."""
    encoder = WholeEncoder()
    try:
        for batch in batches:
            encoder.add(batch)
        encoder.check()
    except BackendError:
        return None
    return valid(encoder.end(**NAMED, view=VIEW))


def carried(stream: bytes) -> None:
    """Read a stream and write it in both forms."""
    batches, error = events_in(stream)
    *chunks, last = streamed(batches, failed=error is not None)
    assert (last is None) == (error is None), "[DONE] stands at a good end and nowhere else"
    assert None not in chunks
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    whole = collected(batches)
    assert whole is None or whole["object"] == "chat.completion"


def carried_whole(body: bytes) -> None:
    """Read a whole reply and write it in both forms."""
    try:
        _, events = read_whole(body, VLLM.failures.event)
    except BackendError:
        return
    streamed([events], failed=False)
    collected([events])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
COUNTS = st.none() | st.integers(-5, 10**12) | VALUES
CALLS = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(-1, 3) | VALUES,
        "id": st.just("functions.f:0") | VALUES,
        "type": st.just("function") | VALUES,
        "function": st.fixed_dictionaries(
            {},
            optional={
                "name": st.just("f") | VALUES,
                "arguments": st.sampled_from(["{", '"a": 1', "}", "[" * 2000, ""]) | VALUES,
            },
        )
        | VALUES,
    },
)
DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "role": st.just("assistant") | VALUES,
        "content": st.text() | VALUES,
        "reasoning": st.text() | VALUES,
        "reasoning_content": st.text() | VALUES,
        "refusal": st.text() | VALUES,
        "tool_calls": st.lists(CALLS, max_size=3) | VALUES,
        "annotations": VALUES,
        'odd "name"\n': VALUES,
    },
)
USAGES = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": COUNTS,
        "completion_tokens": COUNTS,
        "cached_tokens": COUNTS,
        "cost": COUNTS,
        "prompt_tokens_details": st.fixed_dictionaries({"created_cache_tokens": COUNTS}) | VALUES,
    },
)
REASONS = st.none() | st.sampled_from(["stop", "length", "abort", "repetition"]) | VALUES
CHOICES = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(-1, 3) | VALUES,
        "delta": DELTAS | VALUES,
        "message": DELTAS | VALUES,
        "finish_reason": REASONS,
        "logprobs": st.none() | st.fixed_dictionaries({"content": st.lists(VALUES)}) | VALUES,
        "usage": USAGES | VALUES,
    },
)
CHUNKS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.just("x") | VALUES,
        "object": st.sampled_from(["chat.completion.chunk", "error"]) | VALUES,
        "choices": st.lists(CHOICES, max_size=3) | VALUES,
        "usage": USAGES | VALUES,
        "error": st.none() | VALUES,
        "message": VALUES,
    },
)
INDENTS = st.none() | st.just(1)


@st.composite
def framed(draw: st.DrawFn, document: Any) -> bytes:
    """A document as an event, perhaps spread over several lines."""
    shown = json.dumps(document, ensure_ascii=draw(st.booleans()), indent=draw(INDENTS))
    raw = shown.encode("utf-8", "surrogatepass")
    end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    return b"".join(b"data: " + line + end for line in raw.split(b"\n")) + end


def broken(stream: bytes, places: list[tuple[int, bytes]]) -> bytes:
    """`stream` with bytes of it replaced."""
    for at, new in places:
        at %= len(stream) + 1  # noqa: PLW2901 - a place in what is left of it
        stream = stream[:at] + new + stream[at + 1 :]
    return stream


TINY = st.binary(max_size=2) | st.sampled_from([b"\n", b"\r", b"\xff", b'"', b"\\", b"null", b"{"])
PLACES = st.lists(st.tuples(st.integers(0, 10_000), TINY), max_size=4)


@settings(max_examples=250)
@given(st.lists(CHUNKS.flatmap(framed), max_size=5).map(b"".join), PLACES)
@example(b'data: {"choices":[{"delta":{"tool_calls":[{\ndata: "index":0}]}}]}\n\n', [])
@example(b'data: {"choices":[{"delta":{"x":"\xff"}}]}\n\n', [])
def test_any_chunks_become_a_valid_answer_or_an_error(
    stream: bytes, places: list[tuple[int, bytes]]
) -> None:
    carried(broken(stream, places))


@given(st.lists(TINY | st.text(max_size=3).map(str.encode), max_size=8))
@example([b"a", b"\xff", b"\x01", b"\\q", b"\\", b'"', b'",', b"\\ud83c", b"b"])
def test_any_texts_in_chunks_of_one_shape_become_a_valid_answer(texts: list[bytes]) -> None:
    carried(b"".join(b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % t for t in texts))


@settings(max_examples=150)
@given(st.sampled_from(RECORDED), PLACES)
def test_a_recorded_answer_with_broken_bytes_becomes_a_valid_one_or_an_error(
    recorded: bytes, places: list[tuple[int, bytes]]
) -> None:
    carried(broken(recorded, places))
    carried_whole(broken(recorded, places))


@settings(max_examples=150)
@given(CHUNKS, INDENTS, PLACES)
def test_any_whole_reply_becomes_a_valid_answer_or_an_error(
    document: Any, indent: int | None, places: list[tuple[int, bytes]]
) -> None:
    carried_whole(broken(json.dumps(document, indent=indent).encode(), places))


@given(st.binary(max_size=200))
def test_any_bytes_become_a_valid_answer_or_an_error(stream: bytes) -> None:
    carried(stream)
    carried_whole(stream)
