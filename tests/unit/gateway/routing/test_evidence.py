"""What is known of an endpoint: what was published, unless the settings state more."""

import datetime as dt
from typing import Any

import pytest

from backends import KINDS, Endpoint
from backends.kinds import openrouter
from gateway.errors import ConfigurationError
from gateway.policies.data_policy import allowed, describe, relied_upon
from gateway.routing.endpoints import candidates_from
from gateway.routing.evidence import policy_of
from gateway.settings import check
from gateway.settings_data_policy import DataPolicySettings
from gateway.values import UNKNOWN_POLICY, DataPolicy
from pricing import load_packaged
from tests import builders

TODAY = dt.date(2026, 11, 22)
NONE_STATED = DataPolicySettings()
OWN = {"trains": False, "retains": False, "source": "own hardware", "date": "2026-11-22"}
AGREED = {**OWN, "source": "agreement of 2026-10-01", "date": "2026-10-01"}


def endpoint(kind: str = "openai_compat", **fields: Any) -> Endpoint:
    public = KINDS[kind].base_url if kind in KINDS else None
    base = {"base_url": public or "http://127.0.0.1:8000/v1"}
    return Endpoint(**{"id": "a/kimi", "provider": "a", "kind": kind, "model": "k"} | base | fields)


def stated(**facts: Any) -> DataPolicySettings:
    return DataPolicySettings.model_validate(facts)


def test_moonshots_terms_are_known_by_date() -> None:
    policy = policy_of(endpoint("moonshot"), NONE_STATED)
    assert (policy.trains, policy.retains) == (True, True)
    assert describe(policy, TODAY) == (
        "trains, retains (terms of 2026-07-30 and privacy policy, read 2026-09-03,"
        " region Singapore)"
    )


def test_of_novita_nothing_is_known_but_why() -> None:
    policy = policy_of(endpoint("novita"), NONE_STATED)
    assert (policy.trains, policy.retains) == (None, None)
    assert "2024-05-20" in describe(policy, TODAY)


def test_every_published_row_has_a_source_and_a_date() -> None:
    rows = [kind.published for kind in KINDS.values() if kind.published is not None]
    assert rows
    for row in rows:
        assert row.source
        assert dt.date.fromisoformat(row.date) <= TODAY


@pytest.mark.parametrize("kind", ["openai_compat", "vllm", "litellm"])
def test_of_ones_own_endpoints_nothing_is_known_unless_it_is_stated(kind: str) -> None:
    assert policy_of(endpoint(kind), NONE_STATED) == UNKNOWN_POLICY
    assert policy_of(endpoint(kind), stated(**OWN)) == DataPolicy(
        trains=False, retains=False, source="own hardware", date="2026-11-22"
    )


@pytest.mark.parametrize("kind", ["novita", "moonshot_cn", "vercel"])
def test_what_was_read_and_does_not_say_enough_is_no_evidence(kind: str) -> None:
    told = policy_of(
        endpoint(kind, reaches=("moonshotai",) if kind == "vercel" else ()), NONE_STATED
    )
    assert told.source
    assert told.trains is None
    # An aggregator is no better than what is stated of its hosts, and here nothing is.
    kept, _ = allowed([builders.candidate("a", policy=told)], zdr=True, no_training=True, day=TODAY)
    assert kept == ()


def test_what_a_provider_published_does_not_count_for_another_host_of_its_wire() -> None:
    elsewhere = endpoint("moonshot", base_url="https://llm.example/v1")
    assert policy_of(elsewhere, NONE_STATED) == UNKNOWN_POLICY
    same_host = endpoint("moonshot", base_url="https://api.moonshot.ai/other/path")
    assert policy_of(same_host, NONE_STATED).trains is True


def test_what_is_stated_replaces_what_was_published_as_a_whole() -> None:
    """A statement about training does not borrow what the public terms say of retention."""
    policy = policy_of(
        endpoint("moonshot"), stated(trains=False, source="enterprise agreement", date="2026-10-01")
    )
    assert (policy.trains, policy.retains, policy.region) == (False, None, None)
    assert policy.source == "enterprise agreement"


# Aggregators

OPENROUTER = openrouter.PUBLISHED


def known(settings: DataPolicySettings, *reaches: str) -> tuple[bool | None, ...]:
    policy = relied_upon(policy_of(endpoint("openrouter", reaches=reaches), settings), TODAY)
    return policy.trains, policy.retains


def test_an_aggregator_that_may_reach_any_host_is_unknown() -> None:
    settings = stated(hosts={"fireworks": AGREED})
    assert known(settings) == (None, None)
    policy = policy_of(endpoint("openrouter"), settings)
    assert "none are pinned with 'only'" in describe(policy, TODAY)


def test_an_aggregator_counts_with_evidence_for_every_host_it_may_reach() -> None:
    settings = stated(hosts={"fireworks": AGREED, "together": {**AGREED, "date": "2026-09-01"}})
    assert known(settings, "fireworks", "together") == (False, False)
    policy = policy_of(endpoint("openrouter", reaches=("fireworks", "together")), settings)
    assert policy.date == "2026-08-22"  # the oldest of all
    assert policy.source == (
        f"{OPENROUTER.source}; fireworks: agreement of 2026-10-01; together: agreement of 2026-10-01"
    )


