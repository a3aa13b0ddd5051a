"""Which endpoints a request may go to by what it says and holds, and what is told where there is none."""

from typing import Any

import pytest

from backends import Mode, profile_of
from gateway.flow.dialects import ANTHROPIC, OPENAI, OPENROUTER, Dialect
from gateway.values import Candidate, DataPolicy
from tests.builders import END, MODEL, USAGE, anthropic, candidate, chat, principal, text
from tests.fakes.flow import Rig

GOOD = ([text("Hi")], [END], [USAGE])
TEXT_MODEL = "moonshotai/kimi-k2-0905"
PNG = "data:image/png;base64,iVBORw0KGgo="
REMOTE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
HERE = {"type": "image_url", "image_url": {"url": PNG}}
WEATHER = {"type": "function", "function": {"name": "weather"}}


def shown(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, *parts]}]


def known(name: str, *, model: str = MODEL, **more: Any) -> Candidate:
    return candidate(name, model=model, profile=profile_of(model), **more)


async def served_by(rig: Rig, body: bytes) -> list[str]:
    """The providers that were asked."""
    for provider in ("a", "b", "c"):
        rig.script(provider, GOOD)
    exchange = await rig.ask(body)
    assert exchange.status == 200, exchange.sent
    return [endpoint.provider for _, endpoint, _ in rig.backend.calls]


# Modes


@pytest.mark.parametrize(
    ("suffix", "mode"), [(":thinking", Mode(thinking=True)), (":instant", Mode(thinking=False))]
)
@pytest.mark.parametrize("dialect", [OPENAI, ANTHROPIC], ids=["chat", "messages"])
async def test_a_suffix_says_how_the_base_model_shall_think(
    suffix: str, mode: Mode, dialect: Dialect
) -> None:
    rig = Rig(candidate("a"), dialect=dialect)
    body = (chat if dialect is OPENAI else anthropic)(model=MODEL + suffix)
    assert await served_by(rig, body) == ["a"]
    assert rig.backend.calls[0][0].mode == mode
    assert rig.outcome.model == MODEL
    assert rig.outcome.model_requested == MODEL + suffix


@pytest.mark.parametrize("name", [f"{MODEL}:free", f"{MODEL}:thinking:instant", "x/y:thinking"])
async def test_another_suffix_is_part_of_the_name(name: str) -> None:
    exchange = await Rig(candidate("a")).ask(chat(model=name))
    assert (exchange.status, exchange.error["code"]) == (404, "model_not_found")
    assert exchange.error["availability"] == {
        "code": "model_not_found",
        "retryable": False,
        "requested_models": [name],
    }


async def test_the_mode_goes_with_the_call() -> None:
    rig = Rig(candidate("a"))
    await served_by(rig, chat(reasoning={"effort": "high", "exclude": True}))
    assert rig.backend.calls[0][0].mode == Mode(effort="high", exclude=True)


# Media


async def test_media_go_only_where_the_model_reads_them() -> None:
    rig = Rig(known("a", model=TEXT_MODEL), known("b"))
    assert await served_by(rig, chat(messages=shown(HERE))) == ["b"]
    exchange = await rig.ask(chat(model=TEXT_MODEL, messages=shown(HERE)))
    error = exchange.error
    assert (exchange.status, error["code"]) == (404, "no_endpoint")
    assert error["metadata"]["excluded"] == [{"endpoint": "a/kimi", "reason": "modality"}]
    assert f"reads text, and not image; models here that do: {MODEL}" in error["message"]
    availability = error["availability"]
    assert availability["code"] == "constraint_filtered"
    assert availability["excluded_by"] == ["modality"]
    assert availability["constraint"]["field"] == "messages"


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}}, "audio"),
        ({"type": "file", "file": {"file_data": PNG}}, "file"),
    ],
)
async def test_kinds_that_no_model_here_reads_are_named(part: dict[str, Any], kind: str) -> None:
    exchange = await Rig(known("a")).ask(chat(messages=shown(part)))
    assert exchange.status == 404
    assert f"and not {kind}; no model here does" in exchange.error["message"]


