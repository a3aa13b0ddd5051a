"""Lists in parts: each part begins where the one before ended, whatever was added in between.

Items in the order of (created_ms, id) → a page, and an opaque cursor that asks for the next.
"""

import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, or_
from sqlalchemy.engine import Row as Found
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts.rows import Page
from gateway.errors import InvalidRequest

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
MAX_DIGITS = 18  # of numbers in cursors: they fit 64 bits

Item = TypeVar("Item")
Selected = Select[tuple[Any, ...]]

_MEANING = re.compile(r"([0-9]{1,18})\.([A-Za-z0-9_-]{1,60})", re.ASCII)


def write_cursor(at_ms: int, ref: str) -> str:
    """The cursor of what comes after an item."""
    return base64.urlsafe_b64encode(f"{at_ms}.{ref}".encode()).rstrip(b"=").decode()


def read_cursor(cursor: str) -> tuple[int, str]:
    """Time and id of the item that a page begins after.

    Raises:
        InvalidRequest: it is not one of ours; code invalid_cursor.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    meaning = _MEANING.fullmatch(text)
    if meaning is None:
        raise unfit_cursor()
    return int(meaning[1]), meaning[2]


def unfit_cursor() -> InvalidRequest:
    """What to raise of a cursor that is not one of ours."""
    return InvalidRequest(
        "the cursor is not one that this gateway gave; leave it out to begin at the beginning",
        code="invalid_cursor",
        param="cursor",
    )


def checked_limit(limit: int) -> int:
    """How many items a page has at most.

    Raises:
        InvalidRequest: not from 1 to 1000; code invalid_limit.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidRequest(
            f"a page can have 1 to {MAX_LIMIT} items, not {limit}",
            code="invalid_limit",
            param="limit",
        )
    return limit


async def read_page(
    connection: AsyncConnection,
    query: Selected,
    order: tuple[ColumnElement[int], ColumnElement[str]],
    made: Callable[[Found[Any]], Item],
    *,
    limit: int,
    cursor: str | None,
) -> Page[Item]:
    """A page of what a query finds, oldest first.

    Args:
        connection: to read with.
        query: without an order of its own.
        order: the columns of time and id; the query must select them as `created_ms` and `id`.
        made: an item of a row.
        limit: items of a page.
        cursor: of the page before; None: the first page.

    Raises:
        InvalidRequest: limit or cursor are unfit; codes invalid_limit, invalid_cursor.
    """
    limit = checked_limit(limit)
    at, ref = order
    if cursor is not None:
        after_ms, after_ref = read_cursor(cursor)
        query = query.where(or_(at > after_ms, and_(at == after_ms, ref > after_ref)))
    # One more than asked for tells whether there is a next page.
    rows = (await connection.execute(query.order_by(at, ref).limit(limit + 1))).all()
    items = tuple(made(row) for row in rows[:limit])
    if len(rows) <= limit:
        return Page(items)
    last = rows[limit - 1]
    return Page(items, write_cursor(last.created_ms, last.id))


async def every(pages: Callable[[str | None], Awaitable[Page[Item]]]) -> list[Item]:
    """All items of all pages; `pages` gives the page of a cursor."""
    page = await pages(None)
    found = list(page.items)
    while page.next_cursor is not None:
        page = await pages(page.next_cursor)
        found.extend(page.items)
    return found
