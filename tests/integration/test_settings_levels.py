"""What levels set, what it comes to, and who may change it; and budgets of all four levels."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.accounts import budgets, organisations, settings, teams
from gateway.accounts.office import Office
from gateway.accounts.owners import LEVELS, LevelName
from gateway.accounts.privacy import Change
from gateway.accounts.roles import Actor
from gateway.accounts.rows import Effective
from gateway.errors import InvalidRequest, RevisionConflict
from gateway.policies.levels import NO_SETTINGS, parse
from tests.fakes.accounts import (
    OPERATOR,
    World,
    acting,
    keyed,
    office_of,
    opened,
    outcome,
    put_key,
    world,
)

SLOW = {"what": "requests", "amount": 60, "per": "minute"}


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with opened(database_url) as db:
        yield office_of(db)


@pytest.fixture
async def there(office: Office) -> World:
    return await world(office)


async def _refs(office: Office, there: World) -> dict[LevelName, str]:
    """One thing of each level, in one line: the key is that of the service account in `search`."""
    bot = there.members["service"]
    return {
        "organisation": there.acme.id,
        "team": there.search.id,
        "member": bot.id,
        "key": await put_key(office, there.search, member=bot),
    }


def _told(found: Effective) -> dict[str, tuple[Any, tuple[str, ...]]]:
    """Value and levels of everything that is in force, by its name."""
    return {one.name: (one.value, tuple(by.level for by in one.sources)) for one in found.values}


@pytest.mark.parametrize("level", LEVELS)
async def test_every_level_keeps_its_settings_and_raises_its_revision(
    office: Office, there: World, level: LevelName
) -> None:
    ref = (await _refs(office, there))[level]
    before = await settings.get(office, OPERATOR, level, ref)
    assert before.settings == NO_SETTINGS
    document = {"models": ["moonshotai/kimi-k2.6"], "limits": [SLOW]}
    made = await settings.replace(office, OPERATOR, level, ref, document, revision=before.revision)
    assert made.settings == parse(document)
    assert made.revision == before.revision + 1
    assert await settings.get(office, OPERATOR, level, ref) == made
    assert await settings.replace(office, OPERATOR, level, ref, made.settings) == made
    with pytest.raises(RevisionConflict):
        await settings.replace(office, OPERATOR, level, ref, {}, revision=before.revision)
    with pytest.raises(RevisionConflict):
        await settings.patch(office, OPERATOR, level, ref, {}, revision=before.revision)
    none = await settings.replace(office, OPERATOR, level, ref, {})
    assert (none.settings, none.revision) == (NO_SETTINGS, before.revision + 2)


async def test_a_patch_changes_what_it_names_and_null_takes_away(
    office: Office, there: World
) -> None:
    async def patched(change: dict[str, Any]) -> dict[str, Any]:
        done = await settings.patch(office, OPERATOR, "team", there.search.id, change)
        return {
            name: getattr(done.settings, name)
            for name in ("models", "default_model", "provider")
            if getattr(done.settings, name) is not None
        } | {"presets": set(done.settings.presets)}

    await settings.replace(
        office, OPERATOR, "team", there.search.id,
        {
            "models": ["a/one", "a/two"],
            "default_model": "a/one",
            "provider": {"ignore": ["novita"], "max_price": {"prompt": 1, "completion": 3}},
            "presets": {"code": {"model": "a/one"}, "chat": {"model": "a/two"}},
        },
    )  # fmt: skip
    found = await patched(
        {
            "models": ["a/one"],
            "default_model": None,
            "provider": {"max_price": {"completion": None}},
            "presets": {"chat": None, "new": {"model": "a/one"}},
        }
    )
    assert found == {
        "models": ("a/one",),
        "provider": {"ignore": ["novita"], "max_price": {"prompt": 1}},
        "presets": {"code", "new"},
    }
    assert await patched({"provider": None, "models": None}) == {"presets": {"code", "new"}}


async def test_settings_that_cannot_be_name_the_field_and_change_nothing(
    office: Office, there: World
) -> None:
    for change in ({"limits": [{**SLOW, "per": "hour"}]}, {"model": ["a"]}, {"models": [""]}):
        for write in (settings.replace, settings.patch):
            with pytest.raises(InvalidRequest) as caught:
                await write(office, OPERATOR, "team", there.search.id, change)
            assert caught.value.code == "invalid_settings"
    assert (await teams.get(office, OPERATOR, there.search.id)).revision == 1
    work = settings.get(office, OPERATOR, "planet", "x")  # type: ignore[arg-type] # wrong on purpose
    assert await outcome(work) == "invalid_level"


async def test_what_is_in_force_says_which_levels_made_it_so(office: Office, there: World) -> None:
    refs = await _refs(office, there)
    documents: dict[LevelName, dict[str, Any]] = {
        "organisation": {
            "models": ["a/one", "a/two"],
            "provider": {"max_price": {"prompt": 2}},
            "default_model": "a/two",
            "limits": [{**SLOW, "amount": 600}],
        },
        "team": {"models": ["a/two", "a/three"], "provider": {"max_price": {"prompt": 1}}},
        "member": {"limits": [SLOW]},
        "key": {"default_model": "a/two", "ignored_models": ["a/one"]},
    }
    for level, document in documents.items():
        await settings.replace(office, OPERATOR, level, refs[level], document)
    await organisations.set_privacy(office, OPERATOR, "acme", Change(no_training=True))
    await teams.set_privacy(office, OPERATOR, there.search.id, Change(zdr=True, no_training=True))
    for level, amount in (("organisation", "100"), ("key", "5.50")):
        await budgets.set_budget(
            office, OPERATOR, level, refs[level], budgets.limit(amount, "monthly"),
            on_state_loss="refuse",
        )  # fmt: skip
    found = await settings.effective(office, there.actor("viewer"), "key", refs["key"])
    assert (found.level, found.id, found.name) == ("key", refs["key"], "web")
    told = _told(found)
    assert told["models"] == (["a/two"], ("organisation", "team"))
    assert told["ignored_models"] == (["a/one"], ("key",))
    assert told["provider.max_price.prompt"][1] == ("team",)
    assert told["default_model"] == ("a/two", ("key",))
    assert told["zdr"] == (True, ("team",))
    assert told["data_collection"] == ("deny", ("organisation", "team"))
    limits = [one for one in found.values if one.name == "limits"]
    assert [(one.value["amount"], one.sources[0].level) for one in limits] == [
        (600, "organisation"),
        (60, "member"),
    ]
    assert limits[1].sources[0].name == "bot"
    spending = [one for one in found.values if one.name == "budget"]
    assert [(one.value["limit"], one.sources[0].level) for one in spending] == [
        ("100", "organisation"),
        ("5.5", "key"),
    ]
    assert spending[0].value["on_state_loss"] == "refuse"


async def test_what_is_in_force_at_a_wider_level_leaves_out_the_narrower(
    office: Office, there: World
) -> None:
    refs = await _refs(office, there)
    for level, name in zip(LEVELS, ("a/o", "a/t", "a/m", "a/k"), strict=True):
        await settings.replace(office, OPERATOR, level, refs[level], {"default_model": name})  # type: ignore[arg-type,index] # a level
    for level, expected in zip(LEVELS, ("a/o", "a/t", "a/m", "a/k"), strict=True):
        found = await settings.effective(office, OPERATOR, level, refs[level])  # type: ignore[arg-type,index] # a level
        assert _told(found) == {"default_model": (expected, (level,))}
    bare = await settings.effective(office, OPERATOR, "team", there.ads.id)
    assert _told(bare) == {"default_model": ("a/o", ("organisation",))}


async def test_budgets_are_shown_to_who_may_read_them(office: Office, there: World) -> None:
    one = budgets.limit("1", "total")
    await budgets.set_budget(office, OPERATOR, "team", there.search.id, one)
    only = there.actor("owner", frozenset({"settings:read"}))
    found = await settings.effective(office, only, "team", there.search.id)
    assert found.values == ()
    both = there.actor("owner", frozenset({"settings:read", "budgets:read"}))
    found = await settings.effective(office, both, "team", there.search.id)
    assert [one.name for one in found.values] == ["budget"]


@pytest.mark.parametrize(
    ("who", "changes"),
    [
        ("owner", {"organisation", "team", "member", "key"}),
        ("admin", {"organisation", "team", "member", "key"}),
        ("team admin", {"team", "key"}),
        ("member", set()),
        ("viewer", set()),
        ("billing", set()),
        ("service", set()),
    ],
)
async def test_who_changes_settings_of_which_levels(
    office: Office, there: World, who: str, changes: set[str]
) -> None:
    """A service account may not loosen what is set for its own key."""
    for level, ref in (await _refs(office, there)).items():
        work = settings.replace(office, there.actor(who), level, ref, {"models": ["a/b"]})
        done = await outcome(work)
        assert done == ("done" if level in changes else "permission_denied"), level
        foreign: Actor = acting(there.stranger)
        for other in (
            settings.get(office, foreign, level, ref),
            settings.replace(office, foreign, level, ref, {}),
            settings.patch(office, foreign, level, ref, {}, revision=55),
            settings.effective(office, foreign, level, ref),
        ):
            assert await outcome(other) == f"{level}_not_found"


@pytest.mark.parametrize("scope", LEVELS)
async def test_a_budget_of_any_level_with_its_revision(
    office: Office, there: World, scope: LevelName
) -> None:
    ref = (await _refs(office, there))[scope]
    ten = budgets.limit("10", "monthly")
    assert await budgets.get_budget(office, OPERATOR, scope, ref) is None
    made = await budgets.set_budget(office, OPERATOR, scope, ref, ten, revision=0)
    assert (made.scope, made.owner_id, made.organisation_id) == (scope, ref, there.acme.id)
    assert (made.revision, made.on_state_loss) == (1, "lease")
    assert await budgets.set_budget(office, OPERATOR, scope, ref, ten) == made
    strict = await budgets.set_budget(
        office, OPERATOR, scope, ref, ten, on_state_loss="refuse", revision=1
    )
    assert (strict.id, strict.revision, strict.on_state_loss) == (made.id, 2, "refuse")
    kept = await budgets.set_budget(office, OPERATOR, scope, ref, budgets.limit("9", "daily"))
    assert (kept.id, kept.on_state_loss) == (made.id, "refuse")
    for revision in (0, 2):
        with pytest.raises(RevisionConflict):
            await budgets.set_budget(office, OPERATOR, scope, ref, ten, revision=revision)
        with pytest.raises(RevisionConflict):
            await budgets.remove(office, OPERATOR, scope, ref, revision=revision)
    euros = await budgets.set_budget(
        office, OPERATOR, scope, ref, budgets.limit("9", "daily", "EUR"), revision=3
    )
    assert euros.id != made.id
    assert (euros.revision, euros.on_state_loss) == (4, "refuse")
    assert await budgets.list_all(office, OPERATOR) == [euros]
    await budgets.remove(office, OPERATOR, scope, ref, revision=4)
    assert await budgets.get_budget(office, OPERATOR, scope, ref) is None


@pytest.mark.parametrize(
    ("who", "changes"),
    [
        ("owner", {"organisation", "team", "member", "key"}),
        ("admin", {"organisation", "team", "member", "key"}),
        ("billing", {"organisation", "team", "member", "key"}),
        ("team admin", {"team", "key"}),
        ("member", set()),
        ("viewer", set()),
        ("service", set()),
    ],
)
async def test_who_sets_budgets_of_which_levels(
    office: Office, there: World, who: str, changes: set[str]
) -> None:
    one = budgets.limit("1", "total")
    for scope, ref in (await _refs(office, there)).items():
        expected = "done" if scope in changes else "permission_denied"
        actor = there.actor(who)
        assert await outcome(budgets.set_budget(office, actor, scope, ref, one)) == expected, scope
        if expected == "done":
            assert await outcome(budgets.remove(office, actor, scope, ref)) == "done"
        for other in (
            budgets.set_budget(office, acting(there.stranger), scope, ref, one, revision=5),
            budgets.get_budget(office, acting(there.stranger), scope, ref),
            budgets.remove(office, acting(there.stranger), scope, ref),
        ):
            assert await outcome(other) == f"{scope}_not_found"
    assert await outcome(
        budgets.set_budget(office, OPERATOR, "team", there.ads.id, one, on_state_loss="hope")
    ) == ("invalid_budget")


async def test_lists_of_budgets_are_ones_own(office: Office, there: World) -> None:
    one = budgets.limit("1", "total")
    for team in (there.search, there.ads, there.foreign):
        await budgets.set_budget(office, OPERATOR, "team", team.id, one)
    key = await put_key(office, there.search)
    await budgets.set_budget(office, OPERATOR, "key", key, one)
    await budgets.set_budget(office, OPERATOR, "organisation", "acme", one)

    async def seen(actor: Actor) -> set[str]:
        return {budget.owner_name for budget in await budgets.list_all(office, actor)}

    assert await seen(there.actor("viewer")) == {"search", "ads", "web", "acme"}
    assert await seen(acting(there.stranger)) == {"foreign"}
    assert await seen(OPERATOR) == {"search", "ads", "web", "acme", "foreign"}
    lead = keyed(None, there.acme.id, team_roles={there.search.id: "admin"})
    assert await seen(lead) == {"search", "web"}
