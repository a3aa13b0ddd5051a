"""What is asked and what the sandbox answers, before any provider's dialect."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct, json
from msgspec.structs import replace

from backends.sandbox.faults import Directives, FaultName
from backends.sandbox.schema import example
from backends.sandbox.tokens import message_text

_REASONING = ("These", " words", " stand", " for", " reasoning", ".")
_FILLER = (" and", " so", " on")
_JSON_PIECE = 8  # characters
BUILTIN = "builtin_function"  # of Moonshot's: it answers its call itself, once that is sent back
SEARCH_TOKENS = 600  # that a search of it finds


class ChatRequest(Struct, kw_only=True):
    """The fields of a chat request that the sandbox reads; all others are ignored."""

    model: str | None = None
    messages: list[dict[str, Any]] | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    n: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    include_reasoning: bool | None = None
    models: list[str] | None = None
    provider: dict[str, Any] | None = None
    providerOptions: dict[str, dict[str, Any]] | None = None  # noqa: N815 - Vercel's spelling
    enable_thinking: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    cache_salt: Any = None

    @property
    def cap(self) -> int | None:
        """The most tokens that the answer may have, reasoning included."""
        if self.max_completion_tokens is not None:
            return self.max_completion_tokens
        return self.max_tokens

    @property
    def include_usage(self) -> bool:
        """Whether a stream is to end with a usage chunk."""
        return bool((self.stream_options or {}).get("include_usage"))

    @property
    def thinking_off(self) -> bool:
        """Whether Moonshot's switch says no."""
        return (self.thinking or {}).get("type") == "disabled"

    @property
    def prefix(self) -> str:
        """What the answer is to continue without repeating it: Moonshot's `partial`."""
        last = self.messages[-1] if self.messages else {}
        partial = last.get("role") == "assistant" and last.get("partial") is True
        return message_text(last) if partial else ""

    @property
    def past_calls(self) -> list[dict[str, Any]]:
        """The tool calls of the conversation so far."""
        calls = [
            call for message in self.messages or () for call in message.get("tool_calls") or ()
        ]
        return [call for call in calls if isinstance(call, dict)]


class ToolCall(Struct, frozen=True):
    """One tool call; its head counts as a token, and so does each fragment of its arguments."""

    id: str
    name: str
    fragments: tuple[str, ...]
    type: str = "function"

    @property
    def arguments(self) -> str:
        """The arguments in one string."""
        return "".join(self.fragments)


class Answer(Struct, frozen=True, kw_only=True):
    """An answer in pieces, each of which is one token."""

    prompt_tokens: int
    cached_tokens: int = 0
    reasoning: tuple[str, ...] = ()
    content: tuple[str, ...] = ()
    tool: ToolCall | None = None
    finish_reason: str = "stop"
    shows_usage: bool = True

    @property
    def completion_tokens(self) -> int:
        """Tokens of the answer, reasoning included."""
        tool = 1 + len(self.tool.fragments) if self.tool else 0
        return len(self.reasoning) + len(self.content) + tool


def compose(
    request: ChatRequest,
    directives: Directives,
    answer: Answer,
    *,
    title: str,
    thinks: bool,
    tool_id: Callable[[str, int], str],
) -> Answer:
    """The answer to `request`, the same each time.

    Args:
        request: what is asked.
        directives: what its tags ask besides.
        answer: an answer that has only its prompt counted.
        title: the provider's name, for the text.
        thinks: whether the model reasons on this request.
        tool_id: the provider's id for the call of a tool, by name and by place in the conversation.
    """
    if directives.fault is not None and directives.fault.name is FaultName.EMPTY:
        return answer
    if thinks:
        answer = replace(answer, reasoning=_stretch(_REASONING, directives.think))
    tool = _tool(request)
    if tool is not None:
        function, kind = tool.get("function") or {}, str(tool.get("type", "function"))
        name, place = str(function.get("name", "")), len(request.past_calls)
        parameters = function.get("parameters")
        said = example(parameters) if parameters else {}
        if kind == BUILTIN:
            said = {
                "search_result": {"search_id": f"sandbox-{place}"},
                "usage": {"total_tokens": SEARCH_TOKENS},
            }
        call = ToolCall(tool_id(name, place), name, _slices(json.encode(said).decode()), kind)
        answer = replace(answer, tool=call, finish_reason="tool_calls")
    else:
        answer = replace(answer, content=_content(request, directives, title))
    return truncate(answer, request.cap)


def truncate(answer: Answer, cap: int | None) -> Answer:
    """`answer` cut to `cap` tokens, as the length limit cuts it."""
    if cap is None or answer.completion_tokens <= cap:
        return answer
    reasoning = answer.reasoning[:cap]
    left = cap - len(reasoning)
    content = answer.content[:left]
    left -= len(content)
    tool = answer.tool
    if tool is not None:
        tool = replace(tool, fragments=tool.fragments[: left - 1]) if left > 0 else None
    return replace(answer, reasoning=reasoning, content=content, tool=tool, finish_reason="length")


def _tool(request: ChatRequest) -> dict[str, Any] | None:
    """The tool to call, if one is to be called."""
    choice, tools = request.tool_choice, request.tools
    if not tools or choice == "none":
        return None
    forced = choice == "required" or isinstance(choice, dict)
    last = request.messages[-1] if request.messages else {}
    if last.get("role") == "tool" and not forced:
        return None  # the result is in: an agent's loop must come to an end
    if isinstance(choice, dict):
        wanted = (choice.get("function") or {}).get("name")
        tools = [t for t in tools if (t.get("function") or {}).get("name") == wanted] or tools
    return tools[0]


def _content(request: ChatRequest, directives: Directives, title: str) -> tuple[str, ...]:
    kind = (request.response_format or {}).get("type")
    if kind == "json_schema":
        schema = ((request.response_format or {}).get("json_schema") or {}).get("schema")
        return _slices(json.encode(example(schema)).decode())
    if kind == "json_object":
        return _slices('{"sandbox":true,"answer":"not a model"}')
    users = [m for m in request.messages or () if m.get("role") == "user"]
    length = len(message_text(users[-1])) if users else 0
    text = (
        f"This is Tidegate's sandbox of {title}, not a model."
        f" The last user message has {length} characters."
    )
    if request.prefix and text.startswith(request.prefix):
        text = text.removeprefix(request.prefix)
    first, *rest = text.split(" ")
    return _stretch((first, *(f" {word}" for word in rest)), directives.pieces)


def _stretch(pieces: tuple[str, ...], count: int | None) -> tuple[str, ...]:
    if count is None:
        return pieces
    missing = max(count - len(pieces), 0)
    filler = _FILLER * (missing // len(_FILLER) + 1)
    return (*pieces, *filler[:missing])[:count]


def _slices(text: str) -> tuple[str, ...]:
    return tuple(text[at : at + _JSON_PIECE] for at in range(0, len(text), _JSON_PIECE))
