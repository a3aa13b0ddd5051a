"""Who may see a request, by what is known of what they do with it.

Unknown counts as "retains and trains", and so does evidence that is no longer valid. Caching prompt
prefixes in memory is not retention. Levels (organisation, team, key, request) are put together by OR
before they come here: each can only tighten.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from gateway.errors import NotFound
from gateway.values import Candidate, DataPolicy, Exclusion, Preferences, Principal

ZDR = "data_policy:zdr"
TRAINING = "data_policy:training"
WARNING_DAYS = 14  # before evidence ends, in which that is told of
_MOST_TOLD = 20  # endpoints that a message goes through; its metadata has them all


class Demand(Struct, frozen=True):
    """What a request must have of whoever sees it, put together from all levels.

    Attributes:
        zdr: nothing is retained. Implies `no_training`.
        no_training: nothing is trained upon, nor kept beyond the request (`data_collection: deny`).
        by: who demands it, for a message.
    """

    zdr: bool
    no_training: bool
    by: str


def demanded(principal: Principal, preferences: Preferences) -> Demand | None:
    """What key, team, organisation and request demand together; None where none does."""
    ours = principal.zdr or principal.no_training
    theirs = preferences.zdr or preferences.no_training
    if not (ours or theirs):
        return None
    zdr = principal.zdr or preferences.zdr
    decides = principal.zdr if zdr else ours
    return Demand(
        zdr=zdr,
        no_training=zdr or principal.no_training or preferences.no_training,
        by="the key, its team or its organisation" if decides else "the request",
    )


def allowed(
    candidates: Iterable[Candidate], *, zdr: bool, no_training: bool, day: dt.date
) -> tuple[tuple[Candidate, ...], tuple[Exclusion, ...]]:
    """The candidates with evidence of what is demanded, in their order, and why the others have not.

    Args:
        candidates: endpoints with what is known of them.
        zdr: only such as retain nothing; implies `no_training`.
        no_training: only such as neither train nor keep anything beyond the request.
        day: the day on which evidence must be valid (UTC).
    """
    kept: list[Candidate] = []
    excluded: list[Exclusion] = []
    for candidate in candidates:
        policy = relied_upon(candidate.policy, day)
        if zdr and policy.retains is not False:
            excluded.append(Exclusion(candidate.endpoint.id, ZDR))
        elif (zdr or no_training) and not (policy.trains is False and policy.retains is False):
            excluded.append(Exclusion(candidate.endpoint.id, TRAINING))
        else:
            kept.append(candidate)
    return tuple(kept), tuple(excluded)


def relied_upon(policy: DataPolicy, day: dt.date) -> DataPolicy:
    """What of a policy counts on a day: nothing without source and date, nor after `valid_until`."""
    dated = policy.source is not None and policy.date is not None
    if dated and not _expired(policy, day):
        return policy
    return replace(policy, trains=None, retains=None, retention_days=None)


def _expired(policy: DataPolicy, day: dt.date) -> bool:
    return policy.valid_until is not None and dt.date.fromisoformat(policy.valid_until) < day


def days_left(policy: DataPolicy, day: dt.date) -> int | None:
    """For how many days, that one included, a policy may be relied upon; 0 if no more.

    None: for as long as it is stated, or there is nothing in it that could be relied upon.
    """
    facts = policy.trains is not None or policy.retains is not None
    if policy.valid_until is None or not facts or policy.source is None or policy.date is None:
        return None
    return max(0, (dt.date.fromisoformat(policy.valid_until) - day).days + 1)


def describe(policy: DataPolicy, day: dt.date) -> str:
    """What is known on a day, by what evidence and since when, such as "trains, retains (terms of …)".

    Where the evidence ends soon, so does the text, with the day.
    """
    counted = relied_upon(policy, day)
    if counted.trains is not None or counted.retains is not None:
        left = days_left(policy, day)
        ends = ""
        if left is not None and left <= WARNING_DAYS:
            ends = (
                f"; valid until {policy.valid_until}, {left} {'day' if left == 1 else 'days'} left"
            )
        return f"{_trains(policy)}, {_retains(policy)}{_evidence(policy)}{ends}"
    why = f"evidence valid until {policy.valid_until}" if _expired(policy, day) else "not known"
    return f"{why}, counts as trains and retains{_evidence(policy)}"


def _trains(policy: DataPolicy) -> str:
    if policy.trains is None:
        return "training not known"
    return "trains" if policy.trains else "does not train"


def _retains(policy: DataPolicy) -> str:
    if policy.retains is None:
        return "retention not known"
    if not policy.retains:
        return "does not retain"
    if policy.retention_days is None:
        return "retains"
    return f"retains for {policy.retention_days} days"


def _evidence(policy: DataPolicy) -> str:
    told = [policy.source, None if policy.date is None else f"read {policy.date}"]
    if policy.region is not None:
        told.append(f"region {policy.region}")
    text = ", ".join(part for part in told if part)
    return f" ({text})" if text else ""


def restricted(
    model: str,
    candidates: Sequence[Candidate],
    excluded: Sequence[Exclusion],
    *,
    demand: Demand,
    day: dt.date,
) -> NotFound:
    """What to tell a caller of whose endpoints none may see the request."""
    policies: Mapping[str, DataPolicy] = {c.endpoint.id: c.policy for c in candidates}
    known = [
        {
            "endpoint": exclusion.endpoint_id,
            "reason": exclusion.reason,
            "known": describe(policies[exclusion.endpoint_id], day),
        }
        for exclusion in excluded
    ]
    policy = "zero data retention" if demand.zdr else "no training and no data collection"
    told = "; ".join(f"{row['endpoint']}: {row['known']}" for row in known[:_MOST_TOLD])
    more = f"; and {len(known) - _MOST_TOLD} more" if len(known) > _MOST_TOLD else ""
    return NotFound(
        f"no endpoint of {model} may see this request: {demand.by} demands {policy}, and none has"
        f" dated evidence of it. {told}{more}. Ask for another model, or have the gateway's operator"
        " add an endpoint with evidence ('data_policy' in its settings)",
        code="privacy_restricted",
        metadata={"excluded": known},
    )
