"""Administrative commands in processes of their own, forked where everything is imported already.

Starting Python and importing costs a second of CPU each time, which tests pay hundreds of times.
"""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gateway.cli import main

_VERBS: Final = ("budgets", "keys", "management_keys", "members", "settings", "teams")
_ENVIRONMENT = os.environ  # noqa: TID251 - that of this test, and not of the first that ran a command
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    [f"gateway.{room}.{verb}" for verb in _VERBS for room in ("cli", "accounts")]
    + ["gateway.accounts.opening", "gateway.accounts.announcing", "redis.asyncio"]
    + ["sqlalchemy.dialects.sqlite.aiosqlite", "sqlalchemy.dialects.postgresql.asyncpg"]
)


def run(words: Sequence[str]) -> tuple[int, str, str]:
    """Run `tidegate` with these words; its exit status and what it wrote to stdout and stderr."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        out.touch()
        err.touch()
        process = _PROCESSES.Process(
            target=_run, args=(list(words), dict(_ENVIRONMENT), str(out), str(err))
        )
        process.start()
        process.join()
        assert process.exitcode is not None
        return process.exitcode, out.read_text(), err.read_text()


def _run(words: list[str], environment: dict[str, str], out: str, err: str) -> None:
    _ENVIRONMENT.clear()
    _ENVIRONMENT.update(environment)
    for descriptor, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), descriptor)
    sys.argv = ["tidegate", *words]
    main()
