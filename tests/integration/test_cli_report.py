"""`tidegate report`: what is printed, to the letter."""

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.reports.table import amounts, course, table
from gateway.reports.usage import Question, Report, report
from gateway.reports.windows import Window
from gateway.store import schema
from gateway.store.database import Database, sqlite_url
from gateway.usage import ledger
from pricing import Money
from tests.unit.gateway.usage.samples import NOW_MS, attempt, outcome

HOUR = NOW_MS // 3_600_000
DAYS = ("--from", "2026-11-16", "--to", "2026-11-23")


def ship(folder: Path) -> str:
    """A week's traffic of two teams."""
    url = sqlite_url(folder / "tidegate.db")

    async def write() -> None:
        await schema.upgrade(url)
        database = Database(url)
        for number in range(40):
            name = f"gen-{number:03}"
            made = attempt(name, charge=(10**12 + 7) * number)
            if number == 13:
                made = msgspec.structs.replace(made, cost=Money("CNY", 5), charge=Money("CNY", 7))
            one = outcome(
                name,
                created_ms=NOW_MS - number * 4 * 3_600_000,
                team_id="search" if number % 3 else 'ads, "all"',
                model=f"m{number % 4}",
                attempts=(made,),
            )
            await ledger.write(database, outcomes=[one])
        await database.aclose()

    asyncio.run(write())
    return url


def ask(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(
        main, ["report", *words, "--data", str(folder)], catch_exceptions=False
    )


def told(url: str, **question: Any) -> Report:
    async def look() -> Report:
        database = Database(url)
        try:
            return await report(database, Question(**question))
        finally:
            await database.aclose()

    return asyncio.run(look())


def test_the_table_of_a_terminal(tmp_path: Path) -> None:
    url = ship(tmp_path)
    found = told(
        url,
        window=Window(HOUR - 167, HOUR + 1),
        by=("team", "model"),
        top=3,
        slots=8,
        compare=True,
        sort="charge",
    )
    assert table(found, "spend", plain=False).splitlines() == SPEND.strip("\n").splitlines()


SPEND = """
spend, 2026-11-15T12:00:00Z to 2026-11-22T12:00:00Z

TEAM    MODEL  REQUESTS  TOKENS        COST CNY      CHARGE CNY   SHARE  CHANGE  COURSE
search  m1            1      65  0.000000000005  0.000000000007  100.0%     new       █
total                 1      65  0.000000000005  0.000000000007  100.0%     new       █

TEAM        MODEL  REQUESTS  TOKENS  COST USD        CHARGE USD   SHARE  CHANGE  COURSE
search      m2            7     455  0.000238  146.000000001022   19.0%     new  ▆▅ █ ▃▂▁
search      m3            6     390  0.000204  126.000000000882   16.4%     new   █▇▅▄▃▂
search      m1            6     390  0.000204  114.000000000798   14.9%     new  █ ▆▅▄  ▂
(5 others)               20   1,300  0.000680  381.000000002667   49.7%     new  ▃█▆▄▄▂▂▁
total                    39   2,535  0.001326  767.000000005369  100.0%     new  ▅█▆▆▄▃▂▁
"""


def test_without_a_terminal_there_are_columns_only(tmp_path: Path) -> None:
    ship(tmp_path)
    done = ask(tmp_path, "tokens", "--by", "model", *DAYS)
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.stdout
    assert "▁" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == "tokens, 2026-11-16T00:00:00Z to 2026-11-23T00:00:00Z"
    heads = "MODEL FRESH INPUT CACHE READ CACHE WRITE OUTPUT OF IT REASONING TOKENS SHARE"
    assert " ".join(lines[6].split()) == heads
    for kind in ("requests", "latency"):
        assert ask(tmp_path, kind, *DAYS).exit_code == 0


def test_csv_and_json_say_the_same(tmp_path: Path) -> None:
    ship(tmp_path)
    words = ("--by", "team", "--only", "model=m1", *DAYS)
    text = ask(tmp_path, *words, "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    body = json.loads(ask(tmp_path, *words, "--format", "json").stdout)
    assert [row["team"] for row in rows if row["kind"] == "row"] == [
        row["group"]["team"] for row in body["rows"]
    ]
    for kind, part in (("row", "rows"), ("total", "totals")):
        for line, one in zip([row for row in rows if row["kind"] == kind], body[part], strict=True):
            for name in ("charge", "cost", "requests", "output", "ttft_p90_at_most_ms"):
                assert line[name] == str(one[name])


def test_nothing_is_said_to_be_nothing(tmp_path: Path) -> None:
    ship(tmp_path)
    done = ask(tmp_path, "--from", "2020-01-01", "--to", "2020-01-02T05:00Z")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "nothing reached a provider from 2020-01-01T00:00:00Z to 2020-01-02T05" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--by", "flavour"), "by must be up to 4 different ones of team, key"),
        (("--only", "flavour=x"), "GROUP=ID"),
        (("--last", "7y"), "24h, 7d or 4w"),
        (("--from", "yesterday"), "2027-01-31"),
        (("--from", "2026-11-16T00:30"), "full hour"),
        (("--to", "2026-11-16"), "needs a `from`"),
        (("--from", "2026-11-16", "--last", "7d"), "not both"),
        (("--from", "2020-01-01"), "400 days"),
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    ship(tmp_path)
    done = ask(tmp_path, *words)
    assert done.exit_code == 1
    assert said in done.stderr


def test_amounts_of_a_column_are_exact_and_aligned() -> None:
    column = [Money("USD", pico) for pico in (10**21 + 1, -1_500_000_000_000, 0)]
    assert amounts(column) == ["1,000,000,000.000000000001", "-1.500000000000", "0.000000000000"]
    assert amounts([Money("USD", 10**12)]) == ["1.00"]


def test_a_course_shows_little_and_nothing_apart() -> None:
    assert course([0, 1, 1000, 500]) == " ▁█▄"
    assert course([0, 0]) == "  "
