"""How much a model is to think, in the words of each endpoint.

A caller says it once, as a `Mode`. What is sent depends on two things: which *switch* the endpoint knows,
a fact of its row, and what the model itself can do, its `Profile`. What cannot be had is dropped, and the
caller told so by the neutral names `thinking`, `reasoning_effort` and `reasoning.max_tokens`; what the
model does anyway is neither sent nor dropped.

The switches:

    thinking              `thinking: {"type": "enabled" | "disabled"}` and `reasoning_effort`
                          (Moonshot's documentation, stored copy of 2026-09-03)
    chat_template_kwargs  `chat_template_kwargs: {"thinking": true | false}` (model card of Kimi K2.5;
                          measured with vLLM 0.32, 2026-11-22) and `reasoning_effort` (vLLM's
                          protocol.py, read 2026-11-22: none to max)
    reasoning             `reasoning: {"effort" | "max_tokens" | "enabled"}` (OpenRouter's contract of
                          2026-08-22: effort excludes max_tokens, `none` is off, and is answered 400 by a
                          model that cannot but think; other efforts are mapped to what the model has)
    reasoning_effort      the effort alone (OpenAI)
    enable_thinking       `enable_thinking: true | false`, no efforts (documented by Novita, 2026-08-12, for
                          models of others than Kimi)
    none                  nothing
"""

from collections.abc import Mapping
from functools import lru_cache

import msgspec
from msgspec import Struct

from backends.profiles import Profile
from backends.values import EFFORTS, Mode

THINKING_SWITCHES = (
    "none",
    "thinking",
    "enable_thinking",
    "chat_template_kwargs",
    "reasoning",
    "reasoning_effort",
)
# Where a switch's words come from the adapter, no field of the caller's may bring them too.
SWITCH_FIELDS = frozenset({"thinking", "enable_thinking", "reasoning", "reasoning_effort"})

_WITH_EFFORT = frozenset({"thinking", "chat_template_kwargs", "reasoning_effort"})
_REMEMBERED = 1024  # modes; callers may ask for any number of tokens

_json = msgspec.json.Encoder().encode


class Said(Struct, frozen=True):
    """What an endpoint is told of a mode.

    Attributes:
        members: members of the request's body, each with the JSON of its value.
        dropped: what of the mode cannot be had, by its neutral name.
        thinks: whether the model will think; None: nobody knows.
    """

    members: Mapping[str, bytes]
    dropped: tuple[str, ...]
    thinks: bool | None


def wanted(mode: Mode) -> bool | None:
    """Whether a mode asks for thinking; None: it leaves that to the model."""
    if mode.thinking is None and (mode.effort is not None or mode.max_tokens is not None):
        return True
    return mode.thinking


def nearest(profile: Profile, effort: str) -> str | None:
    """The effort of a model that is nearest to one of `EFFORTS`, the stronger of two as near.

    None: it has no such setting. A model that is not known is taken to know them all.
    """
    if profile.thinking is None and not profile.efforts:
        return effort
    place = EFFORTS.index(effort)
    return min(
        reversed(profile.efforts),
        key=lambda known: abs(EFFORTS.index(known) - place),
        default=None,
    )


@lru_cache(maxsize=_REMEMBERED)
def said(switch: str, profile: Profile, mode: Mode) -> Said:
    """What an endpoint with this switch, serving this model, is told.

    Args:
        switch: one of `THINKING_SWITCHES`.
        profile: the model's.
        mode: what the caller wants.
    """
    want = wanted(mode)
    if profile.thinking == "none":
        return Said({}, _names(mode) if want else (), thinks=False)
    if want is None:
        return Said({}, (), thinks=None if profile.thinking is None else True)
    if not want:
        off = _switched(switch, profile, on=False)
        if off is None:
            return Said({}, ("thinking",), thinks=None if profile.thinking is None else True)
        return Said(off, (), thinks=False)
    members, dropped = (_as_object if switch == "reasoning" else _as_fields)(switch, profile, mode)
    return Said({name: _json(value) for name, value in members.items()}, dropped, thinks=True)


def _names(mode: Mode) -> tuple[str, ...]:
    """What a mode that asks for thinking says, by name."""
    said_of = {
        "thinking": mode.thinking,
        "reasoning_effort": mode.effort,
        "reasoning.max_tokens": mode.max_tokens,
    }
    return tuple(name for name, value in said_of.items() if value is not None)


def _as_object(
    switch: str, profile: Profile, mode: Mode
) -> tuple[dict[str, object], tuple[str, ...]]:
    """OpenRouter's form, which has one of effort, max_tokens and enabled."""
    if mode.effort is not None:
        # The model's own word, so that one wish means the same here as at the model's maker.
        effort = nearest(profile, mode.effort) or mode.effort
        dropped = () if mode.max_tokens is None else ("reasoning.max_tokens",)
        return {switch: {"effort": effort}}, dropped
    if mode.max_tokens is not None:
        return {switch: {"max_tokens": mode.max_tokens}}, ()
    # `enabled` means a medium effort there: not for a model that thinks, and maybe harder, unasked.
    return ({} if profile.thinking == "always" else {switch: {"enabled": True}}), ()


def _as_fields(
    switch: str, profile: Profile, mode: Mode
) -> tuple[dict[str, object], tuple[str, ...]]:
    members: dict[str, object] = {}
    dropped: list[str] = []
    if mode.effort is not None:
        effort = nearest(profile, mode.effort)
        if effort is not None and switch in _WITH_EFFORT:
            members["reasoning_effort"] = effort
        elif effort is None or effort != profile.default_effort:
            dropped.append("reasoning_effort")
    if mode.max_tokens is not None:
        dropped.append("reasoning.max_tokens")
    # A model that nobody knows is told to think only if the caller said just that.
    if mode.thinking is not None or profile.thinking is not None:
        on = _switched(switch, profile, on=True)
        if on is not None:
            members |= {name: msgspec.Raw(value) for name, value in on.items()}
        elif not members:
            dropped.append("thinking")
    return members, tuple(dropped)


def _switched(switch: str, profile: Profile, *, on: bool) -> Mapping[str, bytes] | None:
    """The members that turn thinking on or off; None: there is no way.

    `reasoning` is turned on in `_as_object`.
    """
    if profile.thinking == "always":
        if on:
            return {}
        stops = switch == "thinking" and profile.can_stop
        return {"thinking": b'{"type":"disabled"}'} if stops else None
    word = b"true" if on else b"false"
    match switch:
        case "thinking":
            return {switch: b'{"type":"%b"}' % (b"enabled" if on else b"disabled")}
        case "enable_thinking":
            return {switch: word}
        case "chat_template_kwargs":
            # The templates of most other makers' models read `enable_thinking`; a template ignores
            # what it does not read.
            other = b"" if profile.thinking else b',"enable_thinking":%b' % word
            return {switch: b'{"thinking":%b%b}' % (word, other)}
        case "reasoning":
            return {switch: b'{"effort":"none"}'}
        case _:
            return {} if on and profile.thinking == "toggle" else None