async def test_what_a_model_reads_that_nobody_knows_is_for_its_provider_to_say() -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}}
    assert await served_by(Rig(candidate("a")), chat(messages=shown(audio))) == ["a"]


async def test_public_urls_do_not_go_to_moonshot_which_fetches_none() -> None:
    rig = Rig(known("a", kind="moonshot"), known("b", price=("2", "3")))
    assert await served_by(rig, chat(messages=shown(REMOTE))) == ["b"]
    rig = Rig(known("a", kind="moonshot"), known("b", price=("2", "3")))
    assert await served_by(rig, chat(messages=shown(HERE))) == ["a"]


@pytest.mark.parametrize("kind", ["moonshot", "moonshot_cn"])
async def test_where_only_moonshot_is_left_the_caller_is_told_to_send_the_media(kind: str) -> None:
    exchange = await Rig(known("a", kind=kind)).ask(chat(messages=shown(REMOTE)))
    assert exchange.status == 404
    assert exchange.error["availability"]["excluded_by"] == ["remote_media"]
    assert "as data: URLs" in exchange.error["message"]


async def test_images_of_anthropics_dialect_are_looked_at_too() -> None:
    source = {"type": "url", "url": "https://example.com/a.png"}
    said = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    rig = Rig(known("a", kind="moonshot"), known("b", price=("2", "3")), dialect=ANTHROPIC)
    assert await served_by(rig, anthropic(messages=said)) == ["b"]


# Parameters


async def test_with_require_parameters_only_who_takes_all_of_them_is_asked() -> None:
    endpoints = [known("a", kind="moonshot"), known("b", price=("2", "3"))]
    assert await served_by(Rig(*endpoints), chat(seed=7)) == ["a"]
    strict = {"require_parameters": True}
    assert await served_by(Rig(*endpoints), chat(seed=7, provider=strict)) == ["b"]
    assert await served_by(Rig(*endpoints), chat(provider=strict)) == ["a"]


async def test_a_mode_is_a_parameter() -> None:
    strict = {"require_parameters": True}
    endpoints = [known("a", kind="novita"), known("b", kind="moonshot", price=("2", "3"))]
    rig = Rig(*endpoints)
    assert await served_by(rig, chat(thinking=False, provider=strict)) == ["b"]
    rig = Rig(*endpoints)
    assert await served_by(rig, chat(model=f"{MODEL}:instant", provider=strict)) == ["b"]


async def test_an_answer_to_be_continued_goes_where_it_can_be() -> None:
    endpoints = [known("a"), known("b", kind="moonshot", price=("2", "3"))]
    begun = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "It is", "partial": True},
    ]
    assert await served_by(Rig(*endpoints), chat(messages=begun)) == ["a"]
    strict = {"require_parameters": True}
    assert await served_by(Rig(*endpoints), chat(messages=begun, provider=strict)) == ["b"]


async def test_which_parameter_left_which_endpoint_out_is_told() -> None:
    rig = Rig(known("a", kind="moonshot"), known("b"))
    asked = chat(made_up=1, seed=7, provider={"require_parameters": True})
    exchange = await rig.ask(asked)
    error = exchange.error
    assert (exchange.status, error["code"]) == (404, "no_endpoint")
    rows = {row["endpoint"]: sorted(row["parameters"]) for row in error["metadata"]["excluded"]}
    assert rows == {"a/kimi": ["made_up", "seed"], "b/kimi": ["made_up"]}
    assert "b/kimi does not take made_up" in error["message"]
    assert error["availability"]["excluded_by"] == ["require_parameters"]
    assert error["availability"]["constraint"]["field"] == "provider.require_parameters"


async def test_parameters_are_told_under_the_callers_names() -> None:
    rig = Rig(known("a"), dialect=ANTHROPIC)
    body = anthropic(
        thinking={"type": "enabled", "budget_tokens": 2000}, provider={"require_parameters": True}
    )
    exchange = await rig.ask(body)
    details = exchange.error["details"]
    assert details["metadata"]["excluded"][0]["parameters"] == ["thinking.budget_tokens"]
    assert details["availability"]["code"] == "constraint_filtered"


# What is told where nothing fits


