"""How much a model shall think: every way in which callers say it, to one `Mode`.

    thinking                  true | false | {"type": "enabled" | "disabled" | "adaptive",
                              "budget_tokens", "effort", "keep"}         Moonshot, Anthropic, litellm
    reasoning                 {"effort", "max_tokens", "enabled", "exclude"}             OpenRouter
    reasoning_effort          "none" … "max", or {"effort": …}                       OpenAI, litellm
    include_reasoning         false: do not send it                              OpenRouter, retired
    enable_thinking           true | false                                      Novita and other hosts
    chat_template_kwargs      its members "thinking" and "enable_thinking"                        vLLM
    model                     ends in ":thinking" or ":instant"

They may be said together as long as they agree; what contradicts itself is refused, as any choice could
be the wrong one. `reasoning`: OpenRouter's contract of 2026-08-22, where effort excludes max_tokens and
`none` is off; `thinking`: Moonshot's documentation, stored copy of 2026-09-03, and its verifier's
`thinking.effort`. `thinking.keep` is no part of the mode: the adapter reads it from the field.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from backends import EFFORTS, MODE_FIELDS, Mode
from gateway.errors import InvalidRequest
from gateway.wire.request import MAX_TOKENS, decoded

TEMPLATE = "chat_template_kwargs"
FIELDS = MODE_FIELDS | {TEMPLATE}
SUFFIXES: Mapping[str, bool] = {":thinking": True, ":instant": False}
_ENDINGS = tuple(SUFFIXES)
_MOST_SHOWN = 40
_TYPES = ("enabled", "disabled", "adaptive")  # adaptive: as the model sees fit, which is unasked

_BOOL = msgspec.json.Decoder(bool | None).decode
_INT = msgspec.json.Decoder(int | None).decode
_WORD = msgspec.json.Decoder(str | None).decode
_OBJECT = msgspec.json.Decoder(dict[str, Raw] | None).decode
_BOOL_OR_OBJECT = msgspec.json.Decoder(bool | dict[str, Raw] | None).decode
_WORD_OR_OBJECT = msgspec.json.Decoder(str | dict[str, Raw] | None).decode
_ANY = msgspec.json.Decoder(Any).decode


class _Said(Struct, frozen=True):
    """One wish: the path of the field that has it, and its value."""

    where: str
    value: Any

    @property
    def told(self) -> str:
        shown = "null" if self.value is None else repr(self.value)
        return {"True": "true", "False": "false"}.get(shown, shown)


class Wishes:
    """What is said of thinking, collected field by field.

    Attributes:
        dropped: what of these fields means nothing here, by its path.
    """

    def __init__(self, *, budget_beside_effort: bool = False) -> None:
        """`budget_beside_effort`: whether a dialect lets a caller send both."""
        self.dropped: list[str] = []
        self._budget_beside_effort = budget_beside_effort
        # The value that is meant, and the words in which it was said.
        self._thinking: tuple[bool, _Said] | None = None
        self._effort: tuple[str, _Said] | None = None
        self._tokens: tuple[int, _Said] | None = None
        self._exclude: tuple[bool, _Said] | None = None

    def switch(self, where: str, on: bool | None, said: Any = None) -> None:  # noqa: FBT001 - a field's value
        """Thinking is wanted, or not; None says nothing. `said`: the caller's own words."""
        if on is not None:
            self._thinking = _agreed(self._thinking, on, where, on if said is None else said)

    def effort(self, where: str, word: str | None) -> None:
        """One of `EFFORTS`, or `none`, which is off.

        Raises:
            InvalidRequest: it is another word.
        """
        if word == "none":
            self.switch(where, on=False, said=word)
        elif word is not None:
            if word not in EFFORTS:
                raise InvalidRequest(
                    f"'{where}' must be one of none, {', '.join(EFFORTS)}, not"
                    f" {word[:_MOST_SHOWN]!r}",
                    param=where,
                    code="invalid_value",
                )
            self._effort = _agreed(self._effort, word, where, word)

    def tokens(self, where: str, count: int | None) -> None:
        """Tokens that may be spent on thinking.

        Raises:
            InvalidRequest: below 1, or absurd.
        """
        if count is None:
            return
        if not 1 <= count <= MAX_TOKENS:
            raise InvalidRequest(
                f"'{where}' must be at least 1 and at most {MAX_TOKENS}, not {count}; to have no"
                " thinking, switch it off",
                param=where,
                code="invalid_value",
            )
        self._tokens = _agreed(self._tokens, count, where, count)

    def exclude(self, where: str, wanted: bool | None, said: Any = None) -> None:  # noqa: FBT001 - a field's value
        """Whether reasoning shall be left out of the answer; None says nothing."""
        if wanted is not None:
            told = wanted if said is None else said
            self._exclude = _agreed(self._exclude, wanted, where, told)

    def mode(self) -> Mode:
        """All of it together.

        Raises:
            InvalidRequest: two of them contradict each other.
        """
        thinking, effort, tokens = self._thinking, self._effort, self._tokens
        if thinking is not None and not thinking[0]:
            for other in (effort, tokens):
                if other is not None:
                    raise _contradiction(thinking[1], other[1])
        if effort is not None and tokens is not None and not self._budget_beside_effort:
            raise _contradiction(effort[1], tokens[1])
        return Mode(
            None if thinking is None else thinking[0],
            None if effort is None else effort[0],
            None if tokens is None else tokens[0],
            exclude=self._exclude is not None and self._exclude[0],
        )

    @property
    def off(self) -> bool:
        """Whether thinking was switched off."""
        return self._thinking is not None and not self._thinking[0]

    def model(self, name: str) -> None:
        """The model's suffix, if it has one of `SUFFIXES`."""
        for suffix, on in SUFFIXES.items():
            if name.endswith(suffix):
                self.switch("model", on, suffix)

    def template(self, raw: Raw) -> None:
        """`chat_template_kwargs`: whatever else is in it is for the adapter."""
        members = decoded(_OBJECT, TEMPLATE, raw, "an object") or {}
        for name in ("thinking", "enable_thinking"):
            if name in members:
                where = f"{TEMPLATE}.{name}"
                self.switch(where, decoded(_BOOL, where, members[name], "true or false"))


