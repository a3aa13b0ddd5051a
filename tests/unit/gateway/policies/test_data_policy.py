"""Only endpoints with valid, dated evidence see a request that demands privacy."""

import datetime as dt
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.policies.data_policy import (
    TRAINING,
    ZDR,
    allowed,
    demanded,
    describe,
    relied_upon,
    restricted,
)
from gateway.values import UNKNOWN_POLICY, Candidate, DataPolicy, Exclusion, Preferences
from tests import builders

TODAY = dt.date(2026, 11, 22)
FACTS = (None, False, True)


def stated(
    trains: bool | None,  # noqa: FBT001 - a row of a table
    retains: bool | None,  # noqa: FBT001 - as above
    *,
    valid_until: str | None = None,
) -> DataPolicy:
    return DataPolicy(
        trains=trains,
        retains=retains,
        source="an agreement",
        date="2026-10-01",
        valid_until=valid_until,
    )


def candidate(name: str, policy: DataPolicy) -> Candidate:
    return builders.candidate(name, policy=policy)


def reasons(policy: DataPolicy, *, zdr: bool, no_training: bool) -> list[str]:
    kept, excluded = allowed((candidate("a", policy),), zdr=zdr, no_training=no_training, day=TODAY)
    assert len(kept) + len(excluded) == 1
    return [exclusion.reason for exclusion in excluded]


@pytest.mark.parametrize(
    ("trains", "retains", "under_zdr", "under_no_training"),
    [
        (False, False, [], []),
        (False, True, [ZDR], [TRAINING]),
        (False, None, [ZDR], [TRAINING]),
        (True, False, [TRAINING], [TRAINING]),  # zdr implies no training
        (None, False, [TRAINING], [TRAINING]),
        (True, True, [ZDR], [TRAINING]),
        (True, None, [ZDR], [TRAINING]),
        (None, True, [ZDR], [TRAINING]),
        (None, None, [ZDR], [TRAINING]),
    ],
)
def test_what_each_demand_lets_through(
    trains: bool | None,  # noqa: FBT001 - a parameter
    retains: bool | None,  # noqa: FBT001 - a parameter
    under_zdr: list[str],
    under_no_training: list[str],
) -> None:
    policy = stated(trains, retains)
    assert reasons(policy, zdr=True, no_training=False) == under_zdr
    assert reasons(policy, zdr=True, no_training=True) == under_zdr
    assert reasons(policy, zdr=False, no_training=True) == under_no_training
    assert reasons(policy, zdr=False, no_training=False) == []


def test_what_nothing_is_known_of_is_kept_from_every_demand() -> None:
    assert reasons(UNKNOWN_POLICY, zdr=True, no_training=False) == [ZDR]
    assert reasons(UNKNOWN_POLICY, zdr=False, no_training=True) == [TRAINING]


@pytest.mark.parametrize("missing", ["source", "date"])
def test_a_fact_without_source_or_date_is_no_evidence(missing: str) -> None:
    policy = replace(stated(False, False), **{missing: None})
    assert reasons(policy, zdr=True, no_training=False) == [ZDR]
    assert reasons(policy, zdr=False, no_training=True) == [TRAINING]


@pytest.mark.parametrize(
    ("valid_until", "counts"),
    [("2026-11-21", False), ("2026-11-22", True), ("2026-11-23", True), (None, True)],
)
def test_evidence_counts_up_to_its_last_day(
    valid_until: str | None,
    counts: bool,  # noqa: FBT001 - a parameter
) -> None:
    policy = stated(False, False, valid_until=valid_until)
    assert reasons(policy, zdr=True, no_training=False) == ([] if counts else [ZDR])
    assert (relied_upon(policy, TODAY).retains is False) is counts


def test_what_is_left_keeps_its_order() -> None:
    good, bad = stated(False, False), stated(True, True)
    rows = tuple(candidate(name, good if name in "bd" else bad) for name in "abcd")
    kept, excluded = allowed(rows, zdr=True, no_training=False, day=TODAY)
    assert [c.endpoint.provider for c in kept] == ["b", "d"]
    assert excluded == (Exclusion("a/kimi", ZDR), Exclusion("c/kimi", ZDR))


# An oracle that says the rule in other words: counts the ways in which an endpoint is known to be safe.

_DAYS = st.dates(dt.date(2026, 1, 1), dt.date(2027, 12, 31))
_POLICIES = st.builds(
    DataPolicy,
    trains=st.sampled_from(FACTS),
    retains=st.sampled_from(FACTS),
    source=st.sampled_from((None, "an agreement")),
    date=st.sampled_from((None, "2026-01-01")),
    valid_until=st.none() | _DAYS.map(dt.date.isoformat),
)


def _safe(policy: DataPolicy, day: dt.date) -> bool:
    proved = {policy.trains, policy.retains} == {False}
    dated = None not in {policy.source, policy.date}
    return proved and dated and (policy.valid_until or "9999") >= day.isoformat()


@given(st.lists(_POLICIES, max_size=6), _DAYS, st.booleans(), st.booleans())
def test_a_demand_keeps_just_what_is_proved_safe(
    policies: list[DataPolicy],
    day: dt.date,
    zdr: bool,  # noqa: FBT001 - from hypothesis
    no_training: bool,  # noqa: FBT001 - from hypothesis
) -> None:
    rows = tuple(candidate(str(at), policy) for at, policy in enumerate(policies))
    kept, excluded = allowed(rows, zdr=zdr, no_training=no_training, day=day)
    wanted = [c for c in rows if not (zdr or no_training) or _safe(c.policy, day)]
    assert list(kept) == wanted
    assert {e.endpoint_id for e in excluded} == {c.endpoint.id for c in rows if c not in wanted}


