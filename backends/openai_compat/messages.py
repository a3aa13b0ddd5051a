"""The history of a conversation, as each kind of endpoint must have it.

What an earlier turn's provider, or another client, wrote down is not always what this turn's endpoint
reads: reasoning has several names, tool calls have ids of several makes, roles and prefills are not known
everywhere. Only members of messages are taken out, renamed or added; all content goes on as the bytes it
came as, in the same order. Most requests need nothing of this: they are told apart without a look into any
message, by a search for the few names that matter, and in large ones by skipping over the contents.

Whatever is no list of objects goes on untouched: to say what is wrong with it is for the endpoint.
"""

import re
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Raw, Struct

from backends.openai_compat.failure_bodies import UNREADABLE
from backends.openai_compat.reasoning import DETAILS, TEXT_NAMES, is_text, read_details
from backends.openai_compat.tool_ids import Renumbering
from backends.profiles import Profile
from backends.values import Call, Mode

_SMALL = 16_384  # bytes; from here on a decoding that skips the contents costs less than the search
# As keys and values of a message stand there: inside of text, their quotes would be escaped.
_SUSPICIOUS = re.compile(rb'"(?:tool_calls"|reasoning|developer"|partial")').search
_BLANK = Raw(b'" "')
_SYSTEM = Raw(b'"system"')
_ASSISTANT = b'"assistant"'
_REASONING = (*TEXT_NAMES, DETAILS)
_CONTINUED = b',"continue_final_message":true,"add_generation_prompt":false'
_PARTIAL = "messages.partial"

Message = dict[str, Raw]

_decode_messages = msgspec.json.Decoder(list[Message]).decode
_quote = msgspec.json.Encoder().encode
_LEADS = {
    name: b'"%b":' % name.encode()
    for name in ("role", "content", "tool_calls", "tool_call_id", "name", *_REASONING)
}


class History(Struct, frozen=True, kw_only=True):
    """How one kind of endpoint reads the messages of earlier turns.

    Attributes:
        reasoning: the names under which it is given the reasoning of an assistant message.
        details: whether it reads `reasoning_details`, which then go on as they are.
        blank_reasoning: whether a thinking model's tool calls must come with reasoning, were it a blank.
        native_ids: whether ids of tool calls are the caller's to get right: see `tool_ids`.
        developer: whether it knows that role.
        partial: what becomes of a last message that is to be continued: it is `kept` as Moonshot's
            `partial`, `asked` for in vLLM's way, `implied` by its place, or `unknown` and left out.
    """

    reasoning: tuple[str, ...] = ("reasoning_content",)
    details: bool = False
    blank_reasoning: bool = True
    native_ids: bool = True
    developer: bool = False
    partial: str = "unknown"


class Adapted(Struct, frozen=True):
    """What is sent in place of a caller's messages.

    Attributes:
        messages: the messages; None: those of the caller.
        extra: further members of the request, each beginning with a comma.
        dropped: what was left out, as the caller is told.
        held: ids by which the caller knows earlier tool calls, where those of the answer could repeat them.
    """

    messages: Raw | None
    extra: bytes = b""
    dropped: tuple[str, ...] = ()
    held: frozenset[str] = frozenset()


def thinks(profile: Profile, mode: Mode) -> bool:
    """Whether a model thinks in a call."""
    return profile.thinking == "always" or (
        profile.thinking == "toggle" and mode.thinking is not False
    )


def adapted(call: Call, profile: Profile, rules: History) -> Adapted | None:
    """The history of `call` for an endpoint; None if nothing about it has to change.

    Args:
        call: what is asked.
        profile: what the model is like.
        rules: how the endpoint reads a history.
    """
    messages = _suspicious(call.fields)
    return None if messages is None else _Adapting(call, profile, rules).run(messages)


def unsupported(fields: Mapping[str, Raw], rules: History) -> tuple[str, ...]:
    """What `adapted` would name as left out.

    Args:
        fields: the caller's, as in `Call.fields`.
        rules: how the endpoint reads a history.
    """
    messages = _suspicious(fields) if rules.partial == "unknown" else None
    return _left_out(messages[-1], rules) if messages else ()


def _suspicious(fields: Mapping[str, Raw]) -> list[Message] | None:
    """The messages, if any of them could have to change."""
    raw = fields.get("messages")
    if raw is None or (len(raw) < _SMALL and _SUSPICIOUS(raw) is None):
        return None
    try:
        return _decode_messages(raw)
    except UNREADABLE:
        return None


