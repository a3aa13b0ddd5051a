"""Reading the settings again while the gateway serves: all of them good, or none taken."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from pydantic import BaseModel

from gateway.errors import ConfigurationError
from gateway.settings import Settings

_log = logging.getLogger(__name__)

# What a process is built around. All else is taken by the next request.
FIXED = (
    "data",
    "journal",
    "database",
    "state",
    "server.host",
    "server.port",
    "server.workers",
    "auth.pepper",
    "auth.max_entries",
    "auth.poll_interval",
)


def merged(now: Settings, wanted: Settings) -> tuple[Settings, tuple[str, ...]]:
    """What can be served of `wanted`, and the names of settings that need a restart to change."""
    left: list[str] = []
    updates: dict[str, dict[str, object]] = {}
    top: dict[str, object] = {}
    for name in FIXED:
        section, _, field = name.partition(".")
        old, new = getattr(now, section), getattr(wanted, section)
        if field:
            if getattr(old, field) != getattr(new, field):
                left.append(name)
                updates.setdefault(section, {})[field] = getattr(old, field)
        elif old != new:
            left += _differing(section, old, new)
            top[section] = old
    for section, fields in updates.items():
        top[section] = getattr(wanted, section).model_copy(update=fields)
    return wanted.model_copy(update=top) if top else wanted, tuple(left)


def _differing(section: str, old: object, new: object) -> list[str]:
    if not isinstance(old, BaseModel) or not isinstance(new, BaseModel):
        return [section]
    return [
        f"{section}.{name}"
        for name in type(old).model_fields
        if getattr(old, name) != getattr(new, name)
    ]


class Reloading:
    """Takes the settings anew each time it is told to, one after the other.

    Args:
        reread: reads and checks the settings. Raises ConfigurationError.
        current: those that are served.
        check: does all else that can be refused beforehand. Raises ConfigurationError.
        change: has them served. Raises ConfigurationError.

    Attributes:
        failed: the last ones were not good, so that those before them are served.
    """

    def __init__(
        self,
        reread: Callable[[], Settings],
        current: Callable[[], Settings],
        check: Callable[[Settings], Awaitable[None]],
        change: Callable[[Settings], Awaitable[None]],
    ) -> None:
        self.failed = False
        self._reread = reread
        self._current = current
        self._check = check
        self._change = change
        self._wanted = False
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Read them soon; if that is being done already, once more after it."""
        self._wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._wanted:
            self._wanted = False
            try:
                await self._once()
                self.failed = False
            except ConfigurationError as fault:
                self.failed = True
                for line in fault.faults:
                    _log.error("reload: %s", line)
                _log.error("reload: refused; the settings from before are still served")
            except Exception:  # noqa: BLE001 - whatever it is, what serves goes on
                self.failed = True
                _log.exception("reload: failed; the settings from before are still served")

    async def _once(self) -> None:
        settings, left = merged(self._current(), self._reread())
        await self._check(settings)
        await self._change(settings)
        if left:
            _log.warning("reload: %s changed, which takes a restart", ", ".join(left))
        _log.warning("reload: the settings are taken")
