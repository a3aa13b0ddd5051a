"""The sandbox's answer is the same each time, says what it is, and keeps to the cap."""

from typing import Any

import msgspec
import pytest

from backends.sandbox.answer import Answer, ChatRequest, compose
from backends.sandbox.faults import Directives, Fault, FaultName

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
        },
    },
}


def answer_to(directives: Directives | None = None, **fields: Any) -> Answer:
    request = msgspec.convert(
        {"model": "m", "messages": [{"role": "user", "content": "hello"}], **fields}, ChatRequest
    )
    return compose(
        request,
        directives or Directives(),
        Answer(prompt_tokens=2),
        title="Anybody",
        thinks=True,
        tool_id=lambda name, place: f"{name}:{place}",
    )


def test_the_answer_says_that_it_is_no_model_and_echoes_only_a_length() -> None:
    answer = answer_to()
    text = "".join(answer.content)
    assert text == (
        "This is Tidegate's sandbox of Anybody, not a model. The last user message has 5 characters."
    )
    assert answer == answer_to()
    assert answer.completion_tokens == len(answer.reasoning) + len(answer.content) == 6 + 16


@pytest.mark.parametrize("count", [0, 1, 5, 200])
def test_the_number_of_pieces_can_be_chosen(count: int) -> None:
    answer = answer_to(Directives(pieces=count, think=count))
    assert len(answer.content) == len(answer.reasoning) == count
    assert answer.finish_reason == "stop"


@pytest.mark.parametrize("cap_field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(("cap", "reasoning", "content"), [(1, 1, 0), (6, 6, 0), (9, 6, 3)])
def test_the_cap_covers_reasoning_and_content(
    cap_field: str, cap: int, reasoning: int, content: int
) -> None:
    fields: dict[str, Any] = {cap_field: cap}
    answer = answer_to(**fields)
    assert (len(answer.reasoning), len(answer.content)) == (reasoning, content)
    assert answer.finish_reason == "length"
    assert answer.completion_tokens == cap


def test_a_cap_that_is_just_enough_does_not_show() -> None:
    assert answer_to(max_tokens=22).finish_reason == "stop"


def test_the_first_tool_is_called_with_arguments_that_fit_its_schema() -> None:
    answer = answer_to(tools=[WEATHER])
    assert answer.tool is not None
    assert (answer.tool.id, answer.tool.name) == ("get_weather:0", "get_weather")
    assert msgspec.json.decode(answer.tool.arguments) == {"city": "Paris", "unit": "celsius"}
    assert answer.finish_reason == "tool_calls"
    assert answer.content == ()
    assert answer.completion_tokens == 6 + 1 + len(answer.tool.fragments)


def test_a_named_tool_is_called() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    choice = {"type": "function", "function": {"name": "other"}}
    answer = answer_to(tools=[WEATHER, other], tool_choice=choice)
    assert answer.tool is not None
    assert (answer.tool.name, answer.tool.arguments) == ("other", "{}")


def test_no_tool_is_called_when_the_caller_wants_none() -> None:
    assert answer_to(tools=[WEATHER], tool_choice="none").tool is None


def test_after_a_tools_result_comes_text_and_ids_count_on() -> None:
    call = {"id": "x", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    history = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "x", "content": "sunny"},
    ]
    assert answer_to(messages=history, tools=[WEATHER]).tool is None
    again = [*history, {"role": "user", "content": "and tomorrow?"}]
    tool = answer_to(messages=again, tools=[WEATHER]).tool
    assert tool is not None
    assert tool.id == "get_weather:1"


def test_a_cap_can_cut_a_tool_call_short() -> None:
    answer = answer_to(tools=[WEATHER], max_tokens=8)
    assert answer.tool is not None
    assert len(answer.tool.fragments) == 1
    assert answer.finish_reason == "length"
    assert answer_to(tools=[WEATHER], max_tokens=6).tool is None


def test_json_answers_satisfy_the_schema() -> None:
    schema = WEATHER["function"]["parameters"]
    wanted = {"type": "json_schema", "json_schema": {"name": "w", "schema": schema}}
    answer = answer_to(response_format=wanted)
    assert msgspec.json.decode("".join(answer.content)) == {"city": "Paris", "unit": "celsius"}
    loose = answer_to(response_format={"type": "json_object"})
    assert isinstance(msgspec.json.decode("".join(loose.content)), dict)


def test_an_empty_answer_has_no_piece() -> None:
    answer = answer_to(Directives(fault=Fault(name=FaultName.EMPTY)))
    assert answer.completion_tokens == 0
    assert answer.finish_reason == "stop"
