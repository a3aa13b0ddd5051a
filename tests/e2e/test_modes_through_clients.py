"""Modes, preferences and what is told of them, through the clients that people use."""

import json
from typing import Any

import anthropic
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.stage import K26, LINEAR, Stage, chat

K3 = "moonshotai/kimi-k3"
HELLO: Any = [{"role": "user", "content": "Hello!"}]


def sent(stage: Stage) -> dict[str, Any]:
    """What Moonshot was sent last."""
    body = stage.moonshot.requests[-1].body
    assert isinstance(body, dict)
    return body


@pytest.mark.parametrize(
    ("effort", "arrives"),
    [("low", "low"), ("medium", "high"), ("high", "high"), ("minimal", "low")],
)
def test_the_sdks_effort_arrives_in_the_models_own_words(
    stage: Stage, effort: Any, arrives: str
) -> None:
    answer = stage.client().chat.completions.create(
        model=K3, messages=HELLO, reasoning_effort=effort
    )
    assert answer.choices[0].message.content
    assert sent(stage)["reasoning_effort"] == arrives


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_effort": "none"},
        {"thinking": False},
        {"thinking": {"type": "disabled"}},
        {"reasoning": {"enabled": False}},
        {"reasoning": {"effort": "none"}},
        {"enable_thinking": False},
        {"chat_template_kwargs": {"thinking": False}},
        {"model": f"{K3}:instant"},
        {"model": "kimi-k3:instant"},
    ],
)
def test_every_way_to_switch_thinking_off_arrives_in_moonshots_words(
    stage: Stage, fields: dict[str, Any]
) -> None:
    answer = stage.ask(chat(**{"model": K3, **fields}))
    assert answer.status == 200, answer.body
    arrived = sent(stage)
    assert arrived["thinking"] == {"type": "disabled"}
    spellings = {"reasoning", "reasoning_effort", "enable_thinking", "chat_template_kwargs"}
    assert not arrived.keys() & spellings
    message = answer.document["choices"][0]["message"]
    assert not message.get("reasoning")
    assert answer.document["model"] == K3
    assert "tidegate" not in answer.document


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_provider_cannot_do_is_told_in_the_answer(stage: Stage, stream: bool) -> None:  # noqa: FBT001 - a parameter
    client = stage.client()
    only = {"provider": {"only": ["novita"]}}
    asked: Any = {"model": f"{K26}:instant", "messages": HELLO, "extra_body": only}
    if stream:
        chunks = list(client.chat.completions.create(**asked, stream=True))
        (told,) = [
            (chunk.model_extra or {})["tidegate"]
            for chunk in chunks
            if "tidegate" in (chunk.model_extra or {})
        ]
        assert chunks[-1].choices[0].finish_reason == "stop"
    else:
        told = (client.chat.completions.create(**asked).model_extra or {})["tidegate"]
    assert told == {"dropped": ["thinking"]}  # Novita documents no switch for this model


def test_a_dearer_provider_that_can_do_as_asked_comes_before_one_that_cannot(stage: Stage) -> None:
    client = stage.client()
    plain = client.chat.completions.create(model=K26, messages=HELLO)
    instant = client.chat.completions.create(model=f"{K26}:instant", messages=HELLO)
    assert [(one.model_extra or {})["provider"] for one in (plain, instant)] == [
        "novita",
        "moonshot",
    ]
    assert "tidegate" not in (instant.model_extra or {})


@pytest.mark.parametrize("path", ["/v1", "/api/v1"])
@pytest.mark.parametrize("stream", [False, True])
def test_excluded_reasoning_is_paid_for_and_not_sent(stage: Stage, path: str, stream: bool) -> None:  # noqa: FBT001 - a parameter
    client = stage.client(base_url=stage.base_url.replace("/v1", path))
    extra = {"reasoning": {"exclude": True}}
    asked: Any = {"model": K26, "messages": HELLO, "extra_body": extra}
    if stream:
        options: Any = {"stream": True, "stream_options": {"include_usage": True}}
        chunks = list(client.chat.completions.create(**asked, **options))
        raw = "".join(chunk.model_dump_json() for chunk in chunks if chunk.choices)
        usage = chunks[-1].usage
    else:
        answer = client.chat.completions.create(**asked)
        raw = answer.choices[0].message.model_dump_json()
        usage = answer.usage
    assert "reasoning" not in raw
    assert "sandbox" in raw
    plain = client.chat.completions.create(model=K26, messages=HELLO)
    assert plain.usage is not None
    assert usage is not None
    assert usage.completion_tokens == plain.usage.completion_tokens