def mode_of(fields: Mapping[str, Raw], model: str) -> tuple[Mode, tuple[str, ...]]:
    """The mode that a request in OpenAI's dialect asks for, and what of it means nothing here, by path.

    Args:
        fields: the request's, some of `FIELDS` among them or not.
        model: the name of the model that is asked for.

    Raises:
        InvalidRequest: a field is not what it must be, or two contradict each other.
    """
    wishes = Wishes()
    wishes.model(model)
    get = fields.get
    if (raw := get("thinking")) is not None:
        _thinking(wishes, raw)
    if (raw := get("reasoning")) is not None:
        wanted = 'an object such as {"effort": "high"}'
        _reasoning(wishes, "reasoning", decoded(_OBJECT, "reasoning", raw, wanted))
    if (raw := get("reasoning_effort")) is not None:
        said = decoded(_WORD_OR_OBJECT, "reasoning_effort", raw, "a string such as 'high'")
        if isinstance(said, dict):
            _reasoning(wishes, "reasoning_effort", said)
        else:
            wishes.effort("reasoning_effort", said)
    if (raw := get("include_reasoning")) is not None:
        included = decoded(_BOOL, "include_reasoning", raw, "true or false")
        wishes.exclude("include_reasoning", None if included is None else not included, included)
    if (raw := get("enable_thinking")) is not None:
        wishes.switch("enable_thinking", decoded(_BOOL, "enable_thinking", raw, "true or false"))
    if (raw := get(TEMPLATE)) is not None:
        wishes.template(raw)
    return wishes.mode(), tuple(wishes.dropped)


def base_of(model: str) -> str:
    """A model's name without the suffix that says how it shall think, if it has one."""
    return model.rpartition(":")[0] if model.endswith(_ENDINGS) else model


def has_suffix(model: str) -> bool:
    """Whether a model's name says how it shall think."""
    return model.endswith(_ENDINGS)


def _thinking(wishes: Wishes, raw: Raw) -> None:
    wanted = 'true, false or an object such as {"type": "enabled"}'
    said = decoded(_BOOL_OR_OBJECT, "thinking", raw, wanted)
    if not isinstance(said, dict):
        wishes.switch("thinking", said)
        return
    for name, value in said.items():
        where = f"thinking.{name}"
        if name == "type":
            word = decoded(_WORD, where, value, "a string")
            if word is not None and word not in _TYPES:
                raise InvalidRequest(
                    f"'{where}' must be one of {', '.join(_TYPES)}, not {word[:_MOST_SHOWN]!r}",
                    param=where,
                    code="invalid_value",
                )
            wishes.switch(where, {"enabled": True, "disabled": False}.get(word or ""), word)
        elif name == "budget_tokens":
            wishes.tokens(where, decoded(_INT, where, value, "a whole number"))
        elif name == "effort":
            wishes.effort(where, decoded(_WORD, where, value, "a string"))
        elif name != "keep":
            _left_out(wishes, where, value)


def _reasoning(wishes: Wishes, field: str, members: Mapping[str, Raw] | None) -> None:
    for name, value in (members or {}).items():
        where = f"{field}.{name}"
        if name == "effort":
            wishes.effort(where, decoded(_WORD, where, value, "a string"))
        elif name == "max_tokens":
            wishes.tokens(where, decoded(_INT, where, value, "a whole number"))
        elif name == "enabled":
            wishes.switch(where, decoded(_BOOL, where, value, "true or false"))
        elif name == "exclude":
            wishes.exclude(where, decoded(_BOOL, where, value, "true or false"))
        else:
            _left_out(wishes, where, value)


def _left_out(wishes: Wishes, where: str, value: Raw) -> None:
    """Summaries and the like: no Kimi model has them, and nothing is lost but the wish."""
    if decoded(_ANY, where, value, "valid") is not None:
        wishes.dropped.append(where)


def _agreed(
    known: tuple[Any, _Said] | None, value: Any, where: str, told: Any
) -> tuple[Any, _Said]:
    said = _Said(where, told)
    if known is None:
        return value, said
    if known[0] != value:
        raise _contradiction(known[1], said)
    return known


def _contradiction(one: _Said, other: _Said) -> InvalidRequest:
    return InvalidRequest(
        f"'{one.where}' says {one.told} and '{other.where}' says {other.told}: they contradict each"
        " other; send one of the two",
        param=other.where,
        code="conflicting_parameters",
    )
