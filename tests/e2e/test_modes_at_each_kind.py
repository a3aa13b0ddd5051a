"""How much a model thinks, and what images it is shown: as asked, at each kind, or the caller is told."""

from typing import Any

import pytest

import backends
from tests.fakes.kinds import KINDS, MODELS, ONE, TEXT_ONLY, KindsStage, each
from tests.fakes.openai_events import Completion, of_chunks, of_document
from tests.fakes.stage import chat

MOONSHOTS = {"moonshot", "moonshot_cn"}
OFF, ON, EFFORT, HIDDEN, UNASKED = "off", "on", "effort", "hidden", "unasked"
# Every way to say it; the first in the model's name.
SPELLINGS: dict[str, tuple[dict[str, Any], ...]] = {
    OFF: (
        {"suffix": ":instant"},
        {"thinking": {"type": "disabled"}},
        {"thinking": False},
        {"reasoning_effort": "none"},
        {"reasoning": {"enabled": False}},
        {"reasoning": {"effort": "none"}},
        {"enable_thinking": False},
        {"chat_template_kwargs": {"thinking": False}},
    ),
    ON: (
        {"suffix": ":thinking"},
        {"thinking": {"type": "enabled"}},
        {"reasoning": {"enabled": True}},
        {"chat_template_kwargs": {"thinking": True}},
    ),
    EFFORT: (
        {"reasoning_effort": "high"},
        {"reasoning": {"effort": "high"}},
        {"thinking": {"type": "enabled", "effort": "high"}, "suffix": ":thinking"},
    ),
    HIDDEN: ({"reasoning": {"exclude": True}}, {"include_reasoning": False}),
    UNASKED: ({},),
}
# Whose model stops thinking when it is told to; others think on, and the caller is told of `thinking`.
STOPS = {
    "k2.6": {*MOONSHOTS, "openrouter", "vercel", "openai_compat", "vllm"},
    "k2-thinking": set(),
    "k2.7-code": set(),
    "k3": MOONSHOTS,
}
# Who is told an effort; of others the caller is told of `reasoning_effort`.
WEIGHS = {
    "k2.6": {"openrouter", "vercel"},
    "k2-thinking": {"openrouter", "vercel"},
    "k2.7-code": {"openrouter", "vercel"},
    "k3": {*MOONSHOTS, "openrouter", "vercel", "vllm"},
}
TABLE = {
    (kind, model, wish): (
        wish != HIDDEN and not (wish == OFF and kind in STOPS[model]),
        ["thinking"]
        if wish == OFF and kind not in STOPS[model]
        else ["reasoning_effort"]
        if wish == EFFORT and kind not in WEIGHS[model]
        else [],
    )
    for kind in KINDS
    for model in MODELS
    for wish in SPELLINGS
} | {  # one that never thinks has nothing to stop, and nothing to start
    (kind, TEXT_ONLY, wish): (
        False,
        {ON: ["thinking"], EFFORT: ["reasoning_effort"]}.get(wish, []),
    )
    for kind in ("novita", "openrouter", "vercel", "openai_compat", "litellm")
    for wish in SPELLINGS
}
CELLS = pytest.mark.parametrize(("kind", "model", "wish"), each(*TABLE))
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+A8AAQUB"
    "AScY42YAAAAASUVORK5CYII="
)


def test_every_kind_is_among_them() -> None:
    assert set(KINDS) == set(backends.KINDS)


def ask(kinds: KindsStage, name: str, fields: dict[str, Any], *, stream: bool) -> Completion:
    given = dict(fields)
    body = chat(model=name + given.pop("suffix", ""), stream=stream, **given)
    answer = kinds.ask(body, path="/api/v1/chat/completions")
    assert answer.status == 200, (body, answer.body)
    return of_chunks(answer.events[:-1]) if stream else of_document(answer.document)


