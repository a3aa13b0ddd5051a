"""Those who wait for a connection, and whose turn it is."""

import asyncio
from collections import deque

from backends.http_connection import Connection

Waiter = asyncio.Future[Connection | None]  # None: a slot to open one in


class Line:
    """Waiting requests, let through one tenant after the other.

    A tenant with a hundred requests in line and one with a single one take turns: first come, first served
    would let whoever sends most keep the others out. Among the requests of one tenant it holds.

    Attributes:
        length: how many wait.
        turns: the tenants that have somebody waiting, the next one first. Always the same object, so that
            others may keep it to see at no cost whether anybody waits.
    """

    __slots__ = ("_of_tenant", "length", "turns")

    def __init__(self) -> None:
        self.length = 0
        self.turns: deque[str] = deque()
        self._of_tenant: dict[str, deque[Waiter]] = {}

    def of(self, tenant: str) -> int:
        """How many requests of this tenant wait."""
        waiters = self._of_tenant.get(tenant)
        return 0 if waiters is None else len(waiters)

    def add(self, tenant: str, waiter: Waiter) -> None:
        """Put a request at the end of its tenant's part of the line."""
        waiters = self._of_tenant.get(tenant)
        if waiters is None:
            waiters = self._of_tenant[tenant] = deque()
            self.turns.append(tenant)
        waiters.append(waiter)
        self.length += 1

    def next(self) -> Waiter | None:
        """Take out the request whose turn it is; None: nobody is left who still waits."""
        turns = self.turns
        while turns:
            tenant = turns[0]
            waiters = self._of_tenant[tenant]
            waiter = waiters.popleft()
            self.length -= 1
            if not waiters:
                turns.popleft()
                del self._of_tenant[tenant]
            elif not waiter.done():
                turns.rotate(-1)
            if not waiter.done():
                return waiter
        return None

    def remove(self, tenant: str, waiter: Waiter) -> None:
        """Take out a request that has given up; harmless if it is out already."""
        waiters = self._of_tenant.get(tenant)
        if waiters is None or waiter not in waiters:
            return
        waiters.remove(waiter)
        self.length -= 1
        if not waiters:
            del self._of_tenant[tenant]
            self.turns.remove(tenant)
