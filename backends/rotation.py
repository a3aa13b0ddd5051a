"""Several keys of one account: the next is tried when the provider refuses one.

One key is used at a time. The keys of an account share its limits and its money, so nothing but a
refusal of the key itself changes it: least of all a rate limit.
"""

import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from math import inf
from typing import Any

from msgspec import structs
from typing_extensions import override

from backends.base import Backend, Reply
from backends.errors import BackendError
from backends.secret import Secret
from backends.values import Call, Endpoint

_log = logging.getLogger(__name__)

_Scope = tuple[str, str]  # an account or an endpoint, and its name

# Seconds after which a refused key is tried again: it may have been let in again, as after a mistake in
# the provider's console. By one request, which goes on with the next key if it is still refused.
RETRY = 300.0


class KeyMemory:
    """Which keys were refused lately, for all adapters together.

    Args:
        clock: seconds on a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        # Whose key (see `_scopes`), and its position -> when to try it again.
        self._refused: dict[tuple[_Scope, int], float] = {}

    def order(self, endpoint: Endpoint) -> Sequence[int]:
        """The positions of the keys to try, in turn.

        If all were refused lately, just the one whose refusal is oldest: so the next request tries another
        one, and a key that is good again is found however bad the others are.
        """
        now, found, oldest = self.clock(), [], (inf, 0)
        for position in range(1 + len(endpoint.spare_keys)):
            due = [
                (scope, until)
                for scope in _scopes(endpoint)
                if (until := self._refused.get((scope, position))) is not None
            ]
            again = max([until for _, until in due], default=now)
            oldest = min(oldest, (again, position))
            if again <= now:
                found.append(position)
                if len(found) == 1:
                    # This request looks whether it is good again, no other one.
                    for scope, _ in due:
                        self._refused[scope, position] = now + RETRY
        return found or (oldest[1],)

    def refused(self, endpoint: Endpoint, position: int, error: BackendError) -> None:
        """The provider refused a key: altogether, or only for what this endpoint is."""
        account, own = _scopes(endpoint)
        scope = account if error.sets_aside == "account" else own
        self._refused[scope, position] = self.clock() + RETRY

    def accepted(self, endpoint: Endpoint, position: int) -> None:
        """The provider took a key."""
        if self._refused:
            for scope in _scopes(endpoint):
                self._refused.pop((scope, position), None)


class RotatingBackend(Backend):
    """An adapter that goes on with the next key of an account where one is refused.

    What a provider refuses with a key it neither works on nor bills: to whoever counts attempts, all keys
    together are one.
    """

    def __init__(self, inner: Backend, memory: KeyMemory) -> None:
        self._inner = inner
        self._memory = memory
        self._rows: dict[str, tuple[Endpoint, tuple[Endpoint, ...]]] = {}

    @override
    def open(self, call: Call, endpoint: Endpoint, *, timeout: float) -> Coroutine[Any, Any, Reply]:
        if not endpoint.spare_keys:
            return self._inner.open(call, endpoint, timeout=timeout)
        return self._rotating(call, endpoint, timeout)

    async def _rotating(self, call: Call, endpoint: Endpoint, timeout: float) -> Reply:
        memory = self._memory
        give_up = memory.clock() + timeout
        rows = self._rows_of(endpoint)
        first, *others = memory.order(endpoint)
        for position, following in zip((first, *others), (*others, None), strict=True):
            left = give_up - memory.clock()
            try:
                reply = await self._inner.open(call, rows[position], timeout=left)
            except BackendError as error:
                if not error.next_key or error.in_work:
                    raise
                memory.refused(endpoint, position, error)
                _note(endpoint, rows[position].api_key, error, following, rows)
                if following is None:
                    raise
            else:
                memory.accepted(endpoint, position)
                return reply
        raise AssertionError("there is a first key")

    def _rows_of(self, endpoint: Endpoint) -> tuple[Endpoint, ...]:
        """The endpoint with each of its keys in turn."""
        known = self._rows.get(endpoint.id)
        if known is None or known[0] is not endpoint:
            rows = [structs.replace(endpoint, api_key=key) for key in endpoint.spare_keys]
            known = self._rows[endpoint.id] = endpoint, (endpoint, *rows)
        return known[1]


def rotating(backends: Mapping[str, Backend], clock: Callable[[], float]) -> Mapping[str, Backend]:
    """The same adapters, each of which goes through the keys of an account."""
    memory = KeyMemory(clock)
    return {name: RotatingBackend(backend, memory) for name, backend in backends.items()}


def _account(endpoint: Endpoint) -> str:
    return endpoint.account or endpoint.id


def _scopes(endpoint: Endpoint) -> tuple[_Scope, _Scope]:
    """Where a key may be refused: everywhere, or only for what this endpoint is."""
    return ("account", _account(endpoint)), ("endpoint", endpoint.id)


def _note(
    endpoint: Endpoint,
    key: Secret | None,
    error: BackendError,
    following: int | None,
    rows: Sequence[Endpoint],
) -> None:
    after = None if following is None else rows[following].api_key
    _log.warning(
        "account %s: key %s is refused at %s (%s, HTTP status %s); %s",
        _account(endpoint),
        "-" if key is None else key.fingerprint,
        endpoint.id,
        error.code,
        error.status or "-",
        "no other key is left" if after is None else f"going on with key {after.fingerprint}",
    )
