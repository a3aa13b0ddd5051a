"""`tidegate ledger reconcile`: a provider's bill against the ledger, on either database."""

import datetime as dt
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from sqlalchemy import text

from gateway.accounts.opening import Installation
from gateway.cli import main
from gateway.store import schema
from gateway.store.database import Database
from gateway.usage import ledger
from gateway.usage.invoices import read
from gateway.usage.reconciling import Booked, booked, compare
from gateway.values import Basis, Outcome
from pricing import Money
from tests.unit.gateway.usage.samples import attempt, outcome

DAY = dt.date(2026, 11, 20)
NOON_MS = 1_795_176_000_000  # of that day, UTC
DAY_MS = 86_400_000
PICO = 10**12


def cost(name: str, pico: int, **changes: object) -> Outcome:
    """A request with one attempt at Moonshot that cost this, at noon unless `started_ms` says otherwise."""
    made = replace(
        attempt(name),
        **{
            "provider": "moonshot",
            "upstream_model": "kimi-k2.6",
            "basis": Basis.REPORTED,
            "started_ms": NOON_MS,
            "cost": Money("USD", pico),
            "charge": Money("USD", 0),
            **changes,
        },
    )
    return outcome(name, attempts=(made,))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url)
    yield made
    await made.aclose()


async def test_what_is_booked_is_summed_exactly_by_day_and_model(database: Database) -> None:
    big = 2**62
    await ledger.write(
        database,
        outcomes=[
            cost("gen-1", big),
            cost("gen-2", big),
            cost("gen-3", big, basis=Basis.ESTIMATED),
            cost("gen-4", 5, started_ms=NOON_MS + DAY_MS // 2),  # midnight: the day after
            cost("gen-5", 7, started_ms=NOON_MS - DAY_MS // 2),
            cost("gen-6", 11, provider="novita"),
            cost("gen-7", 13, cost=Money("CNY", 13)),
            cost("gen-8", 17, started_ms=NOON_MS + 3 * DAY_MS),
            replace(cost("gen-9", 19), sandbox=True),
        ],
    )
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "INSERT INTO ledger_entries (id, generation_id, ordinal, created_ms, organisation_id,"
                " team_id, key_id, model, sandbox, endpoint_id, provider, upstream_model, rate_card_id,"
                " result, started_ms, duration_ms, fresh_input, cache_read, cache_write_5m,"
                " cache_write_1h, output, reasoning_tokens, requests, images, searches, basis,"
                " cost_currency, cost_pico, charge_currency, charge_pico, corrects)"
                " SELECT 'gen-1-c1', generation_id, ordinal, created_ms, organisation_id, team_id, key_id,"
                " model, sandbox, endpoint_id, provider, upstream_model, rate_card_id, result, started_ms,"
                " duration_ms, 0, 0, 0, 0, 0, 0, 0, 0, 0, basis, cost_currency, -3, charge_currency, 0,"
                " 'gen-1-1' FROM ledger_entries WHERE id = 'gen-1-1'"
            )
        )
    found = await booked(database, "moonshot", "USD", DAY, DAY + dt.timedelta(days=1))
    model = outcome("gen-1").model
    assert found == [
        Booked("2026-11-20", "kimi-k2.6", model, 3 * big - 3 + 7, big, 4),
        Booked("2026-11-21", "kimi-k2.6", model, 5, 0, 1),
    ]


def agreeing(billed: str, booked_pico: int, tolerance: str = "0") -> bool:
    bill = read(f"date,model,amount\n{DAY},kimi-k2.6,{billed}\n", currency="USD")
    ours = [Booked(DAY.isoformat(), "kimi-k2.6", "moonshotai/kimi-k2.6", booked_pico, 0, 1)]
    (row,) = compare(bill, ours, Decimal(tolerance))
    return row.agrees


def test_a_bill_may_differ_by_its_own_rounding_and_by_the_tolerance_and_no_pico_more() -> None:
    assert agreeing("1.25", 1_245_000_000_000)
    assert not agreeing("1.25", 1_244_999_999_999)
    assert agreeing("1.25", 1_255_000_000_000)
    assert not agreeing("1.25", 1_255_000_000_001)
    assert agreeing("1", PICO)
    assert not agreeing("1", PICO + 1)
    assert agreeing("2", 2 * PICO - 10**10, "0.5")
    assert not agreeing("2", 2 * PICO - 10**10 - 1, "0.5")


