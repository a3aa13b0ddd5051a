"""Which level each part of a caller's settings came from: for those who look after them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from gateway.policies.levels import Level, compile_levels
from gateway.values import MaxPrice, Preferences

_DECIMALS = {"prompt": 6, "completion": 6, "request": 12}  # as in `gateway.wire.preferences`


class Source(Struct, frozen=True):
    """A level: its scope and id."""

    scope: str
    id: str


class Effective(Struct, frozen=True):
    """One value that holds for a caller, and the levels that it came from.

    Attributes:
        field: its path in the settings, such as `provider.max_price.prompt` or `presets.code`.
        value: as it stands in JSON.
        sources: the levels that make it what it is, the widest first.
    """

    field: str
    value: Any
    sources: tuple[Source, ...]


def provenance(
    levels: Sequence[Level], resolve: Callable[[str], str | None] | None = None
) -> tuple[Effective, ...]:
    """Every value that holds, in the order of the settings' fields; each limit is one.

    Args:
        levels: the widest first, as for `compile_levels`.
        resolve: the canonical model that a name means: then models that two levels name differently are
            known to be the same one. Without it names are compared as they stand.
    """
    access = compile_levels(levels).access
    same = resolve or (lambda name: name)
    found = [*_models(levels, lambda name: same(name) or name)]
    found += _provider(levels, access.preferences)
    if access.default_model is not None:
        nearest = [level for level in levels if level.settings.default_model]
        found.append(Effective("default_model", access.default_model, _sources(nearest[-1:])))
    for preset in access.presets:
        owner = [level for level in levels if preset.slug in level.settings.presets][-1]
        value = msgspec.to_builtins(owner.settings.presets[preset.slug])
        found.append(Effective(f"presets.{preset.slug}", value, _sources([owner])))
    found += [
        Effective("limits", msgspec.to_builtins(limit), _sources([level]))
        for level in levels
        for limit in level.settings.limits
    ]
    return tuple(found)


def _sources(levels: Iterable[Level]) -> tuple[Source, ...]:
    return tuple([Source(level.scope, level.id) for level in levels])


def _models(levels: Sequence[Level], same: Callable[[str], str]) -> Iterable[Effective]:
    naming = [level for level in levels if level.settings.models is not None]
    if naming:
        lists = [list(map(same, level.settings.models or ())) for level in naming]
        allowed = [name for name in dict.fromkeys(lists[-1]) if all(name in one for one in lists)]
        yield Effective("models", allowed, _sources(naming))
    ignoring = [level for level in levels if level.settings.ignored_models]
    if ignoring:
        names = [same(name) for level in ignoring for name in level.settings.ignored_models]
        yield Effective("ignored_models", list(dict.fromkeys(names)), _sources(ignoring))


def _provider(levels: Sequence[Level], together: Preferences) -> Iterable[Effective]:
    own = [(level, _own(level)) for level in levels]

    def of(*wanting: Level) -> tuple[Source, ...]:
        return _sources(wanting)

    if together.require_parameters:
        asking = [level for level, wanted in own if wanted.require_parameters]
        yield Effective("provider.require_parameters", True, of(*asking))
    for name in ("only", "ignore"):
        if slugs := getattr(together, name):
            asking = [level for level, wanted in own if getattr(wanted, name)]
            yield Effective(f"provider.{name}", list(slugs), of(*asking))
        elif slugs is not None and name == "only":
            asking = [level for level, wanted in own if wanted.only is not None]
            yield Effective("provider.only", [], of(*asking))
    most = together.max_price or MaxPrice()
    for part, decimals in _DECIMALS.items():
        price = getattr(most, part)
        if price is not None:
            asking = [level for level, wanted in own if _price(wanted, part) == price]
            yield Effective(f"provider.max_price.{part}", _decimal(price, decimals), of(*asking))
    if not together.fallbacks:
        asking = [level for level, wanted in own if not wanted.fallbacks]
        yield Effective("provider.allow_fallbacks", False, of(*asking))


def _own(level: Level) -> Preferences:
    return compile_levels([level]).access.preferences


def _price(wanted: Preferences, part: str) -> int | None:
    price: int | None = None if wanted.max_price is None else getattr(wanted.max_price, part)
    return price


def _decimal(value: int, decimals: int) -> str:
    whole, part = divmod(value, 10**decimals)
    return f"{whole}.{part:0{decimals}d}".rstrip("0").rstrip(".")
