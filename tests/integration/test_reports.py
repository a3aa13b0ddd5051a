"""Reports equal the sums over the ledger, summed hours or not."""

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import insert

from gateway.errors import InvalidRequest
from gateway.jobs.roll_ups import RollUps
from gateway.reports.usage import GROUPS, Question, report
from gateway.reports.windows import Window, between, last, period_of
from gateway.store.database import Database
from gateway.store.tables.roll_ups import HOUR_MS
from gateway.store.tables.usage import ledger_entries
from gateway.usage import ledger
from pricing import Money
from tests.integration.test_roll_ups import correction, entries, generation_id, random_outcome
from tests.unit.gateway.usage.samples import NOW, NOW_MS, StoppedClock, attempt, outcome

HOUR = NOW_MS // HOUR_MS
ALL = Window(HOUR - 40, HOUR + 1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url)
    yield made
    await made.aclose()


def value(row: Any, name: str) -> str:
    """What group an entry is in."""
    if name in {"hour", "day", "week", "month"}:
        hour = row.created_ms // HOUR_MS
        return period_of(name, hour if name == "hour" else hour // 24)
    if name == "member":
        return "-"
    column = {"team": "team_id", "key": "key_id", "endpoint": "endpoint_id"}.get(name, name)
    found: str = getattr(row, column)
    return found


def by_hand(rows: list[Any], question: Question) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """Cost, charge, attempts and output by currencies and group."""
    found: dict[tuple[Any, ...], tuple[int, ...]] = {}
    for row in rows:
        hour = row.created_ms // HOUR_MS
        if row.sandbox != question.sandbox:
            continue
        if not question.window.begin <= hour < question.window.end:
            continue
        if any(value(row, name) not in wanted for name, wanted in question.only.items()):
            continue
        key = (row.cost_currency, row.charge_currency, *(value(row, n) for n in question.by))
        more = (row.cost_pico, row.charge_pico, int(row.corrects is None), row.output)
        found[key] = tuple(a + b for a, b in zip(found.get(key, (0,) * 4), more, strict=True))
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_a_report_equals_the_sums_over_the_ledger(database: Database, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    job = RollUps(database, StoppedClock())
    outcomes = [random_outcome(chance, number) for number in range(90)]
    for start in range(0, 90, 30):
        await ledger.write(database, outcomes=outcomes[start : start + 30])
        rows = await entries(database)
        async with database.transaction() as connection:
            await connection.execute(
                insert(ledger_entries), [correction(chance.choice(rows), start, 5 * 10**17)]
            )
        if start < 60:
            await job.roll()  # so that some hours are summed, some have late entries, some none
    rows = await entries(database)
    for _ in range(25):
        begin = HOUR - chance.randrange(40)
        only = {} if chance.random() < 0.5 else {"team": frozenset({"team-1"})}
        question = Question(
            window=Window(begin, begin + chance.choice((1, 5, 24, 60))),
            by=tuple(chance.sample(GROUPS, chance.randrange(4))),
            only=only,
            sandbox=chance.random() < 0.3,
            sort=chance.choice((None, "cost", "tokens", "requests")),
            slots=chance.choice((0, 1, 7)),
            top=1000,
            times=chance.random() < 0.5,
        )
        made = await report(database, question)
        told = {
            (row.sums.cost.currency, row.sums.charge.currency, *row.group.values()): (
                row.sums.cost.pico,
                row.sums.charge.pico,
                row.sums.count("attempts"),
                row.sums.count("output"),
            )
            for row in made.rows
        }
        assert told == by_hand(rows, question)
        assert made.others == ()
        for total in made.totals:
            same = [row for row in made.rows if row.sums.cost.currency == total.sums.cost.currency]
            assert sum(row.sums.charge.pico for row in same) == total.sums.charge.pico
            assert sum(row.sums.count("requests") for row in same) == total.sums.count("requests")
        if question.slots:
            name = question.sort or "charge"
            for row in made.rows:
                assert sum(row.series) == row.sums.count(name)


async def test_the_rows_beyond_the_top_are_one(database: Database) -> None:
    for number in range(5):
        name = generation_id(NOW_MS, number)
        made = attempt(name, charge=10**number)
        one = outcome(name, model=f"m{number}", attempts=(made,))
        await ledger.write(database, outcomes=[one])
    made_report = await report(database, Question(window=ALL, by=("model",), top=2))
    assert [row.group["model"] for row in made_report.rows] == ["m4", "m3"]
    (others,), (total,) = made_report.others, made_report.totals
    assert (others.sums.charge, others.merged) == (Money("USD", 111), 3)
    assert (total.sums.charge, total.merged) == (Money("USD", 11_111), 5)


async def test_a_report_is_compared_with_the_time_before(database: Database) -> None:
    for number, (at, model) in enumerate(
        ((NOW_MS, "a"), (NOW_MS - 24 * HOUR_MS, "a"), (NOW_MS - 24 * HOUR_MS, "gone"))
    ):
        name = generation_id(at, number)
        await ledger.write(database, outcomes=[outcome(name, created_ms=at, model=model)])
    made = await report(database, Question(window=last("24h", NOW), by=("model",), compare=True))
    told = {
        row.group["model"]: (
            row.sums.count("requests"),
            row.before and row.before.count("requests"),
        )
        for row in made.rows
    }
    assert told == {"a": (1, 1), "gone": (0, 1)}
    (total,) = made.totals
    assert total.before is not None
    assert (total.sums.count("requests"), total.before.count("requests")) == (1, 2)


async def test_quantiles_are_bounds_that_hold(database: Database) -> None:
    chance = random.Random(3)  # noqa: S311 - no secret
    outcomes = [random_outcome(chance, number) for number in range(80)]
    await ledger.write(database, outcomes=outcomes)
    made = await report(database, Question(window=ALL))
    rows = [row for row in await entries(database) if not row.sandbox and row.ttft_ms is not None]
    for total in made.totals:
        times = sorted(row.ttft_ms for row in rows if row.cost_currency == total.sums.cost.currency)
        assert total.sums.counts["ttft_count"] == len(times)
        for share in (0.25, 0.5, 0.75):
            true = times[max(0, -(-len(times) * int(share * 100) // 100) - 1)]
            bound = total.sums.quantile("ttft", share)
            assert (bound is None and true > 60_000) or (bound is not None and true <= bound)


def test_periods_are_called_by_their_beginning() -> None:
    day = HOUR // 24  # Sunday, 2026-11-22
    assert period_of("hour", HOUR) == "2026-11-22T11:00:00Z"
    assert [period_of("week", day + more) for more in (-6, 0, 1)] == [
        "2026-11-16",
        "2026-11-16",
        "2026-11-23",
    ]
    assert (period_of("day", day), period_of("month", day)) == ("2026-11-22", "2026-11")


@pytest.mark.parametrize("length", ["", "7", "d", "0d", "-1d", "7y", "9999w", "7 d"])
def test_a_length_that_is_none_is_refused(length: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        last(length, NOW)
    assert (refused.value.code, refused.value.param) == ("invalid_window", "last")


@pytest.mark.parametrize(
    ("begin", "end", "param"),
    [(1, None, "from"), (0, 5, "to"), (HOUR_MS, HOUR_MS, "from"), (0, None, "from")],
)
def test_a_window_that_is_none_is_refused(begin: int, end: int | None, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        between(begin, end, NOW)
    assert (refused.value.code, refused.value.param) == ("invalid_window", param)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"by": ("team", "team")}, "by"),
        ({"by": ("flavour",)}, "by"),
        ({"by": ("team", "key", "model", "day", "hour")}, "by"),
        ({"sort": "colour"}, "sort"),
        ({"top": 0}, "top"),
    ],
)
async def test_a_question_that_cannot_be_answered_is_refused(
    database: Database, changes: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await report(database, Question(window=ALL, **changes))
    assert (refused.value.code, refused.value.param) == ("invalid_report", param)
