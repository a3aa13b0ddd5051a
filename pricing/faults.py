"""What is wrong with price data: where, what, and what to do about it."""

import difflib
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct
from typing_extensions import override

Severity = Literal["error", "warning"]
_NEAR = 3


class Fault(Struct, frozen=True, kw_only=True):
    """One fault. An error makes a price wrong or unusable; a warning is for somebody to look at.

    `field` is the place in the file, such as `prices[3].input`, and `subject` whose price it is;
    both may be empty. Lines count from 1.
    """

    file: str
    line: int
    field: str
    subject: str
    severity: Severity
    wrong: str
    advice: str

    @override
    def __str__(self) -> str:
        where = f"{self.field} ({self.subject})" if self.subject else self.field
        said = f"{where} {self.wrong}".strip()
        tail = f": {self.advice}" if self.advice else ""
        return f"{self.file}:{self.line}: {self.severity}: {said}{tail}"


class Report:
    """Collects the faults of one file."""

    def __init__(self, file: str) -> None:
        """A report without faults.

        Args:
            file: what the file is called in messages.
        """
        self.file = file
        self._faults: list[Fault] = []

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All that was told, in the order of the file's lines."""
        return tuple(sorted(self._faults, key=lambda fault: fault.line))

    @property
    def failed(self) -> bool:
        """Whether there is an error among them."""
        return any(fault.severity == "error" for fault in self._faults)

    def add(
        self,
        line: int,
        field: str,
        wrong: str,
        advice: str = "",
        *,
        subject: str = "",
        severity: Severity = "error",
    ) -> None:
        """Tell of a fault; the arguments are the fields of `Fault`."""
        self._faults.append(
            Fault(
                file=self.file,
                line=line,
                field=field,
                subject=subject,
                severity=severity,
                wrong=wrong,
                advice=advice,
            )
        )


def near(name: str, known: Iterable[str]) -> str:
    """What to suggest instead of an unknown name, such as "did you mean a or b?"; or nothing."""
    by_lower = {one.lower(): one for one in sorted(known)}
    found = difflib.get_close_matches(name.lower(), by_lower, _NEAR)
    return f"did you mean {' or '.join(by_lower[one] for one in found)}?" if found else ""
