"""What budgets have spent and hold now, as the counters that requests are admitted by have it."""

import asyncio
from collections.abc import Sequence

from msgspec import Struct

from gateway.policies.budgets import bucket, window
from gateway.store.state import Refusal, State
from gateway.values import BudgetHold, BudgetRule, Reservation

_PICOS_IN_NANO = 1000


class Spending(Struct, frozen=True):
    """Of one budget in its window of now, in picos; `resets_at` in epoch seconds, None: never."""

    spent_pico: int
    held_pico: int
    resets_at: float | None


async def spending(
    state: State, rules: Sequence[BudgetRule], now: float, name: str
) -> tuple[Spending | None, ...]:
    """What each budget has spent and holds; None where the counters are out of reach.

    The counters of the rules must have been loaded, as they are for whoever was authenticated.

    Args:
        state: where the counters are.
        rules: the budgets.
        now: epoch seconds.
        name: of the question: the id of a reservation that nobody else uses.
    """
    return tuple(
        await asyncio.gather(
            *[_asked(state, rule, now, f"{name}-{place}") for place, rule in enumerate(rules)]
        )
    )


async def _asked(state: State, rule: BudgetRule, now: float, name: str) -> Spending | None:
    # More than the whole budget can never be held: asking for it says what is gone, and changes nothing.
    resets_at = window(rule.period, now).resets_at
    limit = rule.limit_pico // _PICOS_IN_NANO
    hold = BudgetHold(bucket(rule, now), limit, limit + 1, resets_at, rule.scope)
    told = await state.admit(Reservation(name, (hold,)))
    if not isinstance(told, Refusal):
        await state.settle(name, 0)
        return None
    if told.lost:
        return None
    return Spending(told.spent_nano * _PICOS_IN_NANO, told.held_nano * _PICOS_IN_NANO, resets_at)
