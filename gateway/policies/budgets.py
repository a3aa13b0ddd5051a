"""What each budget of a caller must have free before a call may begin. Pure."""

from datetime import date
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from gateway.errors import BudgetExceeded
from gateway.values import BudgetHold, BudgetRule
from pricing import Money

_DAY = 86_400
_WEEK_DAYS = 7
_DECEMBER = 12
_EPOCH = date(1970, 1, 1).toordinal()
_PICOS_IN_NANO = 1000


class Window(Struct, frozen=True):
    """One period of a budget: from `starts_at` until before `resets_at`, both epoch seconds.

    `label` tells the windows of one budget apart; `resets_at` None means that it never ends.
    """

    label: str
    starts_at: int
    resets_at: int | None


def window(period: str, now: float) -> Window:
    """The window of `period` that `now` (epoch seconds) falls into.

    Periods are UTC: `daily` begins at midnight, `weekly` on Monday, `monthly` on the first, `total`
    never ends.

    Raises:
        ValueError: no such period.
    """
    return _window(period, int(now // _DAY))


@lru_cache(maxsize=64)
def _window(period: str, day: int) -> Window:
    """As `window`, by days since the epoch; a request pays for a look-up, not for a calendar."""
    today = date.fromordinal(_EPOCH + day)
    match period:
        case "total":
            return Window("total", 0, None)
        case "daily":
            return _days(today.isoformat(), day, day + 1)
        case "weekly":
            first = day - today.weekday()
            monday = date.fromordinal(_EPOCH + first)
            return _days(f"week-{monday.isoformat()}", first, first + _WEEK_DAYS)
        case "monthly":
            following = (
                date(today.year + 1, 1, 1)
                if today.month == _DECEMBER
                else date(today.year, today.month + 1, 1)
            )
            return _days(
                f"{today.year:04d}-{today.month:02d}",
                day - today.day + 1,
                following.toordinal() - _EPOCH,
            )
    raise ValueError(f"{period!r} is not one of total, daily, weekly, monthly")


def _days(label: str, first: int, following: int) -> Window:
    return Window(label, first * _DAY, following * _DAY)


def bucket(rule: BudgetRule, now: float) -> str:
    """The name of the counter that `rule` uses at `now`.

    Raises:
        ValueError: no such period.
    """
    return f"{rule.id}:{window(rule.period, now).label}"


def holds(budgets: tuple[BudgetRule, ...], worst: Money, now: float) -> tuple[BudgetHold, ...]:
    """What each budget must have free for a call that can cost `worst`.

    `now` is when the request was admitted (epoch seconds): its ledger entries, which counters are
    rebuilt from, must carry the same time.

    Raises:
        BudgetExceeded: a budget is in another currency than the plan, so that nobody can say
            whether it covers the call; code budget_currency_mismatch.
        ValueError: a rule's period does not exist.
    """
    if not budgets:
        return ()
    counters = _counters(budgets, int(now // _DAY))
    if counters.currency != worst.currency:
        rule = next(rule for rule in budgets if rule.currency != worst.currency)
        raise _mismatch(rule, worst.currency)
    amount = worst.nano_up()
    return tuple([replace(hold, amount_nano=amount) for hold in counters.holds])


class _Counters(Struct, frozen=True):
    """What of a caller's holds is the same all day: all but the amounts.

    `currency` is that of all its budgets; "" where they have several.
    """

    holds: tuple[BudgetHold, ...]
    currency: str


@lru_cache(maxsize=4096)
def _counters(budgets: tuple[BudgetRule, ...], day: int) -> _Counters:
    counters = []
    for rule in budgets:
        current = _window(rule.period, day)
        # A limit is rounded down as amounts are rounded up: never a nano-unit too many.
        limit = rule.limit_pico // _PICOS_IN_NANO
        name = f"{rule.id}:{current.label}"
        counters.append(
            BudgetHold(name, limit, 0, current.resets_at, rule.scope, rule.on_state_loss)
        )
    currencies = {rule.currency for rule in budgets}
    return _Counters(tuple(counters), currencies.pop() if len(currencies) == 1 else "")


def _mismatch(rule: BudgetRule, currency: str) -> BudgetExceeded:
    return BudgetExceeded(
        f"a budget of this {rule.scope} is in {rule.currency}, but the endpoints that could serve "
        f"this request are priced in {currency}, and amounts are never converted: use endpoints "
        f"priced in {rule.currency}, or have the budget set in {currency}",
        code="budget_currency_mismatch",
        metadata={
            "budget_id": rule.id,
            "budget_currency": rule.currency,
            "price_currency": currency,
        },
    )
