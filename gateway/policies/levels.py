"""The settings of a level: an organisation, a team, a member or a key.

    levels, widest first → what they mean together, and which level each part of it came from

How they are put together: lists of what is allowed intersect, lists of what is not unite, prices take the
lowest, demands are never taken back; of what is only preferred (the default model, a preset of one name)
the nearest level's counts. Limits of all levels hold side by side. So a level can only narrow what the
others allow: adding one never widens anything.

What is allowed is kept as one rule for each level, and all of them must hold: that is the intersection,
also where one level names a model by its alias and another by its slug, and a refusal can say whose rule
it was.

Privacy (`zdr`, `data_collection`) and budgets are kept apart from this document: the first as columns, the
second as rows of their own.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from gateway.errors import InvalidRequest
from gateway.values import (
    ANY_ACCESS,
    NO_PREFERENCES,
    Access,
    AccessRule,
    LimitRule,
    Preferences,
    Preset,
)
from gateway.wire import presets
from gateway.wire.preferences import preferences_of, tightened

_MOST_BYTES = 65_536
_MOST_NAMES = 500
_MOST_PRESETS = 100
_MOST_LIMITS = 20
_LONGEST_NAME = 256
_LONGEST_SYSTEM = 32_768
# Of lists and objects in one another: far fewer than what any reader of stored settings gives up at.
_DEEPEST = 64
_MOST: Mapping[str, int] = {"requests": 10**9, "tokens": 10**12, "concurrency": 10**6}
_SECONDS: Mapping[str | None, int] = {"minute": 60, "day": 86_400, None: 0}
_PRIVATE = frozenset({"zdr", "data_collection"})
_is_slug = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}").fullmatch
_place = re.compile(r"(.*) - at `\$\.?(.*)`").fullmatch
_REMEMBERED = 16_384


class LimitSettings(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One limit: `amount` of `what`, `per` minute or day; concurrency has no period.

    `each`: what has a count of its own; without it all that the level covers share one.
    """

    what: Literal["requests", "tokens", "concurrency"]
    amount: int
    per: Literal["minute", "day"] | None = None
    each: Literal["member", "key", "end_user", "model"] | None = None


