"""What reached the sandbox and what became of it, to look at and to wait for."""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from msgspec import DecodeError, Struct, json

_KEPT_REQUESTS = 50
_KEPT_BODY = 1024 * 1024  # larger bodies are counted, not kept: fifty of 4 MB would be felt
_SECRET_HEADERS = frozenset({"authorization", "x-api-key", "proxy-authorization", "cookie"})


class Tally:
    """A count that can be waited for."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = asyncio.Event()

    def add(self) -> None:
        """Count one more."""
        self.count += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, count: int = 1, *, within: float = 5.0) -> None:
        """Return as soon as `count` were counted since the start or the last reset.

        Args:
            count: how many, all told.
            within: seconds.

        Raises:
            TimeoutError: they were not, in time.
        """
        async with asyncio.timeout(within):
            while self.count < count:
                await self._changed.wait()


class Received(Struct, frozen=True):
    """One request as it arrived. Header names are in lower case, credentials masked."""

    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes | None  # None if it had more than 1 MiB
    size: int  # bytes of the body

    @property
    def body(self) -> Any:
        """The body decoded; None if it is not JSON, or too large to be kept."""
        try:
            return json.decode(self.raw or b"null")
        except DecodeError:
            return None


class Record:
    """Counters over chat requests, and the newest of these.

    `received` = `completed` + `cancelled` + `broken` + `in_flight`.
    """

    def __init__(self) -> None:
        self.received = Tally()
        self.completed = Tally()  # the last byte of an answer, or of an error reply, was written
        self.cancelled = Tally()  # the caller left before that
        self.broken = Tally()  # ended by a fault of ours, or by our own end
        self.requests: deque[Received] = deque(maxlen=_KEPT_REQUESTS)
        self.other_paths: Counter[str] = Counter()  # "GET /v1/models" -> how often

    @property
    def in_flight(self) -> int:
        """Requests whose answer is not over."""
        over = self.completed.count + self.cancelled.count + self.broken.count
        return self.received.count - over

    def note(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """A chat request has arrived in full."""
        shown = {
            name: _masked(value) if name in _SECRET_HEADERS else value
            for name, value in headers.items()
        }
        raw = body if len(body) <= _KEPT_BODY else None
        self.requests.append(Received(method, path, shown, raw, len(body)))
        self.received.add()

    def reset(self) -> None:
        """Forget what is over. Answers under way stay counted."""
        under_way = self.in_flight
        for tally in (self.received, self.completed, self.cancelled, self.broken):
            tally.count = 0
        self.received.count = under_way
        self.requests.clear()
        self.other_paths.clear()

    def as_document(self) -> dict[str, Any]:
        """What the control path shows."""
        return {
            "requests": self.received.count,
            "completed": self.completed.count,
            "cancelled": self.cancelled.count,
            "broken": self.broken.count,
            "in_flight": self.in_flight,
            "other_paths": dict(self.other_paths),
            "last": [
                {
                    "method": one.method,
                    "path": one.path,
                    "headers": one.headers,
                    "size": one.size,
                    "body": one.body,
                }
                for one in self.requests
            ],
        }


def _masked(value: str) -> str:
    scheme, _, rest = value.partition(" ")
    return f"{scheme} ***" if rest else "***"
