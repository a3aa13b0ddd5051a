"""What a caller's levels leave of a model and of its endpoints."""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from gateway.routing.plan import UsualPlan, unwanted
from gateway.values import NO_PREFERENCES, Access, AccessRule, Candidate, Exclusion

Resolve = Callable[[str], str | None]


class View(Struct, frozen=True):
    """A model as one caller may use it.

    Attributes:
        candidates: the endpoints that its levels leave, in their order.
        excluded: the others, each with the level that leaves it out.
        usual: the plan for calls that ask nothing special; None where no endpoint is left.
        forbidden_by: the rule by which it may not use the model at all.
    """

    candidates: tuple[Candidate, ...]
    excluded: tuple[Exclusion, ...]
    usual: UsualPlan | None
    forbidden_by: AccessRule | None = None


def view(
    access: Access,
    model: str,
    candidates: tuple[Candidate, ...],
    resolve: Resolve,
    max_attempts: int,
) -> View:
    """A canonical model as `access` has it. `resolve`: the canonical model that a name means."""
    forbidden_by = forbidding(access, model, resolve)
    if forbidden_by is not None:
        return View((), (), None, forbidden_by)
    kept, excluded = left_by(access.rules, candidates)
    usual = None
    if kept:
        usual = UsualPlan(model, kept, max_attempts=max_attempts, excluded=excluded)
    return View(kept, excluded, usual)


def forbidding(access: Access, model: str, resolve: Resolve) -> AccessRule | None:
    """The widest level's rule by which a canonical model may not be used; None where it may."""
    for rule in access.rules:
        if any(resolve(name) == model for name in rule.ignored_models):
            return rule
        if rule.models is not None and all(resolve(name) != model for name in rule.models):
            return rule
    return None


def permitted(access: Access, models: Iterable[str], resolve: Resolve) -> frozenset[str]:
    """The canonical models that no level forbids; each name is resolved once only."""
    found = set(models)
    for rule in access.rules:
        found.difference_update([resolve(name) for name in rule.ignored_models])
        if rule.models is not None:
            found.intersection_update([resolve(name) for name in rule.models])
    return frozenset(found)


def left_by(
    rules: Iterable[AccessRule], candidates: Sequence[Candidate]
) -> tuple[tuple[Candidate, ...], tuple[Exclusion, ...]]:
    """The endpoints that all of the rules leave, and the others with the first rule that does not."""
    kept: list[Candidate] = []
    excluded: list[Exclusion] = []
    asking = [rule for rule in rules if rule.preferences is not NO_PREFERENCES]
    for candidate in candidates:
        for rule in asking:
            reason = unwanted(candidate, rule.preferences)
            if reason is not None:
                excluded.append(Exclusion(candidate.endpoint.id, reason, level=rule.scope))
                break
        else:
            kept.append(candidate)
    return tuple(kept), tuple(excluded)
