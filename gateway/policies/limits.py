"""What a request takes of the limits of its caller's levels. Pure.

A request takes one of each rate of requests, a place of each limit on concurrency, and of each rate of
tokens its estimate: the prompt's tokens by its size, and the most that it may write, which is `max_tokens`,
or what the endpoint writes by default where the request does not say. When it ends the estimate is
replaced by what it used.

Counters are named by the level's id, by what is limited and by what has a count of its own: the key, the
member, the model, or a hash of the end user, whose name is nobody's but the caller's. Requests without an
end user, and keys without a member, share the counter of `nobody`.
"""

from functools import lru_cache
from hashlib import blake2b

from msgspec import Struct
from msgspec.structs import replace

from gateway.values import LimitRule, Principal, RateTake, SlotTake
from gateway.wire.request import ChatRequest

NOBODY = "nobody"
_DIGEST_BYTES = 16

Takes = tuple[tuple[RateTake, ...], tuple[SlotTake, ...]]
NOTHING: Takes = ((), ())


class _Prepared(Struct, frozen=True):
    """What the requests of a key for a model take: what is always the same, and what depends on each.

    Attributes:
        rates: of requests; the same each time.
        slots: the same each time.
        others: what depends on the request: rules with the names of their counters; "" where the end user
            is part of it.
        tokens: of `others`, where nothing of them but the amount depends on the request: all but that.
    """

    rates: tuple[RateTake, ...]
    slots: tuple[SlotTake, ...]
    others: tuple[tuple[LimitRule, str], ...]
    tokens: tuple[RateTake, ...] | None


def takes(principal: Principal, request: ChatRequest, model: str, tokens: int) -> Takes:
    """What a request takes.

    Args:
        principal: whose request it is.
        request: for its end user, who is looked for only where somebody counts by it.
        model: canonical slug.
        tokens: its estimate.
    """
    limits = principal.limits
    if not limits:
        return NOTHING
    prepared = _prepared(limits, principal.key_id, principal.member_id, model)
    if prepared.tokens is not None:
        estimated = [replace(take, amount=tokens) for take in prepared.tokens]
        return (*prepared.rates, *estimated), prepared.slots
    user = None
    rates, slots = list(prepared.rates), list(prepared.slots)
    for rule, bucket in prepared.others:
        if not bucket:
            if user is None:
                user = _hashed(request.end_user)
            _take(rule, f"{rule.id}:{user}", tokens, rates, slots)
        else:
            _take(rule, bucket, tokens, rates, slots)
    return tuple(rates), tuple(slots)


def _take(
    rule: LimitRule, bucket: str, tokens: int, rates: list[RateTake], slots: list[SlotTake]
) -> None:
    if rule.what == "concurrency":
        slots.append(SlotTake(bucket, rule.amount, rule.scope, rule.each))
    else:
        rates.append(_rate(rule, bucket, tokens if rule.what == "tokens" else 1))


def _rate(rule: LimitRule, bucket: str, amount: int) -> RateTake:
    return RateTake(bucket, rule.amount, rule.period, amount, rule.what, rule.scope, rule.each)


@lru_cache(maxsize=4096)
def _prepared(limits: tuple[LimitRule, ...], key: str, member: str | None, model: str) -> _Prepared:
    own = {"": "", "key": key, "member": member or NOBODY, "model": model, "end_user": ""}
    rates: list[RateTake] = []
    slots: list[SlotTake] = []
    others: list[tuple[LimitRule, str]] = []
    for rule in limits:
        bucket = f"{rule.id}:{own[rule.each]}" if rule.each else rule.id
        if rule.each == "end_user":
            others.append((rule, ""))
        elif rule.what == "tokens":
            others.append((rule, bucket))
        else:
            _take(rule, bucket, 0, rates, slots)
    alike = None
    if all(bucket for _, bucket in others):
        alike = tuple([_rate(rule, bucket, 0) for rule, bucket in others])
    return _Prepared(tuple(rates), tuple(slots), tuple(others), alike)


def _hashed(end_user: bytes | None) -> str:
    if end_user is None:
        return NOBODY
    return blake2b(end_user, digest_size=_DIGEST_BYTES, person=b"end user").hexdigest()