@pytest.mark.parametrize(
    ("unfit", "fields", "code", "reasons"),
    [
        (candidate("a", price=None), {}, "no_endpoints", ["unpriced"]),
        (candidate("a", kind="moonshot"), {"n": 2}, "constraint_filtered", ["multiple_choices"]),
        (candidate("a", context_length=1), {}, "constraint_filtered", ["context_length"]),
    ],
)
async def test_why_nothing_is_left_is_told_in_openrouters_words(
    unfit: Candidate, fields: dict[str, Any], code: str, reasons: list[str]
) -> None:
    exchange = await Rig(unfit).ask(chat(**fields))
    told = exchange.error["availability"]
    assert (told["code"], told["excluded_by"], told["retryable"]) == (code, reasons, False)
    assert told["requested_models"] == [MODEL]


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ({"zdr": True}, "data_policy:zdr"),
        ({"data_collection": "deny"}, "data_policy:training"),
    ],
)
async def test_a_request_can_demand_privacy(field: dict[str, Any], reason: str) -> None:
    exchange = await Rig(candidate("a")).ask(chat(provider=field))
    assert (exchange.status, exchange.error["code"]) == (404, "privacy_restricted")
    told = exchange.error["availability"]
    assert (told["code"], told["excluded_by"]) == ("privacy_restricted", [reason])


async def test_of_a_private_request_and_one_that_fits_nothing_both_reasons_are_told() -> None:
    safe = DataPolicy(trains=False, retains=False, source="a", date="2026-10-01")
    rig = Rig(
        candidate("a"),
        candidate("b", context_length=1, policy=safe),
        principal=principal(zdr=True),
    )
    exchange = await rig.ask(chat())
    assert exchange.error["code"] == "no_endpoint"
    told = exchange.error["availability"]
    assert told["excluded_by"] == ["context_length", "data_policy:zdr"]
    assert told["code"] == "constraint_filtered"
    assert "constraint" not in told


# What was left out is told in the answer


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", [OPENAI, OPENROUTER], ids=["v1", "api/v1"])
async def test_what_was_left_out_is_told_in_the_answer(stream: bool, dialect: Dialect) -> None:  # noqa: FBT001 - a column
    rig = Rig(candidate("a"), dialect=dialect)
    rig.backend.dropped = ("seed", "reasoning_effort")
    rig.script("a", GOOD)
    body = chat(
        stream=stream, reasoning={"summary": "auto"}, stream_options={"include_usage": True}
    )
    exchange = await rig.ask(body)
    told = {"dropped": ["reasoning.summary", "seed", "reasoning_effort"]}
    if not stream:
        assert exchange.json["tidegate"] == told
    else:
        (last,) = [event for event in exchange.events if "tidegate" in event]
        assert last["choices"][0]["finish_reason"] == "stop"
        assert last["tidegate"] == told
    assert exchange.headers["x-tidegate-dropped"] == ", ".join(told["dropped"])


@pytest.mark.parametrize("stream", [False, True])
async def test_where_nothing_was_left_out_nothing_is_told(stream: bool) -> None:  # noqa: FBT001 - a column
    rig = Rig(candidate("a"))
    rig.script("a", GOOD)
    exchange = await rig.ask(chat(stream=stream))
    assert b"tidegate" not in exchange.sent


@pytest.mark.parametrize("stream", [False, True])
async def test_messages_tell_it_under_anthropics_names(stream: bool) -> None:  # noqa: FBT001 - a column
    rig = Rig(candidate("a"), dialect=ANTHROPIC)
    rig.backend.dropped = ("reasoning.max_tokens", "thinking")
    rig.script("a", GOOD)
    exchange = await rig.ask(anthropic(stream=stream, cache_control={"type": "ephemeral"}))
    told = b'"tidegate":{"dropped":["cache_control","thinking.budget_tokens","thinking"]}'
    assert exchange.sent.count(told) == 1
    if stream:
        lines = exchange.sent.split(b"\n")
        (line,) = [line for line in lines if told in line]
        assert line.startswith(b'data: {"type":"message_delta"')
    else:
        assert exchange.json["type"] == "message"
