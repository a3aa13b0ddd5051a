"""Ids of tool calls in a conversation, as Kimi's open weights must have them.

The chat template of the K2 family writes the id into the prompt, and the model was trained on
`functions.<name>:<index>`, the index counting the calls of the whole conversation from 0: other ids make
it emit broken calls (the vendor's note on tool calling; its verifier of hosts, 2025-11). Moonshot's own
service writes ids anew itself; hosts of the weights mostly do not. vLLM counts as this does (0.32, its
`get_history_tool_calls_cnt`, read 2026-11-22).

On the way up `Renumbering` gives each call its native id. On the way back an id may come that the caller
has for another call already: `FreshIds` makes it one of its own, which is renumbered in the next turn as
any.
"""

import re
from collections import deque
from collections.abc import Container

import msgspec
from msgspec import Raw

from backends.openai_compat.failure_bodies import UNREADABLE
from backends.openai_compat.reasoning import is_text

_MAX_ID = 64  # characters, which is what callers' own checks allow, as of these:
_MAX_ENDING = 9  # of them, to tell ids apart
_UNFIT = re.compile(r"[^A-Za-z0-9_.:-]")

_decode_calls = msgspec.json.Decoder(list[dict[str, Raw]]).decode
_decode_function = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


class FreshIds:
    """Ids in place of ones that are taken; the same for the same calls in the same order."""

    __slots__ = ("_numbers", "_taken")

    def __init__(self, *taken: Container[str]) -> None:
        """`taken`: what no id may be; looked into when one is made."""
        self._taken = taken
        self._numbers: dict[str, int] = {}  # the last of each: a host may give all its calls one id

    def of(self, native: str) -> str:
        """An id like `native`, which is neither taken nor was given before."""
        stem = _UNFIT.sub("_", native)[: _MAX_ID - _MAX_ENDING]
        number = self._numbers.get(stem, 0)
        while True:
            number += 1
            made = f"{stem}.{number}"
            if not any(made in taken for taken in self._taken):
                self._numbers[stem] = number
                return made


class Renumbering:
    """Native ids for the tool calls of one conversation, message by message.

    Attributes:
        held: the ids under which the caller knows its calls.
    """

    __slots__ = ("_count", "_natives", "held")

    def __init__(self) -> None:
        self.held: set[str] = set()
        self._count = 0
        # The caller's ids, as raw JSON, to the native ones. Calls may share an id, in several turns or
        # in one: results then follow in the order of the calls.
        self._natives: dict[bytes, deque[Raw]] = {}

    def calls(self, raw: Raw) -> Raw:
        """A message's `tool_calls` with native ids; `raw` itself where they have them, or are no calls."""
        try:
            calls = _decode_calls(raw)
        except UNREADABLE:
            return raw
        natives: dict[bytes, deque[Raw]] = {}
        changed = False
        for call in calls:
            index, self._count = self._count, self._count + 1
            theirs, name = call.get("id"), _name(call)
            if theirs is None or not is_text(theirs):
                continue
            key = bytes(theirs)
            self._hold(key)
            native = theirs
            if name is not None:
                native = Raw(b'"functions.%b:%d"' % (bytes(name)[1:-1], index))
            natives.setdefault(key, deque()).append(native)
            if bytes(native) != key:
                call["id"] = native
                changed = True
        self._natives |= natives
        return Raw(_encode(calls)) if changed else raw

    def result(self, raw: Raw) -> Raw:
        """The native id for a tool message's `tool_call_id`; `raw` itself where no call has that id."""
        natives = self._natives.get(bytes(raw))
        if natives is None:
            return raw
        return natives.popleft() if len(natives) > 1 else natives[0]

    def _hold(self, key: bytes) -> None:
        try:
            self.held.add(_decode_text(key))
        except UNREADABLE:
            return  # no id of an answer is like it


def _name(call: dict[str, Raw]) -> Raw | None:
    function = call.get("function")
    if function is None:
        return None
    try:
        name = _decode_function(function).get("name")
    except UNREADABLE:
        return None
    return name if name is not None and is_text(name) and len(bytes(name)) > len('""') else None
