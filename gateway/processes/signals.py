"""Which process heeds which signal."""

import signal


def leave_to_supervisor() -> None:
    """Ignore what a terminal sends to a whole group: the supervisor got it too, and says what to do."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
