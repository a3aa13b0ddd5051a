"""What a preset adds to a request, and what it leaves alone."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.errors import InvalidRequest
from gateway.policies.levels import Level, compile_levels, parse
from gateway.values import Preset
from gateway.wire import openai_chat
from gateway.wire.presets import applied, split
from gateway.wire.request import ChatRequest
from tests.builders import chat


def preset(**settings: Any) -> Preset:
    level = Level("team", "t", parse({"presets": {"p": settings}}))
    (found,) = compile_levels([level]).access.presets
    return found


def request(**fields: Any) -> ChatRequest:
    return openai_chat.parse(chat(**fields), usage_always=False)


def function(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a/b", ("a/b", None)),
        ("@preset/x", ("", "x")),
        ("a/b@preset/x", ("a/b", "x")),
        ("a/b:thinking@preset/x", ("a/b:thinking", "x")),
    ],
)
def test_a_models_name_may_have_a_preset(name: str, parts: tuple[str, str | None]) -> None:
    assert split(name) == parts


def test_caps_are_one_thing() -> None:
    given = preset(parameters={"max_completion_tokens": 7})
    assert applied(request(), given).max_tokens == 7
    kept = applied(request(max_tokens=3), given)
    assert kept.max_tokens == 3
    assert "max_completion_tokens" not in kept.fields


def test_how_much_to_think_is_one_thing() -> None:
    given = preset(parameters={"reasoning": {"effort": "high"}})
    assert applied(request(), given).mode.effort == "high"
    kept = applied(request(reasoning_effort="low"), given)
    assert (kept.mode.effort, "reasoning" in kept.fields) == ("low", False)


def test_a_suffix_before_a_preset_is_read() -> None:
    asked = request(model="m")
    thinking = applied(replace(asked, model="m:instant"), preset(parameters={"seed": 1}))
    assert thinking.mode.thinking is False


def test_tools_of_both_are_offered_and_the_requests_own_win() -> None:
    given = preset(parameters={"tools": [function("a", description="old"), function("b")]})
    asked = request(tools=[function("a", description="new"), function("c")])
    tools = json.loads(bytes(applied(asked, given).fields["tools"]))
    assert tools == [function("a", description="new"), function("c"), function("b")]
    assert json.loads(bytes(applied(request(), given).fields["tools"]))[1] == function("b")


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_system_message_is_not_doubled(role: str) -> None:
    messages = [{"role": role, "content": "Mine."}, {"role": "user", "content": "Hi"}]
    same = applied(request(messages=messages), preset(system="Theirs."))
    assert json.loads(bytes(same.fields["messages"])) == messages


def test_what_is_added_counts_as_prompt() -> None:
    asked = request()
    longer = applied(asked, preset(system="x" * 1000))
    assert longer.prompt_bytes >= asked.prompt_bytes + 1000
    tools = [function("a", description="y" * 500)]
    assert applied(asked, preset(parameters={"tools": tools})).prompt_bytes >= (
        asked.prompt_bytes + 1000  # tools count twice
    )
    both = applied(request(tools=[function("b")]), preset(parameters={"tools": tools}))
    assert both.prompt_bytes >= request(tools=[function("b")]).prompt_bytes + 1000


def test_messages_that_cannot_be_read_are_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        applied(request(messages=["Hi"]), preset(system="x"))
    assert caught.value.param == "messages"
