"""Telling in time that the evidence for a data policy ends: from then on it counts as none."""

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Iterable, Mapping

from gateway.clock import Clock
from gateway.policies import data_policy
from gateway.routing.candidates import Book
from gateway.telemetry import metrics
from gateway.telemetry.metrics import Sample

_log = logging.getLogger(__name__)
_INTERVAL = 3600.0  # seconds between looks: what they see changes at midnight (UTC)
_MOST_TOLD = 20  # endpoints that a line names


class EvidenceWatch:
    """Looks at the end of stated evidence, and says in the log, once a day, whose is near.

    Args:
        book: gives today's candidates.
        clock: says which day it is.
    """

    def __init__(self, book: Callable[[], Book], clock: Clock) -> None:
        self._book = book
        self._clock = clock
        self._told: dt.date | None = None

    def samples(self) -> Iterable[Sample]:
        """The days left of each endpoint whose evidence ends, as metrics."""
        for endpoint, (days, _) in self._left(self._today()).items():
            yield metrics.DATA_POLICY_DAYS, (("endpoint", endpoint),), float(days)

    async def run(self) -> None:
        """Look, and look again, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_INTERVAL)

    def look(self) -> None:
        """Say whose evidence ends soon, or has ended, unless that was said today."""
        today = self._today()
        if self._told == today:
            return
        self._told = today
        by_end: dict[tuple[int, str], list[str]] = {}
        for endpoint, end in self._left(today).items():
            if end[0] <= data_policy.WARNING_DAYS:
                by_end.setdefault(end, []).append(endpoint)
        for (days, last), endpoints in sorted(by_end.items()):
            more = f" and {len(endpoints) - _MOST_TOLD} more" if len(endpoints) > _MOST_TOLD else ""
            _log.warning(
                "the evidence of what %s%s %s with data %s (data_policy.valid_until: %s): without new"
                " evidence, requests that demand a data policy are kept from %s",
                ", ".join(endpoints[:_MOST_TOLD]),
                more,
                "does" if len(endpoints) == 1 else "do",
                f"ends in {days} {'day' if days == 1 else 'days'}" if days else "has ended",
                last,
                "it" if len(endpoints) == 1 else "them",
            )

    def _left(self, today: dt.date) -> Mapping[str, tuple[int, str]]:
        """Days left, and the last of them, by endpoint."""
        found: dict[str, tuple[int, str]] = {}
        for candidate in self._book().all():
            days = data_policy.days_left(candidate.policy, today)
            if days is not None and candidate.policy.valid_until is not None:
                found[candidate.endpoint.id] = (days, candidate.policy.valid_until)
        return found

    def _today(self) -> dt.date:
        return dt.datetime.fromtimestamp(self._clock.now(), dt.UTC).date()
