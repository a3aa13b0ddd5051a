"""The head of a request on a native route, and what is wrong with one."""

from collections.abc import Callable, Iterable
from functools import partial

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway.errors import GatewayError, HeadersTooLarge, InvalidRequest
from gateway.exchange import Head
from gateway.settings import ServerSettings
from gateway.wire.errors import error_body, error_header_lines


class NativeHead(Head):
    """The head of a request on a native route."""

    # Attributes, so that nothing stands between a look-up and the mapping that answers it.
    header: Callable[[bytes], bytes | None]
    first: Callable[[bytes], bytes | None]

    __slots__ = ("first", "header")

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        by_name = dict(headers)
        if len(by_name) == len(headers):
            # Without a name that comes twice, which is the rule, look-ups need not search.
            self.header = self.first = by_name.get
        else:
            self.header, self.first = partial(_only, headers), partial(_first, headers)


def _only(headers: list[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    found: bytes | None = None
    for known, value in headers:
        if known == name:
            if found is not None:
                text = name.decode("latin-1")
                raise InvalidRequest(
                    f"the header '{text}' is there more than once; send it once",
                    code="duplicate_header",
                )
            found = value
    return found


def _first(headers: list[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    return next((value for known, value in headers if known == name), None)


def origin_form(target: bytes) -> bytes:
    """The path and query of a target in absolute form, which servers must take (RFC 9112, 3.2.2)."""
    if not target.lower().startswith((b"http://", b"https://")):
        return target
    parsed = httptools.parse_url(target)
    path = parsed.path or b"/"
    query = parsed.query or b""
    return path + b"?" + query if query else path


def head_size(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    """About the bytes of a head whose target and headers are these."""
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)


def head_too_large(limits: ServerSettings) -> HeadersTooLarge:
    """The refusal of a head that is over the limit."""
    return HeadersTooLarge(f"the request's headers are larger than {limits.max_head_bytes} bytes")


def refusal(
    error: GatewayError, identity: bytes, default_headers: Iterable[tuple[bytes, bytes]]
) -> bytes:
    """The whole answer to what is not a request, after which the connection is closed.

    Args:
        error: what was wrong.
        identity: the id that it can be asked about by.
        default_headers: what the server adds to each answer.
    """
    body = error_body(error)
    own = b"x-generation-id: %b\r\nx-request-id: %b\r\n" % (identity, identity)
    framing = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
    head = STATUS_LINE[error.status] + header_lines(default_headers) + error_header_lines(error)
    return head + own + framing + body


def header_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they stand in a head."""
    return b"".join([b"%b: %b\r\n" % pair for pair in headers])
