"""Telling processes at once of what was changed."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gateway.accounts.office import Announce, Change
from gateway.errors import ConfigurationError
from gateway.settings_state import StateSettings

if TYPE_CHECKING:
    from gateway.store.announcements import Announcements


@asynccontextmanager
async def announcements(state: StateSettings) -> AsyncIterator["Announcements | None"]:
    """The channel of an installation, where it has one: `state.url`.

    Raises:
        ConfigurationError: the URL cannot be used.
    """
    if state.url is None:
        yield None
        return
    # Not before it is needed: the library weighs 6 MB.
    from gateway.store.announcements import Announcements  # noqa: PLC0415 - see above

    try:
        found = Announcements(state.url.get_secret_value(), state.prefix)
    except ValueError as fault:
        raise ConfigurationError([f"state.url: {fault}"]) from None
    try:
        yield found
    finally:
        await found.aclose()


def announcer(
    invalidate: Callable[[Iterable[tuple[str, str]]], None] | None,
    channel: "Announcements | None",
) -> Announce:
    """What an `Office` is to tell of changes: this process, if it serves, and all others."""

    async def announce(changes: Sequence[Change]) -> None:
        told = [(change.kind, change.ref) for change in changes]
        if invalidate is not None:
            invalidate(told)
        if channel is not None:
            await channel.tell(told)

    return announce