@CELLS
def test_a_model_thinks_as_asked_or_the_caller_is_told(
    kinds: KindsStage, kind: str, model: str, wish: str
) -> None:
    shown, dropped = TABLE[kind, model, wish]
    for number, fields in enumerate(SPELLINGS[wish]):
        told = ask(kinds, f"only-{kind}/{model}", fields, stream=number % 2 == 0)
        assert told.message["content"]
        assert ("reasoning" in told.message) is shown, fields
        left_out = (told.notes or {}).get("dropped", [])
        if "suffix" in fields and wish == EFFORT and model == TEXT_ONLY:
            assert left_out == ["thinking", "reasoning_effort"]
        else:
            assert left_out == dropped, fields
    received = kinds.servers[kind].received.count
    asked = chat(model=f"only-{kind}/{model}", provider={"require_parameters": True})
    answer = kinds.ask(asked | {k: v for k, v in SPELLINGS[wish][-1].items() if k != "suffix"})
    if dropped:
        assert answer.status == 404, answer.body
        assert dropped[0] in answer.document["error"]["message"]
        assert kinds.servers[kind].received.count == received
    else:
        assert answer.status == 200, answer.body


def picture(url: str) -> list[dict[str, Any]]:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    return [{"role": "user", "content": parts}]


@ONE
def test_an_image_by_value_arrives_unchanged(kinds: KindsStage, kind: str) -> None:
    name = f"only-{kind}/k2.6"
    messages = picture(PIXEL)
    kinds.openai_sdk.chat.completions.create(model=name, messages=messages)  # type: ignore[arg-type] # an image is one
    assert kinds.told(kind)["messages"] == messages
    _, data = PIXEL.split(",")
    source: Any = {"type": "base64", "media_type": "image/png", "data": data}
    content: Any = [{"type": "image", "source": source}, {"type": "text", "text": "What?"}]
    kinds.anthropic_sdk.messages.create(
        model=name, max_tokens=100, messages=[{"role": "user", "content": content}]
    )
    (message,) = kinds.told(kind)["messages"]
    assert message["content"][0] == {"type": "image_url", "image_url": {"url": PIXEL}}


@ONE
def test_an_image_by_address_is_the_providers_to_fetch_or_is_refused(
    kinds: KindsStage, kind: str
) -> None:
    """Nobody here asks for it: the address is one that would note it."""
    watching = kinds.servers["novita"]
    address = f"{watching.origin}/cat-of-{kind}.png"
    received = kinds.servers[kind].received.count
    answer = kinds.ask(chat(model=f"only-{kind}/k2.6") | {"messages": picture(address)})
    if kind in {*MOONSHOTS, "vercel", "litellm"}:
        assert answer.status in {400, 404}, answer.body
        assert "data:" in answer.document["error"]["message"]
        assert kinds.servers[kind].received.count == received
    else:
        assert answer.status == 200
        assert kinds.told(kind)["messages"] == picture(address)
    assert not any("cat-of" in path for path in watching.record.other_paths)


@pytest.mark.parametrize(("first", "second"), each(("moonshot", "novita"), ("moonshot_cn", "vllm")))
def test_an_image_by_address_goes_past_those_who_do_not_fetch(
    kinds: KindsStage, first: str, second: str
) -> None:
    messages = picture("https://images.example/cat.png")
    answer = kinds.ask(chat(model=f"{first}-{second}/k2.6") | {"messages": messages})
    assert (answer.status, answer.document["provider"]) == (200, second)


@pytest.mark.parametrize(
    ("kind", "model"),
    each(("moonshot", "k2-thinking"), ("novita", TEXT_ONLY), ("vllm", "k2-thinking")),
)
def test_a_model_that_reads_only_text_is_not_sent_an_image(
    kinds: KindsStage, kind: str, model: str
) -> None:
    received = kinds.servers[kind].received.count
    answer = kinds.ask(chat(model=f"only-{kind}/{model}") | {"messages": picture(PIXEL)})
    assert answer.status in {400, 404}, answer.body
    assert "image" in answer.document["error"]["message"]
    assert kinds.servers[kind].received.count == received
