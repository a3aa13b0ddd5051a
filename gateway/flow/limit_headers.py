"""What is left of a caller's limits, as headers in each dialect.

Of several limits of one kind the tightest is told: that of which the least share is left.
"""

import datetime as dt
import math
from collections.abc import Iterable, Sequence

from gateway.store.state import Limited, RateLeft

_KINDS = ("requests", "tokens")
_SECOND, _MINUTE, _HOUR = 1000, 60_000, 3_600_000  # milliseconds


def openai_lines(rates: Sequence[RateLeft], _: float) -> str:
    """`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`: OpenAI's API reference, read 2026-11-22.

    The reset is a duration until all of the limit is there again, such as `1s`, `6m0s` or `250ms`.
    """
    return "".join(
        [
            f"x-ratelimit-limit-{rate.what}: {rate.limit}\r\n"
            f"x-ratelimit-remaining-{rate.what}: {rate.remaining}\r\n"
            f"x-ratelimit-reset-{rate.what}: {duration(rate.reset_after)}\r\n"
            for rate in _tightest(rates)
        ]
    )


def anthropic_lines(rates: Sequence[RateLeft], now: float) -> str:
    """`anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}`: Anthropic's rate limits page.

    Read 2026-11-22. The reset is a time in RFC 3339, rounded up to a second. `now` is in epoch seconds.
    """
    return "".join(
        [
            f"anthropic-ratelimit-{rate.what}-limit: {rate.limit}\r\n"
            f"anthropic-ratelimit-{rate.what}-remaining: {rate.remaining}\r\n"
            f"anthropic-ratelimit-{rate.what}-reset: {_moment(now + rate.reset_after)}\r\n"
            for rate in _tightest(rates)
        ]
    )


def left_of(limited: Limited) -> RateLeft:
    """What is left of a rate that refused a request."""
    return RateLeft(
        limited.what, limited.scope, limited.limit, limited.remaining, limited.reset_after
    )


def _tightest(rates: Sequence[RateLeft]) -> Iterable[RateLeft]:
    for kind in _KINDS:
        found = [rate for rate in rates if rate.what == kind]
        if found:
            yield found[0] if len(found) == 1 else min(found, key=_tightness)


def _tightness(rate: RateLeft) -> tuple[float, float]:
    return (rate.remaining / rate.limit if rate.limit else 0.0), rate.reset_after


def duration(seconds: float) -> str:
    """A span as OpenAI writes it, which is Go's way; milliseconds, rounded up."""
    left = math.ceil(round(seconds * 1000, 3))
    if 0 < left < _SECOND:
        return f"{left}ms"
    hours, left = divmod(left, _HOUR)
    minutes, left = divmod(left, _MINUTE)
    text = f"{left / _SECOND:g}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


def _moment(epoch: float) -> str:
    return dt.datetime.fromtimestamp(math.ceil(epoch), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
