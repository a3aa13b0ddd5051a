"""What the bench needs of the machine, checked before anything starts."""

import os
import shutil
import socket
import sys

from bench.paths import HOST

# What each command comes in on Debian and Ubuntu.
PACKAGES = {"cc": "gcc libc6-dev", "wrk": "wrk", "taskset": "util-linux"}


def missing() -> str | None:
    """One line that says what to install or change, or None where all is there."""
    if sys.platform != "linux":
        return "the bench needs Linux: it reads /proc and pins processes to cores"
    absent = [command for command in PACKAGES if shutil.which(command) is None]
    if absent:
        packages = " ".join(PACKAGES[command] for command in absent)
        return f"the bench needs {', '.join(absent)}: apt-get install {packages}"
    if len(os.sched_getaffinity(0)) < 2:  # noqa: PLR2004 - one for the gateway, one for the load
        return "the bench needs two cores: the gateway gets one, load and upstream the other"
    return None


def taken(port: int) -> bool:
    """Whether something already listens on `port`."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
