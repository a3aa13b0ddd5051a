"""From a neutral call to the bytes of an OpenAI-style request."""

import msgspec
from msgspec import Raw

from backends.openai_compat.quirks import GATEWAY_ONLY, WRITTEN, Quirks
from backends.values import Call, Endpoint

_SMALL = 16_384  # bytes; below this, one joined piece costs less than many slices

_quote = msgspec.json.Encoder().encode


def headers(endpoint: Endpoint) -> bytes:
    """The header block that is the same for every request to this endpoint."""
    lines = [
        b"Content-Type: application/json\r\n",
        b"Accept: application/json, text/event-stream\r\n",
        b"Accept-Encoding: identity\r\n",
        b"User-Agent: tidegate\r\n",
    ]
    if endpoint.api_key is not None:
        lines.append(b"Authorization: Bearer " + endpoint.api_key.reveal().encode() + b"\r\n")
    return b"".join(lines)


def body(
    call: Call, endpoint: Endpoint, quirks: Quirks, *, stream: bool
) -> tuple[list[bytes | memoryview], tuple[str, ...]]:
    """The JSON body in slices, and the names of the caller's fields that were left out.

    The caller's message content is not decoded and, in large requests, not copied.
    """
    start = b'{"model":%b,"stream":%b,"%b":%d' % (
        _quote(endpoint.model),
        b'true,"stream_options":{"include_usage":true}' if stream else b"false",
        quirks.cap_field.encode(),
        call.output_cap,
    )
    pieces: list[bytes | Raw] = [start]
    dropped: list[str] = []
    size = 0
    forwarded, extra = quirks.forwarded, endpoint.extra_fields
    for name, raw in call.fields.items():
        if (name in forwarded or name in extra) and name not in WRITTEN:
            pieces.append(b",%b:" % _quote(name))
            pieces.append(raw)
            size += len(memoryview(raw))
        elif name not in WRITTEN and name not in GATEWAY_ONLY:
            dropped.append(name)
    pieces.append(b"}")
    if size < _SMALL:
        return [b"".join(pieces)], tuple(dropped)
    return [_slice(piece) for piece in pieces], tuple(dropped)


def _slice(piece: bytes | Raw) -> bytes | memoryview:
    return memoryview(piece) if isinstance(piece, Raw) else piece
