"""Counters in Redis, or Valkey, that several processes share.

It must be one primary at one address, with or without replicas that take over behind it (a Sentinel-aware
proxy or a managed service); Redis Cluster is not supported, as a request's counters are moved in one script
and live anywhere in it. Redis 6.2 or later; scripts need EVALSHA, SCRIPT LOAD, INFO and TIME.

What the scripts keep, and under which names, is told in `lua/prelude.lua`.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Collection, Sequence
from importlib import resources
from typing import Any

import hiredis
import msgspec
from typing_extensions import override

from gateway.store.state import (
    ADMITTED,
    Admitted,
    Decision,
    EpochChanged,
    Limited,
    NotLoaded,
    RateLeft,
    Refusal,
    SharedCounters,
    StateLost,
)
from gateway.store.state.packing import MOST_NANO, Calls, nano
from gateway.store.state.resp import Answer, Connection, address, bulks, connect, pack
from gateway.values import BudgetHold, Reservation

# How long an epoch's name lives without anybody to renew it; then all that it counted is gone as well.
_EPOCH_TTL = 30 * 86_400
_RENEWED_AT_ONCE = 1000
_MICRO = 1e6
_NO_EPOCH = "the epoch of the state store is not known yet"

# By name, how many arguments each has beside the epoch and the beginning of its keys.
_SCRIPTS = {
    "admit": 4,
    "settle": 3,
    "reassert": 4,
    "renew": 3,
    "expired": 1,
    "begin_load": 1,
    "finish_load": 3,
    "epoch": 2,
}
_ASK_THE_SERVER = {"renew", "epoch"}  # which it is


class _Script:
    """A script, and the part of its calls that is the same each time."""

    __slots__ = ("head", "sha", "text")

    def __init__(self, name: str) -> None:
        folder = resources.files(__package__) / "lua"
        files = ["prelude", *(["server"] if name in _ASK_THE_SERVER else []), name]
        self.text = "".join((folder / f"{file}.lua").read_text() for file in files)
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        self.head = b""

    def prepare(self, arguments: int, key: str, epoch: str, begins: str) -> None:
        self.head = b"*%d\r\n" % (6 + arguments) + bulks("EVALSHA", self.sha, 1, key, epoch, begins)


class RedisCounters(SharedCounters):
    """The operations of `SharedCounters` over one connection, which its owner has opened again when lost.

    Limits, charges and amounts above 4.6·10¹⁸ nano-units count as that.
    """

    def __init__(self, url: str, *, prefix: str = "tidegate", timeout: float = 1.0) -> None:
        """Where the counters are.

        Args:
            url: as in `resp.address`.
            prefix: what the names of all keys begin with.
            timeout: seconds without an answer after which the store counts as lost.

        Raises:
            ValueError: no such URL.
        """
        self._address = address(url)
        self._prefix = prefix
        self._timeout = timeout
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._scripts = {name: _Script(name) for name in _SCRIPTS}
        self._pack = msgspec.msgpack.Encoder().encode
        self._calls: Calls | None = None

    @override
    async def connect(self) -> str:
        async with self._connecting:
            if self._connection is None or not self._connection.live:
                self._connection = await connect(self._address, timeout=self._timeout)
            await self._load_scripts(self._connection)
            key = f"{self._prefix}:epoch"
            self._scripts["epoch"].prepare(_SCRIPTS["epoch"], key, "", "")
            begun: bytes = await self._run("epoch", _EPOCH_TTL, secrets.token_hex(4))
            epoch = begun.decode()
            self._work_in(epoch)
            return epoch

    def _work_in(self, epoch: str) -> None:
        """Prepare what calls in an epoch have in common."""
        key, begins = f"{self._prefix}:epoch", f"{self._prefix}:{epoch}:"
        self._calls = Calls(key, epoch, begins)
        for name, arguments in _SCRIPTS.items():
            self._scripts[name].prepare(arguments, key, epoch, begins)

    async def _load_scripts(self, connection: Connection) -> None:
        """Give the server all scripts; in one write."""
        loads = [
            connection.call(pack("SCRIPT", "LOAD", script.text))
            for script in self._scripts.values()
        ]
        for answer in await asyncio.gather(*loads):
            if isinstance(answer, hiredis.ReplyError):
                raise _fault(answer)

    async def _run(self, name: str, *arguments: bytes | str | int) -> Any:
        head = self._scripts[name].head
        if not head:
            raise StateLost(_NO_EPOCH)
        return await self._send(head + bulks(*arguments))

    async def _send(self, command: bytes) -> Any:
        """Run a script.

        Raises:
            EpochChanged: the store is in another epoch.
            StateLost: it does not answer, or cannot do what it is asked.
        """
        connection = self._connection
        if connection is None:
            raise StateLost("there is no connection to the state store")
        answer: Answer = await connection.call(command)
        if type(answer) is not hiredis.ReplyError:
            return answer
        if str(answer).startswith("NOSCRIPT"):  # somebody flushed them: nothing was done
            await self._load_scripts(connection)
            answer = await connection.call(command)
            if type(answer) is not hiredis.ReplyError:
                return answer
        raise _fault(answer)

    def _packed(self, name: str, reservation: Reservation, ttl: float) -> bytes:
        """The call of a script that takes a reservation.

        Raises:
            StateLost: the epoch is not known yet.
        """
        if self._calls is None:
            raise StateLost(_NO_EPOCH)
        return self._calls.pack(self._scripts[name].sha, reservation, ttl)

    @override
    async def admit(self, reservation: Reservation, ttl: float) -> Decision:
        answer = await self._send(self._packed("admit", reservation, ttl))
        if answer[0] == 1:
            rates = reservation.rates
            if not rates:
                return ADMITTED
            left, at = [], 1
            for take in rates:
                left.append(
                    RateLeft(take.what, take.scope, take.limit, answer[at], answer[at + 1] / _MICRO)
                )
                at += 2
            return Admitted(tuple(left))
        return _not_admitted(reservation, answer)

    @override
    async def settle(
        self, reservation_id: str, charge_nano: int, tokens: int | None = None
    ) -> bool:
        if charge_nano < 0:
            raise ValueError("a charge cannot be negative; a correction is a ledger entry")
        head, own = self._scripts["settle"].head, reservation_id.encode()
        if not head:
            raise StateLost(_NO_EPOCH)
        charge = b"%d" % min(charge_nano, MOST_NANO)
        used = b"" if tokens is None else b"%d" % tokens
        settled: int = await self._send(
            b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"
            % (head, len(own), own, len(charge), charge, len(used), used)
        )
        return settled == 1

    @override
    async def renew(self, reservation_ids: Collection[str], ttl: float) -> None:
        milliseconds = int(ttl * 1000)
        ids = list(reservation_ids)
        for first in range(0, max(1, len(ids)), _RENEWED_AT_ONCE):
            some = self._pack(ids[first : first + _RENEWED_AT_ONCE])
            await self._run("renew", _EPOCH_TTL, milliseconds, some)

    @override
    async def reassert(self, reservation: Reservation, ttl: float) -> None:
        places = Reservation(reservation.id, reservation.holds, (), reservation.slots)
        await self._send(self._packed("reassert", places, ttl))

    @override
    async def begin_load(self, hold: BudgetHold) -> tuple[int, tuple[str, ...]] | None:
        answer = await self._run("begin_load", hold.bucket)
        if answer is None:
            return None
        version, *ids = answer
        return version, tuple([name.decode() for name in ids])

    @override
    async def finish_load(self, hold: BudgetHold, spent_nano: int, version: int) -> bool:
        if spent_nano < 0:
            raise ValueError("what is spent cannot be negative")
        finished: int = await self._run("finish_load", hold.bucket, nano(spent_nano), version)
        return finished == 1

    @override
    async def expired(self, count: int) -> tuple[tuple[str, int], ...]:
        answer: list[bytes] = await self._run("expired", count)
        pairs = zip(answer[::2], answer[1::2], strict=True)
        return tuple([(name.decode(), int(greatest)) for name, greatest in pairs])

    @override
    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()


def _fault(error: hiredis.ReplyError) -> StateLost | EpochChanged:
    text = str(error)
    if text.startswith("EPOCH"):
        return EpochChanged("the state store is not the one that the counters were in")
    return StateLost(f"the state store cannot do it: {text}")


def _not_admitted(reservation: Reservation, answer: Sequence[Any]) -> Decision:
    """What the script says of a reservation of which nothing was taken.

    Raises:
        NotLoaded: budget buckets that must be loaded first.
    """
    if answer[0] == 5:  # noqa: PLR2004 - the kinds are told in admit.lua
        raise NotLoaded(tuple([reservation.holds[index].bucket for index in answer[1:]]))
    kind, index = answer[0], answer[1]
    if kind == 2:  # noqa: PLR2004 - as above
        take = reservation.rates[index]
        _, _, remaining, reset, wait = answer
        return Limited(
            bucket=take.bucket,
            what=take.what,
            scope=take.scope,
            each=take.each,
            limit=take.limit,
            period=take.period,
            remaining=remaining,
            reset_after=reset / _MICRO,
            retry_after=None if wait < 0 else wait / _MICRO,
        )
    if kind == 3:  # noqa: PLR2004 - as above
        slot = reservation.slots[index]
        return Limited(
            bucket=slot.bucket,
            what="concurrency",
            scope=slot.scope,
            each=slot.each,
            limit=slot.limit,
            period=0,
            remaining=max(0, slot.limit - answer[2]),
            reset_after=0.0,
            retry_after=None,
        )
    hold = reservation.holds[index]
    held, spent = (int(text) for text in answer[2:])
    return Refusal(
        bucket=hold.bucket,
        scope=hold.scope,
        limit_nano=hold.limit_nano,
        spent_nano=spent,
        held_nano=held,
        amount_nano=hold.amount_nano,
        resets_at=hold.resets_at,
    )
