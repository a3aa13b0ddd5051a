"""Whether the counters that several processes share agree with the ledger. Nothing is written."""

from typing import Final

from msgspec import Struct
from sqlalchemy import func, select

from gateway.errors import Unavailable
from gateway.policies.budgets import bucket, window
from gateway.settings_state import StateSettings
from gateway.store.database import Database
from gateway.store.state import StateLost
from gateway.store.state.reading import Counter, CounterReader
from gateway.store.tables.accounts import budgets
from gateway.usage import queries
from gateway.usage.audit import Note
from gateway.usage.audit_rules import Fault
from gateway.values import BudgetRule
from pricing import Money

ABANDONED: Final = 120
"""Seconds after the end of its time at which a hold should have been settled by the sweeper."""

_PICOS_IN_NANO = 1000


class Counted(Struct, frozen=True):
    """How many counters were compared, and in words which stand above the ledger, and by how much."""

    counters: int = 0
    above: tuple[str, ...] = ()


async def check_counters(
    database: Database, state: StateSettings, now: float, note: Note
) -> Counted:
    """Hold the counter of each budget's window of now against the charges in the ledger.

    A counter below the ledger lets a budget be passed: a fault, unless what its requests hold covers it.
    One above it refuses early, which is no fault: requests that are not shipped yet, those of dead workers
    that were settled by estimate, and keys that were another member's explain it. Both are read while
    requests go on: the counter after the ledger for the one, before it for the other.

    Args:
        database: where the ledger is.
        state: where the counters are, if not in memory.
        now: epoch seconds.
        note: told of each fault.

    Raises:
        Unavailable: the database or the store cannot be read.
    """
    if state.url is None:
        return Counted()
    try:
        reader = await CounterReader.opened(state.url.get_secret_value(), prefix=state.prefix)
        try:
            return await _compare(database, reader, now, note)
        finally:
            await reader.aclose()
    except StateLost as lost:
        raise Unavailable(
            "the counters in Redis cannot be read now; try again", code="state_unavailable"
        ) from lost


async def _compare(database: Database, reader: CounterReader, now: float, note: Note) -> Counted:
    rules = await _rules(database)
    names = [bucket(rule, now) for rule, _ in rules]
    before = await reader.counters(names)
    count, above = 0, []
    for (rule, owner), name in zip(rules, names, strict=True):
        first = before.get(name)
        if first is None:
            continue
        count += 1
        since_ms = window(rule.period, now).starts_at * 1000
        pico = await queries.spent(database, rule.scope, owner, since_ms, rule.currency)
        ledger = -(-pico // _PICOS_IN_NANO)
        after = (await reader.counters([name])).get(name)
        if after is None:  # it was lost meanwhile, and will be loaded anew
            continue
        # A member's keys may have been another's when they spent.
        if ledger > after.spent_nano + after.held_nano and rule.scope != "member":
            note(_below(rule, name, ledger, after))
        elif first.spent_nano > ledger:
            more = Money(rule.currency, (first.spent_nano - ledger) * _PICOS_IN_NANO)
            above.append(f"{name} is {more} above the ledger")
    for held in await reader.abandoned(ABANDONED):
        note(
            Fault(
                "hold",
                held,
                f"it is still held {ABANDONED} s after its time was over",
                "what nobody runs is settled by a gateway's sweeper within seconds",
                "start a gateway, or see in the log of the one that runs why it does not sweep",
            )
        )
    return Counted(count, tuple(above))


def _below(rule: BudgetRule, name: str, ledger: int, counter: Counter) -> Fault:
    def shown(nano: int) -> str:
        return str(Money(rule.currency, nano * _PICOS_IN_NANO))

    return Fault(
        "counter",
        name,
        f"its counter says {shown(counter.spent_nano)} spent and {shown(counter.held_nano)} held",
        f"the ledger has {shown(ledger)} charged, so that the budget of this {rule.scope} can be passed",
        "have the counters made anew: restart Redis, or delete the key that ends in `:epoch`",
    )


async def _rules(database: Database) -> list[tuple[BudgetRule, str]]:
    """Every budget, with the id of whose it is."""
    columns = budgets.c
    owner = func.coalesce(
        columns.key_id, columns.team_id, columns.member_id, columns.organisation_id
    )
    query = select(budgets, owner.label("owner")).order_by(columns.id)
    async with database.reading() as connection:
        rows = (await connection.execute(query)).all()
    return [
        (
            BudgetRule(row.id, row.scope, row.limit_pico, row.currency, row.period),
            row.owner,
        )
        for row in rows
    ]
