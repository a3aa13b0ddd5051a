"""Anthropic's Messages dialect, on the caller's side: bytes to a request in the neutral form.

Unlike on the OpenAI path, content is taken apart and put together again: that is the price of another
dialect. It is done on JSON-escaped bytes, in `anthropic_content`.

Each field has one fate: *translated* to the neutral name, *refused* because to ignore it would change
where a request goes, what it costs or what is kept, or *left out*, and the caller told so. A field
that Anthropic does not know goes on under its own name, for the endpoint's own table to decide upon.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from backends import Mode
from gateway.wire import modes, preferences
from gateway.wire.anthropic_content import Prompt
from gateway.wire.anthropic_fields import (
    ABSENT,
    escaped,
    given,
    read,
    refuse,
    require_utf8,
    tool_name,
)
from gateway.wire.request import (
    UNREADABLE,
    UNSUPPORTED,
    ChatRequest,
    decode_fields,
    in_range,
    model_name,
    preset_name,
    refuse_unsupported,
    require_messages,
    unreadable,
)

_EXAMPLE = '{"model": "…", "max_tokens": 1024, "messages": [{"role": "user", "content": "…"}]}'
_SHOWN = 60

_REFUSED = {
    **UNSUPPORTED,
    "container": "container: code is not run here; remove it",
    "mcp_servers": "mcp_servers: MCP servers are not called from here; remove it",
    "fallbacks": "fallbacks: fallback models are not supported yet; remove it",
}
# Of no effect on where a request goes or what is kept: said to have been left out. What edits of the
# context would have taken out of the prompt stays in it.
_LEFT_OUT = ("cache_control", "context_management", "diagnostics", "betas", "anthropic_version")
# OpenAI's names that this dialect says otherwise, or whose answers it has no place for: they do not
# slip through under the rule for unknown fields.
_FOREIGN = frozenset(
    {"n", "stop", "max_completion_tokens", "stream_options", "parallel_tool_calls", "user"}
    | {"response_format", "logprobs", "top_logprobs", "usage"}
    | {"reasoning", "reasoning_effort", "include_reasoning", "enable_thinking"}
)

# The caller's names of what goes to providers under another, for telling what one was not sent.
FIELD_NAMES = {
    "stop": "stop_sequences",
    "reasoning_effort": "output_config.effort",
    "reasoning.max_tokens": "thinking.budget_tokens",
    "response_format": "output_config.format",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
}


class _Tool(Struct):
    name: Raw = ABSENT
    type: str | None = None
    description: Raw = ABSENT
    input_schema: Raw = ABSENT
    strict: bool | None = None
    cache_control: Raw = ABSENT
    allowed_callers: Raw = ABSENT
    defer_loading: bool | None = None
    eager_input_streaming: bool | None = None
    input_examples: Raw = ABSENT


class _ToolChoice(Struct):
    type: str
    name: Raw = ABSENT
    disable_parallel_tool_use: bool | None = None


class _Thinking(Struct):
    type: str
    budget_tokens: int | None = None
    display: str | None = None


class _Format(Struct):
    type: str
    schema: Raw = ABSENT


class _OutputConfig(Struct):
    effort: str | None = None
    format: _Format | None = None


class _Metadata(Struct):
    user_id: str | None = None


_BOOL = msgspec.json.Decoder(bool | None).decode
_INT = msgspec.json.Decoder(int | None).decode
_NUMBER = msgspec.json.Decoder(float | None).decode
_WORD = msgspec.json.Decoder(str | None).decode
_WORDS = msgspec.json.Decoder(list[str] | None).decode
_TOOLS = msgspec.json.Decoder(list[_Tool] | None).decode
_TOOL_CHOICE = msgspec.json.Decoder(_ToolChoice | None).decode
_THINKING = msgspec.json.Decoder(_Thinking | None).decode
_OUTPUT_CONFIG = msgspec.json.Decoder(_OutputConfig | None).decode
_METADATA = msgspec.json.Decoder(_Metadata | None).decode
_quote = msgspec.json.Encoder().encode


def parse(body: bytes | bytearray) -> ChatRequest:
    """Read a Messages request.

    Raises:
        InvalidRequest: with the path of the field at fault and what to change.
    """
    require_utf8(body)
    try:
        theirs = decode_fields(body)
    except UNREADABLE as error:
        raise unreadable(error, _EXAMPLE) from None
    model = model_name(theirs.pop("model", None))
    refuse_unsupported(theirs, _REFUSED)
    reading = _Reading(theirs)
    max_tokens = reading.take("max_tokens", _INT)
    if max_tokens is None:
        refuse(
            "max_tokens",
            "Field required: say how many tokens the answer may have at most",
            "missing_field",
        )
    stream = bool(reading.take("stream", _BOOL))
    prompt = Prompt()
    system = theirs.pop("system", None)
    if system is not None and given(system):
        prompt.add_system(system, "system")
    prompt.add_messages(require_messages(theirs.pop("messages", None)))
    reading.neutral["messages"] = Raw(prompt.encode())
    reading.tools()
    reading.sampling()
    reading.output_config()
    mode = reading.mode(model)
    wanted = preferences.preferences_of(theirs)
    preset = preset_name(theirs.pop("preset", None))
    reading.terms()
    reading.rest()
    fields = reading.neutral
    # As in OpenAI's dialect: every field counts, and tools twice, so that no rendering by a provider's
    # template outgrows it.
    tools = len(fields["tools"]) if "tools" in fields else 0
    return ChatRequest(
        model=model,
        stream=stream,
        include_usage=True,
        max_tokens=in_range("max_tokens", max_tokens),
        choices=1,
        fields=fields,
        prompt_bytes=sum([len(raw) for raw in fields.values()]) + tools - prompt.repeated,
        body=body,
        media=prompt.media,
        dropped=(*prompt.dropped, *reading.dropped),
        mode=mode,
        preferences=wanted,
        preset=preset,
    )


class _Reading:
    """A request's fields, taken one by one from theirs to the neutral ones.

    Attributes:
        neutral: what goes on.
        dropped: what does not, under the caller's names.
    """

    def __init__(self, theirs: dict[str, Raw]) -> None:
        self.neutral: dict[str, Raw] = {}
        self.dropped: dict[str, None] = {}
        self._theirs = theirs
        self._config: _OutputConfig | None = None

    def take(self, name: str, decode: Callable[[Raw], Any]) -> Any:
        """What a field holds; None if it is not there."""
        raw = self._theirs.pop(name, None)
        return None if raw is None else read(decode, raw, name)

    def tools(self) -> None:
        """`tools` and `tool_choice`."""
        tools = self.take("tools", _TOOLS)
        if tools:
            written = [self._tool(tool, f"tools.{place}") for place, tool in enumerate(tools)]
            self.neutral["tools"] = Raw(b"[" + b",".join(written) + b"]")
        choice = self.take("tool_choice", _TOOL_CHOICE)
        if choice is None:
            return
        if not tools:
            refuse("tool_choice", "may only be given together with 'tools'")
        if choice.type == "tool":
            name = tool_name(choice.name, "tool_choice.name")
            chosen = b'{"type":"function","function":{"name":"%b"}}' % name
        else:
            words = {"auto": b'"auto"', "any": b'"required"', "none": b'"none"'}
            if choice.type not in words:
                refuse(
                    "tool_choice.type",
                    f"must be 'auto', 'any', 'tool' or 'none', not {choice.type[:_SHOWN]!r}",
                )
            chosen = words[choice.type]
        self.neutral["tool_choice"] = Raw(chosen)
        if choice.disable_parallel_tool_use:
            self.neutral["parallel_tool_calls"] = Raw(b"false")

    def _tool(self, tool: _Tool, path: str) -> bytes:
        if tool.type not in {None, "custom"}:
            refuse(
                f"{path}.type",
                f"the tool {str(tool.type)[:_SHOWN]!r} is defined or run by Anthropic and is not"
                " offered here; describe a tool of your own with 'name' and 'input_schema'",
                "unsupported_parameter",
            )
        for name, raw in (
            ("cache_control", tool.cache_control),
            ("tools.allowed_callers", tool.allowed_callers),
            ("tools.input_examples", tool.input_examples),
        ):
            if given(raw):
                self.dropped[name] = None
        if tool.defer_loading:
            self.dropped["tools.defer_loading"] = None
        if tool.eager_input_streaming is False:
            self.dropped["tools.eager_input_streaming"] = None
        named = tool_name(tool.name, f"{path}.name")
        parts = [b'{"type":"function","function":{"name":"%b"' % named]
        if given(tool.description):
            description = bytes(escaped(tool.description, f"{path}.description"))
            parts.append(b',"description":"%b"' % description)
        schema = bytes(tool.input_schema)
        if not schema:
            refuse(f"{path}.input_schema", "Field required", "missing_field")
        if schema[:1] != b"{":
            refuse(f"{path}.input_schema", "must be an object", "invalid_type")
        parts += (b',"parameters":', schema)
        if tool.strict is not None:
            parts.append(b',"strict":true' if tool.strict else b',"strict":false')
        return b"".join((*parts, b"}}"))

    def sampling(self) -> None:
        """What the answer is drawn by: numbers pass as they were written."""
        for name, decode in (("temperature", _NUMBER), ("top_p", _NUMBER), ("top_k", _INT)):
            raw = self._theirs.get(name)
            if self.take(name, decode) is not None and raw is not None:
                self.neutral[name] = raw
        stops = self.take("stop_sequences", _WORDS)
        if stops:
            self.neutral["stop"] = Raw(_quote(stops))

    def mode(self, model: str) -> Mode:
        """What `thinking`, `output_config.effort` and the model's suffix ask for.

        Effort and a budget may be sent together here, and effort where thinking is off: what it means
        besides thinking has no counterpart.
        """
        wishes = modes.Wishes(budget_beside_effort=True)
        wishes.model(model)
        thinking = self.take("thinking", _THINKING)
        if thinking is not None:
            self._thinking(thinking, wishes)
        template = self._theirs.get(modes.TEMPLATE)
        if template is not None:
            wishes.template(template)
        effort = None if self._config is None else self._config.effort
        if wishes.off and effort not in {None, "none"}:
            self.dropped["output_config.effort"] = None
        else:
            wishes.effort("output_config.effort", effort)
        return wishes.mode()

    def _thinking(self, thinking: _Thinking, wishes: modes.Wishes) -> None:
        if thinking.type in {"enabled", "disabled"}:
            wishes.switch("thinking.type", thinking.type == "enabled", thinking.type)
        elif thinking.type == "between_tools":
            self.dropped["thinking.type"] = None  # what the model does unasked is the nearest
        elif thinking.type != "adaptive":  # as the model sees fit: what it does unasked
            refuse(
                "thinking.type",
                "must be 'enabled', 'disabled', 'adaptive' or 'between_tools', not"
                f" {thinking.type[:_SHOWN]!r}",
            )
        wishes.tokens("thinking.budget_tokens", thinking.budget_tokens)
        if thinking.display == "omitted":
            wishes.exclude("thinking.display", wanted=True, said=thinking.display)
        elif thinking.display not in {None, "summarized"}:
            self.dropped["thinking.display"] = None

    def output_config(self) -> None:
        """A schema for the answer; the effort is part of the mode."""
        self._config = config = self.take("output_config", _OUTPUT_CONFIG)
        if config is None:
            return
        if config.format is not None:
            if config.format.type != "json_schema":
                refuse("output_config.format", "must be of type 'json_schema' and have a 'schema'")
            schema = bytes(config.format.schema)
            if not schema:
                refuse("output_config.format.schema", "Field required", "missing_field")
            if schema[:1] != b"{":
                refuse("output_config.format.schema", "must be an object", "invalid_type")
            self.neutral["response_format"] = Raw(
                b'{"type":"json_schema","json_schema":{"name":"answer","schema":%b,"strict":true}}'
                % schema
            )

    def terms(self) -> None:
        """Who asks, and on which terms."""
        metadata = self.take("metadata", _METADATA)
        if metadata is not None and metadata.user_id is not None:
            self.neutral["user"] = Raw(_quote(metadata.user_id))
        for name, offered in (
            ("service_tier", ("auto", "standard_only")),
            ("speed", ("standard",)),
            ("inference_geo", ("global",)),
        ):
            wanted = self.take(name, _WORD)
            if wanted is not None and wanted not in offered:
                refuse(
                    name,
                    f"{wanted[:_SHOWN]!r} is not offered; remove it, or send"
                    f" {' or '.join(map(repr, offered))}",
                    "unsupported_parameter",
                )

    def rest(self) -> None:
        """What is of no effect here, and what Anthropic does not know."""
        for name, raw in self._theirs.items():
            if name in _LEFT_OUT or name in _FOREIGN:
                if given(raw):
                    self.dropped[name] = None
            elif name not in _REFUSED and name not in preferences.FIELDS:
                self.neutral[name] = raw
