"""Bytes of replies into `Response` objects: what llhttp finds, and what this client makes of it."""

from httptools import HttpParserUpgrade, HttpResponseParser

from backends.errors import BackendError, BadReply
from backends.http_encoding import Decoder, decoder_for
from backends.http_response import Response

# How far a reply has come.
HEAD = 0
BODY = 1
CODED = 2  # its body, which comes compressed
DONE = 3
SURPLUS = 4  # bytes came after its end

_INTERIM = 200  # statuses below it announce that another head follows
_LEAST = 100  # and there are none below this
_CODINGS = frozenset({b"content-encoding", b"transfer-encoding"})
_CHUNKED = b"chunked"
_VERSIONS = frozenset({"1.0", "1.1"})


class ReplyParser:
    """The parser of one connection, used for one reply after the other.

    Attributes:
        begun: whether a head other than an interim one has begun.
        bodiless: whether the reply has no body whatever its head says: it answers HEAD.
        feed: takes bytes as they arrive. Raises `HttpParserError` or `HttpParserUpgrade`, which `fault`
            turns into a `BackendError`.
        keep_alive: whether the upstream will take another request on this connection.
        response: what is being filled; None between exchanges.
        stage: how far the reply has come.
        until_eof: whether only the end of the connection ends the body.
    """

    __slots__ = (
        "_decoder",
        "_headers",
        "_parser",
        "begun",
        "bodiless",
        "feed",
        "keep_alive",
        "response",
        "stage",
        "until_eof",
    )

    def __init__(self) -> None:
        self.response: Response | None = None
        self._decoder: Decoder | None = None  # of the body, while `stage` is CODED
        self._headers: list[tuple[bytes, bytes]] = []
        self.stage = HEAD
        self.begun = self.bodiless = self.keep_alive = self.until_eof = False
        self._renew()

    def start(self, response: Response, *, bodiless: bool) -> None:
        """Expect the head of the reply that `response` stands for."""
        self.response = response
        self.stage = HEAD
        self.begun = False
        self.bodiless = bodiless
        self._headers = response.headers

    def stop(self) -> None:
        """The reply is complete: let go of it."""
        self.response = None
        if self.bodiless:
            self._renew()  # llhttp cannot be told that there is no body, and waits for it

    def discard(self) -> None:
        """Free the parser for good: it holds methods of this object, and the object holds it."""
        self.response = None
        del self._parser, self.feed

    def fault(self, exc: Exception) -> BackendError:
        """The failure behind an exception of `feed`."""
        if isinstance(exc, HttpParserUpgrade):
            return BadReply("switched protocols, unasked", status=101)
        cause = exc.__context__  # httptools wraps what a callback raises
        status = self.response.status if self.response is not None else 0
        if isinstance(cause, BackendError):
            cause.status = cause.status or status or None
            return cause
        if isinstance(cause, OverflowError) and self.response is not None:
            return self.response.too_large()
        return BadReply(f"not HTTP/1.1: {exc}", status=status or None)

    @property
    def may_end_now(self) -> bool:
        """Whether the end of the connection is a clean end of the body."""
        if self.stage == CODED and not (self._decoder is None or self._decoder.finished):
            return False
        return self.until_eof and self.stage in {BODY, CODED}

    def _renew(self) -> None:
        self._parser = HttpResponseParser(self)
        self.feed = self._parser.feed_data

    # -- called by httptools -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A reply begins; or another one, that no request asked for."""
        if self.stage == HEAD:
            self.begun = True
        else:
            self.stage = SURPLUS

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which nobody looks at."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Take the head, unless it is an interim one.

        Raises:
            BadReply: the body is encoded in a way that nobody here can undo.
        """
        status = self._parser.get_status_code()
        response = self.response
        if status < _INTERIM or response is None or self.stage != HEAD:
            if status < _LEAST:
                raise BadReply(f"status {status:03}")
            return
        decoder: Decoder | None = None
        if not _CODINGS.isdisjoint(dict(response.headers)):
            for name, value in response.headers:
                if name in _CODINGS and value != _CHUNKED:
                    decoder = self._coded(name, value, status, decoder)
        self.keep_alive = self._parser.should_keep_alive()
        # llhttp never keeps alive what only the end of the connection ends; it does not tell this reason
        # from the others, so the head is looked at again.
        self.until_eof = False
        if not self.keep_alive:
            version = self._parser.get_http_version()
            if version not in _VERSIONS:  # llhttp takes some others, and keeps none of them alive
                raise BadReply(f"not HTTP/1.1 but HTTP/{version}", status=status)
            self.until_eof = not _has_length(response)
        self._headers = []  # for trailers
        if decoder is not None:
            self._decoder = decoder
            self.stage = CODED
        else:
            self.stage = DONE if self.bodiless else BODY
        response.status = status

    def on_body(self, body: bytes) -> None:
        """A piece of the body.

        Raises:
            BadReply: it is corrupt.
            OverflowError: more comes of it than may wait for its reader.
        """
        response = self.response
        if self.stage == BODY and response is not None:
            response.parts.append(body)
            response.size += len(body)
        elif self.stage == CODED and response is not None and self._decoder is not None:
            # A piece of nothing can become a very large one: what is unread counts, however it came.
            decoded = self._decoder.feed(body, max(0, response.max_body_bytes - response.size))
            if decoded:
                response.parts.append(decoded)
                response.size += len(decoded)
        else:
            self.stage = SURPLUS

    def on_message_complete(self) -> None:
        """The reply, or an interim one, is complete.

        Raises:
            BadReply: a compressed body ends before its end.
        """
        if self.stage == BODY:
            self.stage = DONE
        elif self.stage == CODED:
            if self._decoder is not None and not self._decoder.finished:
                raise BadReply("the compressed body is cut short")
            self.stage = DONE
        elif self.stage == HEAD and self.response is not None:
            self.response.headers.clear()
            self.begun = False

    def _coded(
        self, name: bytes, value: bytes, status: int, decoder: Decoder | None
    ) -> Decoder | None:
        """What a header that tells a coding calls for, after what those before it did."""
        if name == b"transfer-encoding":
            if value.strip().lower() != _CHUNKED:
                raise BadReply(f"transfer-encoding {value[:40]!r} was not asked for", status=status)
            return decoder
        if decoder is not None:
            raise BadReply("content-encoding is there more than once", status=status)
        return None if self.bodiless else decoder_for(value, status)


def _has_length(response: Response) -> bool:
    coding = response.header(b"transfer-encoding")
    if coding is not None:
        return coding.lower().endswith(b"chunked")
    return response.header(b"content-length") is not None
