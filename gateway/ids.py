"""Generation ids: sortable by time, unique over processes and restarts, cheap to make.

`gen-` + 10 digits of epoch milliseconds in base 32 + 8 of the process's own random + 4 of a counter.
"""

import secrets

from gateway.clock import Clock

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's, lower case
_COUNTER_BITS = 20


def _base32(value: int, width: int) -> str:
    out = []
    for _ in range(width):
        out.append(_DIGITS[value & 31])
        value >>= 5
    return "".join(reversed(out))


class IdSource:
    """Makes the ids of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._boot = _base32(secrets.randbits(40), 8)
        self._count = secrets.randbits(_COUNTER_BITS)
        self._second = (-1, "")

    @property
    def boot(self) -> str:
        """The random part that all ids of this process share."""
        return self._boot

    def generation(self) -> str:
        """A new generation id.

        About a million ids of one process within one millisecond are distinct.
        """
        self._count = (self._count + 1) & ((1 << _COUNTER_BITS) - 1)
        milliseconds = int(self._clock.now() * 1000)
        known, text = self._second
        if milliseconds != known:
            text = "gen-" + _base32(milliseconds, 10) + self._boot
            self._second = (milliseconds, text)
        return text + _base32(self._count, 4)
