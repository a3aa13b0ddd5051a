"""From a neutral call to the bytes of an OpenAI-style request."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from backends.openai_compat.cache_salt import FIELD as CACHE_SALT
from backends.openai_compat.cache_salt import CacheSalts, Member
from backends.openai_compat.quirks import GATEWAY_ONLY, WRITTEN, Quirks
from backends.values import Call, Endpoint

_REMEMBERED = 256  # sets of fields; programs send the same ones again and again
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


class _Choice(Struct, frozen=True):
    """Which of a request's fields are sent on; `template` takes their values."""

    kept: tuple[str, ...]
    template: bytes
    dropped: tuple[str, ...]


class Form(Struct, frozen=True):
    """What is the same in every body sent to one endpoint.

    Attributes:
        streamed: the beginning of a request for a stream, up to the value of the output cap.
        whole: the same for a whole reply.
        names: forwarded fields, each with the bytes that go before its value.
        untold: fields that are left out without a word: the gateway acts on them itself.
        salt: what gives a body its `cache_salt`, at endpoints that know it.
        choices: what was made of the sets of fields that were asked for before.
    """

    streamed: bytes
    whole: bytes
    names: Mapping[str, bytes]
    untold: frozenset[str]
    salt: Member | None = None
    choices: dict[tuple[str, ...], _Choice] = {}


def form(endpoint: Endpoint, quirks: Quirks, salts: CacheSalts | None = None) -> Form:
    """How requests to this endpoint are written.

    Args:
        endpoint: where they go.
        quirks: what its kind knows.
        salts: makes the cache salts of endpoints that know them.
    """
    lead = b'{"model":%b,"stream":%%b,"%b":' % (
        _quote(endpoint.model).replace(b"%", b"%%"),
        quirks.cap_field.encode(),
    )
    written, salt = WRITTEN, None
    if quirks.cache_salt and salts is not None:
        written, salt = WRITTEN | {CACHE_SALT}, salts.member_of(endpoint.cache_isolation)
    return Form(
        streamed=lead % b'true,"stream_options":{"include_usage":true}',
        whole=lead % b"false",
        names={
            name: b",%b:" % _quote(name)
            for name in (quirks.forwarded | endpoint.extra_fields) - written
        },
        untold=written | GATEWAY_ONLY,
        salt=salt,
    )


def body(
    call: Call, form: Form, *, stream: bool
) -> tuple[list[bytes | memoryview], tuple[str, ...]]:
    """The JSON body in slices, and the names of the caller's fields that were left out.

    The caller's message content is not decoded and, in large requests, not copied.
    """
    lead = (form.streamed if stream else form.whole) + b"%d" % call.output_cap
    if form.salt is not None:
        lead += form.salt(call)
    fields = call.fields
    asked = tuple(fields)
    choice = form.choices.get(asked)
    if choice is None:
        choice = _choose(form, asked)
        # Not with names that no table has: those are a stranger's, of any length.
        if len(form.choices) < _REMEMBERED and not choice.dropped:
            form.choices[asked] = choice
    values = [fields[name] for name in choice.kept]
    if sum(map(len, values)) < _SMALL:
        return [lead + choice.template % tuple(values)], choice.dropped
    slices: list[bytes | memoryview] = [lead]
    for name, value in zip(choice.kept, values, strict=True):
        slices += (form.names[name], memoryview(value))
    slices.append(b"}")
    return slices, choice.dropped


def _choose(form: Form, asked: tuple[str, ...]) -> _Choice:
    kept = tuple([name for name in asked if name in form.names])
    dropped = [name for name in asked if name not in form.names and name not in form.untold]
    members = [form.names[name].replace(b"%", b"%%") + b"%b" for name in kept]
    return _Choice(kept, b"".join(members) + b"}", tuple(dropped))
