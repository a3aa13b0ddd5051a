"""Whatever an upstream sends, cut however it likes: an answer or a BackendError, in time, in bounds."""

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct, structs

from backends.errors import BackendError, BadReply, ConnectionLost, UpstreamTimeout
from backends.http_values import ClientLimits
from tests.fakes.upstream_connection import Result, Wire

LIMITS = ClientLimits(max_head_bytes=2048, max_body_bytes=4096, high_water=512)
TIMEOUT = 300.0
fuzz = settings(max_examples=400, deadline=None)

Coding = tuple[bytes, Callable[[bytes], bytes]]


def as_it_is(data: bytes) -> bytes:
    return data


def bare(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


CODINGS: Sequence[Coding] = (
    (b"", as_it_is),
    (b"Content-Encoding: identity\r\n", as_it_is),
    (b"Content-Encoding: gzip\r\n", lambda data: gzip.compress(data, mtime=0)),
    (b"content-encoding: Deflate\r\n", zlib.compress),
    (b"Content-Encoding: deflate\r\n", bare),
)
TOKENS = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.0 ",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Encoding: br\r\n",
    b"Connection: close\r\n",
    b"Upgrade: h2c\r\nConnection: upgrade\r\n",
    b" ",
    b":",
    b";" + b"x" * 700,
    b"X: " + b"y" * 900 + b"\r\n",
    gzip.compress(bytes(100_000), mtime=0),
    gzip.compress(b"", mtime=0),
)


class Valid(Struct, frozen=True):
    """A reply that is as it should be, and what it means."""

    wire: bytes
    status: int
    body: bytes
    kept: bool  # whether its connection can be used again
    by_end: bool  # whether only the end of the connection ends it
    coded: bool


