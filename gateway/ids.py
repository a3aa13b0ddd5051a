"""Generation ids: sortable by time, unique over processes and restarts, cheap to make.

`gen-` + 8 digits of epoch seconds in base 32 + 4 of a counter + 8 of the process's own random.
"""

import secrets
from typing import Final

from gateway.clock import Clock

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's, lower case
_COUNTER_BITS = 20
_BOOT: Final = 8
_COUNTER_MASK = (1 << _COUNTER_BITS) - 1
_PAIRS = tuple(high + low for high in _DIGITS for low in _DIGITS)  # of 10 bits


def _base32(value: int, width: int) -> str:
    """The lowest 5 * `width` bits of `value`; `width` is even."""
    return "".join([_PAIRS[(value >> 5 * at) & 1023] for at in range(width - 2, -1, -2)])


def boot_of(name: str) -> str:
    """The process that made an id: its `IdSource.boot`; of a shorter id, what follows the last dash."""
    return name.rpartition("-")[2][-_BOOT:]


class IdSource:
    """Makes the ids of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._boot = _base32(secrets.randbits(5 * _BOOT), _BOOT)
        self._count = secrets.randbits(_COUNTER_BITS)
        self._second = -1
        self._lead = ""

    @property
    def boot(self) -> str:
        """The random part that all ids of this process share."""
        return self._boot

    def generation(self) -> str:
        """A new generation id.

        A million ids of one process within one second are distinct.
        """
        self._count = count = (self._count + 1) & _COUNTER_MASK
        second = int(self._clock.now())
        if second != self._second:
            self._second = second
            self._lead = "gen-" + _base32(second, 8)
        return self._lead + _PAIRS[count >> 10] + _PAIRS[count & 1023] + self._boot
