"""Who a key belongs to, remembered in process so that a known key costs no look-up."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from gateway.auth.header import BEARER, bearer_token, why_malformed
from gateway.auth.keys import KEY_LENGTH, check_form
from gateway.auth.sharing import Sharing
from gateway.clock import Clock
from gateway.errors import LedgerBehind, Unauthenticated, Unavailable
from gateway.values import Principal

_log = logging.getLogger(__name__)

_HEADER_LENGTH = len(BEARER) + KEY_LENGTH
_UNKNOWN_AGE = 5.0
_RETRY_PAUSE = 1.0
_NEVER = float("-inf")
_FOREVER = float("inf")
_DISABLED = {
    "key_disabled": "the API key {key} is disabled; make another with `tidegate keys create`",
    "team_disabled": "the team of the API key {key} is disabled; ask its administrators",
    "member_disabled": "the member whose API key {key} is, is disabled; use a key of your own",
}


@dataclass(slots=True)
class _Entry:
    principal: Principal
    expires_at: float  # epoch seconds; 0 for a key that may not be used at all
    read_at: float  # monotonic
    ahead_at: float  # from here on, a use starts a re-read in the background
    stale_at: float  # from here on, a use waits for the re-read
    checked: int = 0  # how many times there were changes when it was last found to hold


class _ReadError(Exception):
    """The look-up raised, or took too long."""


class KeyDirectory:
    """Principals by key.

    A key in use is read again in the background when two thirds of `max_age` have passed, so that
    its callers never wait for the database; one that was idle for longer than `max_age` is read
    again before it is served. Whoever is told of changes calls `invalidate`, and what they concern is
    read again before its next use. `max_age` is for changes that nobody is told of: a key that was
    disabled is refused that much later at the latest.

    Only while reads fail does the old answer go on, for `max_staleness` since it was read, and never for
    what is known to have changed. Reads alone count: that polling works says that a key has not changed,
    not that it can be read, and is no reason to trust an answer for longer; if polling fails and reads
    work, each key is as old as `max_age`. A database that hangs is one that fails, `load_timeout` later.

    However many requests wait for one key, there is one read of it at a time.

    Args:
        load: the principal of a key's hash, or None where there is no such key.
        pepper: key of that hash; at most 64 bytes.
        clock: where the time comes from.
        max_age: seconds that an answer is good for.
        max_staleness: seconds that an answer outlives a failing database.
        max_entries: keys remembered; as many unknown ones are remembered besides, for 5 s.
        load_timeout: seconds after which a read counts as failed.
    """

    def __init__(
        self,
        load: Callable[[bytes], Awaitable[Principal | None]],
        pepper: bytes,
        clock: Clock,
        *,
        max_age: float = 15.0,
        max_staleness: float = 600.0,
        max_entries: int = 10_000,
        load_timeout: float = 2.0,
    ) -> None:
        self._load = load
        self._keyed = hashlib.blake2b(digest_size=32, key=pepper)
        self._now = clock.now
        self._monotonic = clock.monotonic
        self._max_age = max_age
        self._max_staleness = max_staleness
        self._max_entries = max_entries
        self._load_timeout = load_timeout
        self._entries: dict[bytes, _Entry] = {}  # oldest reading first
        self._unknown: dict[bytes, float] = {}  # digest to when it may be asked for again
        self._reads: dict[bytes, asyncio.Task[Principal | None]] = {}
        # By id of key, team, member or organisation: when it changed. What was read before is no good.
        self._changed: dict[str, float] = {}
        self._changed_at = _NEVER
        self._changes = 0  # how many times there were any
        self._longest = max(max_age, max_staleness)  # for which anything read yet may serve
        self._sharing = Sharing(max_entries)
        self._outrun: set[asyncio.Task[Principal | None]] = set()  # reads from before a change
        self._failing = False

    def invalidate(self, changes: Iterable[tuple[str, str]]) -> None:
        """Have what depends on these read again before its next use, reads under way included.

        If the database fails then, such keys are refused: what they may do is not known any more.

        Args:
            changes: pairs of a kind (organisation, team, member or key) and an id.
        """
        now = self._monotonic()
        # Whatever was read longer ago than this is read again anyway.
        oldest = now - self._longest
        if any(at < oldest for at in self._changed.values()):
            self._changed = {ref: at for ref, at in self._changed.items() if at >= oldest}
        for kind, ref in changes:
            if kind != "management_key":
                self._changed[ref] = now
        self._changed_at = now
        self._changes += 1
        self._unknown.clear()  # one of them may have been made just now
        # Those who wait for a read that has begun get its answer; who comes later gets a new one.
        self._outrun.update(self._reads.values())
        self._reads.clear()

    def _outdated(self, principal: Principal, read_at: float) -> bool:
        """Whether something that the principal is made of has changed since a read began."""
        changed = self._changed
        for ref in (
            principal.key_id,
            principal.team_id,
            principal.member_id,
            principal.organisation_id,
        ):
            if ref is not None and changed.get(ref, _NEVER) >= read_at:
                return True
        return False

    def lookup(self, header: bytes | None) -> Principal | None:
        """The caller, if that can be said at once; None means `authenticate` must decide.

        The path of nearly every request: no await, under 2 µs. Call it from the event loop only.

        Args:
            header: the whole value of the Authorization header.
        """
        if header is None or len(header) != _HEADER_LENGTH or header[:7] != BEARER:
            return None
        # The same as key_hash(), from a state that has taken in the pepper already.
        hashing = self._keyed.copy()
        hashing.update(header[7:])
        digest = hashing.digest()
        entry = self._entries.get(digest)
        if entry is None:
            return None
        now = self._monotonic()
        if now >= entry.ahead_at:
            if now >= entry.stale_at:
                return None
            self._read(digest)
        if entry.checked != self._changes:  # once a change, not once a request
            if self._outdated(entry.principal, entry.read_at):
                return None
            entry.checked = self._changes
        if entry.expires_at <= self._now():
            return None
        return entry.principal

    async def authenticate(self, authorization_header: bytes | None) -> Principal:
        """The caller.

        Raises:
            Unauthenticated: missing_api_key, invalid_api_key, key_disabled or key_expired.
            Unavailable: the key is not known here and the database fails; key_store_unavailable. Or
                its budgets cannot be counted yet; ledger_behind.
        """
        principal = self.lookup(authorization_header)
        if principal is not None:
            return principal
        return await self.identify(bearer_token(authorization_header))

    async def identify(self, token: bytes) -> Principal:
        """The caller by the bare key, from whichever header it came.

        Raises:
            Unauthenticated: invalid_api_key, key_disabled or key_expired.
            Unavailable: the key is not known here and the database fails; key_store_unavailable. Or
                its budgets cannot be counted yet; ledger_behind.
        """
        if not check_form(token):
            raise Unauthenticated(why_malformed(token))
        hashing = self._keyed.copy()
        hashing.update(token)
        digest = hashing.digest()
        principal = await self._find(digest)
        if principal is None:
            raise Unauthenticated(
                "this API key is well-formed but not known here: it belongs to another"
                " installation, or was removed; make one with `tidegate keys create`"
            )
        if principal.disabled:
            raise Unauthenticated(
                _DISABLED[principal.disabled].format(key=principal.key_id),
                code=principal.disabled,
            )
        if principal.expires_at is not None and principal.expires_at <= self._now():
            raise Unauthenticated(
                f"the API key {principal.key_id} has expired; make another with"
                " `tidegate keys create`",
                code="key_expired",
            )
        return principal

    def change(self, *, max_age: float, max_staleness: float) -> None:
        """Have what is read from now on be good for other times, in seconds."""
        self._max_age = max_age
        self._max_staleness = max_staleness
        self._longest = max(self._longest, max_age, max_staleness)

    async def aclose(self) -> None:
        """End the reads under way."""
        reads = [*self._reads.values(), *self._outrun]
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)

    async def _find(self, digest: bytes) -> Principal | None:
        now = self._monotonic()
        entry = self._entries.get(digest)
        if entry is not None and self._outdated(entry.principal, entry.read_at):
            del self._entries[digest]  # nor does it serve while the database fails
            entry = None
        if entry is not None and now < entry.stale_at:
            return entry.principal
        if self._unknown.get(digest, 0.0) > now:
            return None
        try:
            # Shielded: one caller who leaves must not take the answer from the others.
            return await asyncio.shield(self._read(digest))
        except _ReadError as fault:
            now = self._monotonic()
            entry = self._entries.get(digest)
            if entry is None or now >= entry.read_at + self._max_staleness:
                if isinstance(fault.__cause__, LedgerBehind):
                    raise fault.__cause__ from None  # the database answers: say what is missing
                raise Unavailable(
                    "the API key cannot be checked: the gateway's database does not answer;"
                    " try again soon",
                    code="key_store_unavailable",
                    retry_after=_RETRY_PAUSE,
                ) from fault
            return entry.principal

    def _read(self, digest: bytes) -> asyncio.Task[Principal | None]:
        read = self._reads.get(digest)
        if read is None:
            read = asyncio.get_running_loop().create_task(self._reading(digest))
            self._reads[digest] = read
            read.add_done_callback(lambda done: self._read_done(digest, done))
        return read

    async def _reading(self, digest: bytes) -> Principal | None:
        started = self._monotonic()
        try:
            async with asyncio.timeout(self._load_timeout):
                principal = await self._load(digest)
                if principal is not None:
                    principal = self._sharing.shared(principal)
        except Exception as fault:
            self._failed(digest, fault)
            raise _ReadError from fault
        else:
            self._failing = False
            self._remember(digest, principal, started)
            return principal

    def _read_done(self, digest: bytes, read: asyncio.Task[Principal | None]) -> None:
        self._outrun.discard(read)
        if self._reads.get(digest) is read:
            del self._reads[digest]
        if not read.cancelled():
            read.exception()  # seen: a re-read in the background has nobody who waits for it

    def _remember(self, digest: bytes, principal: Principal | None, started: float) -> None:
        self._entries.pop(digest, None)
        self._unknown.pop(digest, None)
        if principal is None:
            if started < self._changed_at:  # it may have been made since
                return
            _make_room(self._unknown, self._max_entries)
            self._unknown[digest] = started + _UNKNOWN_AGE
            return
        expires_at = _FOREVER if principal.expires_at is None else principal.expires_at
        _make_room(self._entries, self._max_entries)
        self._entries[digest] = _Entry(
            principal,
            0.0 if principal.disabled else expires_at,
            read_at=started,
            ahead_at=started + self._max_age * 2 / 3,
            stale_at=started + self._max_age,
        )

    def _failed(self, digest: bytes, fault: Exception) -> None:
        if not self._failing:
            self._failing = True
            outage = isinstance(fault, Unavailable | TimeoutError)
            _log.error(
                "API keys cannot be read (%s); serving remembered ones",
                str(fault) or "no answer in time",
                exc_info=None if outage else fault,  # of an outage the line says all
            )
        entry = self._entries.get(digest)
        if entry is None:
            return
        # Serve the old answer without waiting, and try again in a second, until it is too old.
        now = self._monotonic()
        limit = entry.read_at + self._max_staleness
        entry.ahead_at = min(now + _RETRY_PAUSE, limit)
        entry.stale_at = limit


def _make_room(remembered: dict[bytes, _Entry] | dict[bytes, float], limit: int) -> None:
    while len(remembered) >= limit:
        del remembered[next(iter(remembered))]
