"""Looking at the counters in Redis from outside. Plain reads: nothing is begun, loaded or renewed."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import hiredis
from msgspec import Struct

from gateway.store.state import StateLost
from gateway.store.state.resp import Connection, address, connect, pack

_AT_ONCE: Final = 300


class Counter(Struct, frozen=True):
    """What a budget's counter says, in nano-units."""

    spent_nano: int
    held_nano: int


class CounterReader:
    """Reads what `RedisCounters` of the same URL and prefix count. Close it with `aclose`.

    Its methods raise StateLost where the store does not answer.
    """

    def __init__(self, connection: Connection, begins: str | None) -> None:
        """Use `opened`. `begins`: what the names of the epoch's keys begin with; None: there is none."""
        self._connection = connection
        self._begins = begins

    @classmethod
    async def opened(cls, url: str, *, prefix: str, timeout: float = 5.0) -> "CounterReader":
        """Connect.

        Args:
            url: of the server, as in `resp.address`.
            prefix: what the names of all keys begin with.
            timeout: seconds without an answer after which the store counts as lost.

        Raises:
            StateLost: it does not answer.
            ValueError: no such URL.
        """
        connection = await connect(address(url), timeout=timeout)
        reader = cls(connection, None)
        epoch: bytes | None = await reader._ask("GET", f"{prefix}:epoch")
        if epoch is not None:
            reader._begins = f"{prefix}:{epoch.decode()}:"
        return reader

    async def counters(self, buckets: Sequence[str]) -> Mapping[str, Counter]:
        """Those of the buckets that are loaded in the epoch of now; of the others nothing is known."""
        found: dict[str, Counter] = {}
        if self._begins is None:
            return found
        for first in range(0, len(buckets), _AT_ONCE):
            some = buckets[first : first + _AT_ONCE]
            names = [f"{self._begins}{kind}:{bucket}" for bucket in some for kind in "cbk"]
            said: list[bytes | None] = await self._ask("MGET", *names)
            for place, bucket in enumerate(some):
                spent, held, loaded = said[3 * place : 3 * place + 3]
                if spent is not None and held is not None and loaded is not None:
                    found[bucket] = Counter(int(spent), int(held))
        return found

    async def abandoned(self, seconds: int, most: int = 100) -> tuple[str, ...]:
        """Reservations, at most `most`, that are held though their time was over `seconds` ago."""
        if self._begins is None:
            return ()
        now: list[bytes] = await self._ask("TIME")
        until = (int(now[0]) - seconds) * 1000
        words = ("ZRANGEBYSCORE", f"{self._begins}live", "-inf", until, "LIMIT", 0, most)
        late: list[bytes] = await self._ask(*words)
        return tuple([name.decode() for name in late if name])

    async def _ask(self, *words: str | int) -> Any:
        answer = await self._connection.call(pack(*words))
        if isinstance(answer, hiredis.ReplyError):
            raise StateLost(f"the state store cannot do it: {answer}")
        return answer

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.aclose()
