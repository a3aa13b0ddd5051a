"""What requests leave behind, for tests of shipping."""

from gateway.usage.journal import Journal
from gateway.usage.lines import Close, begin, encode
from gateway.usage.recent import Recent
from tests.unit.gateway.usage.samples import (
    CARD,
    OTHER_CARD,
    MoodyDatabase,
    contents,
    opened,
    outcome,
)


async def serve(journal: Journal, recent: Recent, generation_id: str) -> None:
    """What a request leaves behind: an open line, then its outcome."""
    await begin(journal, opened(generation_id), (CARD, OTHER_CARD))
    await close(journal, recent, generation_id)


async def close(journal: Journal, recent: Recent, generation_id: str) -> None:
    ended = outcome(generation_id)
    written = journal.append(encode(Close(ended)))
    recent.put(ended)
    await written


async def generations(database: MoodyDatabase) -> list[object]:
    return [row[0] for row in (await contents(database))["generations"]]
