"""A conversation with tools goes on, whoever answers its turns: at any kind of endpoint, across any two.

The stand-ins are strict as their originals: those of open weights write raw tool text where ids of earlier
calls are not Kimi's own, Moonshot's refuses a thinking model's tool calls without their reasoning.
"""

import json
from typing import Any

import anthropic
import openai
import pytest
from anthropic.types import Message, TextBlock, ThinkingBlock, ToolUseBlock

from backends import profile_of
from backends.sandbox import Fault, FaultName
from tests.fakes.kinds import MODELS, ONE, ONE_WITH_A_MODEL, TWO, KindsStage
from tests.fakes.openai_events import Completion, of_chunks, of_document

REASONING = "These words stand for reasoning."
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
QUESTION = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "Weather?"},
]
# What clients send back of an assistant's message.
HABITS = {
    "all of it": {"reasoning", "reasoning_content", "reasoning_details"},
    "reasoning": {"reasoning"},
    "reasoning_content": {"reasoning_content"},
    "details": {"reasoning_details"},
    "no reasoning": set(),
}
AGGREGATORS = {"openrouter", "vercel"}
BOTH_WAYS = pytest.mark.parametrize("stream", [False, True])


class Caller:
    """OpenAI's SDK, and what of its answers is sent back.

    Args:
        client: the SDK.
        stream: whether it asks for streams.
        habit: which of `HABITS` it has.
        own_ids: whether it gives calls ids of its own, as some agents do.
    """

    def __init__(
        self,
        client: openai.OpenAI,
        *,
        stream: bool,
        habit: str = "all of it",
        own_ids: bool = False,
    ) -> None:
        self._client = client
        self._stream = stream
        self._own_ids = own_ids
        self._kept = HABITS[habit]
        self.messages: list[dict[str, Any]] = list(QUESTION)

    def turn(self, model: str) -> Completion:
        """Ask, and append the answer."""
        asked: dict[str, Any] = {"model": model, "messages": self.messages, "tools": [TOOL]}
        completions = self._client.chat.completions
        if self._stream:
            chunks = completions.create(**asked, stream=True)
            turn = of_chunks(chunk.model_dump(exclude_none=True) for chunk in chunks)
        else:
            turn = of_document(completions.create(**asked).model_dump(exclude_none=True))
        if self._own_ids:
            for call in turn.calls:
                call["id"] = f"call_{len(self.messages)}"
        reasoning = HABITS["all of it"] - self._kept
        kept = {name: value for name, value in turn.message.items() if name not in reasoning}
        self.messages.append(kept)
        return turn

    def results(self, turn: Completion) -> None:
        """Append what the tools said."""
        self.messages += [
            {"role": "tool", "tool_call_id": call["id"], "content": "Sunny"} for call in turn.calls
        ]

    def say(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})


def called(turn: Completion, by: str) -> None:
    """The turn calls the tool, once, and says what it thought."""
    assert (turn.finish, turn.provider) == ("tool_calls", by)
    (call,) = turn.calls
    assert (call["type"], call["function"]["name"]) == ("function", "get_weather")
    assert json.loads(call["function"]["arguments"]).keys() == {"city"}
    assert turn.message["reasoning"] == turn.message["reasoning_content"] == REASONING
    assert not turn.message.get("content")


def answered(turn: Completion, by: str) -> None:
    """The turn is text, which is what a host says that has read the tool's result."""
    assert (turn.finish, turn.provider) == ("stop", by)
    assert turn.message["content"].startswith("This is Tidegate's sandbox of")
    assert "<|" not in turn.message["content"]
    assert not turn.calls


