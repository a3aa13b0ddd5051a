"""While replicas are replaced one by one, the version before works on with the newer schema.

What it sends was recorded, for a clean checkout holds no older version to run.
"""

import json
from collections.abc import Iterable
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from gateway.store import schema
from gateway.store.database import Database, kind
from gateway.store.tables.accounts import budgets

RECORDINGS = Path(__file__).parents[1] / "recordings"
BEFORE = "0002"
Step = dict[str, Any]


def _recorded(url: str) -> list[Step]:
    file = RECORDINGS / f"statements-{BEFORE}-{kind(url)}.json"
    steps: list[Step] = json.loads(file.read_text())
    return steps


def _reading(steps: Iterable[Step]) -> list[Step]:
    """The statements after the last change: what they read is the end of the story."""
    kept: list[Step] = []
    for step in steps:
        kept = [*kept, step] if step["rows"] is not None else []
    return kept


def _bound(value: Any) -> Any:
    match value:
        case {"hex": digits}:
            return bytes.fromhex(digits)
        case {"decimal": digits}:
            return Decimal(digits)
    return value


def _plain(value: Any) -> Any:
    match value:
        case bytes() | memoryview():
            return {"hex": bytes(value).hex()}
        case Decimal():
            return {"decimal": str(value)}
    return value


async def _send(url: str, steps: Iterable[Step]) -> None:
    """Send them as they were, a transaction for each scene, and compare what is answered."""
    database = Database(url)
    try:
        for scene, of_it in groupby(steps, lambda step: str(step["scene"])):
            async with database.transaction() as connection:
                for step in of_it:
                    answered = None
                    for row in step["parameters"]:
                        result = await connection.exec_driver_sql(
                            step["statement"], tuple(map(_bound, row))
                        )
                        if result.returns_rows:
                            answered = [[_plain(value) for value in found] for found in result]
                    assert answered == step["rows"], (scene, step["statement"])
    finally:
        await database.aclose()


async def _use_what_is_new(url: str) -> None:
    """As replicas of this version do beside it: budgets of owners that it never heard of."""
    database = Database(url)
    async with database.transaction() as connection:
        organisations = (await connection.execute(text("SELECT id FROM organisations"))).scalars()
        for number, owner in enumerate(list(organisations)):
            await connection.execute(
                budgets.insert().values(
                    id=f"bud_new{number}",
                    scope="organisation",
                    organisation_id=owner,
                    limit_pico=1,
                    currency="USD",
                    period="daily",
                    created_ms=0,
                )
            )
    await database.aclose()


async def test_the_recording_is_of_all_that_matters(database_url: str) -> None:
    sent = " ".join(step["statement"] for step in _recorded(database_url))
    for table in (
        *("installation", "organisations", "teams", "api_keys", "budgets"),
        *("generations", "ledger_entries", "rate_cards", "journal_files"),
    ):
        assert f"INSERT INTO {table} " in sent
        assert f"FROM {table}" in sent or table == "rate_cards"


async def test_it_works_on_with_the_newer_schema(blank_url: str) -> None:
    await schema.upgrade(blank_url)
    await _send(blank_url, _recorded(blank_url))


@pytest.mark.parametrize("at", [1, 3, 7])
async def test_its_database_may_be_upgraded_at_any_time(blank_url: str, at: int) -> None:
    steps = _recorded(blank_url)
    scenes = list(dict.fromkeys(step["scene"] for step in steps))
    assert len(scenes) > at
    first = set(scenes[:at])
    await schema.upgrade(blank_url, BEFORE)
    await _send(blank_url, (step for step in steps if step["scene"] in first))
    await schema.upgrade(blank_url)
    await _send(blank_url, (step for step in steps if step["scene"] not in first))


async def test_what_only_the_newer_version_knows_is_not_in_its_way(blank_url: str) -> None:
    steps = _recorded(blank_url)
    presented = [step for step in steps if step["scene"] == "a key is presented"]
    assert any(step["rows"] for step in presented)
    before = steps[: steps.index(presented[0])]
    await schema.upgrade(blank_url)
    await _send(blank_url, before)
    await _use_what_is_new(blank_url)
    await _send(blank_url, presented)


async def test_after_a_downgrade_it_works_on_where_it_was(blank_url: str) -> None:
    steps = _recorded(blank_url)
    await schema.upgrade(blank_url)
    await _send(blank_url, steps)
    await schema.downgrade(blank_url, BEFORE)
    end = _reading(steps)
    assert len(end) >= 3
    await _send(blank_url, end)


async def test_a_database_that_was_up_and_down_is_its_own_again(blank_url: str) -> None:
    await schema.upgrade(blank_url)
    await schema.downgrade(blank_url, BEFORE)
    await _send(blank_url, _recorded(blank_url))
