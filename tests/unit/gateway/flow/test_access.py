"""What a caller's levels let it use, and what they fill in."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.flow.dialects import ANTHROPIC, OPENAI, Dialect
from gateway.policies.levels import Level, compile_levels, parse
from gateway.values import Principal
from tests.builders import END, MODEL, USAGE, anthropic, candidate, chat, principal, text
from tests.fakes.flow import Rig, Step

OTHER = "moonshotai/kimi-k3"
ANSWER: list[Step] = [[text("Hello")], [USAGE, END]]


def caller(**levels: dict[str, Any]) -> Principal:
    compiled = compile_levels([Level(scope, scope, parse(said)) for scope, said in levels.items()])
    return replace(principal(), access=compiled.access, limits=compiled.limits)


def rig(dialect: Dialect = OPENAI, **levels: dict[str, Any]) -> Rig:
    made = Rig(
        candidate("a"),
        candidate("b", price=("3", "4")),
        candidate("c", model=OTHER),
        principal=caller(**levels),
        dialect=dialect,
    )
    for name in "abc":
        made.script(name, *[ANSWER] * 5)
    return made


def sent(gateway: Rig) -> dict[str, Any]:
    """What went upstream, but for the messages' own fields."""
    call, _, _ = gateway.backend.calls[-1]
    return {name: json.loads(bytes(raw)) for name, raw in call.fields.items()}


async def test_a_model_that_no_level_names_is_forbidden_with_the_level() -> None:
    gateway = rig(organisation={"models": [MODEL, OTHER]}, team={"models": [OTHER]})
    refused = await gateway.ask(chat())
    assert (refused.status, refused.error["code"]) == (403, "model_not_allowed")
    assert refused.error["type"] == "permission_error"
    assert refused.error["metadata"] == {"model": MODEL, "level": "team"}
    assert (
        f"settings of its team do not allow it; those that it may use are: {OTHER}"
        in (refused.error["message"])
    )
    assert (await gateway.ask(chat(model=OTHER))).status == 200


async def test_a_model_that_a_level_ignores_is_forbidden() -> None:
    gateway = rig(key={"ignored_models": [MODEL]})
    refused = await gateway.ask(chat(model=f"{MODEL}:thinking"))
    assert refused.error["metadata"]["level"] == "key"


async def test_an_unknown_model_lists_those_that_may_be_used() -> None:
    refused = await rig(team={"models": [OTHER]}).ask(chat(model="no-such"))
    assert refused.status == 404
    assert OTHER in refused.error["message"]
    assert MODEL not in refused.error["message"]


async def test_a_level_decides_which_providers_are_asked() -> None:
    gateway = rig(team={"provider": {"ignore": ["a"]}})
    assert (await gateway.ask(chat())).status == 200
    assert gateway.asked == ["b"]
    # The request can tighten that, and not widen it.
    assert (await gateway.ask(chat(provider={"only": ["b"]}))).status == 200
    refused = await gateway.ask(chat(provider={"only": ["a"]}))
    assert (refused.status, refused.error["code"]) == (404, "no_endpoint")
    assert gateway.asked == ["b", "b"]
    rows = {row["endpoint"]: row for row in refused.error["metadata"]["excluded"]}
    assert rows["a/kimi"] == {
        "endpoint": "a/kimi",
        "reason": "ignored_providers",
        "level": "team",
    }
    assert "level" not in rows["b/kimi"]
    assert "by the settings of the team" in refused.error["message"]


async def test_levels_that_leave_nothing_are_all_named() -> None:
    gateway = rig(team={"provider": {"only": ["a"]}}, key={"provider": {"only": ["b"]}})
    refused = await gateway.ask(chat())
    assert (refused.status, refused.error["code"]) == (404, "no_endpoint")
    levels = {row["endpoint"]: row["level"] for row in refused.error["metadata"]["excluded"]}
    assert levels == {"a/kimi": "key", "b/kimi": "team"}
    assert "by the settings of the key and the team" in refused.error["message"]
    # No field of the request is at fault.
    assert "constraint" not in refused.error["availability"]


async def test_a_level_can_forbid_fallbacks() -> None:
    gateway = rig(organisation={"provider": {"allow_fallbacks": False}})
    await gateway.ask(chat(provider={"allow_fallbacks": True}))
    (outcome,) = gateway.journal.outcomes
    assert len(outcome.attempts) == 1
    (opened,) = [line for line in gateway.journal.lines if hasattr(line, "endpoints")]
    assert [endpoint.endpoint_id for endpoint in opened.endpoints] == ["a/kimi"]


async def test_a_level_can_require_parameters() -> None:
    gateway = rig(team={"provider": {"require_parameters": True}})
    refused = await gateway.ask(chat(no_such_field=1))
    assert refused.status == 404
    assert {row["level"] for row in refused.error["metadata"]["excluded"]} == {"team"}


async def test_a_highest_price_of_a_level_holds() -> None:
    gateway = rig(team={"provider": {"max_price": {"prompt": 2}}})
    refused = await gateway.ask(chat(provider={"ignore": ["a"]}))
    assert refused.status == 404
    reasons = {row["reason"] for row in refused.error["metadata"]["excluded"]}
    assert reasons == {"max_price", "ignored_providers"}


