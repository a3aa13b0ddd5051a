"""What one process may spend of budgets while it does not reach the shared counters.

A lease is a reservation of the process's own in the shared store: it counts there as spent, so that all
processes together never spend more than a budget. Here is only the account of it; nothing waits.
"""

from collections.abc import Iterable
from itertools import count

from msgspec.structs import replace

from gateway.store.state.untold import Untold
from gateway.values import BudgetHold, Reservation

KEPT = 60.0
"""Seconds for which a lease is kept of a budget that nobody uses."""


class Lease:
    """A part of one budget.

    Attributes:
        id: of the reservation that holds it in the shared store.
        hold: what it holds there.
        limit_nano: the budget's limit, when it was taken.
        spent: nano-units that requests cost which ended without the store.
        held: what those may cost that are under way.
        closing: it is being given back, and takes no more requests.
    """

    __slots__ = ("closing", "held", "hold", "id", "limit_nano", "spent")

    def __init__(self, name: str, hold: BudgetHold) -> None:
        self.id = name
        self.hold = hold
        self.limit_nano = hold.limit_nano
        self.spent = 0
        self.held = 0
        self.closing = False

    @property
    def left(self) -> int:
        """Nano-units that can still be held."""
        return 0 if self.closing else self.hold.amount_nano - self.spent - self.held

    def reservation(self) -> Reservation:
        """What it is in the shared store."""
        return Reservation(self.id, (self.hold,))


class Leases:
    """The leases of this process.

    Args:
        share: of a budget's limit; 0: none are taken.
        worker: the id of this process, which ends the names of its leases.

    Attributes:
        untold: to be marked before anything is spent; cleared when the shared store was told what.
    """

    def __init__(self, share: float, worker: str, untold: Untold) -> None:
        self.untold = untold
        self._millionths = round(share * 10**6)
        self._worker = worker
        self._numbers = count(1)
        self._leases: dict[str, Lease] = {}
        self._used: dict[str, tuple[BudgetHold, float]] = {}
        # Marked by requests: one assignment each, and the time is noted by whoever looks after leases.
        self.seen: dict[str, BudgetHold] = {}

    def __len__(self) -> int:
        return len(self._leases)

    def ids(self) -> list[str]:
        """Of the reservations that hold them."""
        return [lease.id for lease in self._leases.values()]

    def note(self, holds: tuple[BudgetHold, ...]) -> None:
        """Remember that these budgets are in use."""
        for hold in holds:
            self.seen[hold.bucket] = hold

    def uncovered(self, holds: Iterable[BudgetHold]) -> BudgetHold | None:
        """The first of the holds that no lease covers, or whose budget wants nothing spent so."""
        for hold in holds:
            lease = self._leases.get(hold.bucket)
            if hold.on_state_loss != "lease" or lease is None or lease.left < hold.amount_nano:
                return hold
        return None

    def left(self, bucket: str) -> int:
        """Nano-units of a bucket that can still be held."""
        lease = self._leases.get(bucket)
        return 0 if lease is None else lease.left

    def take(self, holds: Iterable[BudgetHold]) -> None:
        """Hold what `uncovered` found to be covered."""
        for hold in holds:
            self._leases[hold.bucket].held += hold.amount_nano

    def free(self, holds: Iterable[BudgetHold], charge_nano: int) -> None:
        """Give holds back with what was spent of them; those of leases that are gone count nowhere."""
        for hold in holds:
            lease = self._leases.get(hold.bucket)
            if lease is not None:
                lease.held -= hold.amount_nano
                lease.spent += charge_nano

    def wanted(self, now: float) -> list[Lease]:
        """Leases to take of budgets that were used lately. `now` is monotonic."""
        for bucket, hold in self.seen.items():
            self._used[bucket] = hold, now
        self.seen = {}
        wanted = []
        for bucket, (hold, used) in list(self._used.items()):
            if used + KEPT <= now:
                del self._used[bucket]
                continue
            amount = hold.limit_nano * self._millionths // 10**6
            if bucket not in self._leases and amount > 0 and hold.on_state_loss == "lease":
                name = f"lease-{next(self._numbers)}-{self._worker}"
                wanted.append(Lease(name, replace(hold, amount_nano=amount)))
        return wanted

    def add(self, lease: Lease) -> None:
        """Keep one that the store has granted."""
        self._leases[lease.hold.bucket] = lease

    def returned(self) -> list[Lease]:
        """Those to be given back: spent from, unused for long, or of a budget that was changed.

        They take no more requests from now on. Those that cover requests under way are left out.
        """
        over = []
        for bucket, lease in self._leases.items():
            used = self._used.get(bucket)
            changed = used is None or not _same(used[0], lease)
            if lease.held == 0 and (changed or lease.spent or lease.closing):
                lease.closing = True
                over.append(lease)
        return over

    def close(self) -> list[Lease]:
        """All of them, to be given back."""
        for lease in self._leases.values():
            lease.closing = True
        return list(self._leases.values())

    def gone(self, lease: Lease) -> None:
        """Forget one that the store has settled."""
        if self._leases.get(lease.hold.bucket) is lease:
            del self._leases[lease.hold.bucket]

    def drop(self) -> None:
        """Forget all: the store that granted them is no more."""
        self._leases = {}


def _same(hold: BudgetHold, lease: Lease) -> bool:
    return hold.limit_nano == lease.limit_nano and hold.on_state_loss == "lease"