@given(st.lists(_POLICIES, max_size=6), _DAYS)
def test_a_wish_never_adds_an_endpoint(policies: list[DataPolicy], day: dt.date) -> None:
    rows = tuple(candidate(str(at), policy) for at, policy in enumerate(policies))
    wishes = list(itertools.product((False, True), repeat=2))
    kept = {
        wish: {c.endpoint.id for c in allowed(rows, zdr=wish[0], no_training=wish[1], day=day)[0]}
        for wish in wishes
    }
    for less, more in itertools.product(wishes, repeat=2):
        if all(a <= b for a, b in zip(less, more, strict=True)):
            assert kept[more] <= kept[less]


_ASKED = st.builds(Preferences, zdr=st.booleans(), no_training=st.booleans())


@given(_ASKED, _ASKED)
def test_levels_are_put_together_by_or(ours: Preferences, theirs: Preferences) -> None:
    caller = builders.principal(zdr=ours.zdr, no_training=ours.no_training)
    demand = demanded(caller, theirs)
    if not (ours.zdr or ours.no_training or theirs.zdr or theirs.no_training):
        assert demand is None
        return
    assert demand is not None
    assert demand.zdr is (ours.zdr or theirs.zdr)
    assert demand.no_training  # zdr implies it


@pytest.mark.parametrize(
    ("ours", "theirs", "by"),
    [
        (Preferences(zdr=True), Preferences(), "the key"),
        (Preferences(), Preferences(zdr=True), "the request"),
        (Preferences(zdr=True), Preferences(zdr=True), "the key"),
        (Preferences(no_training=True), Preferences(zdr=True), "the request"),
        (Preferences(no_training=True), Preferences(no_training=True), "the key"),
    ],
)
def test_who_must_be_asked_to_loosen_it_is_named(
    ours: Preferences, theirs: Preferences, by: str
) -> None:
    caller = builders.principal(zdr=ours.zdr, no_training=ours.no_training)
    demand = demanded(caller, theirs)
    assert demand is not None
    assert demand.by.startswith(by)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (UNKNOWN_POLICY, "not known, counts as trains and retains"),
        (
            DataPolicy(trains=True, retains=True, source="terms of 2026-07-30", date="2026-09-03"),
            "trains, retains (terms of 2026-07-30, read 2026-09-03)",
        ),
        (
            stated(False, False),
            "does not train, does not retain (an agreement, read 2026-10-01)",
        ),
        (
            replace(stated(False, True), retention_days=30, region="Singapore"),
            "does not train, retains for 30 days (an agreement, read 2026-10-01, region Singapore)",
        ),
        (
            stated(False, None),
            "does not train, retention not known (an agreement, read 2026-10-01)",
        ),
        (
            stated(None, False),
            "training not known, does not retain (an agreement, read 2026-10-01)",
        ),
        (
            stated(False, False, valid_until="2026-12-06"),
            "does not train, does not retain (an agreement, read 2026-10-01)",
        ),
        (
            stated(False, False, valid_until="2026-12-05"),
            (
                "does not train, does not retain (an agreement, read 2026-10-01)"
                "; valid until 2026-12-05, 14 days left"
            ),
        ),
        (
            stated(False, False, valid_until="2026-11-22"),
            (
                "does not train, does not retain (an agreement, read 2026-10-01)"
                "; valid until 2026-11-22, 1 day left"
            ),
        ),
        (
            stated(False, False, valid_until="2026-11-21"),
            (
                "evidence valid until 2026-11-21, counts as trains and retains"
                " (an agreement, read 2026-10-01)"
            ),
        ),
        (
            DataPolicy(source="terms that do not say", date="2026-08-12"),
            "not known, counts as trains and retains (terms that do not say, read 2026-08-12)",
        ),
    ],
)
def test_what_is_known_is_told_with_its_evidence(policy: DataPolicy, words: str) -> None:
    assert describe(policy, TODAY) == words


def test_a_refusal_names_the_policy_and_every_endpoint_with_what_is_known_of_it() -> None:
    terms = DataPolicy(trains=True, retains=True, source="terms of 2026-07-30", date="2026-09-03")
    rows = (candidate("moonshot", terms), candidate("novita", UNKNOWN_POLICY))
    kept, excluded = allowed(rows, zdr=True, no_training=False, day=TODAY)
    assert not kept
    demand = demanded(builders.principal(), Preferences(zdr=True))
    assert demand is not None
    error = restricted(builders.MODEL, rows, excluded, demand=demand, day=TODAY)
    assert (error.status, error.code) == (404, "privacy_restricted")
    assert "the request demands zero data retention" in error.message
    assert (
        "moonshot/kimi: trains, retains (terms of 2026-07-30, read 2026-09-03);"
        " novita/kimi: not known"
    ) in error.message
    assert error.metadata == {
        "excluded": [
            {
                "endpoint": "moonshot/kimi",
                "reason": ZDR,
                "known": "trains, retains (terms of 2026-07-30, read 2026-09-03)",
            },
            {
                "endpoint": "novita/kimi",
                "reason": ZDR,
                "known": "not known, counts as trains and retains",
            },
        ],
    }


def test_a_refusal_of_a_model_of_many_endpoints_stays_readable() -> None:
    rows = tuple(candidate(f"p{at}", UNKNOWN_POLICY) for at in range(30))
    _, excluded = allowed(rows, zdr=False, no_training=True, day=TODAY)
    demand = demanded(builders.principal(), Preferences(no_training=True))
    assert demand is not None
    error = restricted(builders.MODEL, rows, excluded, demand=demand, day=TODAY)
    assert "no training and no data collection" in error.message
    assert "and 10 more" in error.message
    assert error.metadata is not None
    assert len(error.metadata["excluded"]) == 30