def until(date: str) -> dict[str, Any]:
    return {**AGREED, "valid_until": date}


@pytest.mark.parametrize(
    ("hosts", "found"),
    [
        ({"fireworks": until("2026-12-31"), "together": until("2026-11-21")}, (None, None)),
        ({"fireworks": until("2026-12-31"), "together": until("2026-11-22")}, (False, False)),
        ({"fireworks": AGREED}, (None, None)),  # nothing of the other
        ({"fireworks": AGREED, "together": {}}, (None, None)),
        ({"fireworks": AGREED, "together": {**AGREED, "retains": True}}, (False, True)),
        ({"fireworks": AGREED, "together": {**AGREED, "trains": True}}, (True, False)),
        ({"fireworks": AGREED, "together": {**AGREED, "trains": None}}, (None, False)),
        ({"fireworks": AGREED, "together": {**AGREED, "valid_until": "2026-11-21"}}, (None, None)),
        (
            {"fireworks": AGREED, "together": {**AGREED, "valid_until": "2026-11-22"}},
            (False, False),
        ),
    ],
)
def test_an_aggregator_is_as_good_as_its_worst_host(
    hosts: dict[str, Any], found: tuple[bool | None, bool | None]
) -> None:
    assert known(stated(hosts=hosts), "fireworks", "together") == found


def test_evidence_for_hosts_does_not_clear_the_aggregator_itself() -> None:
    hosts = {"fireworks": AGREED}
    logging = stated(**{**OWN, "retains": True, "source": "logging is on here"}, hosts=hosts)
    assert known(logging, "fireworks") == (False, True)
    elsewhere = endpoint("openrouter", reaches=("fireworks",), base_url="https://other.example/v1")
    assert policy_of(elsewhere, stated(hosts=hosts)).trains is None


# Settings


def made(**facts: Any) -> DataPolicy:
    settings = check({"endpoints": [{**builders.OWN_ENDPOINT, "data_policy": facts}]})
    (candidate,) = candidates_from(settings, load_packaged(), TODAY)
    return candidate.policy


def test_settings_reach_the_candidates() -> None:
    policy = made(**OWN, region="our rack", valid_until="2027-01-01")
    assert policy == DataPolicy(
        trains=False,
        retains=False,
        region="our rack",
        source="own hardware",
        date="2026-11-22",
        valid_until="2027-01-01",
    )
    settings = check(
        {"providers": [{"kind": "moonshot", "api_key": "x", "data_policy": AGREED}]},
    )
    found = candidates_from(settings, load_packaged(), TODAY)
    assert {c.policy.source for c in found} == {"agreement of 2026-10-01"}


def test_an_aggregator_is_pinned_and_its_hosts_stated_in_the_settings() -> None:
    row = {"kind": "openrouter", "api_key": "x", "only": ["fireworks"]}
    settings = check({"providers": [{**row, "data_policy": {"hosts": {"fireworks": AGREED}}}]})
    found = candidates_from(settings, load_packaged(), TODAY)
    assert found
    assert {(c.policy.trains, c.policy.retains) for c in found} == {(False, False)}
    mistyped = {**row, "data_policy": {"hosts": {"firework": AGREED}}}
    with pytest.raises(ConfigurationError) as caught:
        candidates_from(check({"providers": [mistyped]}), load_packaged(), TODAY)
    assert caught.value.faults == (
        (
            "providers[0].data_policy.hosts.firework: 'only' does not name this host: add it there, or"
            " remove it here"
        ),
    )


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"trains": False, "retains": False}, "a fact needs evidence: add 'source'"),
        ({"retains": False, "source": "own hardware"}, "and 'date'"),
        ({"retains": False, "date": "2026-11-22"}, "add 'source'"),
        ({"retains": False, "source": "", "date": "2026-11-22"}, "source: "),
        ({"retains": False, "source": " \t", "date": "2026-11-22"}, "add 'source'"),
        ({"source": "own hardware", "date": "2026-11-22"}, "states no fact: add 'trains'"),
        ({**OWN, "retention_days": 30}, "'retention_days' goes with 'retains: true' only"),
        ({**OWN, "valid_until": "2026-11-21"}, "'valid_until' is before 'date'"),
        ({**OWN, "date": "last week"}, "date: must be a date such as 2026-11-22"),
        ({**OWN, "date": 20261122}, "date: must be a date such as 2026-11-22"),
        ({**OWN, "date": "2026-11-24"}, "date: 2026-11-24 is in the future"),
        (
            {**OWN, "hosts": {"fireworks": AGREED}},
            "hosts: kind openai_compat passes requests on to nobody",
        ),
        ({"trainz": False}, "trainz: there is no such setting"),
    ],
)
def test_a_statement_that_cannot_be_relied_upon_is_refused_in_one_line(
    facts: dict[str, Any], line: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        made(**facts)
    (fault,) = caught.value.faults
    assert fault.startswith("endpoints[0].data_policy")
    assert line in fault


def test_the_date_may_be_that_of_a_place_where_it_is_tomorrow_already() -> None:
    assert made(**{**OWN, "date": "2026-11-23"}).date == "2026-11-23"
