"""Settings of levels: how they are read, and what several of them mean together."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.policies.levels import NO_SETTINGS, Level, compile_levels, encode, parse
from gateway.policies.provenance import Source, provenance
from gateway.routing.access import forbidding, left_by, permitted
from gateway.values import ANY_ACCESS, Access, LimitRule, MaxPrice
from tests.builders import candidate

PER_MINUTE = {"what": "requests", "amount": 10, "per": "minute"}
AT_ONCE = {"what": "concurrency", "amount": 2}
SCOPES = ("organisation", "team", "member", "key")


def levels(*documents: dict[str, Any]) -> list[Level]:
    return [
        Level(scope, f"{scope}_1", parse(document))
        for scope, document in zip(SCOPES, documents, strict=False)
    ]


def access(*documents: dict[str, Any]) -> Access:
    return compile_levels(levels(*documents)).access


@pytest.mark.parametrize(
    ("document", "param", "told"),
    [
        ({"modles": []}, "modles", "unknown field"),
        ({"limits": [PER_MINUTE, {**AT_ONCE, "amount": -1}]}, "limits[1].amount", "not -1"),
        ({"limits": [{**PER_MINUTE, "amount": 10**9 + 1}]}, "limits[0].amount", "1000000000"),
        ({"limits": [{"what": "requests", "amount": 1}]}, "limits[0].per", "'minute' or 'day'"),
        ({"limits": [{**AT_ONCE, "per": "day"}]}, "limits[0].per", "no period"),
        ({"limits": [PER_MINUTE, AT_ONCE, PER_MINUTE]}, "limits[2]", "limits[0]"),
        ({"limits": [{**PER_MINUTE, "each": "ip"}]}, "limits[0].each", "'ip'"),
        ({"limits": [{**PER_MINUTE, "burst": 3}]}, "limits[0].burst", "unknown field"),
        ({"limits": [{**PER_MINUTE, "amount": "10"}]}, "limits[0].amount", "int"),
        ({"models": ["a", ""]}, "models[1]", "1 to 256"),
        ({"models": ["@preset/a"]}, "models[0]", "no preset"),
        ({"ignored_models": ["a\nb"]}, "ignored_models[0]", "printable"),
        ({"default_model": " m"}, "default_model", "printable"),
        ({"provider": {"sort": "price"}}, "provider.sort", "not supported"),
        ({"provider": {"colour": 1}}, "provider.colour", "unknown"),
        ({"provider": {"max_price": {"prompt": -1}}}, "provider.max_price.prompt", "from 0"),
        ({"provider": {"zdr": True}}, "provider.zdr", "beside its settings"),
        ({"provider": {"data_collection": "deny"}}, "provider.data_collection", "beside"),
        ({"presets": {"Code": {}}}, "presets.Code", "a-z"),
        ({"presets": {"-a": {}}}, "presets.-a", "first"),
        ({"presets": {"a": {"system": ""}}}, "presets.a.system", "1 to"),
        ({"presets": {"a": {"provider": {"only": [1]}}}}, "presets.a.provider.only", "list"),
        ({"presets": {"a": {"parameters": {"model": "m"}}}}, "presets.a.parameters.model", "hold"),
        ({"presets": {"a": {"parameters": {"user": "u"}}}}, "presets.a.parameters.user", "hold"),
        (
            {"presets": {"a": {"parameters": {"max_tokens": 0}}}},
            "presets.a.parameters.max_tokens",
            "at least 1",
        ),
        (
            {"presets": {"a": {"parameters": {"reasoning_effort": "much"}}}},
            "presets.a.parameters.reasoning_effort",
            "must be one of",
        ),
        (
            {"presets": {"a": {"parameters": {"tools": [{"type": "web_search"}]}}}},
            "presets.a.parameters.tools",
            "only functions",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_its_path(
    document: dict[str, Any], param: str, told: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(document)
    assert (caught.value.code, caught.value.param) == ("invalid_settings", param)
    assert told in caught.value.message


def _nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"a": found}
    return {"presets": {"a": {"parameters": {"response_format": found}}}}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"provider": {"max_price": {"prompt": float("nan")}}}, "finite"),
        ({"provider": {"max_price": {"prompt": float("inf")}}}, "finite"),
        ({"presets": {"a": {"parameters": {"seed": 10**5000}}}}, "finite"),
        ({"presets": {"a": {"system": "\ud800"}}}, "JSON"),
        (_nested(100_000), "JSON"),
        (_nested(200), "64 deep"),
    ],
    ids=["NaN", "infinity", "huge", "surrogate", "deepest", "deep"],
)
def test_what_json_cannot_hold_is_refused_and_not_taken_for_nothing(
    document: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(document)
    assert caught.value.code == "invalid_settings"
    assert told in caught.value.message


@pytest.mark.parametrize("document", [b"", b"[]", b"\xff", "{"])
def test_what_is_no_object_is_refused(document: bytes | str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(document)
    assert (caught.value.code, caught.value.param) == ("invalid_settings", None)


def test_settings_come_back_as_they_were_stored() -> None:
    settings = parse(
        {
            "models": ["moonshotai/kimi-k2.6"],
            "provider": {"only": ["novita"], "max_price": {"prompt": "0.6"}},
            "presets": {"code": {"model": "m", "parameters": {"temperature": 0.2, "stop": ["x"]}}},
            "limits": [PER_MINUTE, {**PER_MINUTE, "each": "end_user"}, AT_ONCE],
        }
    )
    assert parse(encode(settings)) == settings
    assert parse(b"{}") is NO_SETTINGS


def test_nothing_set_is_nothing_to_look_at() -> None:
    compiled = compile_levels(levels({}, {}, {}, {}))
    assert compiled.access is ANY_ACCESS
    assert compiled.limits == ()
    limited = compile_levels(levels({"limits": [AT_ONCE]}))
    assert limited.access is ANY_ACCESS


def test_limits_of_all_levels_hold_side_by_side() -> None:
    compiled = compile_levels(
        levels({"limits": [AT_ONCE]}, {}, {}, {"limits": [{**PER_MINUTE, "each": "end_user"}]})
    )
    assert compiled.limits == (
        LimitRule("lim:organisation_1:concurrency", "organisation", "concurrency", 2, 0),
        LimitRule("lim:key_1:requests:minute:end_user", "key", "requests", 10, 60, "end_user"),
    )


def test_rules_narrow_and_the_nearest_wins() -> None:
    wide = {
        "default_model": "wide",
        "presets": {"a": {"model": "wide"}, "b": {"model": "wide"}},
        "provider": {"ignore": ["x"], "max_price": {"prompt": 2, "completion": 1}},
    }
    near = {
        "default_model": "near",
        "presets": {"a": {"model": "near"}},
        "provider": {
            "ignore": ["y"],
            "max_price": {"prompt": 1, "completion": 3},
            "allow_fallbacks": False,
        },
    }
    found = access(wide, near)
    assert found.default_model == "near"
    assert [(preset.slug, preset.model) for preset in found.presets] == [
        ("a", "near"),
        ("b", "wide"),
    ]
    together = found.preferences
    assert together.ignore == ("x", "y")
    assert together.max_price == MaxPrice(prompt=10**6, completion=10**6)
    assert not together.fallbacks
    # A level cannot take back what a wider one demands.
    assert not access(near, {"provider": {"allow_fallbacks": True}}).preferences.fallbacks


@pytest.mark.parametrize(
    ("wide", "near", "both"),
    [
        (["novita"], ["novita/fp8"], ("novita/fp8",)),
        (["novita/fp8", "moonshot"], ["novita"], ("novita/fp8",)),
        (["novita"], ["moonshot"], ()),
        (["a", "b"], ["b", "a"], ("b", "a")),
    ],
)
def test_only_intersects(wide: list[str], near: list[str], both: tuple[str, ...]) -> None:
    found = access({"provider": {"only": wide}}, {"provider": {"only": near}})
    assert found.preferences.only == both


def test_keys_that_add_nothing_share_what_their_team_set() -> None:
    team = parse({"models": ["m"], "limits": [PER_MINUTE]})
    one = compile_levels([Level("team", "t", team), Level("key", "k1", NO_SETTINGS)])
    again = parse(encode(team))
    other = compile_levels([Level("team", "t", again), Level("key", "k2", NO_SETTINGS)])
    assert one.access is other.access
    assert one.limits is other.limits
    elsewhere = compile_levels([Level("team", "u", team)])
    assert elsewhere.access is one.access
    assert elsewhere.limits != one.limits


MODELS = ("m/one", "m/two", "m/three")
ALIASES = {"one": "m/one", "two": "m/two", **{name: name for name in MODELS}}
ENDPOINTS = tuple(
    [
        candidate(name, price=(price, price))
        for name, price in (("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"))
    ]
)
NAMES = st.lists(st.sampled_from(sorted(ALIASES)), max_size=3, unique=True)
SLUGS = st.lists(
    st.sampled_from(["a", "b", "c", "d", "a/kimi", "b/kimi"]), min_size=1, max_size=4, unique=True
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "models": NAMES,
        "ignored_models": NAMES,
        "provider": st.fixed_dictionaries(
            {},
            optional={
                "only": SLUGS,
                "ignore": SLUGS,
                "allow_fallbacks": st.booleans(),
                "require_parameters": st.booleans(),
                "max_price": st.fixed_dictionaries(
                    {}, optional={"prompt": st.integers(0, 5), "completion": st.integers(0, 5)}
                ),
            },
        ),
    },
)


def allowed(found: Access) -> set[tuple[str, str]]:
    """Everything that may be asked: models, endpoints, and what else is left open."""
    models = {name for name in MODELS if forbidding(found, name, ALIASES.get) is None}
    assert models == permitted(found, MODELS, ALIASES.get)
    kept, _ = left_by(found.rules, ENDPOINTS)
    wanted = found.preferences
    return (
        {("model", name) for name in models}
        | {("endpoint", one.endpoint.id) for one in kept}
        | ({("fallbacks", "")} if wanted.fallbacks else set())
        | ({("parameters", "dropped")} if not wanted.require_parameters else set())
    )


@given(st.lists(DOCUMENTS, min_size=1, max_size=4), st.integers(0, 3))
def test_adding_a_level_never_widens(documents: list[dict[str, Any]], place: int) -> None:
    everything = levels(*documents)
    place %= len(everything)
    fewer = [level for at, level in enumerate(everything) if at != place]
    with_it, without = compile_levels(everything).access, compile_levels(fewer).access
    assert allowed(with_it) <= allowed(without)


def test_every_value_says_where_it_came_from() -> None:
    found = provenance(
        levels(
            {"models": ["one", "m/two"], "provider": {"max_price": {"prompt": "0.5"}}},
            {"default_model": "m/one", "presets": {"a": {}}, "limits": [AT_ONCE]},
            {},
            {
                "models": ["m/one"],
                "presets": {"a": {"model": "m/one"}},
                "provider": {"only": ["novita"], "max_price": {"prompt": 3}},
            },
        ),
        ALIASES.get,
    )
    organisation, team, key = (Source(s, f"{s}_1") for s in ("organisation", "team", "key"))
    assert [(one.field, one.value, one.sources) for one in found] == [
        ("models", ["m/one"], (organisation, key)),
        ("provider.only", ["novita"], (key,)),
        ("provider.max_price.prompt", "0.5", (organisation,)),
        ("default_model", "m/one", (team,)),
        ("presets.a", {"model": "m/one"}, (key,)),
        ("limits", AT_ONCE, (team,)),
    ]
