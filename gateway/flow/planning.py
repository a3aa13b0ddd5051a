"""The third step of a request: from the model that is asked for to the plan of where it may go.

    model → candidates → those that its policies allow → those that can serve it, in order

What policies leave out never comes back: neither another order nor the lack of anything else brings
an endpoint into a plan that `_permitted` has left out.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from backends import UNASKED
from gateway.errors import Forbidden, GatewayError, NotFound
from gateway.flow.dialects import Dialect
from gateway.policies import data_policy
from gateway.policies.data_policy import Demand
from gateway.routing.candidates import Book
from gateway.routing.plan import Needs, Parameters, plan
from gateway.services import Services
from gateway.values import (
    ANY_ACCESS,
    NO_PREFERENCES,
    AccessRule,
    Candidate,
    Exclusion,
    Plan,
    Preferences,
    Principal,
)
from gateway.wire.media import NO_MEDIA, Media, media_of
from gateway.wire.request import ChatRequest

_MOST_TOLD = 20  # models or endpoints that a message goes through; the metadata have all endpoints

# What in a request to change where the only reason is this one, by neutral names.
_CONSTRAINTS: Mapping[str, str] = {
    "context_length": "messages",
    "modality": "messages",
    "remote_media": "messages",
    "max_output": "max_tokens",
    "multiple_choices": "n",
    "web_search": "tools",
    "require_parameters": "provider.require_parameters",
    "allowed_providers": "provider.only",
    "ignored_providers": "provider.ignore",
    "max_price": "provider.max_price",
    data_policy.ZDR: "provider.zdr",
    data_policy.TRAINING: "provider.data_collection",
}
_ADVICE: Mapping[str, str] = {
    "context_length": "the prompt is longer than the context of the model there: shorten it",
    "max_output": "they write less than is asked for: lower the output cap",
    "multiple_choices": "they offer one answer to a request: ask for one",
    "remote_media": "they fetch no media from public URLs, and neither does the gateway: send the media"
    " themselves, as data: URLs",
    "web_search": "they do not run '$web_search', or what a search costs there is not known: take it out of"
    " 'tools', or run a search of your own as a function",
    "unpriced": "their prices are not known",
    "ignored_providers": "'provider.ignore' names them",
    "max_price": "they charge more than 'provider.max_price', or what they charge cannot be held"
    " against it: raise it",
    "budget_currency": "they are priced in another currency than the budget",
}


def plan_of(
    services: Services, request: ChatRequest, principal: Principal, dialect: Dialect
) -> Plan:
    """Where a request may go. `dialect` is the caller's: errors have its names for fields.

    Raises:
        NotFound: the model is not served here, no endpoint may see the request, or none fits; the
            metadata says why.
    """
    book = services.book()
    model = book.resolve(request.model)
    if model is None:
        raise _unknown_model(book, request.model, principal)
    budgets = principal.budgets
    preferences = request.preferences
    max_attempts = services.settings.request.max_attempts
    view = None
    if principal.access is not ANY_ACCESS:
        view = book.view(principal.access, model, max_attempts)
        if view.forbidden_by is not None:
            raise _forbidden(book, model, view.forbidden_by, principal)
        preferences = _with_levels(preferences, principal.access.preferences)
    needs = Needs(
        request.prompt_bytes,
        request.max_tokens,
        request.choices,
        budgets[0].currency if budgets else None,
        _media(request),
    )
    demand = data_policy.demanded(principal, preferences)
    if preferences is not NO_PREFERENCES:
        needs = replace(needs, preferences=preferences)
        if preferences.require_parameters:
            zdr = demand is not None and demand.zdr
            needs = replace(needs, parameters=Parameters(request.fields, request.mode, zdr))
    if request.searches:
        needs = replace(needs, searches=True)
    if request.mode is not UNASKED:
        needs = replace(needs, mode=request.mode)
    health = services.breaker.snapshot()
    if not (health or demand):
        usual = book.usual(model, max_attempts) if view is None else view.usual
        if usual is not None and usual.fits(needs):
            return usual.plan
    candidates = book.candidates(model)
    forbidden: tuple[Exclusion, ...] = ()
    if view is not None:
        candidates, forbidden = view.candidates, view.excluded
    if demand is not None:
        day = dt.datetime.fromtimestamp(services.clock.now(), dt.UTC).date()
        candidates, unseen = _permitted(
            request, model, candidates, forbidden, demand=demand, day=day
        )
        forbidden = (*forbidden, *unseen)
    planned = plan(
        model,
        candidates,
        needs,
        health,
        now=services.clock.monotonic(),
        max_attempts=max_attempts,
    )
    if forbidden:
        planned = Plan(model, planned.entries, (*forbidden, *planned.excluded))
    if not planned.entries:
        planned = _attributed(planned, request, principal)
        raise _nothing_fits(book, request, planned, needs.media, dialect.field_names)
    return planned


def _with_levels(preferences: Preferences, levels: Preferences) -> Preferences:
    """What of the levels' preferences is for the plan: their endpoints are chosen already."""
    if not levels.require_parameters and levels.fallbacks:
        return preferences
    return replace(
        preferences,
        require_parameters=preferences.require_parameters or levels.require_parameters,
        fallbacks=preferences.fallbacks and levels.fallbacks,
    )


