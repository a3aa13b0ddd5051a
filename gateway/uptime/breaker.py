"""Memory of which endpoints fail just now, so that not every request pays for a dead one again."""

from collections.abc import Mapping

from msgspec import Struct

from backends import BackendError, Blame
from backends.errors import Overloaded
from gateway.clock import Clock
from gateway.values import EndpointHealth

THRESHOLD = 3  # failures in a row, the provider's or our account's, before an endpoint is set aside
FIRST_PAUSE = 5.0  # seconds; doubled with each further failure
LONGEST_PAUSE = 120.0

# One team's flood of requests, which fills the line for connections, must not turn the others away.
_NOT_ITS_FAULT = frozenset({Blame.CALLER, Blame.GATEWAY})


class _Record(Struct):
    failures: int = 0
    health: EndpointHealth = EndpointHealth()


class Breaker:
    """Counts failures in a row of each endpoint.

    An endpoint that is set aside is still tried when nothing else is left: the plan puts it last.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: dict[str, _Record] = {}

    def succeeded(self, endpoint_id: str) -> None:
        """An attempt there went well: forget its failures."""
        if self._records:
            self._records.pop(endpoint_id, None)

    def failed(self, endpoint_id: str, error: BackendError) -> bool:
        """An attempt there failed. What the caller or this gateway caused does not count.

        Returns:
            Whether that is news: the first failure after good times, or the one that sets it aside.
        """
        if error.blame in _NOT_ITS_FAULT:
            return False
        record = self._records.setdefault(endpoint_id, _Record())
        record.failures += 1
        over = record.failures - THRESHOLD
        news = record.failures in {1, THRESHOLD}
        pause = 0.0 if over < 0 else min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(over, 10))
        if isinstance(error, Overloaded):
            # A full queue turns many away at once and is empty again in seconds.
            record.failures = min(record.failures, THRESHOLD)
            pause = min(pause, FIRST_PAUSE)
        if error.retry_after is not None:
            pause = max(pause, min(error.retry_after, LONGEST_PAUSE))
        if pause:
            until = self._clock.monotonic() + pause
            record.health = EndpointHealth(open_until=max(until, record.health.open_until))
        return news

    def snapshot(self) -> Mapping[str, EndpointHealth]:
        """Endpoints with failures; empty while all is well."""
        return (
            {name: record.health for name, record in self._records.items()} if self._records else {}
        )
