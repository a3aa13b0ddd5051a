"""The head of a request on a native route, and what is wrong with one."""

from collections.abc import Iterable

import httptools
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway.errors import GatewayError, HeadersTooLarge, InvalidRequest
from gateway.exchange import Head
from gateway.settings import ServerSettings
from gateway.wire.errors import error_body, error_header_lines


class NativeHead(Head):
    """The head of a request on a native route."""

    __slots__ = ("_by_name", "_headers")

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        self._headers = headers
        by_name = dict(headers)
        # Without a name that comes twice, which is the rule, look-ups need not search.
        self._by_name = by_name if len(by_name) == len(headers) else None

    @override
    def header(self, name: bytes) -> bytes | None:
        if self._by_name is not None:
            return self._by_name.get(name)
        found: bytes | None = None
        for known, value in self._headers:
            if known == name:
                if found is not None:
                    text = name.decode("latin-1")
                    raise InvalidRequest(
                        f"the header '{text}' is there more than once; send it once",
                        code="duplicate_header",
                    )
                found = value
        return found

    @override
    def first(self, name: bytes) -> bytes | None:
        if self._by_name is not None:
            return self._by_name.get(name)
        for known, value in self._headers:
            if known == name:
                return value
        return None


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
