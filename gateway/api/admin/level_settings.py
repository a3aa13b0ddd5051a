"""The settings of organisations, teams, members and keys, presets among them."""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Response
from pydantic import Field, JsonValue

from gateway.accounts import settings
from gateway.accounts.rows import Effective, Level
from gateway.api.admin.caller import AdminRoute, Caller, Desks
from gateway.api.admin.errors import CHANGE, READ
from gateway.api.admin.levels import LEVELS, LevelPath
from gateway.api.admin.revisions import Revision
from gateway.api.admin.shapes import TAGGED, WHOLE, Answer, Body, Patch, tag

router = APIRouter(route_class=AdminRoute, tags=["settings"])

LevelKind = Literal["organisation", "team", "member", "key"]
Model = Annotated[str, Field(min_length=1, max_length=256, examples=["moonshotai/kimi-k2.6"])]
Provider = Annotated[
    dict[str, JsonValue],
    Field(
        description="As the `provider` object of a request, but for `zdr` and `data_collection`, which"
        " organisations, teams and keys have themselves.",
        examples=[{"only": ["moonshot"], "max_price": {"completion": "3"}}],
    ),
]


class LimitSetting(Body):
    """How much may be asked for at a time."""

    what: Literal["requests", "tokens", "concurrency"]
    amount: Annotated[int, Field(ge=0, le=10**12), WHOLE] = Field(
        description="At most 10⁹ requests, 10⁶ at a time."
    )
    per: Literal["minute", "day"] | None = Field(
        None, description="Needed but for `concurrency`, which has none."
    )
    each: Literal["member", "key", "end_user", "model"] | None = Field(
        None, description="What has a count of its own; without it all share one."
    )


class Preset(Body):
    """What a request has as `@preset/<name>`, and does not say itself."""

    model: Model | None = None
    system: str | None = Field(None, max_length=32_768)
    provider: Provider | None = None
    parameters: dict[str, JsonValue] = Field({}, examples=[{"temperature": 0.2}])
    description: str | None = None


class Settings(Body):
    """What one level sets; what is not there is left to the other levels."""

    models: list[Model] | None = Field(
        None, max_length=500, description="Those that may be used; null or absent: any."
    )
    ignored_models: list[Model] = Field([], max_length=500)
    provider: Provider | None = None
    default_model: Model | None = Field(None, description="For requests that name none.")
    presets: dict[str, Preset] = Field({}, max_length=100)
    limits: list[LimitSetting] = Field([], max_length=20)


class PresetPatch(Patch):
    """What is to change of a preset."""

    model: Model | None = None
    system: str | None = Field(None, max_length=32_768)
    provider: Provider | None = None
    parameters: dict[str, JsonValue] | None = None
    description: str | None = None


class SettingsPatch(Patch):
    """What is to change of what a level sets. Lists are replaced whole, objects member by member."""

    models: list[Model] | None = Field(None, max_length=500)
    ignored_models: list[Model] | None = Field(None, max_length=500)
    provider: Provider | None = None
    default_model: Model | None = None
    presets: dict[str, PresetPatch | None] | None = None
    limits: list[LimitSetting] | None = Field(None, max_length=20)


class SettingsAnswer(Answer):
    """What one level sets itself."""

    level: LevelKind
    id: str
    name: str
    settings: Settings
    revision: int = Field(description="The level's own: other changes of it raise it too.")


class SourceAnswer(Answer):
    """A level that a value came from."""

    level: LevelKind
    id: str
    name: str


class EffectiveValueAnswer(Answer):
    """One thing that is in force."""

    name: str = Field(examples=["models", "provider.only", "limits", "budget"])
    value: JsonValue
    sources: list[SourceAnswer] = Field(description="The levels that made it so, widest first.")


class EffectiveAnswer(Answer):
    """All that is in force at a level; what no level sets is not among the values."""

    level: LevelKind
    id: str
    name: str
    values: list[EffectiveValueAnswer]


def _add(level: LevelPath) -> None:
    path = f"{level.of_one}/settings"

    @router.get(
        path,
        operation_id=f"get_{level.name}_settings",
        summary=f"Read what {level.article} sets",
        response_model_exclude_unset=True,
        responses={**TAGGED, **READ},
    )
    async def get_settings(
        caller: Caller, office: Desks, owner: Annotated[str, level.id_in_path()], response: Response
    ) -> SettingsAnswer:
        """Only what it sets itself; see `…/effective` for what is in force."""
        return _shown(response, await settings.get(office, caller, level.name, owner))

    @router.put(
        path,
        operation_id=f"replace_{level.name}_settings",
        summary=f"Replace what {level.article} sets",
        response_model_exclude_unset=True,
        responses={**TAGGED, **CHANGE},
    )
    async def replace_settings(
        caller: Caller,
        office: Desks,
        owner: Annotated[str, level.id_in_path()],
        revision: Revision,
        body: Settings,
        response: Response,
    ) -> SettingsAnswer:
        """What the document leaves out is not set any more."""
        document = body.model_dump(exclude_unset=True)
        found = await settings.replace(
            office, caller, level.name, owner, document, revision=revision
        )
        return _shown(response, found)

    @router.patch(
        path,
        operation_id=f"update_{level.name}_settings",
        summary=f"Change what {level.article} sets",
        response_model_exclude_unset=True,
        responses={**TAGGED, **CHANGE},
    )
    async def update_settings(
        caller: Caller,
        office: Desks,
        owner: Annotated[str, level.id_in_path()],
        revision: Revision,
        body: SettingsPatch,
        response: Response,
    ) -> SettingsAnswer:
        """A JSON merge patch (RFC 7396): null takes away, what is absent stays."""
        change = body.model_dump(exclude_unset=True)
        found = await settings.patch(office, caller, level.name, owner, change, revision=revision)
        return _shown(response, found)

    @router.get(
        f"{path}/effective",
        operation_id=f"get_{level.name}_effective_settings",
        summary=f"Read what is in force for {level.article}",
        responses=READ,
    )
    async def get_effective(
        caller: Caller, office: Desks, owner: Annotated[str, level.id_in_path()]
    ) -> EffectiveAnswer:
        """Its settings with those of the levels above it, demands, budgets, and where each came from."""
        return _effective(await settings.effective(office, caller, level.name, owner))


for _level in LEVELS:
    _add(_level)


def _shown(response: Response, found: Level) -> SettingsAnswer:
    tag(response, found.revision)
    whole: dict[str, Any] = msgspec.to_builtins(found)
    return SettingsAnswer.model_validate(
        {**whole, "settings": Settings.model_validate_json(msgspec.json.encode(found.settings))}
    )


def _effective(found: Effective) -> EffectiveAnswer:
    whole: dict[str, Any] = msgspec.to_builtins(found)
    return EffectiveAnswer.model_validate(whole)
