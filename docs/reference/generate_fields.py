"""The page of request fields, from the adapters' own tables; part of `generate.py`."""  # noqa: INP001 - a script beside the pages that it writes

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from backends import KINDS, MODE_FIELDS, THINKING_SWITCHES, Endpoint, Mode
from backends.openai_compat.fates import Rules, rules_of
from backends.openai_compat.modes import said
from backends.openai_compat.quirks import GATEWAY_ONLY, REFUSED, WRITTEN, Quirks
from backends.profiles import PROFILES, UNKNOWN, Profile

_TEXT = """\
# Request fields

{note}

What becomes of each field of a chat request depends on the kind of the endpoint that serves it, and for
some on the model and on the field's value. The same tables say beforehand what an endpoint would not be
sent, for callers who ask for `require_parameters`.

- **forwarded**: sent as it came.
- **translated**: written in the endpoint's own words from what the caller wants.
- **fixed**: the endpoint has one value for it, which is not sent; another value is dropped.
- **refused**: not sent. It is dropped, and the reply names it in `x-tidegate-dropped`.
- **kept**: the gateway's own business; not sent to anyone.

A field that is in none of the tables is refused, unless the endpoint's `extra_fields` name it; where
nothing may be retained, and at vLLM, even then. One that is `null` says nothing and is not told as dropped.

What else is written: `provider` and `usage` at `openrouter` (which hosts may be reached, at which price at
most, and that the cost is to be stated); `providerOptions` at `vercel` (which hosts may be reached, the
cheapest first); `cache_salt` at `vllm` ([who shares its cache](settings.md)).

"""
_MODES = """\
## Modes

How much a model is to think is asked in one of several ways (`reasoning`, `reasoning_effort`,
`thinking`, `include_reasoning`, the words `thinking` and `enable_thinking` of `chat_template_kwargs`), and
always means the same. None of these passes as it came: each endpoint is told by its *switch*, which is its
kind's unless its row sets `thinking_switch`. What cannot be had is dropped by the names below; what a
model does anyway is neither sent nor dropped. Efforts are mapped to the nearest that the model has, the
stronger of two as near.

{kinds}
"""
_OTHERS = """\
### Other switches

What `thinking_switch` can be set to besides, with Kimi K2.6 and K3 behind it:

"""
_NOTES: Mapping[str, str] = {
    "stop": "at most {stop[0]} sequences of {stop[1]} bytes; refused with more",
    "tool_choice": "`auto` and `none` always. While the model thinks, `required` at the K3 family only,"
    " and a function by name at none; K3 is sent `required` for a function that is the only tool."
    " Otherwise dropped, which leaves the choice to the model",
    "chat_template_kwargs": "without its words of thinking, with the switch's",
}
_TOOLS = {
    False: "functions",
    True: "functions and the builtin function `$web_search`, whose fee the hold covers where its price is"
    " known. The vendor says that it is being reworked, and has other tools (Formula) for K3",
}
_ASKED: Mapping[str, Mode] = {
    "think": Mode(thinking=True),
    "do not think": Mode(thinking=False),
    "effort medium": Mode(effort="medium"),
    "at most 2000 tokens": Mode(max_tokens=2000),
}


class _Family(NamedTuple):
    """Models that take modes in the same way."""

    names: tuple[str, ...]
    profile: Profile


def fields_page(note: str) -> str:
    """`fields.md`; `note` says who writes it."""
    parts = [_TEXT.format(note=note)]
    for names, quirks in _kinds():
        parts.append(
            f"## Kind {' and '.join(f'`{name}`' for name in names)}\n\n{quirks.source}\n\n"
        )
        parts.append(_grid(("field", "fate", "note"), _fates(quirks)) + "\n")
    switches = ", ".join(
        f"`{names[0]}` by `{quirks.thinking_switch}`" for names, quirks in _kinds()
    )
    parts.append(_MODES.format(kinds=f"By kind: {switches}.") + "\n")
    used = dict.fromkeys(quirks.thinking_switch for _, quirks in _kinds())
    parts.append(_grid(("model", "asked", *(f"`{one}`" for one in used)), _modes(used)) + "\n")
    others = [one for one in THINKING_SWITCHES if one not in used]
    few = [family for family in _families() if {"kimi-k2.6", "kimi-k3"} & set(family.names)]
    parts.append(_OTHERS)
    parts.append(_grid(("model", "asked", *(f"`{one}`" for one in others)), _modes(others, few)))
    return "".join(parts)


