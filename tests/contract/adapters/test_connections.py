"""Connections to a provider are kept while all is well, and closed at once when it is not."""

import asyncio

import pytest

from backends import BackendError
from tests.contract.adapters.upstream import HOW, Upstream


@pytest.mark.parametrize("how", HOW)
async def test_a_connection_is_used_again_after_an_answer(upstream: Upstream, how: str) -> None:
    assert (await upstream.ask("Hi", how)).error is None
    before = upstream.connections()
    for _ in range(3):
        assert (await upstream.ask("Hi", how)).error is None
    assert upstream.connections() == before
    assert len(before) == 1


async def test_one_connection_serves_streams_and_whole_replies_in_turn(upstream: Upstream) -> None:
    seen = set()
    for how in (*HOW, *HOW):
        await upstream.ask("Hi", how)
        seen |= upstream.connections()
    assert len(seen) == 1


@pytest.mark.parametrize("fault", ["error400", "error401", "error429_rate", "error500", "html504"])
async def test_a_refusal_does_not_cost_the_connection(upstream: Upstream, fault: str) -> None:
    await upstream.ask("Hi")
    before = upstream.connections()
    with pytest.raises(BackendError):
        await upstream.open(f"[[fault={fault}]]")
    await upstream.ask("Hi")
    assert upstream.connections() == before


@pytest.mark.parametrize("fault", ["cut,after=2", "error_event,after=2", "stall_after_head"])
async def test_a_failed_stream_costs_its_connection(upstream: Upstream, fault: str) -> None:
    await upstream.ask("Hi")
    before = upstream.connections()
    ended = await upstream.hurried(idle=0.05).ask(f"[[fault={fault}]]")
    assert ended.error is not None
    if fault.startswith("stall"):
        await upstream.server.cancelled.wait()
    await upstream.ask("Hi")
    after = upstream.connections()
    # an error event may be the last of a body that had ended by then: that connection is still good
    assert after == before or not after & before
    if not fault.startswith("error_event"):
        assert not after & before


async def test_giving_up_is_seen_by_the_provider(upstream: Upstream) -> None:
    reply = await upstream.open("[[n=10000,pace=5]]")
    await reply.next()
    assert upstream.server.in_flight == 1
    reply.abort()
    await upstream.server.cancelled.wait()
    assert upstream.server.completed.count == 0


async def test_giving_up_twice_or_before_reading_is_harmless(upstream: Upstream) -> None:
    reply = await upstream.open("[[n=10000,pace=5]]")
    reply.abort()
    reply.abort()
    await upstream.server.cancelled.wait()
    assert (await upstream.ask("Hi")).error is None


async def test_giving_up_leaves_other_answers_alone(upstream: Upstream) -> None:
    doomed = await upstream.open("[[n=10000,pace=5]]")
    async with asyncio.TaskGroup() as group:
        others = [group.create_task(upstream.ask("[[pace=2]]", how)) for how in HOW]
        await doomed.next()
        doomed.abort()
    assert all(other.result().error is None for other in others)
    await upstream.server.cancelled.wait()
    assert upstream.server.cancelled.count == 1


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("text", ["[[fault=stall]]", "[[wait=10000]]"])
async def test_a_cancelled_wait_for_an_answer_is_seen_by_the_provider(
    upstream: Upstream, how: str, text: str
) -> None:
    waiting = asyncio.create_task(upstream.open(text, how))
    await upstream.server.received.wait()
    waiting.cancel()
    await upstream.server.cancelled.wait()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_cancelled_read_is_seen_by_the_provider(upstream: Upstream) -> None:
    reply = await upstream.open("[[fault=stall_after_head,after=1]]")
    await reply.next()
    reading = asyncio.ensure_future(reply.next())
    await asyncio.sleep(0)
    reading.cancel()
    await upstream.server.cancelled.wait()
    with pytest.raises(asyncio.CancelledError):
        await reading