def arrived(
    kinds: KindsStage,
    kind: str,
    model: str,
    *,
    reasoning: str = REASONING,
    first: str = "developer",
) -> None:
    """The history that this kind's stand-in was sent last is as that kind reads it."""
    messages = kinds.told(kind)["messages"]
    knows_developer = kind in {"openai_compat", "openrouter"}
    assert messages[0]["role"] == (first if knows_developer else "system")
    names = {"vllm": {"reasoning", "reasoning_content"}} | {
        kind: {"reasoning"} for kind in AGGREGATORS
    }
    calls = []
    for message in messages:
        assert message["role"] in {"developer", "system", "user", "assistant", "tool"}
        if not message.get("tool_calls"):
            continue
        calls += [call["id"] for call in message["tool_calls"]]
        sent = message.keys() & {"reasoning", "reasoning_content"}
        if "reasoning_details" not in message:
            assert sent == names.get(kind, {"reasoning_content"})
        assert {message[name] for name in sent} <= {reasoning}
        assert kind in AGGREGATORS or "reasoning_details" not in message
    results = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    assert results == calls[: len(results)]
    assert len(set(calls)) == len(calls)
    if not kind.startswith("moonshot") and profile_of(MODELS[model]).native_tool_ids:
        assert calls == [f"functions.get_weather:{place}" for place in range(len(calls))]


@ONE_WITH_A_MODEL
@BOTH_WAYS
def test_a_thinking_tool_loop_at_each_kind(
    kinds: KindsStage,
    kind: str,
    model: str,
    stream: bool,  # noqa: FBT001 - a parameter
) -> None:
    caller = Caller(kinds.openai_sdk, stream=stream)
    name = f"only-{kind}/{model}"
    first = caller.turn(name)
    called(first, kind)
    caller.results(first)
    answered(caller.turn(name), kind)
    arrived(kinds, kind, model)
    caller.say("And now?")
    again = caller.turn(name)
    called(again, kind)
    assert again.calls[0]["id"] != first.calls[0]["id"]
    caller.results(again)
    answered(caller.turn(name), kind)
    arrived(kinds, kind, model)


@TWO
@BOTH_WAYS
def test_another_kind_takes_a_tool_loop_over_and_gives_it_back(
    kinds: KindsStage,
    first: str,
    second: str,
    stream: bool,  # noqa: FBT001 - a parameter
) -> None:
    for model in ("k2.6", "k2-thinking", "k3"):
        caller = Caller(kinds.openai_sdk, stream=stream, own_ids=stream)
        name = f"{first}-{second}/{model}"
        turn = caller.turn(name)
        called(turn, first)
        caller.results(turn)
        kinds.servers[first].faults.add(Fault(name=FaultName.ERROR500, count=1))
        answered(caller.turn(name), second)
        arrived(kinds, second, model)
        caller.say("And now?")
        again = caller.turn(name)
        called(again, first)
        assert again.calls[0]["id"] != turn.calls[0]["id"]
        arrived(kinds, first, model)
        caller.results(again)
        answered(caller.turn(name), first)
        arrived(kinds, first, model)


@ONE
@pytest.mark.parametrize("habit", HABITS)
def test_whatever_a_client_sends_back_of_the_reasoning(
    kinds: KindsStage, kind: str, habit: str
) -> None:
    """Through the base that has reasoning in all its forms."""
    for model, stream in (("k2.6", False), ("k2.6", True), ("k2-thinking", True)):
        caller = Caller(kinds.openrouter_sdk, stream=stream, habit=habit)
        name = f"only-{kind}/{model}"
        turn = caller.turn(name)
        called(turn, kind)
        (detail,) = turn.message["reasoning_details"]
        assert detail["text"] == REASONING
        caller.results(turn)
        answered(caller.turn(name), kind)
        arrived(kinds, kind, model, reasoning=" " if habit == "no reasoning" else REASONING)
        message = kinds.told(kind)["messages"][2]
        details = kind in AGGREGATORS and habit in {"all of it", "details"}
        assert ("reasoning_details" in message) is details


