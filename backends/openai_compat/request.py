"""From a neutral call to the bytes of an OpenAI-style request."""

from collections.abc import Iterable

import msgspec
from msgspec import Raw, Struct

from backends.openai_compat.cache_salt import CacheSalts, Member
from backends.openai_compat.fates import Rules, adapt, choose, rules_of
from backends.openai_compat.quirks import Quirks
from backends.values import UNASKED, Call, Endpoint

_SMALL = 16_384  # bytes; below this, one joined piece costs less than many slices

# What gateways know a request by that they have passed on already.
VIA = b"X-Tidegate-Via: %b\r\n"

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


class Form(Struct, frozen=True):
    """What is the same in every body sent to one endpoint.

    Attributes:
        streamed: the beginning of a request for a stream, up to the value of the output cap.
        whole: the same for a whole reply.
        rules: what becomes of the caller's fields.
        further: what gives a body further members that depend on the call, each with a comma before it.
    """

    streamed: bytes
    whole: bytes
    rules: Rules
    further: Member | None = None


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
    further: Member | None = None
    if quirks.cache_salt and salts is not None:
        further = salts.member_of(endpoint.cache_isolation)
    elif quirks.aggregator:
        further = _hosts(endpoint, quirks.hosts_field)
    return Form(
        streamed=lead % b'true,"stream_options":{"include_usage":true}',
        whole=lead % b"false",
        rules=rules_of(endpoint, quirks),
        further=further,
    )


def _hosts(endpoint: Endpoint, field: str) -> Member:
    """What tells an aggregator which hosts a call may reach, and that its cost is to be stated."""
    tell = _as_openrouter if field == "provider" else _as_vercel
    flags = (False, True)
    members = {
        (zdr, no_training): tell(endpoint, zdr, no_training)
        for zdr in flags
        for no_training in flags
    }

    def member(call: Call) -> bytes:
        return members[call.zdr, call.no_training]

    return member


def _as_openrouter(endpoint: Endpoint, zdr: bool, no_training: bool) -> bytes:  # noqa: FBT001 - see `Call`
    """OpenRouter's `provider` object (its contract of 2026-08-22).

    `zdr` and `data_collection` can only tighten the account's own policy; a host dearer than `max_price`,
    in dollars per million tokens, is not used, so that the money hold covers whichever is.
    """
    told: dict[str, object] = {}
    if endpoint.reaches:
        # Of several the others stand in for one that fails; of one there is nothing to stand in.
        told |= {"only": endpoint.reaches, "allow_fallbacks": len(endpoint.reaches) > 1}
    if endpoint.max_price is not None:
        prompt, completion = endpoint.max_price
        told["max_price"] = {"prompt": prompt, "completion": completion}
    if zdr:
        told["zdr"] = True
    if no_training:
        told["data_collection"] = "deny"
    return b',"usage":{"include":true}' + (b',"provider":' + _quote(told) if told else b"")


def _as_vercel(endpoint: Endpoint, zdr: bool, no_training: bool) -> bytes:  # noqa: FBT001 - see `Call`
    """Vercel's `providerOptions.gateway` (@ai-sdk/gateway of 2026-08-22, read 2026-11-22).

    Both policies can only tighten the team's own, and neither holds for provider keys that the team has
    given it. There is no limit on the price: it is asked to try the cheapest host first, which is what the
    money hold is made by. The cost is stated unasked.
    """
    told: dict[str, object] = {"sort": "cost"}
    if endpoint.reaches:
        told["only"] = endpoint.reaches
    if zdr:
        told["zeroDataRetention"] = True
    if no_training:
        told["disallowPromptTraining"] = True
    return b',"providerOptions":' + _quote({"gateway": told})


def body(
    call: Call, form: Form, *, stream: bool, messages: Raw | None = None, extra: bytes = b""
) -> tuple[list[bytes | memoryview], tuple[str, ...]]:
    """The JSON body in slices, and the names of what the caller said and the endpoint is not told.

    The caller's message content is not decoded and, in large requests, not copied.

    Args:
        call: what is asked.
        form: how the endpoint wants it.
        stream: whether a stream is asked for.
        messages: what is sent in place of the caller's messages, where those were rewritten.
        extra: further members, each beginning with a comma.
    """
    lead = (form.streamed if stream else form.whole) + b"%d" % call.output_cap
    if extra:
        lead += extra
    if form.further is not None:
        lead += form.further(call)
    fields = call.fields
    asked = tuple(fields)
    rules = form.rules
    choice = None if call.zdr else rules.choices.get(asked)
    if choice is None:
        choice = choose(rules, asked, strict=call.zdr)
    if choice.plain and messages is None and call.mode is UNASKED:
        values = tuple(map(fields.__getitem__, choice.kept))
        if sum(map(len, values)) < _SMALL:
            return [lead + choice.template % values], ()
        return _sliced(form, lead, zip(choice.kept, values, strict=True)), ()
    adapted = adapt(rules, choice, fields, call.mode)
    changed = adapted.values
    if messages is not None:
        changed = {**changed, "messages": messages}
    sent: list[tuple[str, bytes | Raw]] = []
    for name in choice.kept:
        value = changed.get(name, fields[name])
        if value is not None:
            sent.append((name, value))
    return _sliced(form, lead + adapted.members, sent), adapted.dropped


def _sliced(
    form: Form, lead: bytes, sent: Iterable[tuple[str, bytes | Raw]]
) -> list[bytes | memoryview]:
    names = form.rules.names
    slices: list[bytes | memoryview] = [lead]
    for name, value in sent:
        slices += (names[name], memoryview(value))
    slices.append(b"}")
    if sum(map(len, slices)) < _SMALL:
        return [b"".join(slices)]
    return slices
