"""From settings and catalogue to candidates."""

import datetime as dt

from backends import KINDS, Deadlines, Endpoint, profile_of
from gateway.errors import ConfigurationError
from gateway.routing.evidence import faults_of, policy_of
from gateway.settings import Settings
from gateway.settings_accounts import AccountSettings
from gateway.settings_upstream import EndpointSettings, ProviderSettings, TimeoutSettings
from gateway.values import Candidate
from pricing import Catalogue, Money, RateCard, own_card


def candidates_from(
    settings: Settings, catalogue: Catalogue, today: dt.date
) -> tuple[Candidate, ...]:
    """Every endpoint that the settings name, with its price on a day.

    Raises:
        ConfigurationError: a provider has nothing to serve, ids collide, or an endpoint leaves to the
            catalogue what that does not know.
    """
    faults: list[str] = []
    found: list[Candidate] = []
    accounts = settings.account_of_rows()
    for position, provider in enumerate(settings.providers):
        faults += faults_of(f"providers[{position}].data_policy", provider, today)
        account = accounts[f"providers[{position}]"]
        served = _known(provider, account, catalogue, today, settings.request.total_timeout)
        missing = set(provider.models or ()) - {candidate.model for candidate in served}
        faults += [
            f"providers[{position}].models: {provider.kind} does not list {model!r}"
            for model in sorted(missing)
        ]
        found += served
    for position, row in enumerate(settings.endpoints):
        faults += faults_of(f"endpoints[{position}].data_policy", row, today)
        missing_facts = _unknown(f"endpoints[{position}]", row, catalogue)
        faults += missing_facts
        if not missing_facts:
            account = accounts[f"endpoints[{position}]"]
            found.append(_own(row, account, catalogue, settings.request.total_timeout))
    ids = [candidate.endpoint.id for candidate in found]
    faults += [
        f"endpoint id {name!r} is there more than once"
        for name in sorted({name for name in ids if ids.count(name) > 1})
    ]
    if faults:
        raise ConfigurationError(faults)
    return tuple(found)


def _known(
    provider: ProviderSettings,
    account: AccountSettings,
    catalogue: Catalogue,
    today: dt.date,
    total: float,
) -> list[Candidate]:
    key, *spare = account.secrets()
    name = provider.name or provider.kind
    found = []
    kind = KINDS[provider.kind]
    for offer in catalogue.offers(kind.catalogue or provider.kind, today):
        if provider.models is not None and offer.model not in provider.models:
            continue
        endpoint = Endpoint(
            id=f"{name}/{offer.provider_model_id}",
            provider=name,
            kind=provider.kind,
            base_url=provider.address,
            model=offer.provider_model_id,
            api_key=key,
            spare_keys=tuple(spare),
            deadlines=_deadlines(provider.timeouts, total),
            max_connections=provider.max_connections,
            max_output=offer.max_output,
            sandbox=provider.sandbox,
            profile=profile_of(offer.model),
            account=account.name,
            local=provider.is_local,
            reaches=provider.only,
            max_price=_max_price(provider.kind, offer.card),
            thinking_switch=provider.thinking_switch,
        )
        candidate = Candidate(
            endpoint=endpoint,
            model=offer.model,
            card=offer.card,
            context_length=offer.context_length,
            max_output=offer.max_output,
            default_output=min(offer.default_output, offer.max_output),
            policy=policy_of(endpoint, provider.data_policy),
            cost_basis=_cost_basis(provider, offer.card),
        )
        found.append(candidate)
    return found


def _unknown(where: str, row: EndpointSettings, catalogue: Catalogue) -> list[str]:
    """What a row leaves to the catalogue, which does not have it: one line each."""
    model = _model(row, catalogue)
    if model is None:
        return [
            f"{where}.serves: is required: {row.model!r} is no name of a model in the catalogue"
        ]
    if row.context_length is None and catalogue.model(model) is None:
        return [f"{where}.context_length: is required: {model!r} is no model in the catalogue"]
    return []


def _model(row: EndpointSettings, catalogue: Catalogue) -> str | None:
    return catalogue.resolve(row.model) if row.serves is None else row.serves


def _own(
    row: EndpointSettings, account: AccountSettings, catalogue: Catalogue, total: float
) -> Candidate:
    model = _model(row, catalogue) or ""
    facts = catalogue.model(model)
    # Where nothing is stated of the host: what the model can take, and what it writes unasked.
    context = row.context_length or (facts.context_length if facts else 0)
    max_output = row.max_output or context
    usual = row.max_output or catalogue.default_output(model, max_output)
    secrets = account.secrets()
    prices = {
        name: value
        for name in ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
        if (value := getattr(row.price, name)) is not None
    }
    card = own_card(provider=row.provider, model=model, prices=prices, currency=row.price.currency)
    endpoint = Endpoint(
        id=row.id,
        provider=row.provider,
        kind=row.kind,
        base_url=row.address,
        model=row.model,
        api_key=secrets[0] if secrets else None,
        spare_keys=secrets[1:],
        deadlines=_deadlines(row.timeouts, total),
        max_connections=row.max_connections,
        max_output=max_output,
        extra_fields=frozenset(row.extra_fields),
        cache_isolation=row.cache_isolation,
        native_non_stream=row.native_non_stream,
        sandbox=row.sandbox,
        profile=profile_of(row.profile or model),
        account=account.name,
        local=row.is_local,
        reaches=row.only,
        max_price=_max_price(row.kind, card),
        thinking_switch=row.thinking_switch,
    )
    return Candidate(
        endpoint=endpoint,
        model=model,
        card=card,
        context_length=context,
        max_output=max_output,
        default_output=min(row.default_output or usual, max_output),
        policy=policy_of(endpoint, row.data_policy),
        cost_basis=_cost_basis(row, card),
    )


def _cost_basis(row: ProviderSettings | EndpointSettings, card: RateCard) -> str:
    if row.cost_basis is not None:
        return row.cost_basis
    # Such replies state dollars.
    reported = KINDS[row.kind].reports_cost and card.currency == "USD"
    return "provider_reported" if reported else "rate_card"


def _max_price(kind: str, card: RateCard) -> tuple[str, str] | None:
    """What the hosts of an aggregator may take at most, so that the hold, made by the card, covers it.

    Dollars per million tokens of prompt and of output.
    """
    if not KINDS[kind].quirks.aggregator or card.currency != "USD":
        return None
    prompt, output = (Money("USD", pico * 10**6) for pico in (card.input, card.output))
    return prompt.decimal_string(), output.decimal_string()


def _deadlines(timeouts: TimeoutSettings, total: float) -> Deadlines:
    return Deadlines(timeouts.connect, timeouts.first_byte, timeouts.idle, total)