async def test_the_nearest_default_model_serves_who_names_none() -> None:
    gateway = rig(organisation={"default_model": MODEL}, team={"default_model": OTHER})
    answer = await gateway.ask(chat(model=None))
    assert (answer.status, answer.json["model"]) == (200, OTHER)


async def test_without_a_default_a_model_must_be_named() -> None:
    refused = await rig().ask(chat(model=None))
    assert (refused.status, refused.error["code"]) == (400, "missing_field")
    assert refused.error["param"] == "model"


PRESET = {
    "model": OTHER,
    "system": "Be brief.",
    "parameters": {"temperature": 0.2, "max_tokens": 7, "stop": ["END"]},
}


@pytest.mark.parametrize(
    ("asked", "model"),
    [
        ({"model": "@preset/code"}, OTHER),
        ({"model": None, "preset": "code"}, OTHER),
        ({"model": None, "preset": "@preset/code"}, OTHER),
        ({"preset": "code"}, MODEL),
        ({"model": f"{MODEL}@preset/code"}, MODEL),
    ],
)
async def test_a_preset_fills_in_what_is_not_said(asked: dict[str, Any], model: str) -> None:
    gateway = rig(team={"presets": {"code": PRESET}})
    answer = await gateway.ask(chat(**asked, temperature=0.9))
    assert (answer.status, answer.json["model"]) == (200, model)
    fields = sent(gateway)
    assert fields["temperature"] == 0.9
    assert fields["stop"] == ["END"]
    assert "preset" not in fields
    assert fields["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello!"},
    ]
    call, _, _ = gateway.backend.calls[-1]
    assert call.output_cap == 7


async def test_the_nearest_preset_of_a_name_counts() -> None:
    near = {"presets": {"code": {"model": OTHER}}}
    gateway = rig(organisation={"presets": {"code": {"model": MODEL}}}, key=near)
    assert (await gateway.ask(chat(model="@preset/code"))).json["model"] == OTHER


async def test_an_unknown_preset_names_those_that_there_are() -> None:
    gateway = rig(team={"presets": {"code": PRESET, "chat": PRESET}})
    for asked in ({"model": "@preset/no"}, {"preset": "no"}):
        refused = await gateway.ask(chat(**asked))
        assert (refused.status, refused.error["code"]) == (404, "preset_not_found")
        assert "chat, code" in refused.error["message"]
    assert "none" in (await rig().ask(chat(preset="no"))).error["message"]


async def test_two_presets_contradict_each_other() -> None:
    gateway = rig(team={"presets": {"code": PRESET, "chat": PRESET}})
    refused = await gateway.ask(chat(model="@preset/code", preset="chat"))
    assert (refused.status, refused.error["code"]) == (400, "conflicting_parameters")


async def test_a_presets_preferences_tighten_and_bind() -> None:
    preset = {"provider": {"only": ["b"], "zdr": True}}
    gateway = rig(team={"presets": {"safe": preset}})
    refused = await gateway.ask(chat(preset="safe"))
    assert (refused.status, refused.error["code"]) == (404, "privacy_restricted")
    gateway = rig(team={"presets": {"safe": {"provider": {"only": ["b"]}}}})
    assert (await gateway.ask(chat(preset="safe"))).status == 200
    assert gateway.asked == ["b"]


async def test_a_preset_cannot_reach_a_model_that_is_not_allowed() -> None:
    gateway = rig(organisation={"models": [MODEL]}, key={"presets": {"code": PRESET}})
    refused = await gateway.ask(chat(model="@preset/code"))
    assert (refused.status, refused.error["code"]) == (403, "model_not_allowed")


async def test_a_preset_serves_anthropics_dialect() -> None:
    gateway = rig(ANTHROPIC, team={"presets": {"code": PRESET}})
    answer = await gateway.ask(anthropic(model="@preset/code"))
    assert answer.status == 200
    fields = sent(gateway)
    assert (fields["temperature"], fields["stop"]) == (0.2, ["END"])
    assert fields["messages"][0] == {"role": "system", "content": "Be brief."}
    call, _, _ = gateway.backend.calls[-1]
    assert call.output_cap == 20  # the request's own
    gateway.script("c", ANSWER)
    await gateway.ask(anthropic(model="@preset/code", system="Mine."))
    assert [m["content"] for m in sent(gateway)["messages"] if m["role"] == "system"] == ["Mine."]


async def test_who_is_privacy_restricted_is_told_of_levels_as_well() -> None:
    gateway = rig(team={"provider": {"only": ["a"]}})
    refused = await gateway.ask(chat(provider={"zdr": True}))
    assert refused.error["code"] == "privacy_restricted"
    rows = {row["endpoint"]: row.get("level") for row in refused.error["metadata"]["excluded"]}
    assert rows == {"a/kimi": None, "b/kimi": "team"}
    assert "left out by the settings of the team" in refused.error["message"]
