"""How long reports take over many ledger entries: `python -m bench.reports --rows 10000000`.

On a PostgreSQL of its own, which ends with what it holds. The entries are of thirty days up to now, made in
the database itself, an hour a statement, so that the trigger that notes hours runs as it does for shippers.
"""

import argparse
import asyncio
import time
from collections.abc import Mapping

from sqlalchemy import text

from gateway.clock import SystemClock
from gateway.jobs.roll_ups import RollUps
from gateway.reports.usage import Question, report
from gateway.reports.windows import last
from gateway.store import schema
from gateway.store.database import Database
from gateway.usage.roll_ups import marked
from tests.servers.postgres_server import PostgresServer

_HOURS = 24 * 30
_TEAMS, _KEYS, _MODELS, _PROVIDERS = 20, 4, 5, 3
_SHIPPED = """
INSERT INTO ledger_entries (id, generation_id, ordinal, created_ms, organisation_id, team_id, key_id, model,
  sandbox, endpoint_id, provider, upstream_model, rate_card_id, result, started_ms, ttft_ms, duration_ms,
  fresh_input, cache_read, cache_write_5m, cache_write_1h, output, reasoning_tokens, requests, images,
  searches, basis, cost_currency, cost_pico, charge_currency, charge_pico)
SELECT g || '-1', g, 1, ms, 'org', t, t || '-' || n / 20 % :keys, m, false, p || '/' || m, p, m, 'card',
  CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'success' END, ms, n % 3000, n % 20000,
  n % 900, n % 5000, 0, 0, n % 700, n % 300, 1, 0, 0, 'provider_reported',
  'USD', 1000000 + n, 'USD', 2000000 + n
FROM (SELECT n, CAST(:begin AS bigint) + n * 3600000 / :count AS ms,
  'gen-' || lpad(to_hex((CAST(:begin AS bigint) + n * 3600000 / :count) / 1000), 8, '0')
    || lpad(to_hex(n), 12, '0') AS g,
  'team-' || n % :teams AS t, 'model-' || n * 7 % :models AS m, 'provider-' || n * 11 % :providers AS p
  FROM generate_series(CAST(0 AS bigint), CAST(:count AS bigint) - 1) AS n) AS made
"""
_ASKED: Mapping[str, tuple[tuple[str, ...], str, bool]] = {
    "by team, 7 days": (("team",), "7d", False),
    "by team and model, 30 days": (("team", "model"), "30d", False),
    "the same, compared": (("team", "model"), "15d", True),
    "by key, 30 days": (("key",), "30d", False),
    "by day and provider, 30 days": (("day", "provider"), "30d", False),
    "by hour, 24 hours": (("hour",), "24h", False),
}


async def _bench(url: str, rows: int) -> None:
    await schema.upgrade(url)
    database, clock = Database(url, command_timeout=None), SystemClock()
    current = int(clock.now()) // 3600
    each = rows // _HOURS
    began = time.perf_counter()
    for hour in range(current - _HOURS + 1, current + 1):
        async with database.transaction() as connection:
            values = {"begin": hour * 3_600_000, "count": each, "keys": _KEYS, "teams": _TEAMS}
            more = {"models": _MODELS, "providers": _PROVIDERS}
            await connection.execute(text(_SHIPPED), values | more)
    print(f"{each * _HOURS:,} entries made in {time.perf_counter() - began:.0f} s")
    async with database.transaction() as connection:
        await connection.execute(text("ANALYZE"))
    job = RollUps(database, clock)
    began = time.perf_counter()
    while await job.roll():
        pass
    took = time.perf_counter() - began
    left = len(await marked(database))
    print(
        f"{_HOURS - left} hours summed in {took:.1f} s, {took / _HOURS * 1000:.0f} ms each; {left} left"
    )
    async with database.transaction() as connection:
        await connection.execute(text("ANALYZE"))
        count = (await connection.execute(text("SELECT count(*) FROM roll_ups"))).scalar_one()
    print(f"{count:,} rows of sums")
    for name, (by, length, compare) in _ASKED.items():
        for slots, times in ((24, False), (0, True)):
            question = Question(
                window=last(length, clock.now()), by=by, compare=compare, slots=slots, times=times
            )
            taken = []
            for _ in range(5):
                began = time.perf_counter()
                await report(database, question)
                taken.append((time.perf_counter() - began) * 1000)
            what = "with times" if times else "with courses"
            print(
                f"{name}, {what}: {sorted(taken)[2]:.0f} ms (median of 5, worst {max(taken):.0f})"
            )
    await database.aclose()


def main() -> None:
    """Make the entries, sum them, ask."""
    parser = argparse.ArgumentParser(prog="bench.reports", description="How long reports take.")
    parser.add_argument(
        "--rows", type=int, default=10_000_000, help="entries; 10 million take 5 GB"
    )
    rows = parser.parse_args().rows
    with PostgresServer({"shared_buffers": "512MB", "work_mem": "64MB"}) as server:
        asyncio.run(_bench(server.fresh(None), rows))


if __name__ == "__main__":
    main()