def _forbidden(book: Book, model: str, rule: AccessRule, principal: Principal) -> GatewayError:
    usable = _usable(book, principal)
    told = f"those that it may use are: {usable}" if usable else "it may use none"
    return Forbidden(
        f"this key may not use the model {model}: the settings of its {rule.scope} do not allow it;"
        f" {told}",
        code="model_not_allowed",
        param="model",
        metadata={"model": model, "level": rule.scope},
    )


def _usable(book: Book, principal: Principal) -> str:
    return ", ".join(sorted(book.permitted(principal.access))[:_MOST_TOLD])


def _media(request: ChatRequest) -> Media:
    """The media of a request; looked for only where it has a list that could be of content parts."""
    if request.media is not None:
        return request.media
    return media_of(request.fields["messages"]) if request.parts else NO_MEDIA


def _permitted(
    request: ChatRequest,
    model: str,
    candidates: tuple[Candidate, ...],
    forbidden: tuple[Exclusion, ...],
    *,
    demand: Demand,
    day: dt.date,
) -> tuple[tuple[Candidate, ...], tuple[Exclusion, ...]]:
    """What the data policies of caller and request leave of the candidates, and why not the rest.

    `forbidden`: what levels have left out before.

    Raises:
        NotFound: nothing; privacy_restricted.
    """
    kept, excluded = data_policy.allowed(
        candidates, zdr=demand.zdr, no_training=demand.no_training, day=day
    )
    if not kept and candidates:
        error = data_policy.restricted(model, candidates, excluded, demand=demand, day=day)
        error.availability = availability(request.model, excluded)
        if forbidden and error.metadata is not None:
            error.metadata["excluded"] += [_row(exclusion, {}) for exclusion in forbidden]
            levels = dict.fromkeys(exclusion.level for exclusion in forbidden)
            error.message += f"; other endpoints are left out by the settings of {_listed(levels)}"
        raise error
    return kept, excluded


def _unknown_model(book: Book, name: str, principal: Principal) -> GatewayError:
    served = _usable(book, principal)
    return NotFound(
        f"the model {name!r} is not served here; GET /v1/models lists those that are: {served}",
        code="model_not_found",
        param="model",
        availability=availability(name, (), code="model_not_found"),
    )


def _nothing_fits(
    book: Book,
    request: ChatRequest,
    planned: Plan,
    media: Media,
    named: Mapping[str, str],
) -> GatewayError:
    """What to tell a caller whose request fits no endpoint: for each why, and what to change."""
    excluded = planned.excluded
    reasons = sorted({exclusion.reason for exclusion in excluded})
    told = [_told(reason, book, planned, media, named) for reason in reasons]
    rows = [_row(exclusion, named) for exclusion in excluded]
    constraint = None
    set_by_level = any(exclusion.level for exclusion in excluded)
    if len(reasons) == 1 and reasons[0] in _CONSTRAINTS and not set_by_level:
        field = _CONSTRAINTS[reasons[0]]
        constraint = {"field": named.get(field, field), "detail": told[0]}
    return NotFound(
        f"no endpoint of {planned.model} fits this request; left out for: {'; '.join(told)}",
        code="no_endpoint",
        metadata={"excluded": rows},
        availability=availability(request.model, excluded, constraint=constraint),
    )


