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
DEFAULT_OVERSIZE = 2 * 1024 * 1024


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


class ToolCall(Struct, frozen=True):
    """One tool call; its head counts as a token, and so does each fragment of its arguments."""

    id: str
    name: str
    fragments: tuple[str, ...]

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
    fault = directives.fault
    if fault is not None and fault.name is FaultName.EMPTY:
        return answer
    if fault is not None and fault.name is FaultName.NO_USAGE:
        answer = replace(answer, shows_usage=False)
    if thinks:
        answer = replace(answer, reasoning=_stretch(_REASONING, directives.think))
    tool = _tool(request)
    if tool is not None:
        name, parameters = tool
        calls = sum(len(m.get("tool_calls") or ()) for m in request.messages or ())
        arguments = json.encode(example(parameters) if parameters else {}).decode()
        call = ToolCall(tool_id(name, calls), name, _slices(arguments))
        answer = replace(answer, tool=call, finish_reason="tool_calls")
    else:
        answer = replace(answer, content=_content(request, directives, title))
    if fault is not None and fault.name is FaultName.OVERSIZED_LINE:
        place = max(fault.after or 0, 0)
        giant = "x" * (fault.size or DEFAULT_OVERSIZE)
        content = (*answer.content[:place], giant, *answer.content[place:])
        answer = replace(answer, content=content)
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


def _tool(request: ChatRequest) -> tuple[str, Any] | None:
    """Name and parameter schema of the tool to call, if one is to be called."""
    choice, tools = request.tool_choice, request.tools
    if not tools or choice == "none":
        return None
    forced = choice == "required" or isinstance(choice, dict)
    last = request.messages[-1] if request.messages else {}
    if last.get("role") == "tool" and not forced:
        return None  # the result is in: an agent's loop must come to an end
    functions = [tool.get("function") or {} for tool in tools]
    if isinstance(choice, dict):
        wanted = (choice.get("function") or {}).get("name")
        functions = [f for f in functions if f.get("name") == wanted] or functions
    return str(functions[0].get("name", "")), functions[0].get("parameters")


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
