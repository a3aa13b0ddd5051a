"""What a caller is told whom its limits or budgets do not let in."""

import math

from gateway.errors import BudgetExceeded, GatewayError, RateLimited, Unavailable
from gateway.store.state import Limited, Refusal
from gateway.values import Reservation

_UNITS = {60: "minute", 86_400: "day"}
_EACH = {"end_user": "end user"}
# Nobody knows when another request of the caller ends: often enough to try again in.
_PLACE_PAUSE = 1.0
_LOST_PAUSE = 1.0


def over_budget(refusal: Refusal, now: float) -> GatewayError:
    """A budget cannot cover what the request may cost. `now` is in epoch seconds."""
    left = max(0, refusal.limit_nano - refusal.spent_nano - refusal.held_nano)
    if refusal.lost:
        return Unavailable(
            f"the counters that the processes of this gateway share are out of reach, and of the budget"
            f" of this {refusal.scope} this process has not leased enough to hold"
            f" {_amount(refusal.amount_nano)}; try again soon",
            code="state_unavailable",
            retry_after=_LOST_PAUSE,
        )
    wait = None if refusal.resets_at is None else max(0.0, refusal.resets_at - now)
    held = (
        f" ({_amount(refusal.held_nano)} more is held by requests under way)"
        if refusal.held_nano
        else ""
    )
    return BudgetExceeded(
        f"the budget of this {refusal.scope} has {_amount(left)} left of"
        f" {_amount(refusal.limit_nano)}{held}, and this request may cost up to"
        f" {_amount(refusal.amount_nano)}; lower 'max_tokens', or have the budget raised",
        retry_after=wait,
        metadata={
            "budget": refusal.bucket.partition(":")[0],
            "limit": _amount(refusal.limit_nano),
            "spent": _amount(refusal.spent_nano),
            "held": _amount(refusal.held_nano),
            "needed": _amount(refusal.amount_nano),
        },
    )


def over_limit(limited: Limited, reservation: Reservation) -> RateLimited:
    """A limit of a level is reached, or the request is larger than the limit itself."""
    each = f" for each {_EACH.get(limited.each, limited.each)}" if limited.each else ""
    metadata: dict[str, object] = {
        "scope": limited.scope,
        "what": limited.what,
        "limit": limited.limit,
    }
    if limited.each:
        metadata["each"] = limited.each
    if not limited.period:
        allowed = f"the limit of this {limited.scope} is {limited.limit} requests at a time{each}"
        if not limited.limit:
            return _never(f"{allowed}: it lets none in", metadata, "concurrency_limit_exceeded")
        return RateLimited(
            f"{allowed}, and as many are under way; come again when one of them has ended",
            code="concurrency_limit_exceeded",
            retry_after=_PLACE_PAUSE,
            metadata=metadata,
        )
    unit = _UNITS.get(limited.period, f"{limited.period} seconds")
    needed = next(take.amount for take in reservation.rates if take.bucket == limited.bucket)
    allowed = (
        f"the limit of this {limited.scope} is {limited.limit} {limited.what} per {unit}{each}"
    )
    metadata |= {"per": unit, "remaining": limited.remaining, "needed": needed}
    tokens = limited.what == "tokens"
    if limited.retry_after is None:
        why = f", and this request counts as up to {needed}" if tokens else ""
        cure = "lower 'max_tokens', or shorten the prompt" if tokens else "it lets none in"
        return _never(f"{allowed}{why}: {cure}", metadata, None)
    wait = max(1, math.ceil(limited.retry_after))
    counts = f", and this request counts as up to {needed}" if tokens else ""
    less = ", or lower 'max_tokens'" if tokens else ""
    return RateLimited(
        f"{allowed}; {limited.remaining} are left{counts}: come again in {wait} s{less}",
        retry_after=limited.retry_after,
        metadata={**metadata, "retry_after_seconds": wait},
    )


def _never(message: str, metadata: dict[str, object], code: str | None) -> RateLimited:
    """Waiting would not help, and clients that come again by themselves should know."""
    error = RateLimited(message, code=code, metadata=metadata)
    error.should_retry = False
    return error


def _amount(nano: int) -> str:
    """Nano-units as a plain decimal."""
    whole, part = divmod(nano, 10**9)
    return f"{whole}.{part:09d}".rstrip("0").rstrip(".")
