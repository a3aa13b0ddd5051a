"""Bringing rows to the database when some of them may be refused."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from gateway.store.database import Database
from gateway.usage import ledger
from gateway.usage.ledger import Shipped
from gateway.usage.lines import Card, Close, encode
from gateway.values import Outcome

REJECTED_FILE: Final = "rejected.ndjson"

_REFUSED: Final = (DBAPIError, ArithmeticError, ValueError, TypeError)
_ROWS_FAULT: Final = (DataError, IntegrityError, ArithmeticError, ValueError, TypeError)

log = logging.getLogger(__name__)


async def deliver(
    database: Database,
    folder: Path,
    *,
    outcomes: Sequence[Outcome] = (),
    cards: Sequence[Card] = (),
    files: Mapping[str, Shipped],
    delivered: Callable[[Outcome], None] | None = None,
) -> frozenset[str]:
    """Write all of it in one transaction; if the database refuses that, each row in its own.

    A row that is refused must not keep all others from the ledger for ever. Once it is clear that it
    is the row and not the database, it goes to `REJECTED_FILE` in `folder`, for a human.

    Args:
        database: where to.
        folder: where rejected rows go.
        outcomes: requests that ended.
        cards: rate cards that they were priced by.
        files: how far journal files are then shipped.
        delivered: told of each outcome that is in the database though the call may yet fail.

    Returns:
        The generation ids of outcomes that were rejected.

    Raises:
        Unavailable: the database is away.
        sqlalchemy.exc.DBAPIError: it refuses everything, whatever the rows say.
        OSError: the file of rejected rows cannot be written.
    """
    try:
        await ledger.write(database, outcomes=outcomes, cards=cards, files=files)
        return frozenset()
    except _REFUSED as fault:
        if not outcomes and not cards:
            raise
        log.warning("the database refuses a batch, trying its rows alone: %s", fault)
        rejected = await _one_by_one(database, folder, outcomes, cards, delivered)
        await ledger.write(database, files=files)
        return rejected


async def _one_by_one(
    database: Database,
    folder: Path,
    outcomes: Sequence[Outcome],
    cards: Sequence[Card],
    delivered: Callable[[Outcome], None] | None,
) -> frozenset[str]:
    rows: list[Close | Card] = [*cards, *(Close(outcome) for outcome in outcomes)]
    refused: list[Close | Card] = []
    faults: list[Exception] = []
    for row in rows:
        try:
            if isinstance(row, Card):
                await ledger.write(database, cards=[row])
            else:
                await ledger.write(database, outcomes=[row.outcome])
                if delivered is not None:
                    delivered(row.outcome)
        except _REFUSED as fault:
            refused.append(row)
            faults.append(fault)
    if len(refused) == len(rows):
        for refusal in faults:
            if not _is_rows(refusal):
                raise refusal
    if refused:
        log.error("%d rows go to %s: %s", len(refused), REJECTED_FILE, faults[0])
        await asyncio.to_thread(_append, folder / REJECTED_FILE, refused)
    return frozenset(row.outcome.generation_id for row in refused if isinstance(row, Close))


def _is_rows(refusal: Exception) -> bool:
    """Whether a row is at fault, rather than the database."""
    if isinstance(refusal, _ROWS_FAULT):
        return True
    # What PostgreSQL itself says of a value or a constraint is no error of its own kind in SQLAlchemy.
    state = getattr(getattr(refusal, "orig", None), "sqlstate", None)
    return str(state)[:2] in {"22", "23"}


def _append(path: Path, rows: Iterable[Close | Card]) -> None:
    with path.open("ab") as file:
        file.writelines(encode(row) + b"\n" for row in rows)
        file.flush()
        os.fsync(file.fileno())
