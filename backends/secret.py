"""A secret that does not print itself."""

import hashlib
from typing import NoReturn, Self, SupportsIndex

from typing_extensions import override

_SHOWN = "***"


class Secret:
    """A string that shows as `***` in every rendering; `reveal()` is the only way to its value.

    It cannot be pickled or encoded, and a copy is the secret itself: nothing that walks through values to
    dump them comes by the string.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself; call it only where it is written to the wire."""
        return self._value

    @property
    def fingerprint(self) -> str:
        """Four hexadecimal digits of its SHA-256: enough to tell one's own keys apart, and no more."""
        return hashlib.sha256(self._value.encode()).hexdigest()[:4]

    @override
    def __repr__(self) -> str:
        return f"Secret({_SHOWN})"

    @override
    def __str__(self) -> str:
        return _SHOWN

    @override
    def __format__(self, spec: str) -> str:
        return format(_SHOWN, spec)

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    @override
    def __hash__(self) -> int:
        return hash(self._value)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    @override
    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a secret is not pickled")

    @override
    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret has no state to show")
