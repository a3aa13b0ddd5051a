"""What is written of a mode, and of fields that depend on it, every kind's server takes and obeys."""

import asyncio
from itertools import product
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from backends import UNASKED, Call, Endpoint, HttpClient, Mode, Secret, open_backends, profile_of
from backends.sandbox import SandboxServer
from backends.sandbox.server import Provider
from tests.contract.adapters.upstream import TOOL, Ended, read

OFF, ON = Mode(thinking=False), Mode(thinking=True)
MODELS: dict[
    Provider, tuple[tuple[str, str], ...]
] = {  # kind, to the canonical model and the endpoint's name of it
    "moonshot": (
        ("moonshotai/kimi-k3", "kimi-k3"),
        ("moonshotai/kimi-k2.6", "kimi-k2.6"),
        ("moonshotai/kimi-k2.7-code", "kimi-k2.7-code"),
    ),
    "openrouter": (
        ("moonshotai/kimi-k3", "moonshotai/kimi-k3"),
        ("moonshotai/kimi-k2.6", "moonshotai/kimi-k2.6"),
        ("moonshotai/kimi-k2.7-code", "moonshotai/kimi-k2.7-code"),
        ("moonshotai/kimi-k2-0905", "moonshotai/kimi-k2-0905"),
    ),
    "vllm": (("moonshotai/kimi-k2.6", "tiny-kimi"), ("moonshotai/kimi-k2-thinking", "tiny-kimi")),
}
ROWS = [(kind, *model) for kind, models in MODELS.items() for model in models]


async def ask(
    kind: Provider, model: str, name: str, mode: Mode, *, few: str | None, **fields: Any
) -> Ended:
    """Ask a sandbox of this kind, and read the answer to its end."""
    client = HttpClient(clock=asyncio.get_running_loop().time, ca_file=few)
    async with SandboxServer(kind, keys={"sk-good"}) as server:
        endpoint = Endpoint(
            id="e",
            provider=kind,
            kind=kind,
            base_url=server.base_url,
            local=True,
            model=name,
            api_key=Secret("sk-good"),
            profile=profile_of(model),
        )
        theirs = {"messages": [{"role": "user", "content": "Hi"}]} | fields
        call = Call(
            fields={key: Raw(msgspec.json.encode(value)) for key, value in theirs.items()},
            stream=True,
            output_cap=1000,
            request_id="gen-1",
            mode=mode,
        )
        try:
            return await read(await open_backends(client)[kind].open(call, endpoint, timeout=10))
        finally:
            await client.aclose()


@pytest.mark.parametrize(("kind", "model", "name"), ROWS)
@pytest.mark.parametrize("mode", [UNASKED, ON, OFF, Mode(effort="medium"), Mode(max_tokens=100)])
async def test_a_model_thinks_as_it_was_told_unless_that_was_dropped(
    kind: Provider, model: str, name: str, mode: Mode, few_authorities: str | None
) -> None:
    ended = await ask(kind, model, name, mode, few=few_authorities)
    assert ended.error is None
    assert ended.answer.content
    thinking = profile_of(model).thinking
    rests = mode is OFF and "thinking" not in ended.reply.dropped
    assert bool(ended.answer.reasoning) is not (rests or thinking == "none")


@pytest.mark.parametrize(("kind", "model", "name"), ROWS)
async def test_no_value_of_a_field_that_moonshot_fixes_or_forbids_is_refused(
    kind: Provider, model: str, name: str, few_authorities: str | None
) -> None:
    named = {"type": "function", "function": {"name": "get_weather"}}
    for choice, temperature, mode in product(
        ("auto", "required", named), (0, 1), (UNASKED, ON, OFF)
    ):
        ended = await ask(
            kind,
            model,
            name,
            mode,
            few=few_authorities,
            tools=[TOOL],
            tool_choice=choice,
            temperature=temperature,
            top_p=0.5,
            stop=["x" * 40],
        )
        assert ended.error is None
        forced = choice != "auto" and "tool_choice" not in ended.reply.dropped
        if forced:
            assert [tool["name"] for tool in ended.answer.tools] == ["get_weather"]


@pytest.mark.parametrize(("kind", "model", "name"), ROWS)
async def test_the_callers_own_spelling_of_the_mode_arrives_nowhere(
    kind: Provider, model: str, name: str, few_authorities: str | None
) -> None:
    theirs: dict[str, Any] = {
        "reasoning": {"effort": "low", "max_tokens": 3},
        "reasoning_effort": "bogus",
        "thinking": {"type": "bogus"},
        "include_reasoning": False,
    }
    ended = await ask(kind, model, name, UNASKED, few=few_authorities, **theirs)
    assert (ended.error, ended.reply.dropped) == (None, ())
