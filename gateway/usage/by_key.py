"""What keys were charged since several times at once: in all, this day, week and month."""

from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct
from sqlalchemy import case, func, literal_column, select

from gateway.store.database import Database
from gateway.store.tables.usage import ledger_entries
from gateway.values import Outcome

_SPLIT = 10**9


class KeyUsage(Struct, frozen=True):
    """What a key was charged, in picos of one currency, by period; `last_used_ms` None: never used."""

    charged: Mapping[str, int]
    last_used_ms: int | None = None


async def usage_of_keys(
    database: Database, key_ids: Collection[str], *, currency: str, since_ms: Mapping[str, int]
) -> dict[str, KeyUsage]:
    """What keys were charged, as far as the ledger knows; exact.

    Args:
        database: where the ledger is.
        key_ids: which keys; those that were never charged are left out. A few hundred at most.
        currency: only charges in this currency count.
        since_ms: by the name of a period, when it began: epoch milliseconds, inclusive.

    Raises:
        Unavailable: the database cannot be reached.
    """
    if database.dialect == "sqlite":  # as in `gateway.usage.queries.spent`
        parts = (f"charge_pico / {_SPLIT}", f"charge_pico % {_SPLIT}")
    else:
        parts = ("0", "charge_pico")
    sums = [
        func.sum(
            case(
                (ledger_entries.c.created_ms >= start, literal_column(part)),
                else_=literal_column("0"),
            )
        )
        for start in since_ms.values()
        for part in parts
    ]
    query = (
        select(ledger_entries.c.key_id, func.max(ledger_entries.c.created_ms), *sums)
        .where(ledger_entries.c.key_id.in_(key_ids))
        .where(ledger_entries.c.charge_currency == currency)
        .group_by(ledger_entries.c.key_id)
    )
    async with database.reading() as connection:
        rows = (await connection.execute(query)).all()
    found = {}
    for key_id, last_used_ms, *amounts in rows:
        exact = [
            int(high or 0) * _SPLIT + int(low or 0)
            for high, low in zip(amounts[::2], amounts[1::2], strict=True)
        ]
        found[key_id] = KeyUsage(dict(zip(since_ms, exact, strict=True)), last_used_ms)
    return found


def with_unshipped(
    usage: KeyUsage | None,
    outcomes: Iterable[Outcome],
    key_id: str,
    *,
    currency: str,
    since_ms: Mapping[str, int],
) -> KeyUsage:
    """The same with what has ended and is not in the ledger yet.

    Look at the outcomes after the ledger: what is shipped in between is missing until the next look, and
    nothing is counted twice.
    """
    charged = dict.fromkeys(since_ms, 0) | dict(usage.charged if usage else {})
    last = usage.last_used_ms if usage else None
    for outcome in outcomes:
        if outcome.key_id != key_id:
            continue
        amount = sum(
            attempt.charge.pico
            for attempt in outcome.attempts
            if attempt.charge.currency == currency
        )
        last = max(last or 0, outcome.created_ms)
        for period, start in since_ms.items():
            if outcome.created_ms >= start:
                charged[period] += amount
    return KeyUsage(charged, last)
