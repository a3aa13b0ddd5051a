"""What a provider's dialect must define, and the values that it is handed and hands back."""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from enum import Enum, auto
from typing import Any, ClassVar

from msgspec import Struct, json

from backends.sandbox.answer import Answer, ChatRequest
from backends.sandbox.faults import FaultName


class Failure(Enum):
    """What a provider can say no to, or fail with; each dialect has its own words for it."""

    BAD_REQUEST = auto()
    CONTEXT_LENGTH = auto()
    CONTENT_FILTER = auto()
    MODERATION = auto()
    MISSING_KEY = auto()
    WRONG_KEY = auto()
    FORBIDDEN = auto()
    UNKNOWN_MODEL = auto()
    UNKNOWN_PATH = auto()
    WRONG_METHOD = auto()
    RATE = auto()
    OVERLOADED = auto()
    QUOTA = auto()
    PAYMENT = auto()  # the same as QUOTA, by 402
    FORBIDDEN_QUOTA = auto()  # the same, by 403
    SERVER = auto()
    UNAVAILABLE = auto()


FAILURES: Mapping[FaultName, Failure] = {
    FaultName.ERROR400: Failure.BAD_REQUEST,
    FaultName.ERROR400_CONTEXT: Failure.CONTEXT_LENGTH,
    FaultName.ERROR400_FILTER: Failure.CONTENT_FILTER,
    FaultName.ERROR401: Failure.WRONG_KEY,
    FaultName.ERROR402: Failure.PAYMENT,
    FaultName.ERROR403: Failure.FORBIDDEN,
    FaultName.ERROR403_QUOTA: Failure.FORBIDDEN_QUOTA,
    FaultName.ERROR403_MODERATION: Failure.MODERATION,
    FaultName.ERROR404: Failure.UNKNOWN_MODEL,
    FaultName.ERROR429_RATE: Failure.RATE,
    FaultName.ERROR429_OVERLOADED: Failure.OVERLOADED,
    FaultName.ERROR429_QUOTA: Failure.QUOTA,
    FaultName.ERROR500: Failure.SERVER,
    FaultName.ERROR503: Failure.UNAVAILABLE,
}


class Refusal(Struct, frozen=True):
    """An error reply: HTTP status, body, and the headers that belong to it."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def _page(status: int, title: str) -> Refusal:
    """A page of HTML as nginx makes them."""
    body = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{title}</h1></center>\r\n<hr><center>nginx</center>\r\n"
        "</body>\r\n</html>\r\n"
    )
    return Refusal(status, body.encode(), "text/html")


PAGES: Mapping[FaultName, Refusal] = {
    FaultName.HTML502: _page(502, "502 Bad Gateway"),
    FaultName.HTML504: _page(504, "504 Gateway Time-out"),
    FaultName.LOGIN_PAGE: _page(200, "Sign in to this network"),
}


class Stamp(Struct, frozen=True):
    """What differs from answer to answer: 32 hex digits, the time, the caller's own id if any."""

    hex_id: str
    now: float  # seconds since the Unix epoch
    request_id: str | None = None

    @property
    def created(self) -> int:
        """The time in whole seconds, as replies carry it."""
        return int(self.now)


class Frame(Struct, frozen=True, gc=False):
    """One event of a stream: its JSON, and whether it carries reasoning, content or a tool call."""

    data: bytes
    piece: bool = False


class Dialect(ABC):
    """One provider's paths, bodies and rules."""

    title: ClassVar[str]  # in the text of the answers
    base_path: ClassVar[str]
    chat_paths: ClassVar[Collection[str]]
    content_type: ClassVar[str] = "application/json"
    stream_type: ClassVar[str] = "text/event-stream"
    key_needed: ClassVar[bool] = True
    done_after_error: ClassVar[bool] = False  # whether an error event is followed by [DONE]
    comment: ClassVar[bytes] = b""  # what stands in a stream while the provider is at work

    @abstractmethod
    def refusal(self, failure: Failure, detail: str = "") -> Refusal:
        """The provider's reply to `failure`; `detail` replaces its text, or names the model."""

    @abstractmethod
    def check(self, request: ChatRequest, prompt_tokens: int) -> Refusal | None:
        """The provider's objection to a request, or None."""

    @abstractmethod
    def whole(self, request: ChatRequest, answer: Answer, stamp: Stamp) -> bytes:
        """The reply that is no stream."""

    @abstractmethod
    def frames(self, request: ChatRequest, answer: Answer, stamp: Stamp) -> list[Frame]:
        """The events of a stream, without the end mark."""

    @abstractmethod
    def error_event(self) -> bytes:
        """An error object as it stands inside a stream."""

    def error_document(self) -> bytes:
        """The same in a whole reply of status 200."""
        return self.error_event()

    @abstractmethod
    def document(self, path: str) -> bytes | None:
        """What GET `path` (with the key checked) returns, if the provider has such a path."""

    def open_document(self, path: str) -> bytes | None:
        """What GET `path` returns to anyone, if the provider has such a path."""
        del path
        return None

    def post(self, path: str, messages: Sequence[Mapping[str, Any]]) -> bytes | None:
        """What POST `path` returns about a prompt, if the provider has such a path."""
        del path, messages
        return None

    def thinks(self, request: ChatRequest) -> bool:
        """Whether the model reasons on this request."""
        return not request.thinking_off

    def found_tokens(self, request: ChatRequest) -> int:
        """Tokens that the provider itself adds to the prompt: those of what it was to search for."""
        del request
        return 0

    def leaks(self, request: ChatRequest) -> bool:
        """Whether what is in `request` makes the model write its next tool call as raw text."""
        del request
        return False

    def tool_id(self, request: ChatRequest, name: str, place: int) -> str:
        """The id of a tool call; open-weight hosts pass on Kimi's own form (recorded 2026-08)."""
        del request
        return f"functions.{name}:{place}"

    def head(self, stamp: Stamp) -> tuple[tuple[str, str], ...]:
        """Headers that the provider adds to every reply."""
        del stamp
        return ()


def tool_deltas(answer: Answer, *, first_with_arguments: bool = False) -> list[dict[str, Any]]:
    """The `tool_calls` deltas of a stream: id, type and name first, then index and arguments only.

    Args:
        answer: what is answered; no deltas if it calls no tool.
        first_with_arguments: put the first fragment of the arguments beside the name, as vLLM does.
    """
    if answer.tool is None:
        return []
    fragments = list(answer.tool.fragments)
    opening = fragments.pop(0) if first_with_arguments and fragments else ""
    name = {"name": answer.tool.name, "arguments": opening}
    call = {"id": answer.tool.id, "type": answer.tool.type, "function": name}
    if first_with_arguments:
        first = {"id": call["id"], "type": call["type"], "index": 0, "function": name}
    else:
        first = {"index": 0, **call}
    rest = [{"index": 0, "function": {"arguments": fragment}} for fragment in fragments]
    return [{"tool_calls": [delta]} for delta in (first, *rest)]


def k2_leaks(request: ChatRequest) -> bool:
    """What makes Kimi K2 write tool calls that its hosts cannot parse: ids of another form in the past.

    It knows no ids but `functions.<name>:<place>`; Moonshot's own API rewrites others, open-weight
    hosts mostly do not (K2 deployment guide, and vendor reports of 2025-11).
    """
    for call in request.past_calls:
        name = (call.get("function") or {}).get("name")
        if not re.fullmatch(rf"functions\.{re.escape(str(name))}:\d+", str(call.get("id"))):
            return True
    return False


encode = json.encode