@pytest.mark.parametrize("name", ["kimi-k2.6", "moonshotai/Kimi-K2.6", "Kimi-K2-6-turbo"])
def test_a_model_is_found_by_the_providers_name_and_by_ours(name: str) -> None:
    bill = read(f"date,model,amount\n{DAY},{name},1\n", currency="USD")
    ours = [Booked(DAY.isoformat(), "kimi-k2-6-turbo", "moonshotai/kimi-k2.6", PICO, 0, 1)]
    (row,) = compare(bill, ours, Decimal(0))
    assert (row.agrees, row.ours_pico, row.theirs_pico) == (True, PICO, PICO)


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    where = Installation.in_folder(folder)
    await schema.upgrade(where.url)
    books = where.database()
    await ledger.write(
        books,
        outcomes=[
            cost("gen-1", 1_234_567_890_123),
            cost("gen-2", 500_000_000_000, upstream_model="kimi-k3", basis=Basis.ESTIMATED),
            cost("gen-3", 2 * PICO, started_ms=NOON_MS + DAY_MS),
        ],
    )
    await books.aclose()
    return folder


def reconcile(data: Path, bill: str, *words: str) -> tuple[int, str]:
    file = data.parent / "bill.csv"
    file.write_text(bill, encoding="utf-8")
    ran = CliRunner().invoke(
        main,
        [
            *("ledger", "reconcile", "--invoice", str(file), "--provider", "moonshot"),
            *("--currency", "usd", "--data", str(data), *words),
        ],
    )
    return ran.exit_code, ran.output


def test_a_bill_that_agrees_ends_with_0(data: Path) -> None:
    bill = "date,model,amount\n2026-11-20,kimi-k2.6,1.23\n2026-11-20,kimi-k3,0.50\n2026-11-21,kimi-k2.6,2\n"
    status, said = reconcile(data, bill)
    assert said.splitlines()[-1] == "all 3 agree"
    assert status == 0


DIFFERENT = "date,model,amount\n2026-11-20,kimi-k2.6,1.30\n2026-11-21,kimi-k9,4\n"


def test_one_that_does_not_says_where_and_by_how_much_and_ends_with_2(data: Path) -> None:
    status, said = reconcile(data, DIFFERENT)
    assert status == 2
    assert [line.split() for line in said.splitlines()] == [
        ["moonshot,", "USD"],
        [],
        ["DAY", "MODEL", "BOOKED", "BILLED", "DIFFERENCE", "%"],
        ["2026-11-20", "kimi-k2.6", "1.234567890123", "1.3", "+0.065432109877", "+5.30", "differs"],
        [
            *("2026-11-20", "kimi-k3", "0.5", "-", "-0.5", "-100.00"),
            *("not", "in", "the", "bill,", "0.5", "of", "it", "estimated"),
        ],
        ["2026-11-21", "kimi-k2.6", "2", "-", "-2", "-100.00", "not", "in", "the", "bill"],
        ["2026-11-21", "kimi-k9", "-", "4", "+4", "-", "not", "in", "the", "ledger"],
        ["total", "3.734567890123", "5.3", "+1.565432109877", "+41.92"],
        [],
        ["4", "of", "4", "differ"],
    ]


def test_as_json_it_says_the_same(data: Path) -> None:
    status, said = reconcile(data, DIFFERENT, "--json")
    found = json.loads(said)
    assert status == 2
    assert (found["agrees"], found["booked"], found["billed"]) == (False, "3.734567890123", "5.3")
    assert found["rows"][0] == {
        "day": "2026-11-20",
        "model": "kimi-k2.6",
        "booked": "1.234567890123",
        "estimated": "0",
        "billed": "1.3",
        "difference": "0.065432109877",
        "agrees": False,
    }
    assert found["rows"][3]["booked"] is None


@pytest.mark.parametrize(
    ("bill", "words", "said"),
    [
        ("date,model,amount\n2026-11-20,kimi,lots\n", (), "line 2: 'lots' is no amount"),
        ("date,model,amount\n", (), "nothing is billed"),
        (DIFFERENT, ("--tolerance", "some"), "--tolerance"),
    ],
)
def test_what_cannot_be_compared_is_said_and_is_no_difference(
    data: Path, bill: str, words: tuple[str, ...], said: str
) -> None:
    status, told = reconcile(data, bill, *words)
    assert said in told
    assert status == 1
