"""What a request leaves unsaid, from its caller's levels: the default model, and a preset's parts.

A request that names neither a preset nor no model never comes here.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from gateway.errors import InvalidRequest, NotFound
from gateway.values import NO_PREFERENCES, Preset, Principal
from gateway.wire import presets
from gateway.wire.preferences import tightened
from gateway.wire.request import ChatRequest, missing_model

_MOST_TOLD = 20


def completed(request: ChatRequest, principal: Principal) -> ChatRequest:
    """The request with its model, and with what its preset adds.

    A model that the request names wins over the preset's, and that one over the level's default.

    Raises:
        InvalidRequest: no model is named anywhere, two presets are, or the preset does not go with it.
        NotFound: there is no preset of that name.
    """
    access = principal.access
    model, slug = presets.split(request.model)
    if slug is not None and request.preset is not None and slug != request.preset:
        raise InvalidRequest(
            f"'model' names the preset {slug[:64]!r} and 'preset' {request.preset[:64]!r}: send one",
            param="preset",
            code="conflicting_parameters",
        )
    if slug is None:
        slug = request.preset
    preset = None
    if slug is not None:
        preset = _preset(access.presets, slug, "model" if request.preset is None else "preset")
        model = model or preset.model or ""
    model = model or access.default_model or ""
    if not model:
        raise missing_model()
    request = replace(request, model=model)
    if preset is None:
        return request
    request = presets.applied(request, preset)
    if preset.preferences is not NO_PREFERENCES:
        request = replace(request, preferences=tightened(preset.preferences, request.preferences))
    return request


def _preset(known: Sequence[Preset], slug: str, param: str) -> Preset:
    for preset in known:
        if preset.slug == slug:
            return preset
    there = ", ".join([preset.slug for preset in known[:_MOST_TOLD]])
    told = f"those that this key has are: {there}" if there else "this key has none"
    raise NotFound(
        f"there is no preset {slug[:64]!r}; {told}", code="preset_not_found", param=param
    )
