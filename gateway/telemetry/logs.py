"""What may stand in a log: never the content of a request or an answer."""

import asyncio
import logging
import traceback
from collections.abc import Iterator
from typing import Any

_log = logging.getLogger(__name__)


def places(fault: BaseException) -> str:
    """Kinds and places of an exception and of those behind it, as lines, without their messages.

    A message may quote what was being worked on: a decoder's its input, a look-up's its key, a
    provider's error the prompt.
    """
    return "\n".join(_lines(fault))


def note_loop_fault(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what the event loop found in a callback or in a task that nobody waits for; a handler of it.

    Its own would show the arguments of the callback, and the exception's message.
    """
    fault = context.get("exception")
    what = str(context.get("message", "")).partition("(")[0].partition("<")[0].strip()
    _log.error("event loop: %s: %s", what, "-" if fault is None else places(fault))


def _lines(fault: BaseException) -> Iterator[str]:
    seen: set[int] = set()
    link: BaseException | None = fault
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield f"{'after ' if link is not fault else ''}{type(link).__module__}.{type(link).__qualname__}"
        for frame in traceback.extract_tb(link.__traceback__):
            yield f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}: {frame.line}'
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
