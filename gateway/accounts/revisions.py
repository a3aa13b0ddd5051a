"""What the tables of levels have in common: settings as JSON, and a revision that each change raises."""

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Table, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts.privacy import Privacy
from gateway.errors import RevisionConflict
from gateway.policies.levels import NO_SETTINGS, LevelSettings, encode, parse

_decode = msgspec.json.Decoder(LevelSettings).decode
_EMPTY = "{}"


def settings_of(row: Row[Any]) -> LevelSettings:
    """The settings of a level's row."""
    return read_settings(row.settings)


def read_settings(document: str) -> LevelSettings:
    """The settings that the tables keep as this; those that set nothing are one value."""
    return NO_SETTINGS if document == _EMPTY else _decode(document)


def checked_settings(settings: LevelSettings) -> LevelSettings:
    """Settings that can be; whoever made the value may not have checked it.

    Raises:
        InvalidRequest: code invalid_settings.
    """
    return NO_SETTINGS if settings == NO_SETTINGS else parse(encode(settings))


def written(settings: LevelSettings) -> str:
    """Settings as the tables keep them."""
    return encode(settings).decode()


def flat(settings: LevelSettings, privacy: Privacy | None = None) -> dict[str, Any]:
    """Settings for the audit log, so that of two only those that differ are kept."""
    found: dict[str, Any] = {
        f"settings.{name}": value for name, value in msgspec.to_builtins(settings).items()
    }
    if privacy is not None:
        found["zdr"] = privacy.zdr
        found["data_collection"] = "deny" if privacy.no_training else "allow"
    return found


def check_revision(what: str, *, current: int, revision: int | None) -> None:
    """Refuse a change that was made for another revision; None is not checked.

    Raises:
        RevisionConflict: with both; code revision_conflict.
    """
    if revision is not None and revision != current:
        raise RevisionConflict(
            f"the {what} is at revision {current}, and the change was made for revision {revision}:"
            " read it again, and change that",
            param="revision",
            metadata={"revision": current, "given": revision},
        )


async def raise_revision(
    connection: AsyncConnection,
    table: Table,
    ref: str,
    values: Mapping[str, Any],
    *,
    what: str,
    current: int,
    revision: int | None,
) -> None:
    """Write `values` to the row `ref`, and raise its revision by one.

    Read the row with `with_for_update` before: then nobody comes between on PostgreSQL either.

    Args:
        connection: of the transaction.
        table: with columns `id` and `revision`.
        ref: the row's id.
        values: what changes.
        what: for messages, such as "team".
        current: the revision that was read in this transaction.
        revision: the one that the change was made for; None is not checked.

    Raises:
        RevisionConflict: somebody changed it since; code revision_conflict.
    """
    check_revision(what, current=current, revision=revision)
    done = await connection.execute(
        update(table)
        .where(table.c.id == ref, table.c.revision == current)
        .values(**values, revision=current + 1)
    )
    if done.rowcount != 1:
        raise RevisionConflict(
            f"the {what} was changed at the same time; read it again, and change that",
            param="revision",
        )
