"""Which faults the sandbox can show, and the three ways to ask for one.

A fault comes from a tag in the request's body, from the board (the constructor's argument or the
control path `/__sandbox/faults`), in this order. A tag is `[[key=value,...]]` anywhere in the body:

    [[fault=cut,after=3]]        [[fault=slow,delay=20]]        [[fault=error500,at=moonshot]]
    [[n=200,pace=10]]            [[wait=250,think=0]]

Keys: `fault` and with it `after`, `delay` (ms), `status`, `how`, `retry_after` (s), `size`; `at`,
the name of the server that the tag is meant for (others ignore it); `pace` (ms between chunks),
`wait` (ms before the head), `n` (content chunks), `think` (reasoning chunks). If a body holds
several tags, as the history of a conversation may, each later value replaces the earlier one.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, Self

from msgspec import Struct, ValidationError, convert, field


class FaultName(StrEnum):
    """What can be made to go wrong, each with a line that says what happens then.

    "Piece" means a chunk with reasoning, content or a tool call.
    """

    description: str

    def __new__(cls, value: str, description: str) -> Self:
        """A member whose value is its name in tags and in JSON."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member

    # no answer
    REFUSE = "refuse", "the connection is reset as soon as the request's head is there"
    STALL = "stall", "the request is read and never answered"
    ERROR400 = "error400", "400: the request is invalid"
    ERROR400_CONTEXT = "error400_context", "400: prompt and answer do not fit into the context"
    ERROR400_FILTER = "error400_filter", "400: the content filter refuses the prompt"
    ERROR401 = "error401", "401: the key is wrong"
    ERROR402 = "error402", "402: the account is out of money"
    ERROR403 = "error403", "403: the key may not do this"
    ERROR403_QUOTA = "error403_quota", "403: the account is out of money"
    ERROR403_MODERATION = "error403_moderation", "403: a moderator flags the prompt"
    ERROR404 = "error404", "404: the model is unknown, or retired"
    ERROR429_RATE = "error429_rate", "429: the account is over a rate limit"
    ERROR429_OVERLOADED = "error429_overloaded", "429: the engine is overloaded; with Retry-After"
    ERROR429_QUOTA = "error429_quota", "out of money, with the status that the provider has for it"
    ERROR500 = "error500", "500: an internal error"
    ERROR503 = "error503", "503: no capacity"
    HTML502 = "html502", "502 with a page of HTML"
    HTML504 = "html504", "504 with a page of HTML"
    # something else than an answer, with status 200
    LOGIN_PAGE = "login_page", "200 with a page of HTML"
    WHOLE_ERROR = "whole_error", "200 with an error document in place of answer or stream"
    EMPTY = "empty", "a clean end without one piece"
    COMMENTS_ONLY = "comments_only", "comments, then the end; of a whole reply, an empty body"
    # an answer that breaks
    STALL_AFTER_HEAD = (
        "stall_after_head",
        "the head and `after` pieces (default: none), then silence",
    )
    CUT = "cut", "the connection dies after `after` pieces; half-way in a whole reply"
    CUT_NONSTREAM = (
        "cut_nonstream",
        "half of a whole reply, then the connection dies; of a stream, the head only",
    )
    ERROR_EVENT = "error_event", "an error object inside the 200, after `after` pieces"
    BILLED_ERROR = (
        "billed_error",
        "the same, and token counts stand beside the error, with what it cost where that is told",
    )
    FINISH_ERROR = (
        "finish_error",
        "the answer ends after `after` pieces with the finish reason of a failure",
    )
    MALFORMED_EVENT = (
        "malformed_event",
        "one event that is not JSON, then on as if nothing happened; half a whole reply",
    )
    INVALID_UTF8 = "invalid_utf8", "one text holds bytes that are no UTF-8"
    NO_DONE = "no_done", "a stream without its end mark"
    OVERSIZED_LINE = "oversized_line", "one piece of `size` bytes (default 5 MiB)"
    OVERSIZED_BODY = (
        "oversized_body",
        "an answer of `size` bytes (default 36 MiB) in pieces of 1 MiB",
    )
    # an answer that is odd
    SLOW = "slow", "`delay` between chunks (default 50 ms)"
    SLOW_FIRST = "slow_first", "`delay` (default 200 ms) before the first token, the head at once"
    TRICKLE = "trickle", "the bytes in slices of `size` (default 7), `delay` between them"
    CRLF = "crlf", "lines end in CR LF"
    GZIP = "gzip", "a body compressed with gzip, which nobody asked for"
    DOUBLE_DONE = "double_done", "the end mark twice"
    UNKNOWN_FINISH = "unknown_finish", "a finish reason that no one has heard of"
    FINISH_FILTER = "finish_filter", "the content filter ends the answer after `after` pieces"
    # token counts
    NO_USAGE = "no_usage", "a good answer without token counts"
    WRONG_USAGE = "wrong_usage", "more tokens from the cache than the prompt had"
    DUPLICATE_USAGE = "duplicate_usage", "token counts twice, of which the last are right"
    USAGE_IN_CHOICE = "usage_in_choice", "token counts inside the last choice only"
    USAGE_ON_FINISH = "usage_on_finish", "token counts on the chunk with the finish reason only"
    USAGE_RUNNING = "usage_running", "token counts on each chunk, growing"
    # tool calls, in answers that call one
    BROKEN_ARGUMENTS = "broken_arguments", "the arguments of a tool call are cut: no JSON"
    WRONG_ARGUMENTS = "wrong_arguments", "the arguments of a tool call violate its schema"
    UNKNOWN_TOOL = "unknown_tool", "a call of a tool that was not offered"
    LEAKED_TOOL = "leaked_tool", "a tool call as the model's raw text inside the content"


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One fault and its details.

    Attributes:
        name: which; `fault` in JSON.
        count: how many requests it strikes; None for all.
        after: pieces to send before it strikes; 0 is after the opening role chunk, -1 before it.
        delay_s: seconds to wait before it strikes; for slow and trickle, between chunks or slices.
        status: replaces the HTTP status of an error reply.
        how: how a connection dies: by reset or by an early, orderly close.
        retry_after: seconds in a Retry-After header of an error reply.
        size: bytes; see trickle, oversized_line and oversized_body.
        model: strike only requests for this model.
        scope: `chat` spares model lists and balances, `all` does not.
    """

    name: FaultName = field(name="fault")
    count: int | None = None
    after: int | None = None
    delay_s: float = 0.0
    status: int | None = None
    how: Literal["rst", "fin"] = "rst"
    retry_after: float | None = None
    size: int | None = None
    model: str | None = None
    scope: Literal["chat", "all"] = "chat"


class FaultBoard:
    """The faults that are switched on, oldest first; each strikes until its count is used up."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._left: list[tuple[Fault, int | None]] = []
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> None:
        """Switch `fault` on."""
        self._left.append((fault, fault.count))

    def clear(self) -> None:
        """Switch everything off."""
        self._left.clear()

    def active(self) -> list[Fault]:
        """The faults that would still strike."""
        return [fault for fault, _ in self._left]

    def take(self, *, chat: bool, model: str | None = None) -> Fault | None:
        """The fault that strikes this request, or None; counts it as used."""
        return self._take([f for f, _ in self._left if _fits(f, chat=chat, model=model)])

    def take_refusal(self, *, chat: bool) -> Fault | None:
        """`take` before the body is known: only refusals that do not ask for a model."""
        fitting = [f for f, _ in self._left if _fits(f, chat=chat, model=None)]
        if fitting and fitting[0].name is FaultName.REFUSE:
            return self._take(fitting)
        return None

    def _take(self, fitting: list[Fault]) -> Fault | None:
        if not fitting:
            return None
        for place, (fault, left) in enumerate(self._left):
            if fault is fitting[0]:
                if left is not None and left <= 1:
                    del self._left[place]
                else:
                    self._left[place] = (fault, None if left is None else left - 1)
                break
        return fitting[0]


