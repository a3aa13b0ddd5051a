"""The third step of a request: from the model that is asked for to the plan of where it may go.

    model → candidates → those that its policies allow → those that can serve it, in order

What policies leave out never comes back: neither another order nor the lack of anything else brings
an endpoint into a plan that `_permitted` has left out.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from backends import UNASKED
from gateway.errors import GatewayError, NotFound
from gateway.flow.dialects import Dialect
from gateway.policies import data_policy
from gateway.policies.data_policy import Demand
from gateway.routing.candidates import Book
from gateway.routing.plan import Needs, Parameters, plan
from gateway.services import Services
from gateway.values import NO_PREFERENCES, Candidate, Exclusion, Plan, Principal
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
        raise _unknown_model(book, request.model)
    budgets = principal.budgets
    preferences = request.preferences
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
    max_attempts = services.settings.request.max_attempts
    if not (health or demand):
        usual = book.usual(model, max_attempts)
        if usual.fits(needs):
            return usual.plan
    candidates = book.candidates(model)
    forbidden: tuple[Exclusion, ...] = ()
    if demand is not None:
        day = dt.datetime.fromtimestamp(services.clock.now(), dt.UTC).date()
        candidates, forbidden = _permitted(request, model, candidates, demand, day)
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
        raise _nothing_fits(book, request, planned, needs.media, dialect.field_names)
    return planned


def _media(request: ChatRequest) -> Media:
    """The media of a request; looked for only where it has a list that could be of content parts."""
    if request.media is not None:
        return request.media
    return media_of(request.fields["messages"]) if request.parts else NO_MEDIA


def _permitted(
    request: ChatRequest,
    model: str,
    candidates: tuple[Candidate, ...],
    demand: Demand,
    day: dt.date,
) -> tuple[tuple[Candidate, ...], tuple[Exclusion, ...]]:
    """What the data policies of caller and request leave of the candidates, and why not the rest.

    Raises:
        NotFound: nothing; privacy_restricted.
    """
    kept, excluded = data_policy.allowed(
        candidates, zdr=demand.zdr, no_training=demand.no_training, day=day
    )
    if not kept:
        error = data_policy.restricted(model, candidates, excluded, demand=demand, day=day)
        error.availability = availability(request.model, excluded)
        raise error
    return kept, excluded


def _unknown_model(book: Book, name: str) -> GatewayError:
    served = ", ".join(sorted(book.models)[:_MOST_TOLD])
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
    rows: list[dict[str, Any]] = []
    for exclusion in excluded:
        row: dict[str, Any] = {"endpoint": exclusion.endpoint_id, "reason": exclusion.reason}
        if exclusion.parameters:
            row["parameters"] = [named.get(name, name) for name in exclusion.parameters]
        rows.append(row)
    constraint = None
    if len(reasons) == 1 and reasons[0] in _CONSTRAINTS:
        field = _CONSTRAINTS[reasons[0]]
        constraint = {"field": named.get(field, field), "detail": told[0]}
    return NotFound(
        f"no endpoint of {planned.model} fits this request; left out for: {'; '.join(told)}",
        code="no_endpoint",
        metadata={"excluded": rows},
        availability=availability(request.model, excluded, constraint=constraint),
    )


def _told(reason: str, book: Book, planned: Plan, media: Media, named: Mapping[str, str]) -> str:
    """One reason in words, its name first."""
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
