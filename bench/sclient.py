"""A streaming load client: keeps a number of streams open until a total is done.

Prints one `StreamReport` as JSON. A process of its own, so that it can be pinned to a core and its
CPU time told from the rest.
"""

import argparse
import asyncio
import resource
import time
from pathlib import Path
from typing import Any, cast

import httptools
import msgspec
import uvloop
from typing_extensions import override

from bench.paths import HOST
from bench.results import StreamReport

OK = 200
EVENT = b"data:"
END = b"DONE]"  # no longer than EVENT, so that one tail finds either when a read cuts it in two
TAIL = len(EVENT) - 1
STAMP = b'"@'  # the fake upstream's content: "@" and 19 digits of CLOCK_MONOTONIC in nanoseconds
STAMP_DIGITS = 19


class Tally:
    """What all streams together have seen. Times are nanoseconds."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.started = self.finished = self.not_ok = self.events = self.reads = 0
        self.ttft: list[int] = []
        self.lateness: list[int] = []

    def take(self) -> bool:
        """Whether there is another stream to begin; counts it as begun."""
        if self.started >= self.total:
            return False
        self.started += 1
        return True

    def end(self, *, ok: bool) -> None:
        """One stream has ended."""
        self.finished += 1
        self.not_ok += not ok


class Connection(asyncio.Protocol):
    """One connection, which asks for one stream after another while the server keeps it open."""

    def __init__(self, tally: Tally, request: bytes) -> None:
        self._tally = tally
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._in_reply = False
        self.closed: asyncio.Future[None] = self._loop.create_future()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports behave as asyncio's, but do not derive from them.
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def _next(self) -> None:
        if self._transport.is_closing() or not self._tally.take():
            self._transport.close()
            return
        self._in_reply = True
        self._complete = self._begun = False
        self._tail = b""
        self._parser = httptools.HttpResponseParser(self)
        self._asked = time.monotonic_ns()
        self._transport.write(self._request)

    @override
    def data_received(self, data: bytes) -> None:
        self._tally.reads += 1
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Part of the reply (a callback of httptools)."""
        now = time.monotonic_ns()
        joined = self._tail + body
        events = joined.count(EVENT)
        if events and not self._begun:
            self._begun = True
            self._tally.ttft.append(now - self._asked)
        self._tally.events += events
        self._complete = self._complete or END in joined
        self._tail = joined[-TAIL:]
        found = body.find(STAMP)
        if found >= 0:  # the oldest event of this read has waited longest
            stamp = body[found + len(STAMP) : found + len(STAMP) + STAMP_DIGITS]
            if len(stamp) == STAMP_DIGITS:
                self._tally.lateness.append(now - int(stamp))

    def on_message_complete(self) -> None:
        """The reply has ended (a callback of httptools)."""
        self._in_reply = False
        self._tally.end(ok=self._parser.get_status_code() == OK and self._complete)
        if self._parser.should_keep_alive():
            self._loop.call_soon(self._next)  # not from inside the parser's own callback
        else:
            self._transport.close()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._in_reply:  # cut off in the middle of a stream
            self._in_reply = False
            self._tally.end(ok=False)
        self.closed.set_result(None)


async def keep_open(tally: Tally, port: int, request: bytes, *, after: float) -> None:
    """Hold one connection at a time, from `after` seconds on, until no stream is left to begin."""
    await asyncio.sleep(after)
    loop = asyncio.get_running_loop()
    while tally.started < tally.total:
        _, connection = await loop.create_connection(lambda: Connection(tally, request), HOST, port)
        await connection.closed


def _give_up(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A mistake in a callback would otherwise only be logged, and the streams waited for in vain."""
    loop.default_exception_handler(context)
    loop.stop()


async def run(
    tally: Tally, port: int, request: bytes, *, at_once: int, ramp: float, limit: float
) -> float:
    """Do every stream, or as many as `limit` seconds allow; gives the seconds it took."""
    asyncio.get_running_loop().set_exception_handler(_give_up)
    begun = time.monotonic()
    try:
        async with asyncio.timeout(limit), asyncio.TaskGroup() as connections:
            for i in range(at_once):
                connections.create_task(keep_open(tally, port, request, after=i * ramp))
    except TimeoutError:
        pass  # the report says how many are missing
    return time.monotonic() - begun


def percentile_us(nanoseconds: list[int], share: float) -> float | None:
    """The given share's percentile in microseconds; None of nothing."""
    if not nanoseconds:
        return None
    ordered = sorted(nanoseconds)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] / 1000, 1)


def main() -> None:
    """Read the command line, run, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--body", type=Path, required=True)
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--at-once", type=int, required=True)
    parser.add_argument("--total", type=int, required=True)
    parser.add_argument("--ramp-ms", type=float, default=0)
    parser.add_argument("--limit", type=float, default=60, help="seconds")
    options = parser.parse_args()

    body = options.body.read_bytes()
    head = [
        f"POST {options.path} HTTP/1.1",
        f"Host: {HOST}:{options.port}",
        "Content-Type: application/json",
        "Accept: text/event-stream",
        f"Content-Length: {len(body)}",
        *options.header,
    ]
    request = "\r\n".join([*head, "", ""]).encode() + body
    tally = Tally(options.total)
    seconds = uvloop.run(
        run(
            tally,
            options.port,
            request,
            at_once=options.at_once,
            ramp=options.ramp_ms / 1000,
            limit=options.limit,
        )
    )
    used = resource.getrusage(resource.RUSAGE_SELF)
    report = StreamReport(
        total=tally.total,
        finished=tally.finished,
        not_ok=tally.not_ok,
        seconds=round(seconds, 3),
        events=tally.events,
        reads=tally.reads,
        ttft_p50_us=percentile_us(tally.ttft, 0.50),
        ttft_p99_us=percentile_us(tally.ttft, 0.99),
        lateness_p50_us=percentile_us(tally.lateness, 0.50),
        lateness_p99_us=percentile_us(tally.lateness, 0.99),
        client_cpu_s=round(used.ru_utime + used.ru_stime, 2),
    )
    print(msgspec.json.encode(report).decode())


if __name__ == "__main__":
    main()
