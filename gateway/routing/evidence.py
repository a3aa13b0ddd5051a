"""What each endpoint does with what it is sent, as far as there is evidence.

What a provider has published counts at its own address only, and for an account with its usual terms;
what the settings state of one's own account there replaces it. `gateway.policies.data_policy` decides
by the result.
"""

import datetime as dt
from collections.abc import Mapping, Sequence

from msgspec import structs

from backends import KINDS, Endpoint, Origin
from gateway.settings_data_policy import DataPolicySettings, EvidenceSettings
from gateway.settings_upstream import EndpointSettings, ProviderSettings
from gateway.values import UNKNOWN_POLICY, DataPolicy


def policy_of(endpoint: Endpoint, stated: DataPolicySettings) -> DataPolicy:
    """What is known of an endpoint, with our credential there.

    An aggregator is as good as the worst host that it may reach, and unknown where it may reach any.
    """
    own = _policy(stated) if stated.states_facts else _published(endpoint)
    if not KINDS[endpoint.kind].quirks.aggregator:
        return own
    hosts = {name: _policy(host) for name, host in stated.hosts.items()}
    reached = {host: hosts.get(host, UNKNOWN_POLICY) for host in endpoint.reaches}
    return _worst(own, reached)


def faults_of(
    where: str, row: ProviderSettings | EndpointSettings, today: dt.date
) -> Sequence[str]:
    """What is wrong with what the settings state of a row's data policy, one line each."""
    stated = row.data_policy
    found = []
    if stated.hosts and not KINDS[row.kind].quirks.aggregator:
        found.append(f"{where}.hosts: kind {row.kind} passes requests on to nobody: remove it")
    else:
        found += [
            f"{where}.hosts.{name}: 'only' does not name this host: add it there, or remove it here"
            for name in stated.hosts
            if name not in row.only
        ]
    rows: list[tuple[str, EvidenceSettings]] = [(where, stated)]
    rows += [(f"{where}.hosts.{name}", host) for name, host in stated.hosts.items()]
    # A day's grace: the clock is UTC, and people write the date of where they are.
    found += [
        f"{place}.date: {evidence.date} is in the future"
        for place, evidence in rows
        if evidence.date is not None and evidence.date > today + dt.timedelta(days=1)
    ]
    return found


def _published(endpoint: Endpoint) -> DataPolicy:
    kind = KINDS[endpoint.kind]
    public, published = kind.base_url, kind.published
    if public is None or published is None or Origin.of(endpoint.base_url) != Origin.of(public):
        return UNKNOWN_POLICY  # another host that speaks the same wire
    return DataPolicy(**structs.asdict(published))


def _policy(stated: EvidenceSettings) -> DataPolicy:
    return DataPolicy(
        trains=stated.trains,
        retains=stated.retains,
        retention_days=stated.retention_days,
        region=stated.region,
        source=stated.source,
        date=None if stated.date is None else stated.date.isoformat(),
        valid_until=None if stated.valid_until is None else stated.valid_until.isoformat(),
    )


def _worst(own: DataPolicy, reached: Mapping[str, DataPolicy]) -> DataPolicy:
    """An aggregator's own policy with those of its hosts; `valid_until` is that of the first to end."""
    if not reached:
        return DataPolicy(
            source=_joined([own.source, "may reach any host: none are pinned with 'only'"]),
            date=own.date,
        )
    policies = [own, *reached.values()]
    days = [p.retention_days for p in policies if p.retention_days is not None]
    regions = {p.region for p in policies}
    lacking = sorted(host for host, policy in reached.items() if policy.source is None)
    return DataPolicy(
        trains=_any([p.trains for p in policies]),
        retains=_any([p.retains for p in policies]),
        retention_days=max(days, default=None),
        region=regions.pop() if len(regions) == 1 else None,
        source=_joined(
            [
                own.source,
                *(f"{host}: {p.source}" for host, p in reached.items() if p.source is not None),
                f"nothing stated of {', '.join(lacking)}" if lacking else None,
            ]
        ),
        date=min((p.date for p in policies if p.date is not None), default=None),
        valid_until=min(
            (p.valid_until for p in policies if p.valid_until is not None), default=None
        ),
    )


def _any(facts: Sequence[bool | None]) -> bool | None:
    """Whether one of them does; None where that is not known of one, and none is known to."""
    if True in facts:
        return True
    return None if None in facts else False


def _joined(parts: Sequence[str | None]) -> str | None:
    return "; ".join(part for part in parts if part) or None