def test_openrouters_base_has_reasoning_in_details(stage: Stage) -> None:
    client = stage.client(base_url=stage.base_url.replace("/v1", "/api/v1"))
    message = client.chat.completions.create(model=K26, messages=HELLO).choices[0].message
    extra = message.model_extra or {}
    (detail,) = extra["reasoning_details"]
    assert detail["text"] == extra["reasoning"]
    assert detail["type"] == "reasoning.text"
    plain = stage.client().chat.completions.create(model=K26, messages=HELLO).choices[0].message
    assert "reasoning_details" not in (plain.model_extra or {})


def test_a_contradiction_is_an_error_that_the_sdk_raises(stage: Stage) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        stage.client().chat.completions.create(
            model=f"{K26}:instant", messages=HELLO, reasoning_effort="high"
        )
    assert (caught.value.code, caught.value.param) == ("conflicting_parameters", "reasoning_effort")


def test_anthropics_client_switches_thinking_off_and_reads_on(stage: Stage) -> None:
    address = stage.base_url.removesuffix("/v1")
    with anthropic.Anthropic(base_url=address, auth_token=stage.key, api_key=None) as client:
        asked: Any = {"max_tokens": 100, "messages": HELLO}
        off = client.messages.create(model=K3, thinking={"type": "disabled"}, **asked)
        assert [block.type for block in off.content] == ["text"]
        assert sent(stage)["thinking"] == {"type": "disabled"}
        effort: Any = {"effort": "medium"}
        client.messages.create(model=K3, output_config=effort, **asked)
        assert sent(stage)["reasoning_effort"] == "high"
        budget: Any = {"type": "enabled", "budget_tokens": 2000}
        told = client.messages.create(model=K26, thinking=budget, **asked)
        assert told.to_dict()["tidegate"] == {"dropped": ["thinking.budget_tokens"]}
        with client.messages.stream(model=K26, thinking=budget, **asked) as stream:
            assert stream.get_final_text()
        hidden: Any = {"type": "adaptive", "display": "omitted"}
        with client.messages.stream(model=K26, thinking=hidden, **asked) as stream:
            final = stream.get_final_message()
        assert [block.type for block in final.content] == ["text"]


WORDS = st.sampled_from(["none", "minimal", "low", "medium", "high", "max", "huge", None, 3])
FLAGS = st.sampled_from([True, False, None, "yes"])
TOKENS = st.sampled_from([None, 0, 1, 2000, "9"])
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from([K26, f"{K26}:instant", f"{K3}:thinking", K3, LINEAR, f"{LINEAR}:x"]),
    "stream": st.booleans(),
    "thinking": FLAGS
    | st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["enabled", "disabled", "adaptive", "x"]),
            "budget_tokens": TOKENS,
            "effort": WORDS,
            "keep": st.sampled_from(["all", None, 1]),
        },
    ),
    "reasoning": FLAGS
    | st.fixed_dictionaries(
        {},
        optional={
            "effort": WORDS,
            "max_tokens": TOKENS,
            "enabled": FLAGS,
            "exclude": FLAGS,
            "summary": WORDS,
        },
    ),
    "reasoning_effort": WORDS,
    "include_reasoning": FLAGS,
    "enable_thinking": FLAGS,
    "chat_template_kwargs": st.fixed_dictionaries(
        {}, optional={"thinking": FLAGS, "enable_thinking": FLAGS, "other": FLAGS}
    ),
    "provider": st.fixed_dictionaries(
        {},
        optional={
            "require_parameters": FLAGS,
            "zdr": FLAGS,
            "data_collection": st.sampled_from(["allow", "deny", "x", None]),
            "order": st.just(["novita"]),
        },
    ),
    "providerOptions": st.just({"gateway": {"zeroDataRetention": True}}),
    "messages": st.sampled_from(
        [
            HELLO,
            [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": "https://a.example"}],
                }
            ],
            [{"role": "user", "content": [{"type": "file", "file": {"file_id": "a"}}]}],
            [{"role": "user", "content": [{"type": "image_url", "image_url": 5}, 1]}],
        ]
    ),
}


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(fields=st.fixed_dictionaries({}, optional=FIELDS), messages=st.booleans())
def test_no_combination_of_these_fields_is_a_fault_of_the_gateway(
    stage: Stage,
    fields: dict[str, Any],
    messages: bool,  # noqa: FBT001 - hypothesis gives it by name
) -> None:
    body = chat(**{"model": K26, **fields})
    if messages:
        body |= {"max_tokens": 100}
    answer = stage.ask(body, path="/v1/messages" if messages else "/v1/chat/completions")
    assert answer.status in {200, 400, 404}, (body, answer.body)
    if answer.status != 200:
        error = json.loads(answer.body)["error"]
        assert error["message"]
    else:
        assert b"internal_error" not in answer.body