@st.composite
def valid_replies(draw: st.DrawFn) -> Valid:
    interim = draw(
        st.sampled_from(
            [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\n"]
        )
    )
    status = draw(st.integers(200, 599).filter(lambda code: code not in {204, 304}))
    body = draw(st.binary(max_size=300)) * draw(st.integers(1, 3))
    coding, encode = draw(st.sampled_from(CODINGS))
    sent = encode(body)
    framing = draw(st.sampled_from(["length", "chunks", "end"]))
    close = framing == "end" or draw(st.booleans())
    more = b"Connection: close\r\n" if close else b"X-Thing: 1\r\n"
    head = b"HTTP/1.1 %d Thing\r\n%b%b" % (status, coding, more)
    if framing == "length":
        wire = head + b"Content-Length: %d\r\n\r\n" % len(sent) + sent
    elif framing == "end":
        wire = head + b"\r\n" + sent
    else:
        wire = head + b"Transfer-Encoding: chunked\r\n\r\n" + draw(chunks(sent))
    return Valid(interim + wire, status, body, not close, framing == "end", encode is not as_it_is)


@st.composite
def chunks(draw: st.DrawFn, data: bytes) -> bytes:
    wire = b""
    for piece in pieces(data, draw(cuts)):
        if piece:
            extension = draw(st.sampled_from([b"", b";a", b';a=b;c="d"']))
            wire += b"%x%b\r\n%b\r\n" % (len(piece), extension, piece)
    return wire + draw(st.sampled_from([b"0\r\n\r\n", b"00\r\nX-T: 1\r\n\r\n"]))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good reply that had accidents."""
    data = bytearray(draw(valid_replies()).wire)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 20))
        match draw(st.integers(0, 4)):
            case 0:
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length]
            case 3:
                data[at:at] = draw(st.sampled_from(TOKENS))
            case _:
                data[at:at] = draw(st.binary(max_size=8))
    return bytes(data)


# Lengths of the pieces that something is cut into; what is left is the last piece.
cuts: st.SearchStrategy[list[int]] = (
    st.lists(st.integers(1, 40), max_size=30) | st.just([1] * 2000) | st.just([])
)
ends = st.sampled_from(["closed", "silent"])
junk = st.binary(max_size=400) | st.lists(st.sampled_from(TOKENS), max_size=12).map(b"".join)


def pieces(data: bytes, lengths: Sequence[int]) -> Iterator[bytes]:
    at = 0
    for length in lengths:
        yield data[at : at + length]
        at += length
    if data[at:]:
        yield data[at:]


def run(wire: Wire, data: bytes, lengths: Sequence[int], *, end: str = "") -> Result:
    """One exchange; a wire whose upstream stays silent runs into its deadline."""
    wire.ask(timeout=TIMEOUT)
    for piece in pieces(data, lengths):
        if piece:
            wire.feed(piece)
    if end == "closed":
        wire.end()
    elif end == "silent":
        wire.run_out()
    wire.read()
    return wire.result()


@fuzz
@given(valid_replies(), cuts)
def test_good_reply_is_read_as_it_was_meant_however_it_is_cut(reply: Valid, cut: list[int]) -> None:
    wire = Wire()
    result = run(wire, reply.wire, cut, end="closed" if reply.by_end else "")
    assert (result.status, result.body, result.error) == (reply.status, reply.body, None)
    assert (wire.released, wire.dropped) == ((1, False) if reply.kept else (0, True))
    if reply.kept:
        assert run(wire, reply.wire, []) == result


@fuzz
@given(mutated() | junk, cuts, ends)
def test_anything_at_all_ends_in_an_answer_or_a_backend_error(
    data: bytes, cut: list[int], end: str
) -> None:
    wire = Wire(LIMITS)
    result = run(wire, data, cut, end=end)
    assert result.error is None or (
        isinstance(result.error, type) and issubclass(result.error, BackendError)
    )
    assert wire.response.connection is None
    assert wire.now <= TIMEOUT + 1
    if end == "silent" and not wire.released:
        assert wire.dropped


@fuzz
@given(mutated() | junk, cuts)
def test_what_comes_out_does_not_depend_on_how_it_was_cut(data: bytes, cut: list[int]) -> None:
    whole = run(Wire(), data, [], end="closed")
    parts = run(Wire(), data, cut, end="closed")
    if whole.error is BadReply and b"oding" in data:
        # Of a piece that is corrupt somewhere, zlib gives nothing: so less of it, if it was larger.
        assert parts.body.startswith(whole.body)
        whole = structs.replace(whole, body=parts.body)
    assert parts == whole


@fuzz
@given(mutated() | junk, cuts, valid_replies(), cuts)
def test_connection_that_was_given_back_is_fit_for_the_next_exchange(
    data: bytes, cut: list[int], reply: Valid, again: list[int]
) -> None:
    wire = Wire(LIMITS)
    run(wire, data, cut)
    if not wire.released or wire.transport.aborted:
        return
    result = run(wire, reply.wire, again, end="closed" if reply.by_end else "")
    assert (result.status, result.body, result.error) == (reply.status, reply.body, None)


@fuzz
@given(valid_replies(), st.data())
def test_cut_reply_is_never_taken_for_a_whole_one(reply: Valid, data: st.DataObject) -> None:
    if reply.by_end and not reply.coded:
        return  # nothing tells
    at = data.draw(st.integers(0, len(reply.wire) - 1))
    if not reply.wire[at:].strip(b"\r\n") and reply.wire.endswith(b"\r\n\r\n"):
        return  # of the last empty line enough is there, or only it is missing
    wire = Wire()
    result = run(wire, reply.wire[:at], [], end="closed")
    if reply.by_end and result.error is None:
        assert result.body in {reply.body, b""}  # no byte of a coded body had come yet
        return
    assert result.error is ConnectionLost
    assert reply.body.startswith(result.body)


@fuzz
@given(st.lists(junk | st.sampled_from(TOKENS), max_size=40), st.sampled_from(range(5)), cuts)
def test_memory_stays_in_bounds(junks: list[bytes], start: int, cut: list[int]) -> None:
    starts = (
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    )
    wire = Wire(LIMITS)
    data = starts[start] + b"".join(junks)
    largest = max((len(piece) for piece in pieces(data, cut)), default=0)
    run(wire, data, cut, end="silent")
    head = sum(len(name) + len(value) for name, value in wire.response.headers)
    assert head <= LIMITS.max_head_bytes + largest
    assert wire.most_unread <= LIMITS.max_body_bytes + largest


def test_framing_counts_anew_after_each_piece_of_the_body() -> None:
    """A long stream whose chunk sizes arrive by themselves is no flood of framing."""
    wire = Wire(LIMITS)
    wire.ask()
    wire.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(50):
        wire.feed(b"1;%b\r\n" % (b"x" * 1500))
        wire.feed(b"a\r\n")
    wire.feed(b"0\r\n\r\n")
    assert wire.result() == Result(200, wire.result().headers, b"a" * 50, None)


def test_silence_after_any_part_of_a_reply_ends_in_a_timeout() -> None:
    reply = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\n"
    )
    for at in range(len(reply)):
        wire = Wire()
        assert run(wire, reply[:at], [], end="silent").error is UpstreamTimeout
        assert wire.now <= TIMEOUT + 1
