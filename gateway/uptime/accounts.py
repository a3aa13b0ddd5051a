"""How much of an account's limits is in use: what a provider would refuse is not sent to it.

Counted in this process alone, and from when it started: where several processes share an account, each is
to be given its part.
"""

from collections import deque
from collections.abc import Mapping

from gateway.settings_accounts import LimitsSettings

WINDOW = 60.0  # seconds: limits are per minute, and any minute counts
# When one of the requests under way will end is not known. Moonshot's own refusals say "please try again
# after 1 seconds" (recorded 2025).
NEXT_LOOK = 1.0
_NO_LIMIT = 2**62


class AccountLoad:
    """What one account has under way, and had in the last minute."""

    __slots__ = ("_concurrency", "_requests", "_sent", "_tokens", "_under_way", "_used")

    def __init__(self, limits: LimitsSettings) -> None:
        self.grant(limits)
        self._under_way = 0
        self._used = 0  # tokens in the window
        self._sent: deque[tuple[float, int]] = deque()  # when, and how many tokens

    def grant(self, limits: LimitsSettings) -> None:
        """Set the limits; what was counted stays."""
        self._concurrency = limits.concurrency or _NO_LIMIT
        self._requests = limits.requests_per_minute or _NO_LIMIT
        self._tokens = limits.tokens_per_minute or _NO_LIMIT

    def wait(self, now: float, tokens: int = 1) -> float:
        """Seconds until a request may be sent; 0: now.

        Args:
            now: the monotonic time.
            tokens: of its prompt and its output cap. More than the limit is for the provider to judge,
                once nothing else is in the window.
        """
        sent = self._sent
        if (
            self._under_way < self._concurrency
            and len(sent) < self._requests
            and self._used + tokens <= self._tokens
        ):
            return 0.0  # also by what has left the window since
        while sent and sent[0][0] <= now - WINDOW:
            self._used -= sent.popleft()[1]
        wait = NEXT_LOOK if self._under_way >= self._concurrency else 0.0
        if len(sent) >= self._requests:
            wait = max(wait, sent[len(sent) - self._requests][0] + WINDOW - now)
        if sent and self._used + tokens > self._tokens:
            wait = max(wait, self._until_free(self._used + tokens - self._tokens) + WINDOW - now)
        return wait

    def take(self, now: float, tokens: int) -> float:
        """Have a request begin, if it may: 0; otherwise the seconds until it may. As `wait`."""
        sent, used = self._sent, self._used + tokens
        if (
            self._under_way < self._concurrency
            and len(sent) < self._requests
            and used <= self._tokens
            and not (sent and sent[0][0] <= now - WINDOW)
        ):
            self._under_way += 1
            self._used = used
            sent.append((now, tokens))
            return 0.0
        wait = self.wait(now, tokens)
        if not wait:
            self.begin(now, tokens)
        return wait

    def begin(self, now: float, tokens: int) -> None:
        """A request is sent."""
        self._under_way += 1
        sent, over = self._sent, now - WINDOW
        sent.append((now, tokens))
        self._used += tokens
        # Two for one: what has left the window never piles up.
        if sent[0][0] <= over:
            self._used -= sent.popleft()[1]
            if sent[0][0] <= over:
                self._used -= sent.popleft()[1]

    def end(self) -> None:
        """It has ended, in whatever way."""
        self._under_way -= 1

    def _until_free(self, tokens: int) -> float:
        """When that was sent with which so many tokens leave the window, or all there are."""
        for when, used in self._sent:
            tokens -= used
            if tokens <= 0:
                return when
        return self._sent[-1][0]


def loads_of(
    limits: Mapping[str, LimitsSettings], earlier: Mapping[str, AccountLoad] | None = None
) -> dict[str, AccountLoad]:
    """What counts the requests of those accounts that have limits.

    What `earlier` counted of an account goes on counting, against the limits that it has now.
    """
    none = LimitsSettings()
    found: dict[str, AccountLoad] = {}
    for name, granted in limits.items():
        if granted != none:
            load = found[name] = (earlier or {}).get(name) or AccountLoad(granted)
            load.grant(granted)
    return found