def _fits(fault: Fault, *, chat: bool, model: str | None) -> bool:
    if fault.model is not None and fault.model != model:
        return False
    return chat or fault.scope == "all"


class Directives(Struct, frozen=True, kw_only=True):
    """What a request's tags ask for. Milliseconds; None where they do not say."""

    fault: Fault | None = None
    pace_ms: float | None = None
    wait_ms: float = 0.0
    pieces: int | None = None
    think: int | None = None


class BadDirectiveError(ValueError):
    """A tag names what does not exist: better loud than a test that proves nothing."""


def fault_of(words: str) -> Fault:
    """The fault that is written as in a tag, without its key: `cut,after=3`.

    Raises:
        BadDirectiveError: it is no fault, or asks for more than one.
    """
    tag = f"[[fault={words}]]".encode()
    fault = parse_directives(tag).fault if _TAG.fullmatch(tag) else None
    if fault is None:
        raise BadDirectiveError(f"{words!r} is not a fault")
    return fault


_TAG = re.compile(rb"\[\[([a-z_]+=[\w.+-]+(?:,[a-z_]+=[\w.+-]+)*)\]\]")
_FAULT_KEYS = frozenset({"after", "status", "how", "retry_after", "size"})
_KEYS = _FAULT_KEYS | {"fault", "delay", "at", "pace", "wait", "n", "think"}
_NONE = Directives()


def parse_directives(body: bytes, names: Iterable[str] = ()) -> Directives:
    """What the tags in `body` ask of the server known by `names`.

    Raises:
        BadDirectiveError: a tag with a known key has another one that is not, or a bad value.
    """
    if b"[[" not in body:
        return _NONE
    asked: dict[str, str] = {}
    for tag in _TAG.finditer(body):
        pairs = dict(pair.split("=", 1) for pair in tag[1].decode().split(","))
        if _KEYS.isdisjoint(pairs):
            continue  # somebody's text, not ours
        if unknown := pairs.keys() - _KEYS:
            raise BadDirectiveError(f"unknown key {min(unknown)!r} in a tag")
        if pairs.pop("at", None) in {None, *names}:
            asked.update(pairs)
    return _directives(asked) if asked else _NONE


def _directives(asked: dict[str, str]) -> Directives:
    try:
        fault = None
        if "fault" in asked:
            details = {key: asked[key] for key in _FAULT_KEYS & asked.keys()}
            delay_s = float(asked.get("delay", 0)) / 1000
            fault = convert(
                {"fault": asked["fault"], "delay_s": delay_s, **details}, Fault, strict=False
            )
        return Directives(
            fault=fault,
            pace_ms=float(asked["pace"]) if "pace" in asked else None,
            wait_ms=float(asked.get("wait", 0)),
            pieces=int(asked["n"]) if "n" in asked else None,
            think=int(asked["think"]) if "think" in asked else None,
        )
    except (ValueError, ValidationError) as error:
        raise BadDirectiveError(str(error)) from error