class PresetSettings(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A request's parts under a name; `parameters` are OpenAI's fields, `provider` as in a request."""

    model: str | None = None
    system: str | None = None
    provider: dict[str, Any] | None = None
    parameters: dict[str, Any] = {}
    description: str | None = None


class LevelSettings(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one level sets; what is not set is left to the others.

    Attributes:
        models: those that may be used, by canonical slug or alias; None: any.
        ignored_models: those that may not.
        provider: OpenRouter's `provider` object, as far as requests may have it; but for privacy.
        default_model: for requests that name none.
        presets: by slug.
        limits: on requests, tokens and concurrency.
    """

    models: tuple[str, ...] | None = None
    ignored_models: tuple[str, ...] = ()
    provider: dict[str, Any] | None = None
    default_model: str | None = None
    presets: dict[str, PresetSettings] = {}
    limits: tuple[LimitSettings, ...] = ()


NO_SETTINGS = LevelSettings()
encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(LevelSettings).decode


class Level(Struct, frozen=True):
    """A level with its settings. `scope` is "organisation", "team", "member" or "key"."""

    scope: str
    id: str
    settings: LevelSettings = NO_SETTINGS


class Compiled(Struct, frozen=True):
    """What a caller's levels mean together; of levels that are equal, the very same objects."""

    access: Access = ANY_ACCESS
    limits: tuple[LimitRule, ...] = ()


NOTHING_SET = Compiled()


# Reading


def parse(document: bytes | str | Mapping[str, Any]) -> LevelSettings:
    """The settings of one level, as an administrator wrote them or as they are stored.

    Raises:
        InvalidRequest: they cannot be; code invalid_settings, and `param` is the path of what is at
            fault, such as `limits[1].amount`.
    """
    settings = _read(document)
    if settings == NO_SETTINGS:
        return NO_SETTINGS
    if len(encode(settings)) > _MOST_BYTES:
        raise _invalid("", f"the settings of a level may have at most {_MOST_BYTES} bytes of JSON")
    _check_names(settings.models or (), "models")
    _check_names(settings.ignored_models, "ignored_models")
    if settings.default_model is not None:
        _check_name(settings.default_model, "default_model")
    _preferences(settings.provider, "provider", refused=_PRIVATE)
    if len(settings.presets) > _MOST_PRESETS:
        raise _invalid("presets", f"a level may have at most {_MOST_PRESETS} presets")
    for slug, preset in settings.presets.items():
        _check_preset(slug, preset)
    _check_limits(settings.limits)
    return settings


def _read(document: bytes | str | Mapping[str, Any]) -> LevelSettings:
    try:
        settings = _decode(document if isinstance(document, bytes | str) else _as_json(document))
    except msgspec.ValidationError as error:
        found = _place(str(error))
        what, path = (found[1], found[2]) if found else (str(error), "")
        unknown = re.search(r"unknown field `(.*)`", what)
        if unknown is not None:
            path = f"{path}.{unknown[1]}".lstrip(".")
            raise _invalid(path, "is an unknown field; remove it, or see how it is spelt") from None
        words = what.replace("`", "'").replace("'array'", "a list").replace("'object'", "an object")
        raise _invalid(path, words) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _invalid("", "settings must be a JSON object") from None
    for slug, preset in settings.presets.items():
        _check_depth(preset.provider, f"presets.{slug}.provider")
        _check_depth(preset.parameters, f"presets.{slug}.parameters")
    _check_depth(settings.provider, "provider")
    return settings


def _as_json(document: Mapping[str, Any]) -> str:
    """What YAML or Python's reader of JSON made, as JSON that anybody can read.

    Both know numbers that are none, such as NaN: written as null, a highest price would demand nothing.
    """
    try:
        return json.dumps(dict(document), allow_nan=False)
    except (TypeError, ValueError):
        raise _invalid(
            "",
            "settings must be what JSON can hold: texts, finite numbers, true, false, null, lists and"
            " objects",
        ) from None


def _check_depth(value: object, path: str) -> None:
    level = [value]
    for _ in range(_DEEPEST):
        inner: list[object] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
        if not inner:
            return
        level = inner
    raise _invalid(
        path[:_LONGEST_NAME], f"has lists or objects in one another more than {_DEEPEST} deep"
    )


def _invalid(path: str, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"'{path}': {why}" if path else why, code="invalid_settings", param=path or None
    )


def _check_names(names: Sequence[str], path: str) -> None:
    if len(names) > _MOST_NAMES:
        raise _invalid(path, f"at most {_MOST_NAMES} models may be named")
    for place, name in enumerate(names):
        _check_name(name, f"{path}[{place}]")


def _check_name(name: str, path: str) -> None:
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise _invalid(
            path,
            f"must be a model as requests name it, of 1 to {_LONGEST_NAME} printable characters",
        )
    if presets.MARK in name:
        raise _invalid(path, "must name a model and no preset")


def _preferences(
    provider: Mapping[str, Any] | None, path: str, refused: frozenset[str] = frozenset()
) -> Preferences:
    """What a `provider` object asks of endpoints."""
    if provider is None:
        return NO_PREFERENCES
    for name in sorted(refused & provider.keys()):
        raise _invalid(
            f"{path}.{name}",
            "is not set here: what a level demands of data policies is set by its own fields 'zdr'"
            " and 'data_collection', beside its settings",
        )
    try:
        return preferences_of({"provider": Raw(encode(provider))})
    except InvalidRequest as error:
        inner = (error.param or "provider").partition(".")[2]
        where = f"{path}.{inner}" if inner else path
        raise _invalid(where, error.message) from None


def _check_preset(slug: str, preset: PresetSettings) -> None:
    path = f"presets.{slug}"
    if not _is_slug(slug):
        raise _invalid(
            path[:_LONGEST_NAME],
            "a preset's name must be 1 to 64 of a-z, 0-9, '.', '_' and '-', with a letter or digit"
            " first",
        )
    if preset.model is not None:
        _check_name(preset.model, f"{path}.model")
    if preset.system is not None and not 0 < len(preset.system) <= _LONGEST_SYSTEM:
        raise _invalid(f"{path}.system", f"must have 1 to {_LONGEST_SYSTEM} characters")
    _preferences(preset.provider, f"{path}.provider")
    try:
        presets.check(_preset(slug, preset))
    except InvalidRequest as error:
        raise _invalid(f"{path}.parameters.{error.param}", error.message) from None


def _check_limits(limits: Sequence[LimitSettings]) -> None:
    if len(limits) > _MOST_LIMITS:
        raise _invalid("limits", f"a level may have at most {_MOST_LIMITS} limits")
    seen: dict[tuple[str, str | None, str | None], int] = {}
    for place, limit in enumerate(limits):
        path = f"limits[{place}]"
        if not 0 <= limit.amount <= _MOST[limit.what]:
            raise _invalid(
                f"{path}.amount",
                f"{limit.what} may be limited to 0 up to {_MOST[limit.what]}, not {limit.amount}",
            )
        if limit.what == "concurrency" and limit.per is not None:
            raise _invalid(
                f"{path}.per", "concurrency is counted at every moment and has no period; remove it"
            )
        if limit.what != "concurrency" and limit.per is None:
            raise _invalid(f"{path}.per", "must be 'minute' or 'day'")
        first = seen.setdefault((limit.what, limit.per, limit.each), place)
        if first != place:
            raise _invalid(
                path,
                f"limits the same as limits[{first}]; keep one of the two (they differ only in amount)",
            )


# Putting together


def compile_levels(levels: Sequence[Level]) -> Compiled:
    """What a caller's levels mean together.

    Args:
        levels: the widest first: organisation, team, member, key; those that there are. Their settings
            have passed `parse`.
    """
    said = [level for level in levels if level.settings is not NO_SETTINGS]
    if not said:
        return NOTHING_SET
    access = _access(tuple([(level.scope, _without_limits(level.settings)) for level in said]))
    limits = tuple(
        [(one.scope, one.id, one.settings.limits) for one in said if one.settings.limits]
    )
    return Compiled(access, _limits(limits) if limits else ())


def _without_limits(settings: LevelSettings) -> bytes:
    return encode(msgspec.structs.replace(settings, limits=()))


@lru_cache(maxsize=_REMEMBERED)
def _access(said: tuple[tuple[str, bytes], ...]) -> Access:
    """By the levels' settings as JSON: keys of a team that add nothing of their own share one."""
    rules: list[AccessRule] = []
    found: dict[str, Preset] = {}
    preferences, default_model = NO_PREFERENCES, None
    for scope, document in said:
        settings = _decode(document)
        wanted = _preferences(settings.provider, "provider")
        rule = AccessRule(scope, settings.models, settings.ignored_models, wanted)
        if rule != AccessRule(scope):
            rules.append(rule)
        preferences = tightened(preferences, wanted)
        default_model = settings.default_model or default_model
        found |= {slug: _preset(slug, preset) for slug, preset in settings.presets.items()}
    ordered = tuple([found[slug] for slug in sorted(found)])
    access = Access(tuple(rules), preferences, default_model, ordered)
    return ANY_ACCESS if access == ANY_ACCESS else access


def _preset(slug: str, settings: PresetSettings) -> Preset:
    return Preset(
        slug=slug,
        model=settings.model,
        preferences=_preferences(settings.provider, f"presets.{slug}.provider"),
        system=settings.system,
        fields=tuple(
            [(name, encode(value)) for name, value in sorted(settings.parameters.items())]
        ),
    )


@lru_cache(maxsize=_REMEMBERED)
def _limits(
    said: tuple[tuple[str, str, tuple[LimitSettings, ...]], ...],
) -> tuple[LimitRule, ...]:
    return tuple([rule for scope, owner, limits in said for rule in _rules(scope, owner, limits)])


@lru_cache(maxsize=_REMEMBERED)
def _rules(scope: str, owner: str, limits: tuple[LimitSettings, ...]) -> tuple[LimitRule, ...]:
    return tuple(
        [
            LimitRule(
                id=":".join(filter(None, ("lim", owner, limit.what, limit.per, limit.each))),
                scope=scope,
                what=limit.what,
                amount=limit.amount,
                period=_SECONDS[limit.per],
                each=limit.each or "",
            )
            for limit in limits
        ]
    )
