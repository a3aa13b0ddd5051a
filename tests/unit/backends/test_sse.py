"""Streams of events are cut into payloads the same way however the network cut them into reads."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backends.errors import BadReply
from backends.sse import EventReader


def payloads(*reads: bytes) -> list[bytes]:
    """What the reader makes of a stream that arrives in these reads and then ends."""
    reader = EventReader()
    found = [payload for read in reads for payload in reader.feed(read)]
    return found + reader.flush()


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_lines_may_end_in_lf_cr_or_crlf(end: bytes) -> None:
    stream = b"data: one" + end + end + b"data: two" + end + end
    assert payloads(stream) == [b"one", b"two"]


def test_line_ends_may_be_mixed_in_one_stream() -> None:
    assert payloads(b"data: a\r\n\ndata: b\n\r\ndata: c\r\r\ndata: d\n\n") == [
        *(b"a", b"b", b"c", b"d")
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_cut_into_two_reads_gives_the_same_payloads(end: bytes) -> None:
    lines = (b": hi", b"", b"event: x", 'data: {"t":"é🌊"}'.encode(), b"", b"data: b", b"data: c")
    stream = end.join((*lines, b"", b""))
    for at in range(len(stream) + 1):
        assert payloads(stream[:at], stream[at:]) == ['{"t":"é🌊"}'.encode(), b"b\nc"], at


def test_an_event_is_given_as_soon_as_its_blank_line_is_there() -> None:
    reader = EventReader()
    assert reader.feed(b"data: a\n") == []
    assert reader.feed(b"\ndata: b") == [b"a"]
    assert reader.feed(b"\n\n") == [b"b"]
    assert reader.flush() == []


def test_with_crlf_an_event_waits_for_no_byte_of_the_next() -> None:
    reader = EventReader()
    assert reader.feed(b"data: a\r\n\r\n") == [b"a"]
    assert reader.feed(b"data: b\r\n\r\n") == [b"b"]


@pytest.mark.parametrize(
    "noise",
    [b":", b": keep-alive", b"event: message", b"id: 7", b"retry: 10", b"database: x", b"data"],
)
def test_comments_and_other_fields_are_skipped(noise: bytes) -> None:
    assert payloads(noise + b"\n\n" + noise + b"\ndata: a\n" + noise + b"\n\n") == [b"a"]


def test_only_one_space_after_the_colon_belongs_to_the_framing() -> None:
    assert payloads(b"data:a\n\ndata: b\n\ndata:  c\n\n") == [b"a", b"b", b" c"]


def test_several_data_lines_are_one_payload_of_several_lines() -> None:
    assert payloads(b'data: {\ndata: "a": 1\ndata: }\n\n') == [b'{\n"a": 1\n}']


def test_documents_on_lines_without_a_blank_one_between_are_taken_apart() -> None:
    stream = b'data: {"a":1}\ndata: {"b":2}\ndata: [DONE]\n\n'
    assert payloads(stream) == [b'{"a":1}', b'{"b":2}', b"[DONE]"]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n"])
def test_the_last_event_may_lack_its_blank_line(end: bytes) -> None:
    assert payloads(b"data: a\n\ndata: [DONE]" + end) == [b"a", b"[DONE]"]


def test_blank_lines_in_excess_give_nothing() -> None:
    assert payloads(b"\n\n\n\ndata: a\n\n\n\n\ndata: b\n\n\n\n") == [b"a", b"b"]


def test_an_empty_stream_has_no_events() -> None:
    assert payloads() == payloads(b"") == payloads(b"\n") == []


def test_an_event_over_the_limit_is_refused_while_it_arrives() -> None:
    reader = EventReader(max_event=100)
    assert reader.feed(b"data: " + b"x" * 94) == []
    with pytest.raises(BadReply, match="larger than 100 bytes"):
        reader.feed(b"x")


def test_the_limit_is_for_one_event_and_not_for_the_stream() -> None:
    reader = EventReader(max_event=100)
    for _ in range(50):
        assert reader.feed(b"data: " + b"x" * 80 + b"\n\n") == [b"x" * 80]


WORDS = (b"data: ", b"data:", b"event: ", b": ", b"\n", b"\r", b"\r\n", b"\n\n", b"{", b"[DONE]")
STREAMS = st.lists(
    st.one_of(st.sampled_from(WORDS), st.text(max_size=4).map(str.encode), st.binary(max_size=3)),
    max_size=24,
).map(b"".join)


@given(STREAMS, st.lists(st.integers(0, 120), max_size=12))
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", [8, 9, 10, 11])
@example(b"data: a\n\r\n\r", [8, 9, 10])
@example(b"data: a\r\ndata: b\r\n\r\n", [8])
def test_any_cutting_of_any_bytes_gives_the_same_payloads(stream: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    reads = [stream[a:b] for a, b in pairwise(places)]
    assert payloads(*reads) == payloads(stream)


@given(st.lists(STREAMS, max_size=20))
def test_nothing_more_than_an_event_and_a_read_is_ever_held(reads: list[bytes]) -> None:
    reader = EventReader(max_event=60)
    for read in reads:
        try:
            found = reader.feed(read)
        except BadReply:
            return
        assert all(len(payload) <= 60 + len(read) for payload in found)
        assert len(reader._rest) <= 60


JSON_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]))


@given(st.lists(JSON_TEXT, max_size=6), st.sampled_from([b"\n", b"\r", b"\r\n"]), st.data())
def test_what_was_framed_comes_out(texts: list[str], end: bytes, data: st.DataObject) -> None:
    sent = [b'{"t":"' + text.replace('"', "'").encode() + b'"}' for text in texts]
    stream = b"".join(b"data: " + one + end + end for one in sent)
    at = data.draw(st.integers(0, len(stream)))
    assert payloads(stream[:at], stream[at:]) == sent