def _row(exclusion: Exclusion, named: Mapping[str, str]) -> dict[str, Any]:
    """An endpoint that was left out, for an error's metadata."""
    row: dict[str, Any] = {"endpoint": exclusion.endpoint_id, "reason": exclusion.reason}
    if exclusion.parameters:
        row["parameters"] = [named.get(name, name) for name in exclusion.parameters]
    if exclusion.level:
        row["level"] = exclusion.level
    return row


def _attributed(planned: Plan, request: ChatRequest, principal: Principal) -> Plan:
    """The same, where a level and not the request asks that all parameters be taken."""
    if request.preferences.require_parameters:
        return planned
    rules = principal.access.rules
    level = next((rule.scope for rule in rules if rule.preferences.require_parameters), "")
    return replace(
        planned,
        excluded=tuple(
            [
                replace(one, level=level) if one.reason == "require_parameters" else one
                for one in planned.excluded
            ]
        ),
    )


def _listed(scopes: Iterable[str]) -> str:
    """Levels in words, such as "the organisation and the team"."""
    return " and ".join([f"the {scope}" for scope in scopes])


def _told(reason: str, book: Book, planned: Plan, media: Media, named: Mapping[str, str]) -> str:
    """One reason in words, its name first; and whose it is, where it is not the request's."""
    told = _in_words(reason, book, planned, media, named)
    scopes = dict.fromkeys([o.level for o in planned.excluded if o.reason == reason and o.level])
    return f"{told}, by the settings of {_listed(scopes)}" if scopes else told


def _in_words(
    reason: str, book: Book, planned: Plan, media: Media, named: Mapping[str, str]
) -> str:
    if reason == "require_parameters":
        lacking = [
            f"{one.endpoint_id} does not take {', '.join(named.get(n, n) for n in one.parameters)}"
            for one in planned.excluded
            if one.parameters
        ]
        return f"{reason} ({', '.join(lacking[:_MOST_TOLD])})"
    if reason == "allowed_providers":
        served = sorted({c.endpoint.provider for c in book.candidates(planned.model)})
        return f"{reason} ('provider.only' does not name them; served by {', '.join(served[:_MOST_TOLD])})"
    if reason == "modality":
        return f"{reason} ({_modality(book, planned.model, media)})"
    return f"{reason} ({_ADVICE[reason]})" if reason in _ADVICE else reason


def _modality(book: Book, model: str, media: Media) -> str:
    read = _inputs(book.candidates(model))
    others = [
        name
        for name, found in book.models.items()
        if name != model and media.kinds <= _inputs(found)
    ]
    able = (
        f"models here that do: {', '.join(others[:_MOST_TOLD])}" if others else "no model here does"
    )
    return f"the model reads {_words(read)}, and not {_words(media.kinds - read)}; {able}"


def _inputs(candidates: Sequence[Candidate]) -> frozenset[str]:
    return frozenset[str]().union(*[candidate.endpoint.profile.inputs for candidate in candidates])


def _words(kinds: frozenset[str]) -> str:
    return ", ".join(sorted(kinds))


def availability(
    model: str,
    excluded: Sequence[Exclusion],
    *,
    code: str | None = None,
    constraint: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """`error.availability`, as OpenRouter's errors have it since 2026-08-19.

    Args:
        model: the name that the caller asked for.
        excluded: the endpoints that were left out.
        code: the contract's word for the case, where it is not one of those that follow from `excluded`.
        constraint: the field at fault, and what is wrong with it.
    """
    reasons = sorted({exclusion.reason for exclusion in excluded})
    if code is None:
        private = {data_policy.ZDR, data_policy.TRAINING}
        if reasons and private.issuperset(reasons):
            code = "privacy_restricted"
        elif reasons and not _CONSTRAINTS.keys().isdisjoint(reasons):
            code = "constraint_filtered"
        else:
            code = "no_endpoints"
    told: dict[str, Any] = {"code": code, "retryable": False, "requested_models": [model]}
    if reasons:
        told["excluded_by"] = reasons
    if constraint is not None:
        told["constraint"] = constraint
    return told
