"""What is left of a caller's limits, as headers in each dialect.

Of several limits of one kind the tightest is told: that of which the least share is left.
"""

import datetime as dt
from collections.abc import Sequence
from math import ceil

from gateway.store.state import Limited, RateLeft

_SECOND, _MINUTE, _HOUR = 1000, 60_000, 3_600_000  # milliseconds

# By kind, in the order in which they are told: a template with a place for each of the three values.
_OPENAI = {
    kind: f"x-ratelimit-limit-{kind}: %d\r\n"
    f"x-ratelimit-remaining-{kind}: %d\r\n"
    f"x-ratelimit-reset-{kind}: %s\r\n"
    for kind in ("requests", "tokens")
}
_ANTHROPIC = {
    kind: f"anthropic-ratelimit-{kind}-limit: %d\r\n"
    f"anthropic-ratelimit-{kind}-remaining: %d\r\n"
    f"anthropic-ratelimit-{kind}-reset: %s\r\n"
    for kind in ("requests", "tokens")
}


def openai_lines(rates: Sequence[RateLeft], _: float) -> str:
    """`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`: OpenAI's API reference, read 2026-11-22.

    The reset is a duration until all of the limit is there again, such as `1s`, `6m0s` or `250ms`.
    """
    tightest = _tightest(rates)
    lines = ""
    for kind, template in _OPENAI.items():
        if (rate := tightest.get(kind)) is not None:
            lines += template % (rate.limit, rate.remaining, duration(rate.reset_after))
    return lines


def anthropic_lines(rates: Sequence[RateLeft], now: float) -> str:
    """`anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}`: Anthropic's rate limits page.

    Read 2026-11-22. The reset is a time in RFC 3339, rounded up to a second. `now` is in epoch seconds.
    """
    tightest = _tightest(rates)
    lines = ""
    for kind, template in _ANTHROPIC.items():
        if (rate := tightest.get(kind)) is not None:
            lines += template % (rate.limit, rate.remaining, _moment(now + rate.reset_after))
    return lines


def left_of(limited: Limited) -> RateLeft:
    """What is left of a rate that refused a request."""
    return RateLeft(
        limited.what, limited.scope, limited.limit, limited.remaining, limited.reset_after
    )


def _tightest(rates: Sequence[RateLeft]) -> dict[str, RateLeft]:
    """The tightest of each kind; of several that are as tight, the first."""
    tightest: dict[str, RateLeft] = {}
    for rate in rates:
        kind = rate.what
        if kind not in tightest or _tightness(rate) < _tightness(tightest[kind]):
            tightest[kind] = rate
    return tightest


def _tightness(rate: RateLeft) -> tuple[float, float]:
    return (rate.remaining / rate.limit if rate.limit else 0.0), rate.reset_after


def duration(seconds: float) -> str:
    """A span as OpenAI writes it, which is Go's way; milliseconds, rounded up."""
    left = ceil(round(seconds * 1000, 3))
    if left < _SECOND:
        return f"{left}ms" if left > 0 else "0s"
    hours, left = divmod(left, _HOUR)
    minutes, left = divmod(left, _MINUTE)
    text = f"{left / _SECOND:g}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


def _moment(epoch: float) -> str:
    return dt.datetime.fromtimestamp(ceil(epoch), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
