"""Calls of the scripts that take a reservation, as they go over the wire.

What they say is told in `lua/admit.lua`. Most of it is the same each time: what a bucket adds to a call is
remembered, and so is all that several buckets together add.
"""

from typing import Final

import msgspec
from msgspec import Struct

from gateway.store.state.resp import bulks
from gateway.values import Reservation

MOST_NANO: Final = 2**62
"""Amounts are int64 there, and sums of two must be too: 4.6 thousand millions of a currency."""

# How many are remembered: callers are without number. Each takes 2 kB, and some 300 bytes.
_MOST_SHAPES = 4096
_MOST_PARTS = 16_384
_ARGUMENTS = 6  # that such a script has


class _Shape(Struct, frozen=True, gc=False):
    """What is the same in each call for requests that take of the same buckets.

    Attributes:
        count: how many keys a call has.
        keys: those of the buckets, and the arguments that all scripts have.
        limits: the second list of the record.
        names: its third.
    """

    count: int
    keys: bytes
    limits: bytes
    names: bytes


# What a bucket adds: keys, as words of a command, and the same as MessagePack.
_Part = tuple[bytes, bytes]
_KINDS = {"r": "r", "t": "r", "s": "s", "b": "bck"}  # of keys, by those of buckets


class Calls:
    """Packs calls in one epoch.

    Limits and amounts above `MOST_NANO` count as that.
    """

    def __init__(self, key: str, epoch: str, begins: str) -> None:
        """`key` is that of the epoch; `begins` is what the names of all its keys begin with."""
        self._key = key
        self._begins = begins
        self._record = f"{begins}h:".encode()
        self._common = bulks(epoch, begins)
        # MessagePack of text, never of bytes, which the library in Lua does not know.
        self._encode = msgspec.msgpack.Encoder().encode
        self._shapes: dict[tuple[str | int, ...], _Shape] = {}
        self._parts: dict[tuple[str, str], _Part] = {}
        self._heads: dict[tuple[str, int], bytes] = {}
        self._ttl = 0.0, bulks(0)

    def pack(self, sha: str, reservation: Reservation, ttl: float) -> bytes:
        """The call of the script with this hash; the reservation lives for `ttl` seconds."""
        rates, slots, holds = reservation.rates, reservation.slots, reservation.holds
        buckets: list[str | int] = [len(rates), len(slots)]
        asked: list[str | int] = []
        for take in rates:
            buckets += (take.bucket, take.limit, take.period, take.what)
            asked.append(take.amount)
        for slot in slots:
            buckets += (slot.bucket, slot.limit)
        written, text = 0, "0"  # holds of a request are mostly of one amount
        for hold in holds:
            buckets += (hold.bucket, hold.limit_nano)
            if hold.amount_nano != written:
                written = hold.amount_nano
                text = nano(written)
            asked.append(text)
        key = tuple(buckets)
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            shape = self._shapes[key] = self._shape(reservation)
        if ttl != self._ttl[0]:
            self._ttl = ttl, bulks(int(ttl * 1000))
        own = reservation.id.encode()
        record = self._encode(asked) + shape.limits
        return b"%b$%d\r\n%b%b\r\n%b$%d\r\n%b\r\n%b$%d\r\n%b\r\n%b" % (
            self._head(sha, shape.count),
            len(self._record) + len(own),
            self._record,
            own,
            shape.keys,
            len(own),
            own,
            self._ttl[1],
            len(record),
            record,
            shape.names,
        )

    def _shape(self, reservation: Reservation) -> _Shape:
        rates, slots, holds = reservation.rates, reservation.slots, reservation.holds
        limits: list[str | int] = [len(rates), len(slots), len(holds)]
        parts, named = [], len(slots) + 3 * len(holds)
        for take in rates:
            tokens = take.what == "tokens"
            parts.append(self._part("t" if tokens else "r", take.bucket))
            named += tokens
            limits += (take.limit, take.period * 1_000_000, 1 if tokens else 0)
        for slot in slots:
            parts.append(self._part("s", slot.bucket))
            limits.append(slot.limit)
        for hold in holds:
            parts.append(self._part("b", hold.bucket))
            limits.append(nano(hold.limit_nano))
        # A list in MessagePack is how many it has, and each of them.
        names = b"\xdc%b%b" % (named.to_bytes(2, "big"), b"".join([names for _, names in parts]))
        return _Shape(
            2 + len(rates) + len(slots) + 3 * len(holds),
            b"".join([words for words, _ in parts]) + self._common,
            self._encode(limits),
            b"$%d\r\n%b\r\n" % (len(names), names),
        )

    def _part(self, kind: str, bucket: str) -> _Part:
        """What a rate (`r`; of tokens `t`), a place (`s`) or a budget (`b`) adds."""
        part = self._parts.get((kind, bucket))
        if part is None:
            if len(self._parts) >= _MOST_PARTS:
                self._parts.clear()
            # Not by `bulks`: with very many callers this is done for each request.
            begins = self._begins
            keys = [f"{begins}{each}:{bucket}" for each in _KINDS[kind]]
            words = b"".join([b"$%d\r\n%b\r\n" % (len(raw := key.encode()), raw) for key in keys])
            # Rates of requests are nothing that settling would look at.
            names = b"" if kind == "r" else b"".join(map(self._encode, keys))
            part = self._parts[kind, bucket] = words, names
        return part

    def _head(self, sha: str, count: int) -> bytes:
        """The beginning of a call with so many keys, up to that of the epoch."""
        head = self._heads.get((sha, count))
        if head is None:
            head = b"*%d\r\n" % (3 + count + _ARGUMENTS) + bulks("EVALSHA", sha, count, self._key)
            self._heads[sha, count] = head
        return head


def nano(amount: int) -> str:
    """An amount as decimal text."""
    return str(min(amount, MOST_NANO))
