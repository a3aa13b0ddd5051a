"""Whether this process should be sent requests just now."""

from collections.abc import Callable

DRAINING = "the gateway is shutting down"


class Standing:
    """What `/readyz` tells load balancers.

    Attributes:
        draining: the process leaves: what runs may end, nothing new should come.
    """

    def __init__(self) -> None:
        self.draining = False
        self._looks: list[Callable[[], str | None]] = []

    def add(self, look: Callable[[], str | None]) -> None:
        """Have `look` say why no request should come; None: it knows of nothing."""
        self._looks.append(look)

    def why_not(self) -> str | None:
        """Why no request should come, a line; None: they may."""
        if self.draining:
            return DRAINING
        for look in self._looks:
            if (reason := look()) is not None:
                return reason
        return None
