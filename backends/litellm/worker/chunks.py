"""What litellm remembers of a stream, kept short."""

from typing import Any

_MOST = 64  # chunks, before those that do not matter are forgotten
_FEW = 8  # of those that matter, from either end


class ChunkLog(list[Any]):
    """The chunks that litellm's `CustomStreamWrapper` has seen: the few that it looks at again.

    It keeps each one to the end of its stream, several kB for a word (1.106.2, measured 2026-11-22), and
    goes on while a slow reader's words wait in the kernel's buffers. What it looks at again is the first,
    the last two (does the model repeat itself?), and those with usage or a finish reason, of which it makes
    the usage at the end. Where usage comes with each chunk, what was said last counts, and what only
    the first ones have, such as the terms of Anthropic's cache.
    """

    # The standard library of Python 3.11 has no `override`, and this needs nothing else.
    def append(self, chunk: Any) -> None:  # type: ignore[explicit-override]
        """Remember a chunk; it is litellm's only way to change the list."""
        super().append(chunk)
        if len(self) > _MOST:
            first, *rest = self[:-2]
            telling = [one for one in rest if _tells(one)]
            if len(telling) > 2 * _FEW:
                telling = telling[:_FEW] + telling[-_FEW:]
            self[:] = [first, *telling, *self[-2:]]


def bound(found: Any) -> None:
    """Have a stream of litellm's remember few of its chunks.

    Args:
        found: its `CustomStreamWrapper`; anything without a list of chunks is left as it is.
    """
    chunks = getattr(found, "chunks", None)
    if isinstance(chunks, list):
        found.chunks = ChunkLog(chunks)


def _tells(chunk: Any) -> bool:
    return getattr(chunk, "usage", None) is not None or any(
        getattr(choice, "finish_reason", None) is not None
        for choice in getattr(chunk, "choices", None) or ()
    )
