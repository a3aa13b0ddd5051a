"""From settings and catalogue to candidates."""

import datetime as dt

from backends import Deadlines, Endpoint, Secret, profile_of
from gateway.errors import ConfigurationError
from gateway.settings import Settings
from gateway.settings_upstream import EndpointSettings, ProviderSettings, TimeoutSettings
from gateway.values import Candidate
from pricing import Catalogue, own_card


def candidates_from(
    settings: Settings, catalogue: Catalogue, today: dt.date
) -> tuple[Candidate, ...]:
    """Every endpoint that the settings name, with its price on a day.

    Raises:
        ConfigurationError: a provider has nothing to serve, or ids collide.
    """
    faults: list[str] = []
    found: list[Candidate] = []
    for position, provider in enumerate(settings.providers):
        served = _known(provider, catalogue, today, settings.request.total_timeout)
        missing = set(provider.models or ()) - {candidate.model for candidate in served}
        faults += [
            f"providers[{position}].models: {provider.kind} does not list {model!r}"
            for model in sorted(missing)
        ]
        found += served
    found += [_own(row, settings.request.total_timeout) for row in settings.endpoints]
    ids = [candidate.endpoint.id for candidate in found]
    faults += [
        f"endpoint id {name!r} is there more than once"
        for name in sorted({name for name in ids if ids.count(name) > 1})
    ]
    if faults:
        raise ConfigurationError(faults)
    return tuple(found)


def _known(
    provider: ProviderSettings, catalogue: Catalogue, today: dt.date, total: float
) -> list[Candidate]:
    name = provider.name or provider.kind
    found = []
    for offer in catalogue.offers(provider.kind, today):
        if provider.models is not None and offer.model not in provider.models:
            continue
        endpoint = Endpoint(
            id=f"{name}/{offer.provider_model_id}",
            provider=name,
            kind=provider.kind,
            base_url=provider.address,
            model=offer.provider_model_id,
            api_key=Secret(provider.api_key.get_secret_value()),
            deadlines=_deadlines(provider.timeouts, total),
            max_connections=provider.max_connections,
            max_output=offer.max_output,
            sandbox=provider.sandbox,
            profile=profile_of(offer.model),
            account=name,
        )
        candidate = Candidate(
            endpoint=endpoint,
            model=offer.model,
            card=offer.card,
            context_length=offer.context_length,
            max_output=offer.max_output,
            default_output=min(offer.default_output, offer.max_output),
        )
        found.append(candidate)
    return found


def _own(row: EndpointSettings, total: float) -> Candidate:
    prices = {
        name: value
        for name in ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
        if (value := getattr(row.price, name)) is not None
    }
    endpoint = Endpoint(
        id=row.id,
        provider=row.provider,
        kind=row.kind,
        base_url=row.base_url,
        model=row.model,
        api_key=None if row.api_key is None else Secret(row.api_key.get_secret_value()),
        deadlines=_deadlines(row.timeouts, total),
        max_connections=row.max_connections,
        max_output=row.max_output,
        extra_fields=frozenset(row.extra_fields),
        cache_isolation=row.cache_isolation,
        native_non_stream=row.native_non_stream,
        sandbox=row.sandbox,
        profile=profile_of(row.serves),
        account=row.id,
    )
    return Candidate(
        endpoint=endpoint,
        model=row.serves,
        card=own_card(
            provider=row.provider, model=row.serves, prices=prices, currency=row.price.currency
        ),
        context_length=row.context_length,
        max_output=row.max_output,
        default_output=min(row.default_output or row.max_output, row.max_output),
    )


def _deadlines(timeouts: TimeoutSettings, total: float) -> Deadlines:
    return Deadlines(timeouts.connect, timeouts.first_byte, timeouts.idle, total)
