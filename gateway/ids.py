"""Generation ids: sortable by time, unique over processes and restarts, cheap to make.

`gen-` + 10 digits of epoch milliseconds in base 32 + 8 of the process's own random + 4 of a counter.
"""

import secrets

from gateway.clock import Clock

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's, lower case
_COUNTER_BITS = 20
_PAIRS = tuple(high + low for high in _DIGITS for low in _DIGITS)  # of 10 bits


def _base32(value: int, width: int) -> str:
    """The lowest 5 * `width` bits of `value`; `width` is even."""
    return "".join([_PAIRS[(value >> 5 * at) & 1023] for at in range(width - 2, -1, -2)])


class IdSource:
    """Makes the ids of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._boot = _base32(secrets.randbits(40), 8)
        self._count = secrets.randbits(_COUNTER_BITS)
        self._current = (-1, "")

    @property
    def boot(self) -> str:
        """The random part that all ids of this process share."""
        return self._boot

    def generation(self) -> str:
        """A new generation id.

        About a million ids of one process within one millisecond are distinct.
        """
        self._count = count = (self._count + 1) & ((1 << _COUNTER_BITS) - 1)
        milliseconds = int(self._clock.now() * 1000)
        known, text = self._current
        if milliseconds != known:
            text = "gen-" + _base32(milliseconds, 10) + self._boot
            self._current = (milliseconds, text)
        return text + _PAIRS[count >> 10] + _PAIRS[count & 1023]
