"""What becomes of each field of a caller's request at one endpoint.

`Rules` hold what can be known of an endpoint beforehand. `choose` sorts the names of a request's fields,
once for each set of names, and says which need a look at their values; `adapt` takes that case. What a
body leaves out and what `unsupported` says are both their answer, and so the same. What is left out inside
of the messages is known to `messages`, which tells both as well.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from backends.openai_compat import messages
from backends.openai_compat.cache_salt import FIELD as CACHE_SALT
from backends.openai_compat.modes import SWITCH_FIELDS, Said, said
from backends.openai_compat.quirks import GATEWAY_ONLY, NEVER_SENT, WRITTEN, Quirks
from backends.profiles import Profile
from backends.values import MODE_FIELDS, UNASKED, Endpoint, Mode

_quote = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_TEMPLATE = "chat_template_kwargs"
_THINKING_WORDS = frozenset({"thinking", "enable_thinking"})  # of a chat template
_LONGEST_NUMBER = 32
_REMEMBERED = 256  # sets of fields; programs send the same ones again and again


class Rules(Struct, frozen=True):
    """What is known of an endpoint before a request comes.

    Attributes:
        quirks: its kind's.
        profile: its model's.
        switch: how it is told whether to think.
        names: fields that are sent on, each with the bytes that go before its value.
        strict: the same where nothing may pass that no table has.
        untold: fields that are left out without a word: the gateway or the adapter acts on them.
        looked_at: fields whose value decides.
        unasked: what the endpoint is told of a mode that asks for nothing.
        choices: what was made of the sets of fields that were asked for before.
        strict_choices: the same where nothing may pass that no table has.
    """

    quirks: Quirks
    profile: Profile
    switch: str
    names: Mapping[str, bytes]
    strict: Mapping[str, bytes]
    untold: frozenset[str]
    looked_at: frozenset[str]
    unasked: Said
    choices: "dict[tuple[str, ...], Choice]" = {}
    strict_choices: "dict[tuple[str, ...], Choice]" = {}


class Choice(Struct, frozen=True):
    """What becomes of a set of fields. `template` takes the values of those `kept`.

    `plain`: no value needs a look, and nothing is left out that the caller should know of.
    """

    kept: tuple[str, ...]
    template: bytes
    dropped: tuple[str, ...]
    looked_at: tuple[str, ...]
    plain: bool


class Adapted(Struct, frozen=True):
    """What a look at the values changes.

    Attributes:
        values: kept fields that are sent with another value; None: not sent.
        members: what is written besides, each member with a comma before it.
        dropped: what the caller said and the endpoint is not told, by its neutral names.
    """

    values: Mapping[str, bytes | Raw | None]
    members: bytes
    dropped: tuple[str, ...]


def rules_of(endpoint: Endpoint, quirks: Quirks) -> Rules:
    """The rules of an endpoint of a kind."""
    switch = endpoint.thinking_switch or quirks.thinking_switch
    never = WRITTEN | MODE_FIELDS | NEVER_SENT | quirks.fixed.keys()
    untold = WRITTEN | MODE_FIELDS | GATEWAY_ONLY
    if quirks.cache_salt:
        never |= {CACHE_SALT}
        untold |= {CACHE_SALT}
    if quirks.aggregator:  # ours alone: what a caller wrote there could undo a policy
        never |= {"provider", "providerOptions", "usage"}
    if switch in SWITCH_FIELDS:
        never |= {switch}
    known = quirks.forwarded | ({switch} & {_TEMPLATE})
    extra = endpoint.extra_fields if quirks.takes_extra else frozenset()
    looked_at = {*quirks.fixed, _TEMPLATE, "thinking"}
    if not quirks.forces_while_thinking and endpoint.profile.thinking in {"toggle", "always"}:
        looked_at.add("tool_choice")
    if quirks.stop_limits is not None:
        looked_at.add("stop")
    return Rules(
        quirks,
        endpoint.profile,
        switch,
        names={name: b",%b:" % _quote(name) for name in (known | extra) - never},
        strict={name: b",%b:" % _quote(name) for name in known - never},
        untold=untold,
        looked_at=frozenset(looked_at),
        unasked=said(switch, endpoint.profile, UNASKED),
    )


def choose(rules: Rules, asked: tuple[str, ...], *, strict: bool) -> Choice:
    """Sort the fields of a request by name, and remember it.

    Args:
        rules: the endpoint's.
        asked: the names of the caller's fields.
        strict: nothing passes that no table has.
    """
    choices = rules.strict_choices if strict else rules.choices
    choice = choices.get(asked)
    if choice is None:
        choice = _sorted(rules, asked, rules.strict if strict else rules.names)
        # Not with names that no table has: those are a stranger's, of any length.
        if len(choices) < _REMEMBERED and not choice.dropped:
            choices[asked] = choice
    return choice


def _sorted(rules: Rules, asked: tuple[str, ...], names: Mapping[str, bytes]) -> Choice:
    looked_at = tuple([name for name in asked if name in rules.looked_at])
    kept = tuple([name for name in asked if name in names])
    told_of = [name for name in asked if name not in names and name not in rules.untold]
    dropped = tuple([name for name in told_of if name not in rules.looked_at])
    members = [names[name].replace(b"%", b"%%") + b"%b" for name in kept]
    template = b"".join(members) + b"}"
    return Choice(kept, template, dropped, looked_at, plain=not looked_at and not dropped)


class _Case(Struct, frozen=True, gc=False):
    """A request at an endpoint: all that the fate of a field may depend on."""

    rules: Rules
    choice: Choice
    fields: Mapping[str, Raw]
    told: Said
    members: dict[str, bytes]  # what the mode is told with; a look may add to it


# The value to send, None for none, and what of the field the caller is to be told was left out.
_Verdict = tuple[bytes | Raw | None, tuple[str, ...]]


def adapt(rules: Rules, choice: Choice, fields: Mapping[str, Raw], mode: Mode) -> Adapted:
    """What becomes of a request whose fields were sorted, by their values and its mode."""
    told = rules.unasked if mode is UNASKED else said(rules.switch, rules.profile, mode)
    members = dict(told.members)
    dropped = told.dropped
    if choice.dropped:
        dropped += tuple([name for name in choice.dropped if not _null(fields[name])])
    values: dict[str, bytes | Raw | None] = {}
    if choice.looked_at:
        case = _Case(rules, choice, fields, told, members)
        for name in choice.looked_at:
            values[name], left_out = _LOOKS.get(name, _fixed)(case, name)
            dropped += left_out
    written = b""
    if members:
        written = b"".join([b",%b:%b" % (_quote(name), value) for name, value in members.items()])
    return Adapted(values, written, dropped)


def unsupported(
    rules: Rules, fields: Mapping[str, Raw], mode: Mode, *, strict: bool
) -> tuple[str, ...]:
    """What `adapt` would leave out, and the rewriting of the history."""
    dropped = adapt(rules, choose(rules, tuple(fields), strict=strict), fields, mode).dropped
    return dropped + messages.unsupported(fields, rules.quirks.history)


def _null(value: Raw) -> bool:
    return bytes(memoryview(value)[:5]) == b"null"


def _fixed(case: _Case, name: str) -> _Verdict:
    """A parameter of one value, which is never sent."""
    value, quirks = case.fields[name], case.rules.quirks
    only = quirks.fixed[name]
    if case.told.thinks is False and case.rules.profile.thinking == "toggle":
        only = quirks.fixed_at_rest.get(name, only)
    asked_for = _null(value) or _number(value) == only
    return None, () if asked_for else (name,)


def _number(value: Raw) -> float | None:
    text = bytes(memoryview(value)[: _LONGEST_NUMBER + 1])
    try:
        return float(text) if len(text) <= _LONGEST_NUMBER else None
    except ValueError:
        return None


def _tool_choice(case: _Case, name: str) -> _Verdict:
    """Moonshot refuses most ways to force a call while the model thinks: then it is left to choose."""
    value = case.fields[name]
    if not case.told.thinks or bytes(memoryview(value)[:11]) in {b'"auto"', b'"none"', b"null"}:
        return value, ()
    takes = case.rules.profile.forced_tools
    wanted = _read(value)
    if isinstance(wanted, str) and wanted in takes:
        return value, ()
    if "required" in takes and _names_the_only_tool(wanted, case.fields):
        return b'"required"', ()
    return None, (name,)


def _names_the_only_tool(wanted: Any, fields: Mapping[str, Raw]) -> bool:
    """Whether a `tool_choice` names a function beside which there is no other tool."""
    match wanted:
        case {"type": "function", "function": {"name": str(name)}}:
            pass
        case _:
            return False
    match _read(fields.get("tools", Raw(b"null"))):
        case [{"type": "function", "function": {"name": str(only)}}]:
            # K3 also takes tools from messages of the system.
            return only == name and b'"tools"' not in bytes(fields.get("messages", Raw(b"")))
        case _:
            return False


def _stop(case: _Case, name: str) -> _Verdict:
    """Stop sequences that the endpoint takes; it would refuse the request for any others."""
    value, limits = case.fields[name], case.rules.quirks.stop_limits
    stop = _read(value)
    sequences = stop if isinstance(stop, list) else [stop]
    if limits is not None and (
        len(sequences) > limits[0]
        or any(
            isinstance(one, str) and len(one.encode("utf-8", "surrogatepass")) > limits[1]
            for one in sequences
        )
    ):
        return None, (name,)
    return value, ()


def _template(case: _Case, name: str) -> _Verdict:
    """The caller's `chat_template_kwargs`: the words of thinking are out, and the endpoint's own in."""
    value, ours = case.fields[name], case.members.get(name)
    try:
        theirs = None if _null(value) else _members(value)
    except _UNREADABLE:
        return None, (name,)
    rest = {word: raw for word, raw in (theirs or {}).items() if word not in _THINKING_WORDS}
    if name not in case.choice.kept:
        return None, (name,) if rest else ()
    if ours is None and theirs is not None and len(rest) == len(theirs):
        return value, ()
    if ours is not None:
        del case.members[name]
        rest |= _members(ours)
    return _quote(rest) if rest else None, ()


def _thinking(case: _Case, name: str) -> _Verdict:
    """Of the caller's `thinking` object, `keep` is not part of the mode: it goes into the endpoint's."""
    theirs = _read(case.fields[name])
    keep = theirs.get("keep", "absent") if isinstance(theirs, dict) else "absent"
    if keep == "absent":
        return None, ()
    known = case.rules.profile.keep
    if case.rules.switch == "thinking" and known == "optional" and (keep is None or keep == "all"):
        ours = case.members.get(name, b'{"type":"enabled"}')
        case.members[name] = ours[:-1] + b',"keep":%b}' % _quote(keep)
        return None, ()
    return None, () if known == "always" and keep == "all" else ("thinking.keep",)


def _read(value: Raw) -> Any:
    """What a value holds; None where it cannot be read, which is for the provider to say."""
    try:
        return _decode(value)
    except _UNREADABLE:
        return None


_LOOKS: Mapping[str, Callable[[_Case, str], _Verdict]] = {
    "tool_choice": _tool_choice,
    "stop": _stop,
    _TEMPLATE: _template,
    "thinking": _thinking,
}
