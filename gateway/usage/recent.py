"""Outcomes that have ended but are not in the database yet."""

from collections.abc import Iterable
from itertools import islice

from gateway.values import Outcome

LIMIT = 100_000


class Recent:
    """Answers for a request between its end and the shipping of its journal line.

    Holds what is unshipped, and of that the newest `limit`: while the database is away, memory must
    not grow without end. What is forgotten is still in the journal, and found again once shipped.

    Attributes:
        forgotten: how many outcomes were let go before they were in the database.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self.forgotten = 0
        self._outcomes: dict[str, Outcome] = {}

    def put(self, outcome: Outcome) -> None:
        """Remember a closed outcome."""
        outcomes = self._outcomes
        outcomes[outcome.generation_id] = outcome
        if len(outcomes) > self._limit:
            del outcomes[next(iter(outcomes))]
            self.forgotten += 1

    def get(self, generation_id: str) -> Outcome | None:
        """The outcome, if it has ended and is not shipped. The caller checks whose it is."""
        return self._outcomes.get(generation_id)

    def drop(self, generation_ids: Iterable[str]) -> None:
        """Forget what is in the database now; ids that are not here are ignored."""
        for generation_id in generation_ids:
            self._outcomes.pop(generation_id, None)

    def oldest(self, count: int, skip: int = 0) -> list[Outcome]:
        """`count` of them after the first `skip`, in the order in which they ended."""
        return list(islice(self._outcomes.values(), skip, skip + count))

    def __len__(self) -> int:
        return len(self._outcomes)
