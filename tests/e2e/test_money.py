"""What callers are told, charged and refused, to the last picodollar, and where it is written."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.stage import K26, LINEAR, TEAM, Response, Stage, chat
from tests.fakes.wire import connect, post

MILLION = Decimal(1_000_000)
NOVITA = (
    Decimal("0.8"),
    Decimal("3.4"),
    Decimal("0.16"),
)  # in, out, cache read; packaged, 2026-11-22
MOONSHOT = (Decimal("0.95"), Decimal(4), Decimal("0.16"))


def price(usage: Any, card: tuple[Decimal, ...]) -> Decimal:
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    fresh = usage["prompt_tokens"] - cached
    parts = fresh * card[0] + usage["completion_tokens"] * card[1] + cached * card[-1]
    return Decimal(parts / MILLION)


def usage_of(answer: Response, *, stream: bool) -> Any:
    return answer.events[-2]["usage"] if stream else answer.document["usage"]


@pytest.mark.parametrize("stream", [False, True])
def test_cost_is_the_providers_count_at_the_packaged_price(stage: Stage, stream: bool) -> None:  # noqa: FBT001 - a parameter
    for tag, card in (("", NOVITA), ("[[fault=error500,at=novita]]", MOONSHOT)):
        text = f"{tag}[[n=40,think=3]] ünïcode {stream}"
        body = chat(text, stream=stream, stream_options={"include_usage": True})
        answer = stage.ask(body)
        usage = usage_of(answer, stream=stream)
        assert usage["prompt_tokens"] == -(-len(text.encode()) // 4)
        assert usage["completion_tokens"] == 40 + 3
        assert usage["cost"] == price(usage, card) > 0
        assert "estimated" not in usage


def test_cached_tokens_cost_their_own_price(stage: Stage) -> None:
    text = "The same long beginning. " * 100  # 2500 bytes: 625 tokens, two blocks of 256
    first = usage_of(stage.ask(chat(text)), stream=False)
    again = usage_of(stage.ask(chat(text)), stream=False)
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    assert again["prompt_tokens_details"]["cached_tokens"] == 512
    assert again["cost"] == price(again, NOVITA) < first["cost"] == price(first, NOVITA)


def test_a_generation_can_be_read_right_after_its_answer(stage: Stage) -> None:
    for stream in (False, True):
        answer = stage.ask(chat(stream=stream, stream_options={"include_usage": True}))
        usage = usage_of(answer, stream=stream)
        seen = stage.generation(answer.generation)
        assert seen["id"] == answer.generation
        assert seen["total_cost"] == seen["usage"] == usage["cost"] > 0
        assert seen["tokens_prompt"] == usage["prompt_tokens"]
        assert seen["native_tokens_completion"] == usage["completion_tokens"]
        assert (seen["streamed"], seen["cancelled"]) == (stream, False)
        assert (seen["finish_reason"], seen["provider_name"]) == ("stop", "novita")


def test_a_generation_is_its_teams_own(stage: Stage) -> None:
    stage.administer("teams", "create", "rivals")
    theirs, ours = stage.new_key(team="rivals"), stage.new_key()
    identity = stage.ask(chat()).generation
    assert stage.generation(identity, key=ours)["id"] == identity
    for key, status in ((theirs, 404), ("", 401)):
        answer = stage.ask(path=f"/v1/generation?id={identity}", key=key)
        assert answer.status == status
    unknown = stage.ask(path="/v1/generation?id=gen-nothing")
    assert (unknown.status, unknown.document["error"]["code"]) == (404, "generation_not_found")
    assert stage.ask(path="/v1/generation").document["error"]["param"] == "id"


def wait_for_row(stage: Stage, identity: str) -> dict[str, Any]:
    """The ledger entry of a generation with one attempt, once it was shipped."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        query = "SELECT * FROM ledger_entries WHERE generation_id = :identity"
        if rows := stage.read(query, identity=identity):
            (row,) = rows
            return row
        time.sleep(0.02)
    raise AssertionError(f"{identity} never came to the ledger")


