"""What changed of accounts, told to all processes at once over Redis.

A channel keeps nothing: whoever does not listen just then does not hear. So each change is also noted in
the database, where `gateway.jobs.changes` finds it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection
from typing import Final

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

Changes = tuple[tuple[str, str], ...]
"""Pairs of a kind, as in the table `account_changes`, and an id."""

_PATIENCE: Final = 1.0  # seconds for which whoever announces waits at most
_SILENCE: Final = 5.0  # seconds after which the listener asks whether the server is still there
_BACK_OFF: Final = (0.1, 0.3, 1.0, 3.0)
_MOST: Final = 1000  # in one message; of more, whoever hears it is told to look in the database

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Changes).decode
_log = logging.getLogger(__name__)


class Announcements:
    """The channel of one installation.

    Args:
        url: of Redis or Valkey, as `state.url`.
        prefix: what the channel's name begins with, as `state.prefix`.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._redis = Redis.from_url(
            url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE
        )
        self._channel = f"{prefix}:changes"

    async def tell(self, changes: Collection[tuple[str, str]]) -> None:
        """Tell all who listen. Never raises: who does not hear finds the note in the database."""
        told = tuple(changes) if len(changes) <= _MOST else ()
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._redis.publish(self._channel, _encode(told))
        except (RedisError, OSError, TimeoutError) as fault:
            _log.warning("changes of accounts are not announced (%s): seen by polling", fault)

    async def listen(self) -> AsyncIterator[Changes]:
        """What others tell, without end; an empty one says that something may have been missed."""
        failures = 0
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(self._channel)
                    asked = False
                    while True:
                        heard = await channel.get_message(timeout=_SILENCE)
                        if heard is None:
                            await _ask(channel, again=asked)
                            asked = True
                            continue
                        asked = False
                        if heard["type"] == "subscribe":
                            failures = 0
                            yield ()  # what was told before it listened, it has missed
                        elif heard["type"] == "message":
                            with contextlib.suppress(msgspec.DecodeError):
                                yield _decode(heard["data"])
            except (RedisError, OSError, TimeoutError) as fault:
                if failures == 0:
                    _log.warning("announcements of changes are not heard: %s", fault)
                await asyncio.sleep(_BACK_OFF[min(failures, len(_BACK_OFF) - 1)])
                failures += 1

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


async def _ask(channel: PubSub, *, again: bool) -> None:
    """Send a ping, whose answer is a message.

    Raises:
        TimeoutError: the one before was not answered: the server hangs, or the way to it is cut.
    """
    if again:
        raise TimeoutError("no answer to a ping")
    await asyncio.wait_for(channel.ping(), _PATIENCE)
