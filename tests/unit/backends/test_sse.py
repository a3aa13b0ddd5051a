"""Streams of events are cut into payloads the same way however the network cut them into reads."""

import time
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backends.errors import BadReply
from backends.sse import ErrorPayload, EventReader


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


def test_with_cr_alone_an_event_waits_for_no_byte_of_the_next() -> None:
    reader = EventReader()
    assert reader.feed(b"data: a\r\r") == [b"a"]
    assert reader.feed(b"\ndata: b\r\r") == [b"b"], "that LF belonged to the CR before it"


@pytest.mark.parametrize("lead", [b"", b"\n", b"\n\n", b": hi\n\n", b"data: z\n\n"])
def test_a_byte_order_mark_costs_no_event(lead: bytes) -> None:
    before = [b"z"] if b"z" in lead else []
    assert payloads(lead + b"\xef\xbb\xbfdata: a\n\n") == [*before, b"a"]
    assert payloads(lead + b"\xef", b"\xbb", b"\xbfdata: a\r\n", b"\r\n") == [*before, b"a"]


@pytest.mark.parametrize("line", [b"event: error", b"event:error"])
def test_an_event_named_error_is_marked_as_one(line: bytes) -> None:
    (found,) = payloads(line + b'\ndata: {"choices":[]}\n\n')
    assert found == b'{"choices":[]}'
    assert type(found) is ErrorPayload
    (bare,) = payloads(line + b"\n\n")
    assert (type(bare), bare) == (ErrorPayload, b"")
    (other,) = payloads(b"event: errors\ndata: x\n\n")
    assert type(other) is bytes


def test_empty_data_lines_mean_nothing_in_a_payload_of_several() -> None:
    assert payloads(b"data\ndata: {\ndata:\ndata: }\ndata: \n\n") == [b"{\n}"]
    assert payloads(b"data:\n\ndata: \n\ndata:\ndata:\n\n") == [b"", b"", b""]


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


def seconds_for(count: int, piece: bytes, start: bytes = b"data: ") -> float:
    """CPU time to take in an event without end, in `count` pieces."""
    spent = []
    for _ in range(3):
        reader = EventReader(max_event=1 << 30)
        reader.feed(start)
        began = time.process_time()
        for _ in range(count):
            reader.feed(piece)
        spent.append(time.process_time() - began)
    return min(spent)


@pytest.mark.parametrize(
    ("piece", "count"),
    [(b"x", 32_768), (b"x\r", 16_384), (b"data: x\n", 16_384), (b"x" * 1024, 1_024)],
    ids=["bytes", "CR", "lines", "kilobytes"],
)
def test_an_event_without_end_costs_time_in_proportion_to_its_size(
    piece: bytes, count: int
) -> None:
    # Eight times as much takes eight times as long; were all that is held looked at again for each
    # piece, it would take sixty-four times as long.
    assert seconds_for(8 * count, piece) < 24 * seconds_for(count, piece)


def test_four_megabytes_in_small_pieces_are_cut_off_at_the_limit() -> None:
    reader, fed = EventReader(), 0
    piece = b"x" * 1000
    refused: BadReply | None = None
    while refused is None and fed < 5_000_000:
        try:
            reader.feed(piece)
            fed += len(piece)
        except BadReply as error:
            refused = error
    assert "larger than 4194304 bytes" in str(refused)
    assert 4 * 1024 * 1024 - len(piece) <= fed <= 4 * 1024 * 1024
    assert not reader._rest, "what was refused is not held any longer"


WORDS = (
    *(b"data: ", b"data:", b"data", b"event: ", b"event: error", b": ", b"\n", b"\r", b"\r\n"),
    *(b"\n\n", b"{", b"{}", b"[DONE]", b"\xef\xbb\xbf", b"id: 1", b"retry"),
)
STREAMS = st.lists(
    st.one_of(st.sampled_from(WORDS), st.text(max_size=4).map(str.encode), st.binary(max_size=3)),
    max_size=24,
).map(b"".join)
CUTS = st.lists(st.integers(0, 120), max_size=12)


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(at for at in cuts if at < len(stream)), len(stream)]
    return [stream[a:b] for a, b in pairwise(places)]


def slowly(stream: bytes) -> list[bytes]:
    """The payloads of a stream, read byte by byte with nothing clever."""
    lines, line, previous = list[bytes](), b"", 0
    for byte in stream:
        if byte == 0x0A and previous == 0x0D:
            pass
        elif byte in {0x0A, 0x0D}:
            lines.append(line)
            line = b""
        else:
            line += bytes([byte])
        previous = byte
    found, event = list[bytes](), list[bytes]()
    for each in [*lines, line, b""]:
        if each:
            event.append(each)
        else:
            found += slow_event(event)
            event = []
    return found


def slow_event(lines: list[bytes]) -> list[bytes]:
    data, failed = list[bytes](), False
    for number, line in enumerate(lines):
        bare = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
        name, colon, value = bare.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if name == b"data" and colon:
            data.append(value)
        failed = failed or (name, value) == (b"event", b"error")
    told = [value for value in data if value]
    documents = told and all(value[:1] == b"{" or value[:6] == b"[DONE]" for value in told)
    if len(data) > 1 and not documents:
        data = [b"\n".join(told)]
    elif len(data) > 1:
        data = told
    return data or ([b""] if failed else [])


@settings(max_examples=500)
@given(STREAMS, CUTS)
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", [8, 9, 10, 11])
@example(b"data: a\n\r\n\r", [8, 9, 10])
@example(b"data: a\r\ndata: b\r\n\r\n", [8])
@example(b"data: a\r\rdata: b\r\n\ndata: c", [8, 9, 19])
@example(b"\n\n\n\xef\xbb\xbfdata: a\n\n\n", [1, 2, 3, 4])
def test_any_cutting_of_any_bytes_gives_what_a_slow_reader_finds(
    stream: bytes, cuts: list[int]
) -> None:
    assert payloads(*cut(stream, cuts)) == slowly(stream)


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
