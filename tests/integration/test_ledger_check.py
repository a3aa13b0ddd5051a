"""`tidegate ledger check`: names what is wrong in a ledger, and calls one clean that is right."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy import text

from gateway.store.database import Database
from gateway.usage import ledger
from gateway.usage.audit import Totals, check_ledger
from gateway.usage.audit_rules import Fault
from gateway.usage.lines import Card
from gateway.values import AttemptRecord, Outcome, Result
from pricing import Money, total_pico
from tests.unit.gateway.usage.samples import CARD, NOW_MS, OTHER_CARD, attempt, outcome

NOTHING = Money("USD", 0)
CORRECTION = (
    "INSERT INTO ledger_entries (id, generation_id, ordinal, created_ms, organisation_id, team_id, key_id,"
    " model, sandbox, endpoint_id, provider, upstream_model, rate_card_id, result, started_ms, duration_ms,"
    " fresh_input, cache_read, cache_write_5m, cache_write_1h, output, reasoning_tokens, requests, images,"
    " searches, basis, cost_currency, cost_pico, charge_currency, charge_pico, corrects)"
    " SELECT '{id}', '{generation}', ordinal, created_ms, organisation_id, team_id, key_id, model, sandbox,"
    " endpoint_id, provider, upstream_model, rate_card_id, result, started_ms, duration_ms, 0, 0, 0, 0, 0,"
    " 0, 0, 0, 0, basis, '{currency}', {pico}, '{currency}', {pico}, '{corrects}' FROM ledger_entries"
    " WHERE id = 'gen-one-1'"
)


def by_card(entry: AttemptRecord, **changes: object) -> AttemptRecord:
    """The entry at the prices of its card."""
    made: AttemptRecord = replace(entry, **changes)
    cost = Money("USD", total_pico(made.quantities, CARD))
    charge = cost if made.charge.pico else NOTHING
    return replace(made, cost=cost, charge=charge, cost_basis="rate_card")


def good_books() -> list[Outcome]:
    """Whatever may be in a ledger that is right."""
    many = [
        by_card(attempt("gen-many", number, charge=0), result=Result.FAILED, ttft_ms=None)
        for number in range(1, 12)
    ]
    many.append(by_card(attempt("gen-many", 12)))
    before = replace(attempt("gen-before"), cost_basis=None)
    refused = outcome("gen-refused", result=Result.REFUSED, status=402, attempts=())
    died = by_card(attempt("gen-died", 2), result=Result.ABORTED, reported_cost=None)
    return [
        outcome("gen-one"),
        outcome("gen-many", attempts=tuple(many)),
        outcome("gen-before", attempts=(before,)),
        refused,
        # Its process died: of the first attempt its journal told nothing.
        outcome("gen-died", result=Result.ABORTED, attempts=(died,)),
    ]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url)
    cards = [Card(CARD, NOW_MS), Card(OTHER_CARD, NOW_MS)]
    await ledger.write(made, outcomes=good_books(), cards=cards)
    yield made
    await made.aclose()


async def checked(database: Database, block: int = 1000) -> tuple[list[Fault], Totals]:
    faults: list[Fault] = []
    totals = await check_ledger(database, faults.append, block=block)
    return faults, totals


async def spoil(database: Database, *statements: str) -> None:
    async with database.transaction() as connection:
        for statement in statements:
            await connection.execute(text(statement))


@pytest.mark.parametrize("block", [1, 3, 1000])
async def test_books_that_are_right_are_clean_in_blocks_of_any_size(
    database: Database, block: int
) -> None:
    good = CORRECTION.format(
        id="gen-one-1-c1", generation="gen-one", currency="USD", pico=-5, corrects="gen-one-1"
    )
    await spoil(database, good)
    faults, totals = await checked(database, block)
    assert faults == []
    entries = [entry for whole in good_books() for entry in whole.attempts]
    assert (totals.generations, totals.entries, totals.corrections) == (5, len(entries) + 1, 1)
    assert totals.rate_cards == 2
    assert totals.cost == {"USD": sum(entry.cost.pico for entry in entries) - 5}
    assert totals.charge == {"USD": sum(entry.charge.pico for entry in entries) - 5}


ENTRY = "UPDATE ledger_entries SET {} WHERE id = 'gen-one-1'"
SPOILED = {
    **{
        f"{column} below zero": ([ENTRY.format(f"{column} = -1")], "counts", "gen-one-1")
        for column in (
            *("fresh_input", "cache_read", "cache_write_5m", "cache_write_1h", "output"),
            *("requests", "images", "searches", "reasoning_tokens"),
        )
    },
    "more reasoning than output": ([ENTRY.format("reasoning_tokens = 16")], "counts", "gen-one-1"),
    **{
        f"another {column}": ([ENTRY.format(f"{column} = '{value}'")], "repeated", "gen-one-1")
        for column, value in (
            *(("organisation_id", "o"), ("team_id", "t"), ("key_id", "k"), ("model", "m")),
        )
    },
    "another time": ([ENTRY.format("created_ms = 7")], "repeated", "gen-one-1"),
    "a sandbox's": ([ENTRY.format("sandbox = true")], "repeated", "gen-one-1"),
    "no such card": ([ENTRY.format("rate_card_id = 'none'")], "rate card", "gen-one-1"),
    "an illegible card": (
        ["UPDATE rate_cards SET content = '{}' WHERE id LIKE 'moonshot/%'"],
        "rate card",
        OTHER_CARD.id,
    ),
    "a card with another price": (
        ["UPDATE rate_cards SET content = replace(content, '950000', '950001')"],
        "rate card",
        OTHER_CARD.id,
    ),
    "cost in another currency": (
        [ENTRY.format("cost_currency = 'EUR', charge_currency = 'EUR'")],
        "currency",
        "gen-one-1",
    ),
    "charge in another currency": (
        [ENTRY.format("charge_currency = 'EUR'")],
        "currency",
        "gen-one-1",
    ),
    "a cost that was not stated": (
        [ENTRY.format("cost_pico = 34000001, charge_pico = 34000001")],
        "cost",
        "gen-one-1",
    ),
    "a statement that is no amount": ([ENTRY.format("reported_cost = 'x'")], "cost", "gen-one-1"),
    "a cost that is not that of the counts": (
        ["UPDATE ledger_entries SET cost_pico = cost_pico + 1 WHERE id = 'gen-many-3'"],
        "cost",
        "gen-many-3",
    ),
    "a cost that is neither": (
        ["UPDATE ledger_entries SET cost_pico = 1, charge_pico = 1 WHERE id = 'gen-before-1'"],
        "cost",
        "gen-before-1",
    ),
    "an unknown cost basis": ([ENTRY.format("cost_basis = 'guess'")], "cost basis", "gen-one-1"),
    "a charge that is not the cost": ([ENTRY.format("charge_pico = 1")], "charge", "gen-one-1"),
    "a charge for nothing": ([ENTRY.format("ttft_ms = NULL")], "charge", "gen-one-1"),
    "an id of another ordinal": ([ENTRY.format("ordinal = 2")], "id", "gen-one-1"),
    "an attempt missing in the middle": (
        ["DELETE FROM ledger_entries WHERE id = 'gen-many-10'"],
        "ordinals",
        "gen-many",
    ),
    "the last attempt twice": (
        [
            "UPDATE ledger_entries SET ordinal = 11 WHERE id = 'gen-many-12'",
        ],
        "ordinals",
        "gen-many",
    ),
    "two attempts charged": (
        ["UPDATE ledger_entries SET charge_pico = cost_pico, ttft_ms = 1 WHERE id = 'gen-many-2'"],
        "charged once",
        "gen-many",
    ),
    "no generation": (["DELETE FROM generations WHERE id = 'gen-one'"], "generation", "gen-one"),
    "no entry": (["DELETE FROM ledger_entries WHERE id = 'gen-one-1'"], "entries", "gen-one"),
    "a correction of another generation": (
        [
            CORRECTION.format(
                id="gen-one-1-c1",
                generation="gen-one",
                currency="USD",
                pico=1,
                corrects="gen-many-1",
            )
        ],
        "correction",
        "gen-one-1-c1",
    ),
    "a correction in another currency": (
        [
            CORRECTION.format(
                id="gen-one-1-c1",
                generation="gen-one",
                currency="EUR",
                pico=1,
                corrects="gen-one-1",
            )
        ],
        "correction",
        "gen-one-1-c1",
    ),
    "corrections below zero": (
        [
            CORRECTION.format(
                id=f"gen-one-1-c{number}",
                generation="gen-one",
                currency="USD",
                pico=-20_000_000,
                corrects="gen-one-1",
            )
            for number in (1, 2)
        ],
        "correction",
        "gen-one-1",
    ),
}


@pytest.mark.parametrize("what", SPOILED)
async def test_what_is_spoiled_is_named(database: Database, what: str) -> None:
    statements, rule, about = SPOILED[what]
    before, _ = await checked(database)
    assert before == []
    await spoil(database, *statements)
    faults, _ = await checked(database)
    assert (rule, about) in [(fault.rule, fault.about) for fault in faults], faults
    generation = about[: about.index("-", 4)] if about.count("-") > 1 else about
    assert all(fault.about.startswith(generation) for fault in faults), faults  # and nothing else
    for fault in faults:
        assert all(msgspec.structs.astuple(fault)), fault