def _kinds() -> list[tuple[list[str], Quirks]]:
    """The kinds that have tables, those with the same one together."""
    found: list[tuple[list[str], Quirks]] = []
    for name, kind in KINDS.items():
        for names, quirks in found:
            if quirks is kind.quirks:
                names.append(name)
                break
        else:
            if kind.quirks.forwarded:
                found.append(([name], kind.quirks))
    return found


def _rules(quirks: Quirks) -> Rules:
    row = Endpoint(
        id="", provider="", kind="", base_url="", model="", profile=PROFILES["moonshotai/kimi-k2.6"]
    )
    return rules_of(row, quirks)


def _fates(quirks: Quirks) -> Iterator[tuple[str, ...]]:
    rules = _rules(quirks)
    known = {name for _, other in _kinds() for name in _rules(other).names} | quirks.fixed.keys()
    for name in sorted(known | REFUSED.keys() | WRITTEN | MODE_FIELDS | GATEWAY_ONLY):
        yield f"`{name}`", *_fate(rules, name)


def _fate(rules: Rules, name: str) -> tuple[str, str]:
    quirks = rules.quirks
    if name in GATEWAY_ONLY:
        return "kept", ""
    if name in MODE_FIELDS:
        return "translated", "see [modes](#modes)"
    if name in WRITTEN:
        caps = {"max_tokens", "max_completion_tokens"}
        return "translated", f"sent as `{quirks.cap_field}`" if name in caps else ""
    if name in quirks.fixed:
        value = f"{quirks.fixed[name]:g}"
        if name in quirks.fixed_at_rest:
            at_rest = f"{quirks.fixed_at_rest[name]:g}"
            return "fixed", f"{value}; {at_rest} while K2.5 and K2.6 do not think"
        return "fixed", value
    if name == "tools":
        return "forwarded", _TOOLS[quirks.web_search]
    if name in rules.names:
        noted = _NOTES.get(name, "") if name in rules.looked_at else ""
        return "forwarded", noted.format(stop=quirks.stop_limits)
    return "refused", REFUSED.get(name, "not documented there")


def _families() -> list[_Family]:
    found: list[_Family] = []
    for model, profile in PROFILES.items():
        name = model.removeprefix("moonshotai/")
        for at, family in enumerate(found):
            if _alike(family.profile, profile):
                found[at] = family._replace(names=(*family.names, name))
                break
        else:
            found.append(_Family((name,), profile))
    return [*found, _Family(("any other",), UNKNOWN)]


def _alike(one: Profile, other: Profile) -> bool:
    return (one.thinking, one.efforts, one.can_stop) == (
        other.thinking,
        other.efforts,
        other.can_stop,
    )


def _modes(
    switches: Iterable[str], families: Iterable[_Family] | None = None
) -> Iterator[tuple[str, ...]]:
    switches = tuple(switches)
    for family in _families() if families is None else families:
        shown = ", ".join(family.names)
        for asked, mode in _ASKED.items():
            yield shown, asked, *(_told(switch, family.profile, mode) for switch in switches)
            shown = ""


def _told(switch: str, profile: Profile, mode: Mode) -> str:
    told = said(switch, profile, mode)
    parts = [f"`{name}: {value.decode()}`" for name, value in told.members.items()]
    parts += [f"dropped: `{name}`" for name in told.dropped]
    return "; ".join(parts) or "nothing needed"


def _grid(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"