def _left_out(last: Message, rules: History) -> tuple[str, ...]:
    """What an endpoint is not told of the message that ends a history."""
    lost = rules.partial == "unknown" and _is_to_continue(last)
    return (_PARTIAL,) if lost else ()


def _is_to_continue(last: Message) -> bool:
    return bytes(last.get("role", b"")) == _ASSISTANT and bytes(last.get("partial", b"")) == b"true"


class _Adapting:
    """One history on its way."""

    def __init__(self, call: Call, profile: Profile, rules: History) -> None:
        self._rules = rules
        self._fields = call.fields
        self._blank = rules.blank_reasoning and thinks(profile, call.mode)
        self._ids = Renumbering() if rules.native_ids and profile.native_tool_ids else None
        self._changed = False
        self._extra = b""
        self._dropped: tuple[str, ...] = ()

    def run(self, messages: list[Message]) -> Adapted | None:
        result = None if self._ids is None else self._ids.result
        last = len(messages) - 1
        for place, message in enumerate(messages):
            role = message.get("role")
            if role is None:
                continue
            match bytes(role):
                case b'"assistant"':
                    messages[place] = self._assistant(message, last=place == last)
                case b'"tool"' if result is not None:
                    self._result(message, result)
                case b'"developer"' if not self._rules.developer:
                    message["role"] = _SYSTEM
                    self._changed = True
        held = frozenset() if self._ids is None else frozenset(self._ids.held)
        if not (self._changed or held):
            return None
        return Adapted(
            _written(messages) if self._changed else None, self._extra, self._dropped, held
        )

    def _assistant(self, message: Message, *, last: bool) -> Message:
        calls = message.get("tool_calls")
        if calls is not None and self._ids is not None:
            native = self._ids.calls(calls)
            if native is not calls:
                message["tool_calls"] = native
                self._changed = True
        if "partial" in message and self._rules.partial != "kept":
            self._continue(message, wanted=last and _is_to_continue(message))
        blank = self._blank and calls is not None and bytes(calls) not in {b"null", b"[]"}
        if blank or not message.keys().isdisjoint(_REASONING):
            return self._reasoned(message, blank=blank)
        return message

    def _result(self, message: Message, native_of: Callable[[Raw], Raw]) -> None:
        theirs = message.get("tool_call_id")
        if theirs is not None:
            native = native_of(theirs)
            if bytes(native) != bytes(theirs):
                message["tool_call_id"] = native
                self._changed = True

    def _continue(self, message: Message, *, wanted: bool) -> None:
        """Take `partial` out of a message, and have it continued in the endpoint's way if it is wanted."""
        if wanted:
            self._dropped = _left_out(message, self._rules)
            if self._rules.partial == "asked" and "continue_final_message" not in self._fields:
                self._extra = _CONTINUED
        del message["partial"]
        self._changed = True

    def _reasoned(self, message: Message, *, blank: bool) -> Message:
        """The message with its reasoning told once, under the endpoint's names."""
        found = [message[name] for name in TEXT_NAMES if name in message]
        if not all(is_text(raw) or bytes(raw) == b"null" for raw in found):
            return message
        rules = self._rules
        details = message.get(DETAILS)
        texts = [raw for raw in found if is_text(raw)]
        text = next((raw for raw in texts if bytes(raw) != b'""'), None)
        if text is None and details is not None and not rules.details:
            text = read_details(details).text
        if text is None:
            needed = blank and (details is None or not rules.details)
            text = _BLANK if needed else next(iter(texts), None)
        wanted: Message = {}
        if text is not None:
            wanted = dict.fromkeys(rules.reasoning, text)
        if details is not None and rules.details:
            wanted[DETAILS] = details
        if wanted == {name: message[name] for name in _REASONING if name in message}:
            return message
        self._changed = True
        rest = {name: raw for name, raw in message.items() if name not in _REASONING}
        return rest | wanted


def _written(messages: list[Message]) -> Raw:
    parts: list[bytes | Raw] = []
    between = b"[{"
    for message in messages:
        parts.append(between)
        lead = b""
        for name, raw in message.items():
            parts += (lead, _LEADS.get(name) or _quote(name) + b":", raw)
            lead = b","
        between = b"},{"
    parts.append(b"}]")
    return Raw(b"".join(parts))
