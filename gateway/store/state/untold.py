"""Whether a worker has spent of its leases what the shared store was not told.

When a worker dies, its leases are still held in the store. Whoever ships its journal then knows all that it
spent, but not of which lease. Mostly the answer is plain: it never lost the store, and so spent nothing
of any. Where it did there is a mark beside its journal, from before the first request of the loss until
the store was told.
"""

import logging
from pathlib import Path
from typing import Final, Protocol

from typing_extensions import override

SUFFIX: Final = ".leased"

log = logging.getLogger(__name__)


class Untold(Protocol):
    """The mark of one worker."""

    @property
    def marked(self) -> bool:
        """Whether it is set."""

    def mark(self) -> bool:
        """Set it; whether that could be done. Cheap when it is set."""

    def clear(self) -> None:
        """The store was told."""


class UntoldFile(Untold):
    """The mark as an empty file, which outlives a kill of this process."""

    def __init__(self, folder: Path, worker: str) -> None:
        self._path = folder / (worker + SUFFIX)
        self._marked = False

    @property
    @override
    def marked(self) -> bool:
        return self._marked

    @override
    def mark(self) -> bool:
        if not self._marked:
            try:
                self._path.touch(mode=0o600)
            except OSError as fault:
                log.error("%s: %s; nothing is spent of leases", self._path, fault.strerror)  # noqa: TRY400 -- the trace says no more
                return False
            self._marked = True
        return True

    @override
    def clear(self) -> None:
        if self._marked:
            try:
                self._path.unlink(missing_ok=True)
            except OSError as fault:  # at worst a lease counts as spent one day
                log.warning("%s: %s", self._path, fault.strerror)
            else:
                self._marked = False