@ONE
@pytest.mark.parametrize(
    "theirs",
    [
        ("get_weather_0", "get_weather_1"),
        ("functions.get_weather:0", "functions.get_weather:1"),
        ("functions.get_weather:7", "functions.get_weather:0"),
        ("call_b", "call_a"),
        ("call_a", "call_a"),
    ],
)
def test_results_of_parallel_calls_stay_with_their_calls(
    kinds: KindsStage, kind: str, theirs: tuple[str, str]
) -> None:
    """However their ids were made, and in whatever order the results come."""
    calls = [
        {
            "id": identity,
            "type": "function",
            "function": {"name": "get_weather", "arguments": f'{{"city":"{city}"}}'},
        }
        for identity, city in zip(theirs, ("Oslo", "Rome"), strict=True)
    ]
    results = [
        {"role": "tool", "tool_call_id": identity, "content": city}
        for identity, city in zip(theirs, ("Oslo", "Rome"), strict=True)
    ]
    if len(set(theirs)) > 1:
        results.reverse()
    caller = Caller(kinds.openai_sdk, stream=True)
    caller.messages += [{"role": "assistant", "content": "", "tool_calls": calls}, *results]
    answered(caller.turn(f"only-{kind}/k2.6"), kind)
    _, _, assistant, *arrived = kinds.told(kind)["messages"]
    cities = {
        call["id"]: json.loads(call["function"]["arguments"])["city"]
        for call in assistant["tool_calls"]
    }
    if kind.startswith("moonshot"):  # writes ids anew itself
        assert [call["id"] for call in assistant["tool_calls"]] == list(theirs)
        return
    assert list(cities) == ["functions.get_weather:0", "functions.get_weather:1"]
    assert [cities[result["tool_call_id"]] for result in arrived] == [
        result["content"] for result in results
    ]


class AnthropicCaller:
    """Anthropic's SDK, which sends back the blocks of an answer as they came."""

    def __init__(self, client: anthropic.Anthropic, *, stream: bool) -> None:
        self._client = client
        self._stream = stream
        self.messages: list[Any] = [{"role": "user", "content": "Weather?"}]

    def turn(self, model: str) -> Message:
        """Ask, and append the answer."""
        tool: Any = {"name": "get_weather", "input_schema": TOOL["function"]["parameters"]}
        asked: Any = {"model": model, "max_tokens": 1000, "system": "Be brief.", "tools": [tool]}
        asked |= {"messages": self.messages}
        if self._stream:
            with self._client.messages.stream(**asked) as events:
                answer: Message = events.get_final_message()
        else:
            answer = self._client.messages.create(**asked)
        self.messages.append({"role": "assistant", "content": answer.content})
        return answer

    def result(self, answer: Message) -> None:
        """Append what the tool said."""
        uses = [block for block in answer.content if block.type == "tool_use"]
        results = [
            {"type": "tool_result", "tool_use_id": use.id, "content": "Sunny"} for use in uses
        ]
        self.messages.append({"role": "user", "content": results})


def used(answer: Message, by: str) -> str:
    """The answer is thinking and one call of the tool; gives the call's id."""
    thought, use = answer.content
    assert isinstance(thought, ThinkingBlock)
    assert isinstance(use, ToolUseBlock)
    assert (thought.thinking, use.name, set(use.input)) == (REASONING, "get_weather", {"city"})
    assert (answer.stop_reason, (answer.model_extra or {})["provider"]) == ("tool_use", by)
    return use.id


def said(answer: Message, by: str) -> None:
    """The answer is thinking and text."""
    _, text = answer.content
    assert isinstance(text, TextBlock)
    assert text.text.startswith("This is Tidegate's sandbox of")
    assert "<|" not in text.text
    assert (answer.stop_reason, (answer.model_extra or {})["provider"]) == ("end_turn", by)


@TWO
def test_the_same_loop_in_anthropics_dialect(kinds: KindsStage, first: str, second: str) -> None:
    for model, stream in (("k2.6", False), ("k2.6", True), ("k3", True)):
        caller = AnthropicCaller(kinds.anthropic_sdk, stream=stream)
        name = f"{first}-{second}/{model}"
        turn = caller.turn(name)
        one = used(turn, first)
        caller.result(turn)
        kinds.servers[first].faults.add(Fault(name=FaultName.ERROR500, count=1))
        said(caller.turn(name), second)
        arrived(kinds, second, model, first="system")
        caller.messages.append({"role": "user", "content": "And now?"})
        turn = caller.turn(name)
        assert used(turn, first) != one
        arrived(kinds, first, model, first="system")
        caller.result(turn)
        said(caller.turn(name), first)
        arrived(kinds, first, model, first="system")