def test_the_ledger_says_what_the_caller_was_told(stage: Stage) -> None:
    answer = stage.ask(chat("into the books"))
    usage = answer.document["usage"]
    row = wait_for_row(stage, answer.generation)
    assert int(row["charge_pico"]) == int(row["cost_pico"]) == usage["cost"] * 10**12
    assert (row["charge_currency"], row["basis"]) == ("USD", "provider_reported")
    assert row["fresh_input"] + row["cache_read"] == usage["prompt_tokens"]
    assert row["output"] == usage["completion_tokens"]
    assert row["reasoning_tokens"] == usage["completion_tokens_details"]["reasoning_tokens"]
    assert (row["endpoint_id"], row["result"], row["ordinal"]) == (f"novita/{K26}", "success", 1)
    seen = stage.generation(answer.generation)
    assert seen["provider_responses"][0]["rate_card_id"] == row["rate_card_id"]
    assert seen["total_cost"] == usage["cost"]


async def until_settled(stage: Stage, identity: str) -> Any:
    async with asyncio.timeout(5):
        while True:
            answer = await asyncio.to_thread(stage.ask, path=f"/v1/generation?id={identity}")
            if answer.status == 200:
                return answer.document["data"]
            await asyncio.sleep(0.01)


async def test_a_caller_who_leaves_cancels_the_provider_and_pays_what_it_got(stage: Stage) -> None:
    before = stage.novita.cancelled.count
    body = (
        b'{"model": "moonshotai/kimi-k2.6", "stream": true, "messages":'
        b' [{"role": "user", "content": "[[pace=20,n=500]] Hello!"}]}'
    )
    auth = f"Authorization: Bearer {stage.key}\r\n"
    async with connect(stage.gateway.port) as wire:
        await wire.send(post("/v1/chat/completions", body, more=auth))
        status, headers = await wire.head()
        got = 0
        while got < 4:
            got += (await wire.chunk()).count(b'"reasoning":')
        wire.reset()
    assert status == 200
    await asyncio.to_thread(stage.loop.run, stage.novita.cancelled.wait(before + 1))
    seen = await until_settled(stage, headers["x-generation-id"])
    assert (seen["result"], seen["cancelled"], seen["basis"]) == ("cancelled", True, "estimated")
    assert 4 <= seen["tokens_completion"] < 60
    assert seen["tokens_prompt"] == -(-len(body) // 4)
    cost = seen["tokens_prompt"] * NOVITA[0] + seen["tokens_completion"] * NOVITA[1]
    assert seen["total_cost"] == cost / MILLION


async def test_a_caller_who_leaves_before_the_first_token_pays_nothing(stage: Stage) -> None:
    received, cancelled = stage.novita.received.count, stage.novita.cancelled.count
    body = b'{"model": "moonshotai/kimi-k2.6", "messages": [{"role": "user", "content": "[[wait=5000]]"}]}'
    auth = f"Authorization: Bearer {stage.key}\r\nX-Request-Id: leaver-1\r\n"
    async with connect(stage.gateway.port) as wire:
        await wire.send(post("/v1/chat/completions", body, more=auth))
        await asyncio.to_thread(stage.loop.run, stage.novita.received.wait(received + 1))
    await asyncio.to_thread(stage.loop.run, stage.novita.cancelled.wait(cancelled + 1))
    async with asyncio.timeout(5):
        while True:
            query = "SELECT id, result FROM generations WHERE request_id = 'leaver-1'"
            if rows := stage.read(query):
                break
            await asyncio.sleep(0.02)
    assert [row["result"] for row in rows] == ["cancelled"]
    assert (await until_settled(stage, rows[0]["id"]))["total_cost"] == 0


# Budgets


def test_a_budget_that_cannot_cover_the_worst_case_refuses_and_says_so(stage: Stage) -> None:
    key = stage.new_key("--budget", "0.001")
    answer = stage.ask(chat(max_tokens=1000), key=key)  # at $4 a million, the dearer one: $0.004
    assert answer.status == 402
    error = answer.document["error"]
    assert (error["code"], error["type"]) == ("budget_exceeded", "insufficient_quota")
    assert "this key has 0.001 left of 0.001" in error["message"]
    assert "lower 'max_tokens'" in error["message"]
    assert error["metadata"]["spent"] == "0"
    assert Decimal(error["metadata"]["needed"]) > Decimal("0.004")
    assert stage.ask(chat(max_tokens=50), key=key).status == 200


def test_requests_that_race_never_overspend_a_budget(stage: Stage) -> None:
    """Each holds $0.0025 and costs a tenth of that: asked for until nothing is left that covers one."""
    team = "racers"
    stage.administer("teams", "create", team)
    stage.administer("budgets", "set", "--team", team, "0.0080", "--period", "total")
    key = stage.new_key(team=team)
    body = chat("[[n=300,wait=5]] race", model=LINEAR, max_tokens=4096)

    def run(_: int) -> Response:
        return stage.ask(body, key=key)

    served: list[Response] = []
    with ThreadPoolExecutor(16) as pool:
        for _ in range(60):
            answers = list(pool.map(run, range(16)))
            assert {answer.status for answer in answers} <= {200, 402}
            good = [answer for answer in answers if answer.status == 200]
            if not good:
                break
            served += good
    assert not good
    told = [answer.document["usage"]["cost"] for answer in served]
    form = GatewayProcess.usual
    # Each of several processes may have leased a hundredth of the budget, for when Redis is lost.
    leased = form.workers * Decimal("0.0080") / 100 if form.shared else Decimal(0)
    assert Decimal("0.0080") - Decimal("0.0026") - leased < sum(told) <= Decimal("0.0080")
    assert told == [stage.generation(a.generation, key=key)["total_cost"] for a in served]


def test_a_failed_request_gives_its_hold_back(stage: Stage) -> None:
    key = stage.new_key("--budget", "0.03")
    body = chat(
        "[[fault=error503]]", model="tests/error503-other", max_tokens=4000
    )  # up to $0.0243
    for _ in range(3):
        assert stage.ask(body, key=key).status == 503
    assert stage.metrics()["tidegate_budget_holds"] == 0


def test_a_disabled_key_is_refused(stage: Stage) -> None:
    key = stage.new_key("--name", "leaver")
    assert stage.ask(chat(), key=key).status == 200
    listed = stage.administer("keys", "list", "--team", TEAM)
    (identity,) = [line.split()[0] for line in listed.splitlines() if " leaver " in line]
    stage.administer("keys", "disable", identity)
    until = time.monotonic() + 5
    while (answer := stage.ask(chat(), key=key)).status == 200:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert (answer.status, answer.document["error"]["code"]) == (401, "key_disabled")


# Metrics


def test_the_counters_move(stage: Stage) -> None:
    def moved(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    before = stage.metrics()
    usage = stage.ask(chat()).document["usage"]
    stage.ask(chat(max_tokens=0))
    stage.ask(chat("[[fault=error403,at=novita]]", model="tests/error403-other"))
    after = stage.metrics()
    done = 'tidegate_requests_total{api="chat.completions",status="200",result="success"}'
    assert moved(done) == 2
    refused = 'api="chat.completions",code="invalid_value",status="400"'
    assert moved(f"tidegate_request_errors_total{{{refused}}}") == 1
    tokens = f'model="{K26}",provider="novita"'
    assert moved(f'tidegate_tokens_total{{{tokens},type="input"}}') == usage["prompt_tokens"]
    assert moved(f'tidegate_tokens_total{{{tokens},type="output"}}') == usage["completion_tokens"]
    assert moved('tidegate_failovers_total{reason="access_refused"}') == 1
    assert moved('tidegate_charge_total{currency="USD"}') >= float(usage["cost"])
    assert after["tidegate_inflight_requests"] == 0
    assert after["tidegate_journal_healthy"] == 1
